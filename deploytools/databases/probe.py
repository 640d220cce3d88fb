"""What one connection sees."""

from __future__ import annotations

import time
from dataclasses import dataclass

from deploytools.databases.server import Connection, Login, server_version, translating


@dataclass(frozen=True)
class ConnectionReport:
    """What one connection saw.

    Attributes:
        server_version: for example ``16.4``.
        tls: protocol and cipher; ``TLS`` where it ends before the server; empty without.
        connect_seconds: from the name to the login.
        query_seconds: one round trip.
    """

    database: str
    user: str
    server_version: str
    tls: str
    connect_seconds: float
    query_seconds: float


def probe(login: Login, database: str) -> ConnectionReport:
    """Log in, run one query, and say what was seen.

    Raises:
        ConnectionFailed, DatabaseError: which link of the chain broke.
    """
    started = time.monotonic()
    with login.connect(database) as connection, translating("answer a test query"):
        connected = time.monotonic()
        connection.execute("SELECT 1").fetchone()
        queried = time.monotonic()
        return ConnectionReport(
            database=database,
            user=connection.info.user,
            server_version=server_version(connection),
            tls=_tls(connection),
            connect_seconds=connected - started,
            query_seconds=queried - connected,
        )


def _tls(connection: Connection) -> str:
    if not connection.pgconn.ssl_in_use:
        return ""
    row = connection.execute("SELECT version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl").fetchone()
    return f"{row.version} {row.cipher}" if row else "TLS"
