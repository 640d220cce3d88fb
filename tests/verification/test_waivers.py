"""Waivers: exact, reasoned, short-lived; the clock is passed in."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

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


@pytest.mark.parametrize("status", [Status.PASS, Status.UNKNOWN, Status.NOT_APPLICABLE])
def test_what_does_not_fail_is_not_waived(status):
    found = applied(replace(FAILING, status=status))
    assert found == [("a.b", status, "shop", "open"), UNUSED]


@pytest.mark.parametrize("resource", ["", "shop2", "sho", "Shop"])
def test_only_the_exact_resource(resource):
    found = applied(replace(FAILING, resource=resource))
    assert found == [("a.b", Status.FAIL, resource, "open"), UNUSED]


def test_a_waiver_of_a_check_that_did_not_run_is_not_unused():
    assert applied(replace(FAILING, check="a.other")) == [("a.other", Status.FAIL, "shop", "open")]


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
        (GOOD | {"ticket": "T-1"}, ['Waiver 1 has a key that nobody reads: "ticket".']),
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
