"""A report as one JSON document: versioned, in a stable order. See `docs/verification.md`.

What differs from run to run though nothing has changed is in the member ``measured`` and nowhere else.
"""

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
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "counts": dict(report.counts),
        "findings": [_finding(finding) for finding in report.findings],
    }
    if report.changes is not None:
        document["changes"] = [_change(change) for change in report.changes]
    document["measured"] = {
        "seconds": round(report.seconds, 3),
        "findings": [_measured(finding) for finding in report.findings if finding.measured],
    }
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


def _measured(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "resource": finding.resource, "measured": finding.measured}


def _change(change: Change) -> dict[str, Any]:
    return {
        "check": change.check,
        "resource": change.resource,
        "before": change.before,
        "after": change.after,
        "evidence": change.evidence,
    }
