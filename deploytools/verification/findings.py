"""What a check says. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The answer of a check, in the order in which a report shows them: worst last."""

    NOT_APPLICABLE = "not applicable"
    PASS = "pass"  # noqa: S105
    WARN = "warn"
    UNKNOWN = "unknown"
    FAIL = "fail"


class Severity(StrEnum):
    """How much a failure matters."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Stage(StrEnum):
    """How far the deployment has come, and from when on a check binds: before that its failures only warn."""

    PRE_LAUNCH = "pre-launch"
    LAUNCH = "launch"


@dataclass(frozen=True)
class Verdict:
    """What a check's function returns.

    Attributes:
        status: the answer.
        evidence: what was seen, in one sentence or less; never a secret value.
        resource: what it is about where a check judges several things: a tenant, a key.
        hint: what to do, where it differs from the check's own hint.
    """

    status: Status
    evidence: str
    resource: str = ""
    hint: str = ""


def passed(evidence: str, resource: str = "") -> Verdict:
    """It is as it should be."""
    return Verdict(Status.PASS, evidence, resource)


def warned(evidence: str, resource: str = "", hint: str = "") -> Verdict:
    """It is not as it should be, and may be so for now."""
    return Verdict(Status.WARN, evidence, resource, hint)


def failed(evidence: str, resource: str = "", hint: str = "") -> Verdict:
    """It is not as it should be."""
    return Verdict(Status.FAIL, evidence, resource, hint)


def unknown(evidence: str, resource: str = "", hint: str = "") -> Verdict:
    """It could not be looked at."""
    return Verdict(Status.UNKNOWN, evidence, resource, hint)


def not_applicable(reason: str, resource: str = "") -> Verdict:
    """There is nothing to judge, and that is meant."""
    return Verdict(Status.NOT_APPLICABLE, reason, resource)


@dataclass(frozen=True)
class Finding:
    """One verdict with the check that gave it; what every report is made of.

    Attributes:
        check: the check's permanent id.
        title: the good state.
        severity: how much a failure matters.
        guide: the guide's step or checklist item.
        hint: what to do; empty where nothing is to be done.
    """

    check: str
    title: str
    severity: Severity
    guide: str
    status: Status
    resource: str
    evidence: str
    hint: str


@dataclass(frozen=True)
class Report:
    """All findings of one run, in the order of the registry.

    Attributes:
        seconds: how long the run took.
        settings: the settings module that was judged.
    """

    findings: tuple[Finding, ...]
    seconds: float
    settings: str

    @property
    def counts(self) -> dict[Status, int]:
        """How many findings have each status."""
        counted = Counter(finding.status for finding in self.findings)
        return {status: counted[status] for status in Status}

    @property
    def exit_code(self) -> int:
        """2 when something could not be looked at, or nothing was; 1 when something fails; else 0."""
        if not self.findings or self.counts[Status.UNKNOWN]:
            return 2
        return 1 if self.counts[Status.FAIL] else 0
