"""Waivers: exact, with a reason and an expiry date; the date is passed in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Finding, Severity, Status
from deploytools.verification.waivers import MAX_DAYS, apply_waivers, parse_waivers, violations
from tests.findings import change, make_finding

TODAY = date(2026, 11, 24)
GOOD = {"check": "a.b", "resource": "shop", "reason": "moved", "owner": "ops@x.org", "expires": "2026-12-31"}
FAILING = make_finding("a.b", "Good", Severity.HIGH, "Step 1", Status.FAIL, "shop", "open", "Close it")
UNUSED = (
    "waivers.used", Status.WARN, "a.b shop",
    "no failure matches this waiver: moved (ops@x.org, until 2026-12-31)",
)  # fmt: skip


def applied(finding: Finding, today: date = TODAY, **changes: object) -> list[tuple[str, Status, str, str]]:
    waivers = parse_waivers([GOOD | changes], TODAY)
    found = apply_waivers((finding,), waivers, today)
    return [(item.check.id, item.status, item.resource, item.waiver or item.evidence) for item in found]


@pytest.mark.parametrize("status", [Status.FAIL, Status.WARN])
def test_an_accepted_failure_is_waived_with_its_reason(status):
    accepted = ("a.b", Status.WAIVED, "shop", "moved (ops@x.org, until 2026-12-31)")
    assert applied(change(FAILING, status=status)) == [accepted]


def test_a_waiver_is_in_force_up_to_and_including_its_last_day():
    assert applied(FAILING, date(2026, 12, 31))[0][1] is Status.WAIVED
    assert applied(FAILING, date(2027, 1, 1)) == [
        ("a.b", Status.FAIL, "shop", "open"),
        (
            "waivers.in-force",
            Status.FAIL,
            "a.b shop",
            "expired on 2026-12-31: moved (ops@x.org, until 2026-12-31)",
        ),
    ]


@pytest.mark.parametrize("status", [Status.PASS, Status.NOT_APPLICABLE])
def test_a_finding_that_does_not_fail_is_not_waived(status):
    found = applied(change(FAILING, status=status))
    assert found == [("a.b", status, "shop", "open"), UNUSED]


@pytest.mark.parametrize("resource", ["shop", "", "other"])
def test_a_waiver_is_not_unused_if_its_check_is_unknown(resource):
    seen = change(FAILING, status=Status.UNKNOWN, resource=resource)
    assert applied(seen) == [("a.b", Status.UNKNOWN, resource, "open")]


def test_one_waiver_does_not_accept_two_failures():
    found = apply_waivers((FAILING, change(FAILING, evidence="wide open")), parse_waivers([GOOD], TODAY), TODAY)
    assert [(item.check.id, item.status, item.evidence) for item in found] == [
        ("a.b", Status.FAIL, "open"),
        ("a.b", Status.FAIL, "wide open"),
        (
            "waivers.in-force",
            Status.FAIL,
            "2 failures match this waiver, so it accepts none of them: moved (ops@x.org, until 2026-12-31)",
        ),
    ]
    assert found[-1].hint.startswith("Fix them: a waiver accepts one failure.")


def test_a_pass_does_not_count_as_a_second_failure():
    found = apply_waivers((FAILING, change(FAILING, status=Status.PASS)), parse_waivers([GOOD], TODAY), TODAY)
    assert [item.status for item in found] == [Status.WAIVED, Status.PASS]


@pytest.mark.parametrize("resource", ["", "shop2", "sho", "Shop"])
def test_a_waiver_matches_only_the_exact_resource(resource):
    found = applied(change(FAILING, resource=resource))
    assert found == [("a.b", Status.FAIL, resource, "open"), UNUSED]


def test_a_waiver_of_a_check_that_did_not_run_is_not_unused():
    assert applied(change(FAILING, id="a.other")) == [("a.other", Status.FAIL, "shop", "open")]


CRITICAL = change(FAILING, severity=Severity.CRITICAL)
NOT_ENOUGH = (
    "waivers.used", Status.WARN, "a.b shop",
    "a critical failure is accepted only with accept_critical = true: moved (ops@x.org, until 2026-12-31)",
)  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"accept_critical": False}])
def test_a_critical_failure_needs_accept_critical(changes):
    assert applied(CRITICAL, **changes) == [("a.b", Status.FAIL, "shop", "open"), NOT_ENOUGH]


@pytest.mark.parametrize(
    ("finding", "changes"),
    [(CRITICAL, {"accept_critical": True}), (change(CRITICAL, status=Status.WARN), {})],
    ids=["accept_critical", "warning"],
)
def test_accept_critical_waives_a_failure_and_a_warning_needs_none(finding, changes):
    assert applied(finding, **changes) == [("a.b", Status.WAIVED, "shop", "moved (ops@x.org, until 2026-12-31)")]


def test_the_ticket_is_part_of_the_reason():
    assert applied(FAILING, ticket="OPS-7")[0][3] == "moved (ops@x.org, OPS-7, until 2026-12-31)"


@pytest.mark.parametrize("expires", [datetime(2026, 12, 31, 23, 30), datetime(2026, 12, 31, 0, 30, tzinfo=UTC)])
def test_expires_can_be_a_datetime(expires):
    (waiver,) = parse_waivers([GOOD | {"expires": expires}], TODAY)
    assert str(waiver) == "moved (ops@x.org, until 2026-12-31)"


LATEST = (TODAY + timedelta(days=MAX_DAYS)).isoformat()


@pytest.mark.parametrize(
    ("entry", "sentences"),
    [
        (GOOD, []),
        ({key: value for key, value in GOOD.items() if key != "resource"}, []),
        (GOOD | {"expires": date(2026, 12, 31)}, []),
        (GOOD | {"expires": LATEST}, []),
        (GOOD | {"expires": "2020-01-01"}, []),
        (
            GOOD | {"expires": "2027-05-24"},
            ["Waiver 1 expires on 2027-05-24, more than 180 days from now (2027-05-23)."],
        ),
        (GOOD | {"expires": "soon"}, ["Waiver 1 expires on 'soon', which is not a date (YYYY-MM-DD)."]),
        (GOOD | {"expires": datetime(2026, 12, 31, 8, 30, tzinfo=UTC)}, []),
        (
            GOOD | {"expires": datetime(2027, 5, 24, tzinfo=UTC)},
            ["Waiver 1 expires on 2027-05-24, more than 180 days from now (2027-05-23)."],
        ),
        (GOOD | {"ticket": "T-1", "accept_critical": True}, []),
        (GOOD | {"accept_critical": "yes"}, ["Waiver 1 has an accept_critical that is not a boolean."]),
        (GOOD | {"check": ["a.b"]}, ["Waiver 1 has a check that is not a string."]),
        (
            GOOD | {"ticket": 7, "resource": None},
            ["Waiver 1 has a resource that is not a string.", "Waiver 1 has a ticket that is not a string."],
        ),
        (GOOD | {"bug": "T-1"}, ['Waiver 1 has an unknown key: "bug".']),
        ({}, [f"Waiver 1 has no {field}." for field in ("check", "reason", "owner", "expires")]),
        (GOOD | {"reason": " "}, ["Waiver 1 has no reason."]),
        ("a.b", ["Waiver 1 is not a dict."]),
    ],
)
def test_violations(entry, sentences):
    assert violations([entry], TODAY) == sentences


def test_two_waivers_for_the_same_failure():
    assert violations([GOOD, GOOD], TODAY) == ["Waiver 2 has the same check and resource as an earlier one."]


def test_a_malformed_waiver_is_refused_with_all_violations():
    with pytest.raises(ConfigurationError) as raised:
        parse_waivers([GOOD, {"check": "a.c"}], TODAY)
    assert str(raised.value) == (
        'DEPLOYTOOLS["WAIVERS"] is invalid: Waiver 2 has no reason. Waiver 2 has no owner. Waiver 2 has no expires.'
    )
    assert raised.value.hint.startswith("For example: {")
