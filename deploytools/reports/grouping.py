"""What all reports do with findings: order them, merge those that differ only in the resource, describe them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploytools.reports import guide
from deploytools.verification.findings import Finding, Report, Severity, Status
from deploytools.wording import count, join_names

SYMBOLS = {
    Status.PASS: "✓",
    Status.WAIVED: "~",
    Status.WARN: "!",
    Status.UNKNOWN: "?",
    Status.FAIL: "✗",
    Status.NOT_APPLICABLE: "·",
}

#: Statuses that require an action.
PROBLEMS = frozenset({Status.FAIL, Status.UNKNOWN, Status.WARN})

#: Statuses of checks that depend on a cause, without the check that reports it.
DEPENDENT = frozenset({Status.UNKNOWN, Status.NOT_APPLICABLE})


#: Headings of the areas.
AREAS = {
    "alarms": "CloudWatch alarms",
    "bastion": "Bastion host",
    "databases": "Tenant databases",
    "django": "Django settings",
    "ecs": "ECS service",
    "iam": "IAM roles",
    "rds": "RDS instance",
    "web": "Website",
}


DONE = frozenset({Status.PASS, Status.WAIVED})


def by_heading(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return findings by the section of the guide that their check refers to, in its order, or else by area."""
    in_guide: dict[str, list[Finding]] = {}
    in_area: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.check.guide:
            in_guide.setdefault(guide.section_of(finding.check.guide), []).append(finding)
        else:
            area = finding.check.area
            in_area.setdefault(AREAS.get(area, area.capitalize()), []).append(finding)
    ordered = [section for section in [*guide.SECTIONS, *in_guide] if section in in_guide]
    return {guide.heading(section): in_guide[section] for section in ordered} | in_area


def is_fulfilled(findings: Iterable[Finding]) -> bool:
    """Return whether an item of a checklist is fulfilled: a check passed or is waived, and none has a problem."""
    statuses = {finding.status for finding in findings}
    return bool(statuses & DONE) and statuses <= DONE | {Status.NOT_APPLICABLE}


def urgency(finding: Finding) -> tuple[int, int]:
    """Return the sort key of a finding; the most urgent has the largest."""
    return list(Status).index(finding.status), list(Severity).index(finding.check.severity)


def group_by_resource(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Return each distinct finding without its resource, and its resources; by status, the worst last."""
    resources: dict[Finding, list[str]] = {}
    for finding in findings:
        resources.setdefault(finding.with_resource(""), []).append(finding.resource)
    order = list(Status)
    return sorted(resources.items(), key=lambda item: order.index(item[0].status))


def merge_resources(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings as `group_by_resource` does, with the names of the resources as one resource."""
    return [finding.with_resource(join_names(names)) for finding, names in group_by_resource(findings)]


def split_by_cause(findings: Iterable[Finding], *, least: int = 2) -> tuple[list[list[Finding]], list[Finding]]:
    """Return the findings of each cause that at least so many have, the most urgent first, and all other findings."""
    by_cause: dict[str, list[Finding]] = {}
    findings = tuple(findings)
    for finding in findings:
        if finding.cause:
            by_cause.setdefault(finding.cause, []).append(finding)
    shared = {
        cause: sorted(found, key=urgency, reverse=True) for cause, found in by_cause.items() if len(found) >= least
    }
    return list(shared.values()), [finding for finding in findings if finding.cause not in shared]


def split_reporters(findings: Iterable[Finding]) -> tuple[list[str], list[str]]:
    """Return the IDs of the checks that report the cause of `findings`, and of those that depend on it, sorted."""
    ids: tuple[set[str], set[str]] = set(), set()
    for finding in findings:
        ids[finding.status in DEPENDENT].add(finding.check.id)
    return sorted(ids[False]), sorted(ids[True])


def dependents_count(ids: Sequence[str]) -> str:
    """Return how many checks depend on a cause: ``3 checks depend on it``."""
    return f"{count(len(ids), 'check')} {'depends' if len(ids) == 1 else 'depend'} on it"


def dependents(findings: Iterable[Finding], quote: str = "") -> str:
    """Return which check reports the cause of `findings`, and which checks depend on it.

    Args:
        quote: what is before and after each ID.
    """
    reporters, ids = ([f"{quote}{id}{quote}" for id in part] for part in split_reporters(findings))
    parts = [f"reported by {', '.join(reporters)}"] if reporters else []
    parts += [f"{dependents_count(ids)}: {', '.join(ids)}"] if ids else []
    return "; ".join(parts)


def describe(finding: Finding) -> str:
    """Return the evidence, after the waiver if there is one."""
    return f"waived: {finding.waiver}; {finding.full_evidence}" if finding.waiver else finding.full_evidence


def counts_text(report: Report) -> str:
    """Return the number of findings by status: ``2 pass, 3 fail``."""
    return ", ".join(f"{number} {status}" for status, number in report.counts.items() if number) or "none"
