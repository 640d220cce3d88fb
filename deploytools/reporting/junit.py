"""A report as JUnit XML: a suite an area, a case a finding; what could not be looked at is an error."""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree as ET

from deploytools.verification.findings import Finding, Report, Status

#: Characters that XML 1.0 cannot hold.
FORBIDDEN = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

KINDS = {Status.FAIL: "failure", Status.UNKNOWN: "error", Status.NOT_APPLICABLE: "skipped", Status.WAIVED: "skipped"}


def to_junit(report: Report) -> str:
    """The whole report, in the registry's order."""
    suites = ET.Element("testsuites", _totals(report.findings), name="verify_deploy", time=f"{report.seconds:.3f}")
    for area, group in groupby(report.findings, key=_area):
        findings = tuple(group)
        suite = ET.SubElement(suites, "testsuite", _totals(findings), name=area)
        for finding in findings:
            _add_case(suite, finding)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=False).join(
        ['<?xml version="1.0" encoding="UTF-8"?>\n', ""]
    )


def _area(finding: Finding) -> str:
    return finding.check.split(".")[0]


def _totals(findings: tuple[Finding, ...]) -> dict[str, str]:
    kinds = [KINDS.get(finding.status, "") for finding in findings]
    return {
        "tests": str(len(findings)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
    }


def _add_case(suite: ET.Element, finding: Finding) -> None:
    name = f"{finding.title} [{finding.resource}]" if finding.resource else finding.title
    case = ET.SubElement(suite, "testcase", classname=finding.check, name=_clean(name))
    kind = KINDS.get(finding.status)
    if kind:
        said = f"waived: {finding.waiver}; {finding.seen}" if finding.waiver else finding.seen
        told = ET.SubElement(case, kind, message=_clean(said))
        if kind != "skipped":
            told.set("type", finding.severity)
            told.text = _clean(f"{finding.seen}\n{finding.hint}\nGuide: {finding.guide}")
    else:
        warning = f"warning: {finding.seen}\n{finding.hint}" if finding.status is Status.WARN else finding.seen
        ET.SubElement(case, "system-out").text = _clean(warning)


def _clean(text: str) -> str:
    return FORBIDDEN.sub("�", text)
