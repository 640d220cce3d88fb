"""A report as annotations of GitHub Actions. `deploytools.reports.markdown` renders the job summary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from deploytools.reports.grouping import PROBLEMS, dependents, merge_resources, split_by_cause, urgency
from deploytools.verification.findings import Finding, Report, Status
from deploytools.wording import count

#: The levels of annotations, the most urgent last.
LEVELS = ("notice", "warning", "error")

#: GitHub's limit for the summary of one step, in bytes.
MAX_SUMMARY = 1024 * 1024


def to_github(report: Report) -> str:
    """Return a notice with the verdict, and one annotation for each cause, problem and waiver.

    They are ordered by level, severity and status, because GitHub shows the first ten of each level of a step.
    """
    causes, others = split_by_cause(report.findings)
    shown = [finding for finding in merge_resources(others) if finding.status in PROBLEMS | {Status.WAIVED}]
    groups = [(found, _of_cause(found)) for found in causes] + [([found], _of_finding(found)) for found in shown]
    ranked = [(max(map(partial(_rank, report), found)), text) for found, text in groups]
    ranked.sort(key=lambda item: item[0], reverse=True)
    verdict = _data("\n".join([report.verdict, *map(str, report.not_evaluated)]))
    lines = [f"::{LEVELS[level]} {text}" for (level, _, _), text in ranked]
    return "\n".join([f"::notice title=verify_deploy::{verdict}", *lines])


def _rank(report: Report, finding: Finding) -> tuple[int, int, int]:
    """Return the index of the level, the severity and the status. A failure below `fail_level` is a warning."""
    is_error = finding.status is Status.UNKNOWN or report.is_binding(finding)
    level = "error" if is_error else "warning" if finding.status in PROBLEMS else "notice"
    status, severity = urgency(finding)
    return LEVELS.index(level), severity, status


def _of_cause(findings: Sequence[Finding]) -> str:
    worst = findings[0]
    unknown = [finding for finding in findings if finding.status is Status.UNKNOWN]
    title = f"{count(len(unknown), 'check')} could not be evaluated" if unknown else _title(worst)
    return _annotation(title, f"{worst.evidence}\n{worst.hint}\n{dependents(findings)}")


def _of_finding(finding: Finding) -> str:
    resource = f"{finding.resource}: " if finding.resource else ""
    waiver = f"\nWaived: {finding.waiver}" if finding.waiver else ""
    expected = f"\nExpected: {finding.check.title}"
    return _annotation(_title(finding), f"{resource}{finding.full_evidence}{expected}{waiver}\n{finding.hint}".rstrip())


def _title(finding: Finding) -> str:
    return f"{finding.check.id} ({finding.check.severity})"


def _annotation(title: str, message: str) -> str:
    escaped = _data(title).replace(":", "%3A").replace(",", "%2C")
    return f"title={escaped}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def truncate_summary(summary: str) -> str:
    """Return `summary`, truncated at the end of a line if it exceeds GitHub's limit."""
    raw = summary.encode()
    if len(raw) <= MAX_SUMMARY:
        return summary
    kept = raw[: MAX_SUMMARY - 100].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n\n… truncated: the report exceeds the size limit of a summary.\n"
