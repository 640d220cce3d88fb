"""Findings for tests."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from deploytools.verification.findings import Check, Finding, Severity, Stage, Status, Verdict

#: Arguments of `Registry.check` for tests that are not about them.
CHECK_DETAILS: dict[str, Any] = {
    "title": "Good",
    "severity": Severity.HIGH,
    "stage": Stage.PRE_LAUNCH,
    "guide": "Step 1",
    "hint": "Fix it",
}

OF_CHECK = {field.name for field in fields(Check)}
OF_VERDICT = {field.name for field in fields(Verdict)}


def make_finding(
    id: str = "a.b",
    title: str = "Good",
    severity: Severity = Severity.LOW,
    guide: str = "Step 1",
    status: Status = Status.PASS,
    resource: str = "",
    evidence: str = "",
    hint: str = "",
    waiver: str = "",
    cause: str = "",
) -> Finding:
    """Return a finding of a check that is binding from the start and evaluates nothing."""
    per_tenant = id.startswith("databases.")
    check = Check(id, title, "", severity, Stage.PRE_LAUNCH, guide, "", evaluate=tuple, per_tenant=per_tenant)
    return Finding(check, Verdict(status, evidence, resource, hint), waiver, cause)


def change(finding: Finding, **changes: Any) -> Finding:
    """Return `finding` with other values of its check, of its verdict or of itself."""
    of_check = {name: changes.pop(name) for name in changes.keys() & (OF_CHECK - {"hint"})}
    of_verdict = {name: changes.pop(name) for name in changes.keys() & OF_VERDICT}
    return replace(
        finding, check=replace(finding.check, **of_check), verdict=replace(finding.verdict, **of_verdict), **changes
    )
