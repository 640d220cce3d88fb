"""A tenant whose tables are locked by another session: it is tried again after the others."""

from __future__ import annotations

import json
import re

import pytest

from deploytools.rollout.schedule import migrate_pending
from deploytools.tenants.tenant_migration import LOCK_KEY, MigrationOutcome, MigrationResult
from tests.fleet.world import FIRST, Fleet, ended, make_databases

HEAVY = ("fleet", "0002_heavy")
FAILED = "fleet.0002_heavy failed (LockNotAvailable): canceling statement due to lock timeout"


@pytest.fixture
def fleet(deployment) -> Fleet:
    """Two tenants with tables."""
    make_databases(deployment.postgres, deployment.login(), deployment.tenants)
    fleet = Fleet(deployment, deployment.tenants)
    assert fleet.run("v1").code == 0
    return fleet


@pytest.mark.slow
@pytest.mark.other_versions
def test_busy_tenant_is_tried_again_after_the_others(fleet):
    one, two = fleet.names
    with fleet.deployment.login().connect(one) as holder:
        with holder.transaction():
            holder.execute("LOCK TABLE fleet_note IN ACCESS SHARE MODE")
            process = fleet.start("heavy", "--jobs", "1", "--lock-timeout", "0.1", "--format", "json")
            assert process.stderr is not None
            busy = next(line for line in process.stderr if line.startswith(f"- {one}: fleet"))
            other = next(process.stderr)
        result = ended(process)
    assert busy.startswith(f"- {one}: {FAILED}; to be tried again (")
    assert other.startswith(f"✓ {two}: 1 applied: fleet.0002_heavy (")
    last = result.err.splitlines()[-1]
    assert re.fullmatch(rf"✓ {one}: 1 applied: fleet\.0002_heavy \(after \d retr(y|ies)\) \(.* s\)", last)
    entries = {entry["tenant"]: entry for entry in json.loads(result.out)["tenants"]}
    assert (entries[one]["outcome"], entries[one]["retries"] > 0, entries[two]["retries"]) == ("migrated", True, 0)
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST, HEAVY]] * 2


@pytest.mark.slow
def test_tenant_that_stays_busy_fails_and_stops_no_other(fleet):
    one = fleet.names[0]
    with fleet.deployment.login().connect(one) as holder, holder.transaction():
        holder.execute("LOCK TABLE fleet_note IN ACCESS SHARE MODE")
        result = fleet.run("heavy", "--jobs", "1", "--lock-timeout", "0.1", "--lock-retries", "1")
    assert result.code == 2
    text = " ".join(result.out.split())
    assert f"✗ {one}: {FAILED} (after 1 retry) Hint: The migration was rolled back." in text
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST], [FIRST, HEAVY]]


@pytest.mark.slow
def test_tenant_that_another_run_holds_is_tried_again_after_the_others(fleet):
    one, two = fleet.names
    with fleet.deployment.login().connect(one) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        process = fleet.start("heavy", "--jobs", "1", "--wait-for-lock", "0.1", "--lock-retries", "9")
        assert process.stderr is not None
        busy = next(line for line in process.stderr if line.startswith(f"- {one}: "))
        other = next(process.stderr)
    result = ended(process)
    assert busy.startswith(f"- {one}: Another run has held the lock of {one} for more than 0.1 s: process ")
    assert "; to be tried again (" in busy
    assert (other.startswith(f"✓ {two} ("), result.code) == (True, 0), result
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST, HEAVY]] * 2


@pytest.mark.slow
def test_tenant_that_another_run_holds_until_the_end_fails(fleet):
    one = fleet.names[0]
    with fleet.deployment.login().connect(one) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        result = fleet.run("heavy", "--jobs", "1", "--wait-for-lock", "0.1", "--lock-retries", "1")
        pid = holder.info.backend_pid
    text = " ".join(result.out.split())
    assert ("(after 1 retry) Hint: Wait until it has finished" in text, f"pg_terminate_backend({pid})" in text) == (
        True,
        True,
    )
    assert result.code == 2
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST], [FIRST, HEAVY]]


PENDING, MIGRATED, BUSY = MigrationOutcome.PENDING, MigrationOutcome.MIGRATED, MigrationOutcome.FAILED


class Pool:
    """Returns the next outcome of each tenant, in the order in which they are started."""

    def __init__(self, **outcomes: list[MigrationOutcome]) -> None:
        self.outcomes = outcomes
        self.started: list[str] = []

    def results(self, kind, tenants, may_start):
        for tenant in tenants:
            if may_start():
                self.started.append(tenant)
                outcome = self.outcomes[tenant].pop(0)
                is_busy = outcome is BUSY
                yield MigrationResult(tenant, outcome, can_retry=is_busy, error="busy" if is_busy else "")


def rollout(pool, *, canary="", pauses=(), is_stopping=lambda: False):
    slept: list[float] = []
    results = migrate_pending(
        [MigrationResult(name, PENDING) for name in pool.outcomes],
        pool,
        canary=canary,
        keep_going=False,
        is_stopping=is_stopping,
        progress=lambda result: None,
        pauses=pauses,
        sleep=slept.append,
    )
    return [(result.tenant, result.outcome.value, result.retries) for result in results], sum(slept)


def test_busy_tenants_go_to_the_end_of_the_queue_each_time():
    pool = Pool(a=[BUSY, BUSY, MIGRATED], b=[MIGRATED], c=[BUSY, MIGRATED])
    assert rollout(pool, pauses=(1, 2, 4)) == (
        [("a", "migrated", 2), ("b", "migrated", 0), ("c", "migrated", 1)],
        pytest.approx(3),
    )
    assert pool.started == ["a", "b", "c", "a", "c", "a"]


def test_retries_are_bounded():
    pool = Pool(a=[BUSY] * 3, b=[MIGRATED])
    assert rollout(pool, pauses=(1, 2))[0] == [("a", "failed", 2), ("b", "migrated", 0)]
    assert rollout(Pool(a=[BUSY], b=[MIGRATED]), pauses=())[0] == [("a", "failed", 0), ("b", "not started", 0)]


def test_busy_canary_is_tried_again_before_the_others():
    pool = Pool(a=[MIGRATED], b=[BUSY, MIGRATED])
    assert rollout(pool, canary="b", pauses=(1,))[0] == [("a", "migrated", 0), ("b", "migrated", 1)]
    assert pool.started == ["b", "b", "a"]
    assert rollout(Pool(a=[MIGRATED], b=[BUSY, BUSY]), canary="b", pauses=(1,))[0] == [
        ("a", "not started", 0),
        ("b", "failed", 1),
    ]


def test_a_signal_ends_the_pause_and_the_busy_tenant_has_failed():
    pool = Pool(a=[BUSY, MIGRATED])
    stop = iter([False, False, False, True, True, True, True])
    assert rollout(pool, pauses=(60,), is_stopping=lambda: next(stop)) == ([("a", "failed", 0)], pytest.approx(0.4))
