"""A report as the guide's checklist, ticked: what is as it should be, and under the rest why it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from deploytools.reporting import guide
from deploytools.reporting.condensed import SYMBOLS, condensed
from deploytools.verification.findings import Finding, Report, Status

DONE = frozenset({Status.PASS, Status.WAIVED})
GOOD = DONE | {Status.NOT_APPLICABLE}


def to_markdown(report: Report) -> str:
    """The Security Checklist first, then every other section of the guide that something was looked at for."""
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    account = f", account {report.account}" if report.account else ""
    lines = ["# Verification", "", f"**{report.verdict}** {counts or 'nothing was checked'}.", ""]
    lines += [f"Under `{report.settings}`, stage {report.stage}{account}.", ""]
    sections = guide.by_section(report.findings)
    checklist = sections.pop(guide.CHECKLIST_SECTION, [])
    lines += [f"## {guide.CHECKLIST_SECTION}", "", *_checklist_lines(checklist), ""]
    for section, findings in sections.items():
        lines += [f"## {guide.heading(section)}", "", *_title_lines(findings), ""]
    return "\n".join(lines).rstrip() + "\n"


def _checklist_lines(findings: Sequence[Finding]) -> list[str]:
    lines: list[str] = []
    for item in guide.CHECKLIST:
        about = [finding for finding in findings if guide.item_of(finding.guide) == item]
        lines += _item_lines(item, about)
    return lines + _title_lines(finding for finding in findings if guide.item_of(finding.guide) is None)


def _title_lines(findings: Iterable[Finding]) -> list[str]:
    by_title: dict[str, list[Finding]] = {}
    for finding in findings:
        by_title.setdefault(finding.title, []).append(finding)
    return [line for title, about in by_title.items() for line in _item_lines(title, about)]


def _item_lines(item: str, findings: Sequence[Finding]) -> list[str]:
    """An item without a finding was not looked at, and one that does not apply is not done: neither is ticked."""
    if not findings:
        return [f"- [ ] {_escaped(item)} *(no check ran)*"]
    seen = {finding.status for finding in findings}
    tick = "x" if seen <= GOOD and seen & DONE else " "
    remark = " *(not applicable)*" if seen == {Status.NOT_APPLICABLE} else ""
    told = [finding for finding in condensed(findings) if finding.status is not Status.PASS]
    return [f"- [{tick}] {_escaped(item)}{remark}", *(_finding_line(finding) for finding in told)]


def _finding_line(finding: Finding) -> str:
    about = f" {_escaped(finding.resource)}:" if finding.resource else ""
    said = f"waived: {finding.waiver}; {finding.seen}" if finding.waiver else finding.seen
    hint = f" → {_escaped(finding.hint)}" if finding.hint else ""
    return f"  - {SYMBOLS[finding.status]} **{finding.status}** `{finding.check}`:{about} {_escaped(said)}{hint}"


def _escaped(text: str) -> str:
    """`text` with nothing in it that Markdown or HTML would read."""
    return re.sub(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
