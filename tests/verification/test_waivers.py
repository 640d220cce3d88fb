"""Waivers: exact, reasoned, short-lived; the clock is passed in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Finding, Severity, Status
from deploytools.verification.waivers import LONGEST, apply_waivers, parse_waivers, violations

TODAY = date(2026, 11, 24)
GOOD = {"check": "a.b", "resource": "shop", "reason": "moved", "owner": "ops@x.org", "expires": "2026-12-31"}
FAILING = Finding("a.b", "Good", Severity.HIGH, "Step 1", Status.FAIL, "shop", "open", "Shut it")
UNUSED = (
    "waivers.used", Status.WARN, "a.b shop",
    "nothing fails that it would accept: moved (ops@x.org, until 2026-12-31)",
)  # fmt: skip


def applied(finding: Finding, today: date = TODAY, **changes: object) -> list[tuple[str, Status, str, str]]:
    waivers = parse_waivers([GOOD | changes], TODAY)
    found = apply_waivers((finding,), waivers, today)
    return [(item.check, item.status, item.resource, item.waiver or item.evidence) for item in found]


@pytest.mark.parametrize("status", [Status.FAIL, Status.WARN])
def test_what_is_accepted_is_waived_and_says_why(status):
    accepted = ("a.b", Status.WAIVED, "shop", "moved (ops@x.org, until 2026-12-31)")
    assert applied(replace(FAILING, status=status)) == [accepted]


def test_it_counts_on_its_last_day_and_not_on_the_next():
    assert applied(FAILING, date(2026, 12, 31))[0][1] is Status.WAIVED
    assert applied(FAILING, date(2027, 1, 1)) == [
        ("a.b", Status.FAIL, "shop", "open"),
        (
            "waivers.in-force",
            Status.FAIL,
            "a.b shop",
            "it expired on 2026-12-31: moved (ops@x.org, until 2026-12-31)",
        ),
    ]


@pytest.mark.parametrize("status", [Status.PASS, Status.NOT_APPLICABLE])
def test_what_does_not_fail_is_not_waived(status):
    found = applied(replace(FAILING, status=status))
    assert found == [("a.b", status, "shop", "open"), UNUSED]


@pytest.mark.parametrize("resource", ["shop", "", "other"])
def test_of_what_could_not_be_looked_at_nobody_knows_whether_the_waiver_is_needed(resource):
    seen = replace(FAILING, status=Status.UNKNOWN, resource=resource)
    assert applied(seen) == [("a.b", Status.UNKNOWN, resource, "open")]


def test_one_waiver_does_not_accept_two_failures():
    found = apply_waivers((FAILING, replace(FAILING, evidence="wide open")), parse_waivers([GOOD], TODAY), TODAY)
    assert [(item.check, item.status, item.evidence) for item in found] == [
        ("a.b", Status.FAIL, "open"),
        ("a.b", Status.FAIL, "wide open"),
        (
            "waivers.in-force",
            Status.FAIL,
            "2 failures have its check and its resource, and it accepts none: moved (ops@x.org, until 2026-12-31)",
        ),
    ]
    assert found[-1].hint.startswith("Mend them, or let the check name a resource of its own for each")


def test_what_is_well_does_not_count_as_a_second_failure():
    found = apply_waivers((FAILING, replace(FAILING, status=Status.PASS)), parse_waivers([GOOD], TODAY), TODAY)
    assert [item.status for item in found] == [Status.WAIVED, Status.PASS]


@pytest.mark.parametrize("resource", ["", "shop2", "sho", "Shop"])
def test_only_the_exact_resource(resource):
    found = applied(replace(FAILING, resource=resource))
    assert found == [("a.b", Status.FAIL, resource, "open"), UNUSED]


def test_a_waiver_of_a_check_that_did_not_run_is_not_unused():
    assert applied(replace(FAILING, check="a.other")) == [("a.other", Status.FAIL, "shop", "open")]


CRITICAL = replace(FAILING, severity=Severity.CRITICAL)
NOT_ENOUGH = (
    "waivers.used", Status.WARN, "a.b shop",
    "a critical failure is accepted only with accept_critical = true: moved (ops@x.org, until 2026-12-31)",
)  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"accept_critical": False}])
def test_a_critical_failure_needs_more_than_a_waiver(changes):
    assert applied(CRITICAL, **changes) == [("a.b", Status.FAIL, "shop", "open"), NOT_ENOUGH]


@pytest.mark.parametrize(
    ("finding", "changes"),
    [(CRITICAL, {"accept_critical": True}), (replace(CRITICAL, status=Status.WARN), {})],
    ids=["accepted by name", "only warns yet"],
)
def test_a_critical_failure_is_waived_where_that_is_said_and_a_warning_anyway(finding, changes):
    assert applied(finding, **changes) == [("a.b", Status.WAIVED, "shop", "moved (ops@x.org, until 2026-12-31)")]


def test_a_ticket_is_named():
    assert applied(FAILING, ticket="OPS-7")[0][3] == "moved (ops@x.org, OPS-7, until 2026-12-31)"


@pytest.mark.parametrize("expires", [datetime(2026, 12, 31, 23, 30), datetime(2026, 12, 31, 0, 30, tzinfo=UTC)])
def test_a_time_counts_as_its_day(expires):
    (waiver,) = parse_waivers([GOOD | {"expires": expires}], TODAY)
    assert str(waiver) == "moved (ops@x.org, until 2026-12-31)"


LATEST = (TODAY + timedelta(days=LONGEST)).isoformat()


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
            ["Waiver 1 expires on 2027-05-24, later than 180 days from now (2027-05-23)."],
        ),
        (GOOD | {"expires": "soon"}, ["Waiver 1 expires on 'soon', which is no day (YYYY-MM-DD)."]),
        (GOOD | {"expires": datetime(2026, 12, 31, 8, 30, tzinfo=UTC)}, []),
        (
            GOOD | {"expires": datetime(2027, 5, 24, tzinfo=UTC)},
            ["Waiver 1 expires on 2027-05-24, later than 180 days from now (2027-05-23)."],
        ),
        (GOOD | {"ticket": "T-1", "accept_critical": True}, []),
        (GOOD | {"accept_critical": "yes"}, ["Waiver 1 has an accept_critical that is neither true nor false."]),
        (GOOD | {"check": ["a.b"]}, ["Waiver 1 has a check that is no text."]),
        (
            GOOD | {"ticket": 7, "resource": None},
            ["Waiver 1 has a resource that is no text.", "Waiver 1 has a ticket that is no text."],
        ),
        (GOOD | {"bug": "T-1"}, ['Waiver 1 has a key that nobody reads: "bug".']),
        ({}, [f"Waiver 1 has no {field}." for field in ("check", "reason", "owner", "expires")]),
        (GOOD | {"reason": " "}, ["Waiver 1 has no reason."]),
        ("a.b", ["Waiver 1 is no dict."]),
    ],
)
def test_the_shape(entry, sentences):
    assert violations([entry], TODAY) == sentences


def test_two_for_the_same():
    assert violations([GOOD, GOOD], TODAY) == ["Waiver 2 is for the same check and resource as one before it."]


def test_a_malformed_one_is_refused_whole():
    with pytest.raises(ConfigurationError) as raised:
        parse_waivers([GOOD, {"check": "a.c"}], TODAY)
    assert str(raised.value) == (
        'DEPLOYTOOLS["WAIVERS"] cannot be used: Waiver 2 has no reason. Waiver 2 has no owner. Waiver 2 has no expires.'
    )
    assert raised.value.hint.startswith("Write, for example: {")
