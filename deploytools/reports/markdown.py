"""A report as a checklist: ticked items, and the reason for each item that is not ticked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from deploytools.reports import guide
from deploytools.reports.grouping import (
    SYMBOLS,
    by_heading,
    counts_text,
    dependents,
    describe,
    is_fulfilled,
    merge_resources,
    split_by_cause,
)
from deploytools.verification.findings import Finding, Report, Status


def to_markdown(report: Report) -> str:
    """Return the causes of checks that were not evaluated, then all checks by section.

    If the checks refer to the guide, its Security Checklist comes first, with all items but those of presets that the
    project has not chosen.
    """
    account = f", account {report.account}" if report.account else ""
    lines = ["# Verification", "", f"**{report.verdict}**", ""]
    lines += [*(f"- {escape(str(group))}" for group in report.not_evaluated), ""] if report.not_evaluated else []
    lines += [f"Settings: `{report.settings}`, stage: {report.stage}{account}.", ""]
    lines += [f"Findings: {counts_text(report)}.", ""]
    causes, _ = split_by_cause(report.findings, least=1)
    if causes:
        lines += ["## Causes", "", *(line for findings in causes for line in _cause_lines(findings)), ""]
    sections = by_heading(report.findings)
    if any(finding.check.guide for finding in report.findings):
        checklist = sections.pop(guide.heading(guide.CHECKLIST_SECTION), [])
        items = guide.checklist(report.presets)
        lines += [f"## {guide.CHECKLIST_SECTION}", "", *_checklist_lines(items, checklist), ""]
    for heading, findings in sections.items():
        lines += [f"## {heading}", "", *_title_lines(findings), ""]
    return "\n".join(lines).rstrip() + "\n"


def _cause_lines(findings: Sequence[Finding]) -> list[str]:
    worst = findings[0]
    hint = f" → {escape(worst.hint)}" if worst.hint else ""
    head = f"- {SYMBOLS[worst.status]} **{worst.status}** {escape(worst.evidence)}{hint}"
    return [head, f"  - {dependents(findings, quote='`')}"]


def _checklist_lines(items: Sequence[str], findings: Sequence[Finding]) -> list[str]:
    lines: list[str] = []
    for item in items:
        lines += _item_lines(item, [finding for finding in findings if guide.item_of(finding.check.guide) == item])
    return lines + _title_lines(finding for finding in findings if guide.item_of(finding.check.guide) is None)


def _title_lines(findings: Iterable[Finding]) -> list[str]:
    by_title: dict[str, list[Finding]] = {}
    for finding in findings:
        by_title.setdefault(finding.check.title, []).append(finding)
    return [line for title, of_title in by_title.items() for line in _item_lines(title, of_title)]


def _item_lines(item: str, findings: Sequence[Finding]) -> list[str]:
    """An item is not ticked if nothing was verified: without a finding, or if its checks do not apply."""
    if not findings:
        return [f"- [ ] {escape(item)} *(no check was run)*"]
    statuses = {finding.status for finding in findings}
    tick = "x" if is_fulfilled(findings) else " "
    not_evaluated = " *(not evaluated)*" if any(finding.cause for finding in findings) else ""
    note = " *(not applicable)*" if statuses == {Status.NOT_APPLICABLE} else not_evaluated
    shown = [finding for finding in findings if finding.status is not Status.PASS and not finding.cause]
    return [f"- [{tick}] {escape(item)}{note}", *map(_finding_line, merge_resources(shown))]


def _finding_line(finding: Finding) -> str:
    resource = f" {escape(finding.resource)}:" if finding.resource else ""
    hint = f" → {escape(finding.hint)}" if finding.hint else ""
    head = f"{SYMBOLS[finding.status]} **{finding.status}** `{finding.check.id}`:"
    return f"  - {head}{resource} {escape(describe(finding))}{hint}"


def escape(text: str) -> str:
    """Return `text` in one line, without Markdown or HTML markup."""
    return re.sub(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
