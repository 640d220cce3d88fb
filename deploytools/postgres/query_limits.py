"""Limits for the queries of a process that serves requests. Migrations have their own.

PostgreSQL cancels a long statement, a long wait for a lock and an idle transaction. If the server does not respond at
all, for example because its host hangs, the client closes the connection.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

#: Seconds that the client waits longer than the server, so that the server can report the reason.
GRACE_SECONDS = 5.0
#: Seconds in which an idle connection must respond before a request uses it.
HEALTH_SECONDS = 5.0
IDLE_IN_TRANSACTION_SECONDS = 60.0

#: What keeps an idle connection open in load balancers and NAT, and finds a lost network: a probe after 30 s, then one
#: every 10 s, 3 at most. The names are those of the module `socket`; macOS does not have all.
KEEPALIVES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

#: A limit that the role, the database or OPTIONS sets is unchanged.
SET_UNLESS_SET = "CASE WHEN current_setting('{0}') = '0' THEN set_config('{0}', %s, false) END"


def limit_queries(seconds: float) -> None:
    """Limit every connection that Django opens in this process from now on.

    Args:
        seconds: limit of a statement. A wait for a lock is limited to half of it.
    """
    limits = {
        "statement_timeout": seconds,
        "lock_timeout": seconds / 2,
        "idle_in_transaction_session_timeout": max(IDLE_IN_TRANSACTION_SECONDS, seconds),
    }
    query = "SELECT " + ", ".join(SET_UNLESS_SET.format(name) for name in limits)
    values = [f"{int(limit * 1000)}ms" for limit in limits.values()]

    def limit(sender: object, connection: BaseDatabaseWrapper, **_: object) -> None:
        if isinstance(raw := connection.connection, psycopg.Connection):
            _limit_silence(raw, seconds + GRACE_SECONDS)
            _set_keepalives(raw, seconds + GRACE_SECONDS)
            with connection.cursor() as cursor:
                cursor.execute(query, values)

    connection_created.connect(limit, weak=False, dispatch_uid="deploytools.query_limits")


def _set_keepalives(connection: psycopg.Connection[Any], seconds: float) -> None:
    """Send TCP keepalives, and let the kernel close the connection if sent data is not acknowledged for `seconds`."""
    options = KEEPALIVES | {"TCP_USER_TIMEOUT": int(seconds * 1000)}
    with (
        suppress(OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as tcp,
    ):  # A Unix socket has no such options.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if option := getattr(socket, name, None):
                tcp.setsockopt(socket.IPPROTO_TCP, option, value)


def _limit_silence(connection: psycopg.Connection[Any], seconds: float) -> None:
    """Replace the connection's `wait` with one that ends if the server sends nothing for `seconds`."""
    vars(connection)["silence_seconds"] = seconds
    reference = weakref.ref(connection)  # No reference cycle: an unused connection is closed at once.

    def wait(generator: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
        raw = reference()
        assert raw is not None  # noqa: S101  # its method was called
        limit = vars(raw)["silence_seconds"]
        return type(raw).wait(raw, _until_silent(generator, raw, limit), *arguments, **options)

    connection.wait = wait  # type: ignore[assignment,method-assign]


@contextmanager
def checking_health(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Limit the silence of the server to `HEALTH_SECONDS` while the context is active, if `limit_queries` limits it."""
    before = vars(connection).get("silence_seconds", HEALTH_SECONDS)
    vars(connection)["silence_seconds"] = min(before, HEALTH_SECONDS)
    try:
        yield
    finally:
        vars(connection)["silence_seconds"] = before


def _until_silent(
    generator: Generator[Any, Any, Any], connection: psycopg.Connection[Any], seconds: float
) -> Generator[Any, Any, Any]:
    """Drive psycopg's `generator`, which receives 0 from time to time while the server sends nothing.

    Raises:
        psycopg.OperationalError: the server sent nothing for `seconds`. The connection is closed.
    """
    deadline = time.monotonic() + seconds
    try:
        wanted = next(generator)
        while True:
            ready = yield wanted
            if ready:
                deadline = time.monotonic() + seconds
            elif time.monotonic() > deadline:
                generator.close()
                connection.pgconn.finish()
                raise psycopg.OperationalError(f"The server has not responded for {seconds:g} s.")
            wanted = generator.send(ready)
    except StopIteration as end:
        return end.value
