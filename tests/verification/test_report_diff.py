"""Differences between two reports."""

from __future__ import annotations

import pytest

from deploytools.errors import ConfigurationError
from deploytools.reports.json import to_json
from deploytools.verification.findings import Change, Report, Severity, Status
from deploytools.verification.report_diff import compare, index_findings, parse_report
from tests.findings import change, make_finding

ONE = make_finding("a.b", "Good", Severity.HIGH, "Step 1", Status.PASS, "shop", "seen", "")
TWO = change(ONE, resource="other")


def test_a_report_has_no_changes_from_itself():
    text = to_json(Report((ONE, TWO), 1.0, "prod"))
    assert compare(parse_report(text, "OLD"), index_findings((change(ONE, measured="in 5 ms"), TWO))) == ()


def test_changed_new_and_removed_findings():
    failing, new = change(ONE, status=Status.FAIL, evidence="open"), change(ONE, id="a.new", resource="")
    assert compare(index_findings((ONE, TWO)), index_findings((failing, new))) == (
        Change("a.b", "shop", Status.PASS, Status.FAIL, "open"),
        Change("a.new", "", None, Status.PASS, "seen"),
        Change("a.b", "other", Status.PASS, None, "seen"),
    )


@pytest.mark.parametrize("order", [1, -1])
def test_the_worst_of_several_findings_with_the_same_key_is_compared(order):
    several = (ONE, change(ONE, status=Status.FAIL, evidence="open"))[::order]
    assert index_findings(several) == {("a.b", "shop"): (Status.FAIL, "open")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "OLD is not a JSON report of verify_deploy."),
        ("[]", "OLD is not a JSON report of verify_deploy."),
        ('{"version": 1, "findings": [{"check": "a.b"}]}', "OLD is not a JSON report of verify_deploy."),
        ('{"version": 2}', "OLD is a report of version 2; this release reads version 1."),
    ],
)
def test_a_file_that_is_not_a_report_is_refused(text, message):
    with pytest.raises(ConfigurationError) as raised:
        parse_report(text, "OLD")
    assert str(raised.value) == message
