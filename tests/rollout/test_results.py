"""Shards, exit codes and reports that merge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.errors import ConfigurationError
from deploytools.reports.rollout_report import description, from_json, to_json
from deploytools.rollout.results import (
    RolloutReport,
    Shard,
    merge_reports,
    parse_shard,
    select_tenants,
    shard_from_environment,
)
from deploytools.tenants.migration_history import History
from deploytools.tenants.tenant_migration import MigrationOutcome, MigrationResult, evaluate_history

BEHIND = History(unapplied=(("order", "0003_more"),))


@pytest.mark.slow
@given(st.lists(st.text(max_size=3), unique=True, max_size=30), st.integers(1, 8))
def test_every_tenant_is_in_one_shard(names, size):
    parts = [Shard(index, size).of(names) for index in range(size)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "0/0", "1/2/3", "a/b", " 0/1", "0x0/1"])
def test_invalid_shard(text):
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
def test_shard_from_environment(environment, shard):
    assert shard_from_environment(environment) == shard


def test_the_canary_is_first_and_in_every_shard():
    names = ["one", "two", "three", "four"]
    assert select_tenants(names, Shard(), only=[], canary="") == tuple(names)
    assert select_tenants(names, Shard(0, 2), only=[], canary="two") == ("two", "one", "four")
    assert select_tenants(names, Shard(1, 2), only=[], canary="two") == ("two", "three")
    assert select_tenants(names, Shard(), only=["four", "one"], canary="two") == ("two", "one", "four")


@pytest.mark.parametrize(("only", "canary"), [(["none"], ""), ([], "none")])
def test_unknown_tenant(only, canary):
    with pytest.raises(ConfigurationError) as caught:
        select_tenants(["one", "two"], Shard(), only=only, canary=canary)
    assert str(caught.value) == 'DEPLOYTOOLS["TENANTS"] has no tenant none.'
    assert caught.value.hint == "Use one of: one, two."


def report(*outcomes: MigrationOutcome, shard: Shard = Shard(), prefix: str = "t") -> RolloutReport:  # noqa: B008
    results = tuple(MigrationResult(f"{prefix}{number}", outcome) for number, outcome in enumerate(outcomes))
    return RolloutReport((shard,), results, 1.5)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((), 0),
        ((MigrationOutcome.UP_TO_DATE, MigrationOutcome.MIGRATED), 0),
        ((MigrationOutcome.UP_TO_DATE, MigrationOutcome.PENDING), 1),
        ((MigrationOutcome.MIGRATED, MigrationOutcome.NOT_STARTED), 1),
        ((MigrationOutcome.MIGRATED, MigrationOutcome.REFUSED), 1),
        ((MigrationOutcome.REFUSED, MigrationOutcome.FAILED, MigrationOutcome.NOT_STARTED), 2),
    ],
)
def test_exit_codes(outcomes, code):
    assert report(*outcomes).exit_code() == code


def test_pending_tenants_count_as_drift_unless_planned():
    assert report(MigrationOutcome.PENDING).exit_code(pending=0) == 0
    assert report(MigrationOutcome.PENDING, MigrationOutcome.REFUSED).exit_code(pending=0) == 1


def test_the_worst_outcome_of_a_canary_in_two_shards_counts():
    one = report(MigrationOutcome.UP_TO_DATE, shard=Shard(0, 3))
    two = report(MigrationOutcome.FAILED, MigrationOutcome.MIGRATED, shard=Shard(2, 3))
    for reports in ([one, two], [two, one]):
        whole = merge_reports(reports)
        assert {result.tenant: result.outcome for result in whole.results} == {
            "t0": MigrationOutcome.FAILED,
            "t1": MigrationOutcome.MIGRATED,
        }
        assert (whole.missing, whole.exit_code()) == ((Shard(1, 3),), 2)


def test_json_keeps_everything_but_the_traceback():
    broken = History((("a", "1"),), (("a", "9"),), ((("b", "1"), ("a", "1")),))
    results = (
        MigrationResult("one", MigrationOutcome.MIGRATED, BEHIND, History(), (("order", "0003_more"),), 1.25),
        evaluate_history("two", broken, 0.5),
        MigrationResult(
            "three", MigrationOutcome.FAILED, error="Could not connect.", hint="Try again.", trace="Traceback"
        ),
    )
    whole = RolloutReport((Shard(1, 2),), results, 2.0)
    read = from_json(to_json(whole), source="here")
    assert read.results[:2] == results[:2]
    assert (read.results[2].trace, read.shards, read.seconds) == ("", (Shard(1, 2),), 2.0)
    assert "Traceback" not in to_json(whole)


def test_sentence_of_a_failed_tenant_that_is_ahead():
    ahead = History(unknown=(("order", "0009_newer"),))
    failed = MigrationResult("one", MigrationOutcome.FAILED, ahead, error="The connection was lost.", retries=2)
    assert description(failed) == ("The connection was lost (after 2 retries); ahead of this code: order.0009_newer")
    assert description(MigrationResult("one", MigrationOutcome.FAILED, error="It was lost.")) == "It was lost."


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "shards": ["2/1"]}', "nonsense"])
def test_invalid_report(text):
    with pytest.raises(ConfigurationError, match=r"^report\.json is not a report of migrate_tenants: "):
        from_json(text, source="report.json")
