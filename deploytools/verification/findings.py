"""Checks, their verdicts and the report of one run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from deploytools.wording import count


class Status(StrEnum):
    """The result of a check, in the order of a report: the worst last."""

    NOT_APPLICABLE = "not applicable"
    PASS = "pass"  # noqa: S105
    WAIVED = "waived"
    WARN = "warn"
    UNKNOWN = "unknown"
    FAIL = "fail"


class Severity(StrEnum):
    """The severity of a failure, the lowest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    def reaches(self, level: Severity) -> bool:
        order = list(Severity)
        return order.index(self) >= order.index(level)


class Stage(StrEnum):
    """The stage of a deployment. A check is binding from its stage on; before it, a failure is only a warning."""

    PRE_LAUNCH = "pre-launch"
    LAUNCH = "launch"


#: The first word of a verdict.
WORDS = {Status.PASS: "OK", Status.WARN: "WARNING", Status.FAIL: "FAILED", Status.UNKNOWN: "UNKNOWN"}


@dataclass(frozen=True)
class Verdict:
    """The result of evaluating a check, for one resource.

    Attributes:
        evidence: what was found, in at most one sentence. It never contains a secret value.
        resource: the tenant, key or rule that the verdict is about; empty: a check with one verdict.
        hint: how to fix the failure; empty: the check's hint.
        measured: values that differ from run to run without a change: durations, ages, numbers in use.
    """

    status: Status
    evidence: str
    resource: str = ""
    hint: str = ""
    measured: str = ""


def passed(evidence: str, resource: str = "", *, measured: str = "") -> Verdict:
    """Return a verdict that the expected state was found."""
    return Verdict(Status.PASS, evidence, resource, measured=measured)


def warned(evidence: str, resource: str = "", hint: str = "", *, measured: str = "") -> Verdict:
    """Return a verdict that something should be changed, but not urgently."""
    return Verdict(Status.WARN, evidence, resource, hint, measured)


def failed(evidence: str, resource: str = "", hint: str = "", *, measured: str = "") -> Verdict:
    """Return a verdict that the expected state was not found."""
    return Verdict(Status.FAIL, evidence, resource, hint, measured)


def unknown(evidence: str, resource: str = "", hint: str = "", *, measured: str = "") -> Verdict:
    """Return a verdict that the state could not be determined."""
    return Verdict(Status.UNKNOWN, evidence, resource, hint, measured)


def not_applicable(reason: str, resource: str = "") -> Verdict:
    """Return a verdict that the check does not apply, with the reason."""
    return Verdict(Status.NOT_APPLICABLE, reason, resource)


@dataclass(frozen=True)
class Check:
    """A registered check. The other attributes are the arguments of `Registry.check`.

    Attributes:
        why: the risk in one or two sentences: the docstring of the check's function.
        evaluate: a pure function of facts that returns one `Verdict` or several.
        needs: names of the facts that `evaluate` takes.
        item: the item of the guide's Security Checklist that the check belongs to; empty: none.
    """

    id: str
    title: str
    why: str
    severity: Severity
    stage: Stage
    guide: str
    hint: str
    evaluate: Callable[..., Verdict | Iterable[Verdict]]
    needs: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    references: tuple[str, ...] = ()
    per_tenant: bool = False
    not_set: str = ""
    setting: str = ""
    item: str = ""
    reports: str = ""
    resource_of: Callable[[Any], str] | None = None
    preset: str = ""

    @property
    def area(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Finding:
    """One verdict of one check; every report is made of findings.

    Attributes:
        verdict: with the status after the stage and the waivers were applied.
        waiver: reason, owner and expiry date of the waiver that accepts the failure; empty: not waived.
        cause: name of the fact without a value that the check depends on, or whose failure it reports; empty: none.
    """

    check: Check
    verdict: Verdict
    waiver: str = ""
    cause: str = ""

    @property
    def status(self) -> Status:
        return self.verdict.status

    @property
    def resource(self) -> str:
        return self.verdict.resource

    @property
    def evidence(self) -> str:
        """The evidence of the verdict, without what was measured: it is the same in every run without a change."""
        return self.verdict.evidence

    @property
    def hint(self) -> str:
        """The verdict's hint, or else the check's; empty if the check passed or does not apply."""
        if self.status in {Status.PASS, Status.NOT_APPLICABLE}:
            return ""
        return self.verdict.hint or self.check.hint

    @property
    def full_evidence(self) -> str:
        measured = self.verdict.measured
        return f"{self.evidence.removesuffix('.')}; {measured}" if measured else self.evidence

    @property
    def tenant(self) -> str:
        """The tenant that the finding is about; empty if it is not about one tenant."""
        return self.resource.partition(" ")[0] if self.check.per_tenant else ""

    def with_status(self, status: Status) -> Finding:
        return replace(self, verdict=replace(self.verdict, status=status))

    def with_resource(self, resource: str) -> Finding:
        return replace(self, verdict=replace(self.verdict, resource=resource))


@dataclass(frozen=True)
class Change:
    """One finding that is new, gone, or has another status.

    Attributes:
        before: the earlier status; None: there was no such finding.
        after: the present status; None: there is no such finding any more.
        evidence: the present evidence, or the last one.
    """

    check: str
    resource: str
    before: Status | None
    after: Status | None
    evidence: str


@dataclass(frozen=True)
class NotEvaluated:
    """Checks that were not evaluated for one reason.

    Attributes:
        status: `UNKNOWN` or `NOT_APPLICABLE`.
        checks: their IDs.
    """

    status: Status
    reason: str
    checks: tuple[str, ...]

    def __str__(self) -> str:
        what = "could not be evaluated" if self.status is Status.UNKNOWN else self.status
        return f"{count(len(self.checks), 'check')} {what}: {self.reason}"


@dataclass(frozen=True)
class Report:
    """All findings of one run, in the order of the registry.

    Attributes:
        settings: name of the settings module.
        stage: the stage that the findings were evaluated for.
        account: AWS account ID; empty if AWS was not read.
        tenants: names of the configured tenants that the report is about.
        fail_level: lowest severity of failures that change the exit code.
        changes: differences from an earlier report; None: not compared.
        name: the host of the site, or else the name of the secret.
        release: the revision of the ECS task definition in use; empty: not read.
        at: when the report was made: ``2026-03-01T12:00:00+00:00``.
        presets: the presets of the secret's fields; None: all.
        seconds_of_checks: seconds in which the facts of a check were read, by its ID; each fact counts once.
    """

    findings: tuple[Finding, ...]
    seconds: float
    settings: str
    stage: Stage = Stage.LAUNCH
    account: str = ""
    tenants: tuple[str, ...] = ()
    fail_level: Severity = Severity.LOW
    changes: tuple[Change, ...] | None = None
    name: str = ""
    release: str = ""
    at: str = ""
    presets: tuple[str, ...] | None = None
    seconds_of_checks: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> dict[Status, int]:
        counted = Counter(finding.status for finding in self.findings)
        return {status: counted[status] for status in Status}

    @property
    def outcome(self) -> Status:
        """The status of the whole run: `PASS`, `WARN`, `FAIL` or `UNKNOWN`.

        It is unknown if a check could not be evaluated or no check applies. Waived failures, and failures below
        `fail_level`, are a warning.
        """
        if not self._evaluated or self.counts[Status.UNKNOWN]:
            return Status.UNKNOWN
        if any(self.is_binding(finding) for finding in self.findings):
            return Status.FAIL
        has_reservations = any(self.counts[status] for status in (Status.FAIL, Status.WARN, Status.WAIVED))
        return Status.WARN if has_reservations else Status.PASS

    @property
    def exit_code(self) -> int:
        """2: outcome unknown; 1: failed; 0: passed, or passed with warnings."""
        return {Status.UNKNOWN: 2, Status.FAIL: 1}.get(self.outcome, 0)

    @property
    def verdict(self) -> str:
        """The outcome with its numbers, for example ``FAILED: 2 failed, 5 warnings``."""
        if not self.findings:
            return "UNKNOWN: no check was run"
        if not self._evaluated:
            return "UNKNOWN: no check applies"
        if self.outcome is Status.PASS:
            checks = count(len(self._evaluated), "check")
            whole = f"{checks} passed" if len(self._evaluated) == 1 else f"all {checks} passed"
            return f"OK: {', '.join([whole, *self._skipped])}"
        return f"{WORDS[self.outcome]}: {', '.join([*self._problems(), *self._skipped])}"

    @property
    def not_evaluated(self) -> tuple[NotEvaluated, ...]:
        """Each reason why checks could not be evaluated or do not apply: the unknown ones and the largest first.

        A check that could not be evaluated for several tenants has one reason, with the number of the others.
        """
        evaluated = self._evaluated
        groups: dict[tuple[Status, str], list[Finding]] = {}
        for finding in self.findings:
            if finding.status is Status.UNKNOWN:
                groups.setdefault((finding.status, finding.cause or finding.check.id), []).append(finding)
            elif finding.check.id not in evaluated:
                groups.setdefault((finding.status, finding.cause or finding.evidence), []).append(finding)
        found = [
            NotEvaluated(status, _reason(group), tuple(dict.fromkeys(finding.check.id for finding in group)))
            for (status, _), group in groups.items()
        ]
        return tuple(sorted(found, key=lambda group: (group.status is not Status.UNKNOWN, -len(group.checks))))

    @property
    def _skipped(self) -> list[str]:
        number = len({finding.check.id for finding in self.findings} - self._evaluated)
        return [f"{number} not applicable"] if number else []

    def _problems(self) -> list[str]:
        found = [finding for finding in self.findings if finding.status is Status.UNKNOWN]
        not_evaluated = len({finding.check.id for finding in found})
        causes = sum(group.status is Status.UNKNOWN for group in self.not_evaluated)
        because = f" ({count(causes, 'cause')})" if causes < not_evaluated else ""
        failed, warned, waived = (self.counts[status] for status in (Status.FAIL, Status.WARN, Status.WAIVED))
        below = f" below severity {self.fail_level}" if self.outcome is Status.WARN else ""
        problems = {
            f"{count(not_evaluated, 'check')} could not be evaluated{because}": not_evaluated,
            f"{failed} failed{below}": failed,
            count(warned, "warning"): warned,
            f"{waived} waived": waived,
        }
        return [text for text, number in problems.items() if number]

    @property
    def _evaluated(self) -> set[str]:
        return {finding.check.id for finding in self.findings if finding.status is not Status.NOT_APPLICABLE}

    def is_binding(self, finding: Finding) -> bool:
        """Return whether the finding is a failure that changes the exit code."""
        return finding.status is Status.FAIL and finding.check.severity.reaches(self.fail_level)


def _reason(findings: Iterable[Finding]) -> str:
    reasons = list(dict.fromkeys(finding.evidence for finding in findings))
    more = f" ({count(len(reasons) - 1, 'more reason')})" if len(reasons) > 1 else ""
    return reasons[0] + more
