"""A report as one JSON document: stable order, versioned, no time inside the findings. See `docs/verification.md`."""

from __future__ import annotations

import json
from typing import Any

from deploytools.verification.differences import VERSION
from deploytools.verification.findings import Change, Finding, Report


def to_json(report: Report) -> str:
    """The whole report, in the registry's order."""
    document: dict[str, Any] = {
        "version": VERSION,
        "settings": report.settings,
        "stage": report.stage,
        "account": report.account,
        "seconds": round(report.seconds, 3),
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "counts": dict(report.counts),
        "findings": [_finding(finding) for finding in report.findings],
    }
    if report.changes is not None:
        document["changes"] = [_change(change) for change in report.changes]
    return json.dumps(document, indent=2, ensure_ascii=False)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "resource": finding.resource,
        "status": finding.status,
        "severity": finding.severity,
        "title": finding.title,
        "evidence": finding.evidence,
        "hint": finding.hint,
        "guide": finding.guide,
        "waiver": finding.waiver,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "check": change.check,
        "resource": change.resource,
        "before": change.before,
        "after": change.after,
        "evidence": change.evidence,
    }
