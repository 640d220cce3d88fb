"""Errors of PostgreSQL that concurrent work of other sessions causes, and the retries after them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import psycopg

T = TypeVar("T")

#: Retries after a transient error.
RETRIES = 3

#: Seconds of the longest pause.
LONGEST_PAUSE = 10.0

TRANSIENT = (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable, psycopg.errors.SerializationFailure)


def is_transient(error: BaseException | None) -> bool:
    """Return whether another session's work caused `error`, so that the same statement can succeed when repeated.

    PostgreSQL changes shared catalogs without locks: a concurrent GRANT or ALTER is ``tuple concurrently updated``,
    which only has SQLSTATE XX000.
    """
    if not isinstance(error, psycopg.Error):
        return False
    return isinstance(error, TRANSIENT) or "tuple concurrently" in (error.diag.message_primary or "")


def backoff(retries: int, first: float, *, jitter: Callable[[float, float], float] = random.uniform) -> Iterator[float]:
    """Yield the pause before each retry, in seconds. The longest possible pause doubles; a random part is left out.

    Args:
        first: the longest possible first pause.
        jitter: returns a random number between two.
    """
    for retry in range(retries):
        yield jitter(0.5, 1) * min(first * 2**retry, LONGEST_PAUSE)


def retry(
    task: Callable[[], T],
    pauses: Iterable[float],
    *,
    on_retry: Callable[[float, psycopg.Error], object] = lambda pause, error: None,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Return the result of `task`; after a transient error pause and call it again.

    Args:
        pauses: the pause before each retry, in seconds.
        on_retry: called with the pause and the error before it.

    Raises:
        psycopg.Error: the last error, or one that is not transient.
    """
    for pause in pauses:
        try:
            return task()
        except psycopg.Error as error:
            if not is_transient(error):
                raise
            on_retry(pause, error)
            sleep(pause)
    return task()
