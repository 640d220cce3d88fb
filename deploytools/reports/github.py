"""A report as annotations of GitHub Actions. `deploytools.reports.markdown` renders the job summary."""

from __future__ import annotations

from collections.abc import Sequence

from deploytools.reports.grouping import dependents, merge_resources, split_by_cause, urgency
from deploytools.verification.findings import Finding, Report, Status
from deploytools.wording import count

LEVELS = {Status.FAIL: "error", Status.UNKNOWN: "error", Status.WARN: "warning", Status.WAIVED: "notice"}

#: GitHub's limit for the summary of one step, in bytes.
MAX_SUMMARY = 1024 * 1024


def to_github(report: Report) -> str:
    """Return one annotation for each cause, problem and waiver, the worst first, and a notice with the verdict."""
    causes, others = split_by_cause(report.findings)
    shown = [finding for finding in merge_resources(others) if finding.status in LEVELS]
    groups = [(found[0], _of_cause(found)) for found in causes] + [(found, _of_finding(found)) for found in shown]
    # GitHub shows the first ten errors of a step.
    lines = [line for _, line in sorted(groups, key=lambda group: urgency(group[0]), reverse=True)]
    return "\n".join([*lines, f"::notice title=verify_deploy::{_data(report.verdict)}"])


def _of_cause(findings: Sequence[Finding]) -> str:
    worst = findings[0]
    unknown = [finding for finding in findings if finding.status is Status.UNKNOWN]
    title = f"{count(len(unknown), 'check')} could not be evaluated" if unknown else _title(worst)
    return _annotation(worst.status, title, f"{worst.evidence}\n{worst.hint}\n{dependents(findings)}")


def _of_finding(finding: Finding) -> str:
    resource = f"{finding.resource}: " if finding.resource else ""
    waiver = f"\nWaived: {finding.waiver}" if finding.waiver else ""
    text = f"{resource}{finding.full_evidence}{waiver}\n{finding.hint}".rstrip()
    return _annotation(finding.status, _title(finding), text)


def _title(finding: Finding) -> str:
    return f"{finding.check.id} ({finding.check.severity}): {finding.check.title}"


def _annotation(status: Status, title: str, message: str) -> str:
    escaped = _data(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{LEVELS[status]} title={escaped}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def truncate_summary(summary: str) -> str:
    """Return `summary`, truncated at the end of a line if it exceeds GitHub's limit."""
    raw = summary.encode()
    if len(raw) <= MAX_SUMMARY:
        return summary
    kept = raw[: MAX_SUMMARY - 100].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n\n… truncated: the report exceeds the size limit of a summary.\n"
