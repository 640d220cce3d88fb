"""A report as one JSON document with a version and a stable order.

Everything that can differ between two runs without a change of the deployment is in the member ``measured``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from deploytools.verification.findings import Finding, Report
from deploytools.verification.report_diff import VERSION


def to_json(report: Report) -> str:
    """Return the report, with the findings in the order of the registry."""
    document: dict[str, Any] = {
        "version": VERSION,
        "settings": report.settings,
        "stage": report.stage,
        "account": report.account,
        "name": report.name,
        "release": report.release,
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "not_evaluated": [asdict(group) for group in report.not_evaluated],
        "counts": dict(report.counts),
        "findings": [_finding(finding) for finding in report.findings],
    }
    if report.changes is not None:
        document["changes"] = [asdict(change) for change in report.changes]
    document["measured"] = {
        "at": report.at,
        "seconds": round(report.seconds, 3),
        "findings": [
            {"check": finding.check.id, "resource": finding.resource, "measured": finding.verdict.measured}
            for finding in report.findings
            if finding.verdict.measured
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check.id,
        "resource": finding.resource,
        "status": finding.status,
        "severity": finding.check.severity,
        "title": finding.check.title,
        "evidence": finding.evidence,
        "hint": finding.hint,
        "guide": finding.check.guide,
        "waiver": finding.waiver,
        "cause": finding.cause,
    }
