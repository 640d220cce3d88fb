"""A report as JUnit XML: one suite for each area, one test case for each finding; an unknown check is an error.

The first suite has no test case, but the verdict.
"""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree as ET

from deploytools.reports.grouping import describe
from deploytools.verification.findings import Finding, Report, Status

#: Characters that XML 1.0 does not allow.
FORBIDDEN = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

KINDS = {Status.FAIL: "failure", Status.UNKNOWN: "error", Status.NOT_APPLICABLE: "skipped", Status.WAIVED: "skipped"}


def to_junit(report: Report) -> str:
    """Return the report, with the findings in the order of the registry."""
    suites = ET.Element("testsuites", _totals(report.findings), name="verify_deploy", time=f"{report.seconds:.3f}")
    if report.at:
        suites.set("timestamp", report.at)
    verdict = ET.SubElement(suites, "testsuite", _totals(()), name="verify_deploy", time="0.000")
    ET.SubElement(verdict, "system-out").text = _clean("\n".join([report.verdict, *map(str, report.not_evaluated)]))
    left = dict(report.seconds_of_checks)
    for area, group in groupby(report.findings, key=lambda finding: finding.check.area):
        findings = tuple(group)
        seconds = [left.pop(finding.check.id, 0.0) for finding in findings]
        suite = ET.SubElement(suites, "testsuite", _totals(findings), name=area, time=f"{sum(seconds):.3f}")
        for finding, spent in zip(findings, seconds, strict=True):
            _add_case(suite, finding, spent)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}'


def _totals(findings: tuple[Finding, ...]) -> dict[str, str]:
    kinds = [KINDS.get(finding.status, "") for finding in findings]
    return {
        "tests": str(len(findings)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
    }


def _add_case(suite: ET.Element, finding: Finding, seconds: float) -> None:
    check = finding.check
    name = f"{check.title} [{finding.resource}]" if finding.resource else check.title
    case = ET.SubElement(suite, "testcase", classname=check.id, name=_clean(name), time=f"{seconds:.3f}")
    kind = KINDS.get(finding.status)
    if kind:
        result = ET.SubElement(case, kind, message=_clean(describe(finding)))
        if kind != "skipped":
            result.set("type", check.severity)
            guide = f"\nGuide: {check.guide}" if check.guide else ""
            result.text = _clean(f"{finding.full_evidence}\n{finding.hint}{guide}")
    else:
        warning = (
            f"warning: {finding.full_evidence}\n{finding.hint}"
            if finding.status is Status.WARN
            else finding.full_evidence
        )
        ET.SubElement(case, "system-out").text = _clean(warning)


def _clean(text: str) -> str:
    return FORBIDDEN.sub("�", text)
