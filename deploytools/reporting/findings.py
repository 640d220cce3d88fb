"""A verification report as text for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, zip_longest

from deploytools.reporting import guide
from deploytools.reporting.condensed import SYMBOLS, URGENT, condensed
from deploytools.reporting.text import COLUMNS, wrapped
from deploytools.verification.findings import Change, Finding, Report, Severity, Status

#: Colours a line by its status; the identity where there is no terminal.
Paint = Callable[[Status, str], str]


def plain(status: Status, line: str) -> str:
    """`line` as it is."""
    return line


def to_text(report: Report, paint: Paint = plain) -> str:
    """What is as it should be, by section of the guide; what does not apply; what is to be done, the worst last."""
    if report.changes is not None:
        return "\n".join([*change_lines(report.changes, paint), "", *closing_lines(report)])
    told: set[str] = set()
    lines: list[str] = []
    good = [finding for finding in report.findings if finding.status in {Status.PASS, Status.WAIVED}]
    for section, findings in guide.by_section(good).items():
        lines += [f"{guide.heading(section)}:", *_part_lines(condensed(findings), paint, told), ""]
    if moot := moot_lines(report.findings, paint):
        lines += [*moot, ""]
    urgent = [finding for finding in report.findings if finding.status in URGENT]
    if urgent:
        lines += ["To be done:", *_part_lines(sorted(condensed(urgent), key=_urgency), paint, told), ""]
    return "\n".join([*lines, *closing_lines(report)])


def _part_lines(findings: Iterable[Finding], paint: Paint, told: set[str]) -> list[str]:
    groups = groupby(findings, key=lambda finding: (finding.check, finding.status))
    return [line for _, group in groups for line in check_lines(list(group), paint, told)]


def _urgency(finding: Finding) -> tuple[int, int]:
    return list(Status).index(finding.status), list(Severity).index(finding.severity)


def moot_lines(findings: Iterable[Finding], paint: Paint) -> list[str]:
    """What does not apply: each reason once, with the checks that it answers."""
    by_reason: dict[str, list[str]] = {}
    for finding in condensed(finding for finding in findings if finding.status is Status.NOT_APPLICABLE):
        about = f"{finding.check} ({finding.resource})" if finding.resource else finding.check
        by_reason.setdefault(finding.evidence, []).append(about)
    symbol = f"{SYMBOLS[Status.NOT_APPLICABLE]} "
    return [
        paint(Status.NOT_APPLICABLE, line)
        for reason, checks in by_reason.items()
        for line in wrapped(f"not applicable, {reason}: {', '.join(checks)}", indent=symbol)
    ]


def check_lines(findings: Sequence[Finding], paint: Paint, told: set[str]) -> list[str]:
    """One check's findings of one status: the title, what was seen, and, where something is to be done, what.

    Args:
        told: evidence and hints that the report holds already: one cause is told once. Grows.
    """
    first = findings[0]
    title = wrapped(first.title, indent=f"{SYMBOLS[first.status]} ")
    lines = [paint(first.status, line) for line in title]
    for finding, following in zip_longest(findings, findings[1:]):
        lines += _seen_lines(finding, told)
        if following is None or following.hint != finding.hint:
            lines += _hint_lines(finding, told)
    if any(finding.hint for finding in findings):
        lines += _indented(f"({first.check}, {first.severity}; guide: {first.guide})")
    return lines


def _seen_lines(finding: Finding, told: set[str]) -> list[str]:
    seen = "as above" if _is_told(finding, told) else finding.seen
    lines = _indented(f"{finding.resource}: {seen}" if finding.resource else seen)
    return lines + (_indented(f"waived: {finding.waiver}") if finding.waiver else [])


def _hint_lines(finding: Finding, told: set[str]) -> list[str]:
    lines: list[str] = []
    if finding.hint and not _is_told(finding, told):
        lines = _indented("→ as above" if finding.hint in told else f"→ {finding.hint}")
    told |= {finding.hint, finding.evidence}
    return lines


def _is_told(finding: Finding, told: set[str]) -> bool:
    return bool(finding.hint) and {finding.hint, finding.evidence} <= told


def _indented(text: str) -> list[str]:
    return wrapped(text, indent="    ")


def change_lines(changes: Iterable[Change], paint: Paint) -> list[str]:
    """A change a paragraph: what it was, what it is, what is seen."""
    lines: list[str] = []
    for change in changes:
        name = f"{change.check} {change.resource}".rstrip()
        line = f"{name}: {change.before or 'not there'} → {change.after or 'not there'}"
        lines += [paint(change.after or Status.NOT_APPLICABLE, line), *_indented(change.evidence)]
    return lines or ["Nothing changed."]


def closing_lines(report: Report) -> list[str]:
    """The verdict, what it is of, and one line of how many findings have each status and how long it took."""
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    return [
        report.verdict,
        f"Judged under {report.settings} ({report.stage}).",
        f"{counts or 'nothing was checked'}; {report.seconds:.1f} s",
    ]


def five_lines(report: Report, paint: Paint = plain) -> str:
    """The lines of the guide's Step 6, word for word, with what was found beside each, or below where it is long.

    Hints are under those that fail.
    """
    lines: list[str] = []
    told: set[str] = set()
    for finding in report.findings:
        if finding.status is Status.PASS:
            lines += _beside(f"{SYMBOLS[finding.status]} {finding.title}", finding, paint)
        else:
            lines += check_lines([finding], paint, told)
    return "\n".join(lines)


def _beside(title: str, finding: Finding, paint: Paint) -> list[str]:
    seen = f" ({finding.seen})"
    if len(title + seen) <= COLUMNS:
        return [paint(finding.status, title) + seen]
    return [paint(finding.status, title), *_indented(finding.seen)]
