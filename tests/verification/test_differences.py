"""What changed between two reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploytools.errors import ConfigurationError
from deploytools.reporting.json import to_json
from deploytools.verification.differences import differences, said_by, said_in
from deploytools.verification.findings import Change, Finding, Report, Severity, Status

ONE = Finding("a.b", "Good", Severity.HIGH, "Step 1", Status.PASS, "shop", "seen", "")
TWO = replace(ONE, resource="other")


def test_a_report_does_not_differ_from_itself():
    text = to_json(Report((ONE, TWO), 1.0, "prod"))
    assert differences(said_in(text, "OLD"), said_by((replace(ONE, measured="in 5 ms"), TWO))) == ()


def test_worse_new_and_gone():
    failing, new = replace(ONE, status=Status.FAIL, evidence="open"), replace(ONE, check="a.new", resource="")
    assert differences(said_by((ONE, TWO)), said_by((failing, new))) == (
        Change("a.b", "shop", Status.PASS, Status.FAIL, "open"),
        Change("a.new", "", None, Status.PASS, "seen"),
        Change("a.b", "other", Status.PASS, None, "seen"),
    )


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_about_the_same_the_worst_counts(order):
    several = (ONE, replace(ONE, status=Status.FAIL, evidence="open"))[::order]
    assert said_by(several) == {("a.b", "shop"): (Status.FAIL, "open")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "OLD is no JSON report of verify_deploy."),
        ("[]", "OLD is no JSON report of verify_deploy."),
        ('{"version": 2, "findings": [{"check": "a.b"}]}', "OLD is no JSON report of verify_deploy."),
        ('{"version": 1}', "OLD is a report of version 1; this release reads 2."),
    ],
)
def test_what_is_no_report(text, message):
    with pytest.raises(ConfigurationError) as raised:
        said_in(text, "OLD")
    assert str(raised.value) == message
