"""Shards, exit codes and reports that merge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.databases.fleet import (
    FleetReport,
    Outcome,
    Shard,
    TenantResult,
    judged,
    merged,
    parse_shard,
    shard_of,
)
from deploytools.databases.history import History
from deploytools.errors import ConfigurationError
from deploytools.reporting.fleet import from_json, to_json

BEHIND = History(unapplied=(("order", "0003_more"),))


@given(st.lists(st.text(max_size=3), unique=True, max_size=30), st.integers(1, 8))
def test_every_tenant_is_in_one_shard(names, size):
    parts = [Shard(index, size).of(names) for index in range(size)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "0/0", "1/2/3", "a/b", " 0/1", "0x0/1"])
def test_no_shard(text):
    with pytest.raises(ConfigurationError):
        parse_shard(text)


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, Shard(0, 1)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "10"}, Shard(3, 10)),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "4"}, Shard(0, 4)),
        ({"JOB_COMPLETIONS": "4"}, Shard(0, 1)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "", "AWS_BATCH_JOB_ARRAY_SIZE": ""}, Shard(0, 1)),
    ],
)
def test_what_the_engines_say(environment, shard):
    assert shard_of(environment) == shard


def report(*outcomes: Outcome, shard: Shard = Shard(), prefix: str = "t") -> FleetReport:  # noqa: B008
    results = tuple(TenantResult(f"{prefix}{number}", outcome) for number, outcome in enumerate(outcomes))
    return FleetReport((shard,), results, 1.5)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((), 0),
        ((Outcome.UP_TO_DATE, Outcome.MIGRATED), 0),
        ((Outcome.UP_TO_DATE, Outcome.PENDING), 1),
        ((Outcome.MIGRATED, Outcome.NOT_STARTED), 1),
        ((Outcome.MIGRATED, Outcome.REFUSED), 1),
        ((Outcome.REFUSED, Outcome.FAILED, Outcome.NOT_STARTED), 2),
    ],
)
def test_exit_codes(outcomes, code):
    assert report(*outcomes).exit_code() == code


def test_a_plan_is_no_drift_and_a_refusal_is():
    assert report(Outcome.PENDING).exit_code(pending=0) == 0
    assert report(Outcome.PENDING, Outcome.REFUSED).exit_code(pending=0) == 1


def test_a_canary_in_two_shards_counts_as_the_worst_says():
    one = report(Outcome.UP_TO_DATE, shard=Shard(0, 3))
    two = report(Outcome.FAILED, Outcome.MIGRATED, shard=Shard(2, 3))
    for reports in ([one, two], [two, one]):
        whole = merged(reports)
        assert {result.tenant: result.outcome for result in whole.results} == {
            "t0": Outcome.FAILED,
            "t1": Outcome.MIGRATED,
        }
        assert (whole.missing, whole.exit_code()) == ((Shard(1, 3),), 2)


def test_json_keeps_everything_but_the_traceback():
    broken = History((("a", "1"),), (("a", "9"),), ((("b", "1"), ("a", "1")),))
    results = (
        TenantResult("one", Outcome.MIGRATED, BEHIND, History(), (("order", "0003_more"),), 1.25),
        judged("two", broken, 0.5),
        TenantResult("three", Outcome.FAILED, error="No connection.", hint="Try again.", trace="Traceback"),
    )
    whole = FleetReport((Shard(1, 2),), results, 2.0)
    read = from_json(to_json(whole), source="here")
    assert read.results[:2] == results[:2]
    assert (read.results[2].trace, read.shards, read.seconds) == ("", (Shard(1, 2),), 2.0)
    assert "Traceback" not in to_json(whole)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "shards": ["2/1"]}', "nonsense"])
def test_what_is_no_report(text):
    with pytest.raises(ConfigurationError, match=r"^report\.json is no report of migrate_tenants: "):
        from_json(text, source="report.json")
