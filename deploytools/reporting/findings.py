"""A verification report as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby, zip_longest

from deploytools.reporting.text import wrapped
from deploytools.verification.findings import Finding, Report, Status
from deploytools.verification.registry import Check

#: Version of the JSON: it grows when a member changes its meaning or goes away.
VERSION = 1

SYMBOLS = {
    Status.PASS: "✓",
    Status.WARN: "!",
    Status.UNKNOWN: "?",
    Status.FAIL: "✗",
    Status.NOT_APPLICABLE: "-",
}

#: Resources that a line of text names before it says "and … more".
MOST_NAMES = 8

#: Colours a line by its status; the identity where there is no terminal.
Paint = Callable[[Status, str], str]


def to_text(report: Report, paint: Paint) -> str:
    """Every finding under its area, the worst last in each, then one line of counts."""
    lines: list[str] = []
    told: set[str] = set()
    for area, findings in groupby(report.findings, key=lambda finding: finding.check.split(".")[0]):
        lines.append(f"{area}:")
        for _, group in groupby(condensed(findings), key=lambda finding: (finding.check, finding.status)):
            lines += check_lines(list(group), paint, told)
        lines.append("")
    return "\n".join([*lines, counts_line(report)])


def condensed(findings: Iterable[Finding]) -> list[Finding]:
    """The order of a report, worst last; findings that differ in the resource only become one."""
    resources: dict[Finding, list[str]] = {}
    for finding in findings:
        resources.setdefault(replace(finding, resource=""), []).append(finding.resource)
    merged = [replace(finding, resource=_listed(names)) for finding, names in resources.items()]
    order = list(Status)
    return sorted(merged, key=lambda finding: order.index(finding.status))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def check_lines(findings: Sequence[Finding], paint: Paint, told: set[str]) -> list[str]:
    """One check's findings of one status: the title, what was seen, and, where something is to be done, what.

    Args:
        told: evidence and hints that the report holds already: one cause is told once. Grows.
    """
    first = findings[0]
    lines = [paint(first.status, f"{SYMBOLS[first.status]} {first.title}")]
    for finding, following in zip_longest(findings, findings[1:]):
        lines += _seen_lines(finding, told)
        if following is None or following.hint != finding.hint:
            lines += _hint_lines(finding, told)
    if any(finding.hint for finding in findings):
        lines += _indented(f"({first.check}, {first.severity}; guide: {first.guide})")
    return lines


def _seen_lines(finding: Finding, told: set[str]) -> list[str]:
    seen = "as above" if _is_told(finding, told) else finding.evidence
    return _indented(f"{finding.resource}: {seen}" if finding.resource else seen)


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


def counts_line(report: Report) -> str:
    """How many findings of each status, and how long it took."""
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    return f"{counts or 'nothing was checked'}; {report.seconds:.1f} s, under {report.settings}"


def to_json(report: Report) -> str:
    """The report as one JSON document, in the registry's order, with no time inside the findings."""
    document = {
        "version": VERSION,
        "settings": report.settings,
        "seconds": round(report.seconds, 3),
        "counts": dict(report.counts),
        "findings": [
            {
                "check": finding.check,
                "resource": finding.resource,
                "status": finding.status,
                "severity": finding.severity,
                "title": finding.title,
                "evidence": finding.evidence,
                "hint": finding.hint,
                "guide": finding.guide,
            }
            for finding in report.findings
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def five_lines(report: Report, paint: Paint) -> str:
    """The lines of the guide's Step 6, word for word, with what was found beside each; hints under those that fail."""
    lines: list[str] = []
    told: set[str] = set()
    for finding in report.findings:
        if finding.status is Status.PASS:
            lines.append(paint(finding.status, f"{SYMBOLS[finding.status]} {finding.title}") + f" ({finding.evidence})")
        else:
            lines += check_lines([finding], paint, told)
    return "\n".join(lines)


def check_list(checks: Iterable[Check]) -> str:
    """The lines of ``--list``."""
    return "\n".join(
        f"{check.id:<32} {check.severity:<9} {check.title} [{', '.join(sorted(check.tags))}]" for check in checks
    )
