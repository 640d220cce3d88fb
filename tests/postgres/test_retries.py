"""Which errors are retried, how often, and after which pauses."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.postgres.retries import LONGEST_PAUSE, backoff, is_transient, retry


class Task:
    """Fails with each of `errors`, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


BUSY = psycopg.errors.LockNotAvailable


@given(st.integers(0, 20), st.floats(0.01, 5))
def test_pauses_are_random_grow_and_have_a_limit(retries, first):
    longest = list(backoff(retries, first, jitter=lambda low, high: high))
    assert longest == [min(first * 2**number, LONGEST_PAUSE) for number in range(retries)]
    for pause, limit in zip(backoff(retries, first), longest, strict=True):
        assert limit / 2 <= pause <= limit


def test_success_after_transient_errors():
    slept: list[float] = []
    reported: list[tuple[float, str]] = []
    task = Task(BUSY("one"), psycopg.errors.DeadlockDetected("two"))
    result = retry(
        task, [1, 2, 4], on_retry=lambda pause, error: reported.append((pause, str(error))), sleep=slept.append
    )
    assert (result, task.calls, slept, reported) == ("done", 3, [1, 2], [(1, "one"), (2, "two")])


def test_last_error_is_raised():
    task = Task(BUSY("one"), BUSY("two"), BUSY("three"))
    with pytest.raises(BUSY, match="two"):
        retry(task, [1], sleep=lambda pause: None)
    assert task.calls == 2


@pytest.mark.parametrize("error", [psycopg.errors.UniqueViolation(), psycopg.OperationalError("lost"), ValueError()])
def test_any_other_error_is_raised_at_once(error):
    task = Task(error)
    with pytest.raises(type(error)):
        retry(task, [1, 2], sleep=lambda pause: None)
    assert (task.calls, is_transient(error)) == (1, False)
