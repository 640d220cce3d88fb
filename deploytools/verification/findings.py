"""What a check says. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The answer of a check, in the order in which a report shows them: worst last."""

    NOT_APPLICABLE = "not applicable"
    PASS = "pass"  # noqa: S105
    WAIVED = "waived"
    WARN = "warn"
    UNKNOWN = "unknown"
    FAIL = "fail"


class Severity(StrEnum):
    """How much a failure matters."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    def reaches(self, level: Severity) -> bool:
        """Whether it is `level` or worse."""
        order = list(Severity)
        return order.index(self) >= order.index(level)


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
        measured: what differs from run to run though nothing has changed: times that things took, ages, counts of now.
    """

    status: Status
    evidence: str
    resource: str = ""
    hint: str = ""
    measured: str = ""


def passed(evidence: str, resource: str = "", *, measured: str = "") -> Verdict:
    """It is as it should be."""
    return Verdict(Status.PASS, evidence, resource, measured=measured)


def warned(evidence: str, resource: str = "", hint: str = "", *, measured: str = "") -> Verdict:
    """It is not as it should be, and may be so for now."""
    return Verdict(Status.WARN, evidence, resource, hint, measured)


def failed(evidence: str, resource: str = "", hint: str = "", *, measured: str = "") -> Verdict:
    """It is not as it should be."""
    return Verdict(Status.FAIL, evidence, resource, hint, measured)


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
        waiver: why, by whom and until when a failure is accepted; empty where it is not.
        measured: what differs from run to run though nothing has changed.
    """

    check: str
    title: str
    severity: Severity
    guide: str
    status: Status
    resource: str
    evidence: str
    hint: str
    waiver: str = ""
    measured: str = ""

    @property
    def seen(self) -> str:
        """All that was seen: for people, who do not compare runs by the letter."""
        return f"{self.evidence.removesuffix('.')}; {self.measured}" if self.measured else self.evidence

    @property
    def subject(self) -> str:
        """The tenant that it is about, if it is about one: of a tenant's role it may say several things."""
        return self.resource.partition(" ")[0] if self.check.startswith("databases.") else self.resource


@dataclass(frozen=True)
class Change:
    """One finding that is new, gone, or says something else.

    Attributes:
        before: the status then; None: there was no such finding.
        after: the status now; None: there is no such finding any more.
        evidence: what is seen now, or was seen last.
    """

    check: str
    resource: str
    before: Status | None
    after: Status | None
    evidence: str


@dataclass(frozen=True)
class Report:
    """All findings of one run, in the order of the registry.

    Attributes:
        seconds: how long the run took.
        settings: the settings module that was judged.
        stage: the stage it was judged for.
        account: the AWS account that was looked at; empty where none was.
        tenants: the tenants that are wanted; findings about one bear its name as resource.
        fail_level: failures below it do not change the exit code.
        changes: what changed since another report; None where none was given.
    """

    findings: tuple[Finding, ...]
    seconds: float
    settings: str
    stage: Stage = Stage.LAUNCH
    account: str = ""
    tenants: tuple[str, ...] = ()
    fail_level: Severity = Severity.LOW
    changes: tuple[Change, ...] | None = None

    @property
    def counts(self) -> dict[Status, int]:
        """How many findings have each status."""
        counted = Counter(finding.status for finding in self.findings)
        return {status: counted[status] for status in Status}

    @property
    def has_judged(self) -> bool:
        """Whether anything was there to judge."""
        return any(finding.status is not Status.NOT_APPLICABLE for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """2 when something could not be looked at, or nothing was judged; 1 when something fails; else 0."""
        if not self.has_judged or self.counts[Status.UNKNOWN]:
            return 2
        return 1 if any(self._counts_as_failure(finding) for finding in self.findings) else 0

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        if not self.findings:
            return "Not known: nothing was looked at."
        if not self.has_judged:
            return "Nothing was judged: no check applies."
        unknown, failed = self.counts[Status.UNKNOWN], self.counts[Status.FAIL]
        if unknown:
            return f"Not known: {unknown} could not be looked at, {failed} fail."
        if failed:
            below = "" if self.exit_code else f", none of them {self.fail_level} or worse"
            return f"Not as it should be: {failed} {'fails' if failed == 1 else 'fail'}{below}."
        return f"Nothing fails; {self.reserve}." if self.reserve else "As it should be: nothing fails."

    @property
    def reserve(self) -> str:
        """What keeps a report in which nothing fails from being a good one."""
        warned, waived = self.counts[Status.WARN], self.counts[Status.WAIVED]
        said = [f"{warned} {'warns' if warned == 1 else 'warn'}"] if warned else []
        said += [f"{waived} {'is' if waived == 1 else 'are'} waived"] if waived else []
        return ", ".join(said)

    def _counts_as_failure(self, finding: Finding) -> bool:
        return finding.status is Status.FAIL and finding.severity.reaches(self.fail_level)
