"""A verification report as text for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, zip_longest

from deploytools.reports.grouping import (
    PROBLEMS,
    SYMBOLS,
    by_heading,
    counts_text,
    dependents,
    merge_resources,
    split_by_cause,
    urgency,
)
from deploytools.verification.findings import Change, Finding, Report, Status
from deploytools.wording import columns, wrapped

#: Colors a line by its status; the identity if there is no terminal.
Paint = Callable[[Status, str], str]


def plain(status: Status, line: str) -> str:
    """Return `line` unchanged."""
    return line


def to_text(report: Report, paint: Paint = plain) -> str:
    """Return passed checks by section, checks that do not apply, problems, the most urgent last, and causes."""
    if report.changes is not None:
        return "\n".join([*change_lines(report.changes, paint), "", *closing_lines(report)])
    lines: list[str] = []
    done = [finding for finding in report.findings if finding.status in {Status.PASS, Status.WAIVED}]
    for heading, findings in by_heading(done).items():
        lines += [f"{heading}:"]
        lines += [line for group in _by_check(merge_resources(findings)) for line in check_lines(group, paint)]
        lines += [""]
    causes, others = split_by_cause(report.findings)
    not_evaluated = {check for group in report.not_evaluated for check in group.checks}  # Listed after the verdict.
    if not_applicable := not_applicable_lines((item for item in others if item.check.id not in not_evaluated), paint):
        lines += [*not_applicable, ""]
    problems = _problem_lines((finding for finding in others if finding.status in PROBLEMS), paint)
    problems += [line for cause in causes for line in _cause_lines(cause, paint)]
    if problems:
        lines += ["Problems:", *problems, ""]
    return "\n".join([*lines, *closing_lines(report, with_ids=True)])


def _by_check(findings: Iterable[Finding]) -> list[list[Finding]]:
    groups = groupby(findings, key=lambda finding: (finding.check.id, finding.status))
    return [list(group) for _, group in groups]


def _problem_lines(findings: Iterable[Finding], paint: Paint) -> list[str]:
    groups = _by_check(sorted(merge_resources(findings), key=urgency))
    return [line for group in groups for line in check_lines(group, paint)]


def _cause_lines(findings: Sequence[Finding], paint: Paint) -> list[str]:
    worst = findings[0]
    title = wrapped(worst.evidence, indent=f"{SYMBOLS[worst.status]} ")
    return [
        *(paint(worst.status, line) for line in title),
        *_indented(f"→ {worst.hint}"),
        *_indented(dependents(findings)),
    ]


def not_applicable_lines(findings: Iterable[Finding], paint: Paint) -> list[str]:
    """Return each reason why checks do not apply to a resource, with these checks."""
    by_reason: dict[str, list[str]] = {}
    for finding in merge_resources(finding for finding in findings if finding.status is Status.NOT_APPLICABLE):
        name = f"{finding.check.id} ({finding.resource})" if finding.resource else finding.check.id
        by_reason.setdefault(finding.evidence, []).append(name)
    return [
        paint(Status.NOT_APPLICABLE, line)
        for reason, checks in by_reason.items()
        for line in wrapped(f"Not applicable ({reason}): {', '.join(checks)}", indent="", hanging="  ")
    ]


def check_lines(findings: Sequence[Finding], paint: Paint) -> list[str]:
    """Return the title of a check, its evidence and hints; its ID if there is a hint.

    Args:
        findings: findings of one check with one status.
    """
    check, status = findings[0].check, findings[0].status
    lines = [paint(status, line) for line in wrapped(check.title, indent=f"{SYMBOLS[status]} ")]
    for finding, following in zip_longest(findings, findings[1:]):
        lines += _indented(
            f"{finding.resource}: {finding.full_evidence}" if finding.resource else finding.full_evidence
        )
        lines += _indented(f"waived: {finding.waiver}") if finding.waiver else []
        if finding.hint and (following is None or following.hint != finding.hint):
            lines += _indented(f"→ {finding.hint}")
    if any(finding.hint for finding in findings):
        reference = f"; guide: {check.guide}" if check.guide else ""
        lines += _indented(f"({check.id}, {check.severity}{reference})")
    return lines


def _indented(text: str) -> list[str]:
    return wrapped(text, indent="    ")


def change_lines(changes: Iterable[Change], paint: Paint) -> list[str]:
    """Return the earlier and the present status and the evidence of each change."""
    lines: list[str] = []
    for change in changes:
        name = f"{change.check} {change.resource}".rstrip()
        line = f"{name}: {change.before or 'no finding'} → {change.after or 'no finding'}"
        lines += [paint(change.after or Status.NOT_APPLICABLE, line), *_indented(change.evidence)]
    return lines or ["No changes."]


def closing_lines(report: Report, *, with_ids: bool = False) -> list[str]:
    """Return the verdict, why checks were not evaluated, the settings, the number of findings and the duration.

    Args:
        with_ids: whether to list the checks that do not apply.
    """
    reasons = [
        f"{group} ({', '.join(group.checks)})" if with_ids and group.status is Status.NOT_APPLICABLE else str(group)
        for group in report.not_evaluated
    ]
    return [
        report.verdict,
        *(line for reason in reasons for line in wrapped(reason, indent="  ", hanging="  ")),
        f"Settings: {report.settings}, stage: {report.stage}.",
        f"Findings: {counts_text(report)}. Duration: {report.seconds:.1f} s.",
    ]


def waiting_line(reason: str, seconds: float) -> str:
    """Return the line that `check_rds` prints before it retries."""
    return f"Waiting for PostgreSQL ({reason}), {math.ceil(seconds)} s left …"


def check_rds_lines(report: Report, paint: Paint = plain) -> str:
    """Return one line for each check, as in the guide's Step 6, with its evidence; failed ones with their hint.

    A cause is reported with the first check that depends on it.
    """
    lines: list[str] = []
    first: dict[str, str] = {}
    for finding in report.findings:
        title = f"{SYMBOLS[finding.status]} {finding.check.title}"
        if finding.cause in first:
            lines += _with_evidence(title, f"not evaluated: see {first[finding.cause]}", finding.status, paint)
        elif finding.status is Status.PASS:
            lines += _with_evidence(title, finding.full_evidence, finding.status, paint)
        else:
            lines += check_lines([finding], paint)
        if finding.cause:
            first.setdefault(finding.cause, finding.check.id)
    return "\n".join(lines)


def _with_evidence(title: str, evidence: str, status: Status, paint: Paint) -> list[str]:
    if len(f"{title} ({evidence})") <= columns():
        return [f"{paint(status, title)} ({evidence})"]
    return [paint(status, title), *_indented(evidence)]
