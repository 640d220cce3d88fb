"""A report as annotations of GitHub Actions. The job's summary is `deploytools.reporting.markdown`'s."""

from __future__ import annotations

from deploytools.reporting.condensed import condensed
from deploytools.verification.findings import Finding, Report, Status

LEVELS = {Status.FAIL: "error", Status.UNKNOWN: "error", Status.WARN: "warning", Status.WAIVED: "notice"}

#: Bytes that GitHub takes for one step's summary.
MOST_SUMMARY = 1024 * 1024


def to_github(report: Report) -> str:
    """A line a distinct finding that is not as it should be, worst first; then the verdict, as a notice."""
    told = [finding for finding in reversed(condensed(report.findings)) if finding.status in LEVELS]
    return "\n".join([*map(_annotation, told), f"::notice title=verify_deploy::{_data(report.verdict)}"])


def _annotation(finding: Finding) -> str:
    about = f"{finding.resource}: " if finding.resource else ""
    waived = f"\nWaived: {finding.waiver}" if finding.waiver else ""
    title = _property(f"{finding.check} ({finding.severity}): {finding.title}")
    message = _data(f"{about}{finding.seen}{waived}\n{finding.hint}".rstrip())
    return f"::{LEVELS[finding.status]} title={title}::{message}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def fitted(summary: str) -> str:
    """`summary`, cut at a line's end where GitHub would refuse it."""
    raw = summary.encode()
    if len(raw) <= MOST_SUMMARY:
        return summary
    kept = raw[: MOST_SUMMARY - 100].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n\n… cut: the whole report is too long for a summary.\n"
