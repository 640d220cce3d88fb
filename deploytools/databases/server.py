"""Connections to PostgreSQL: how they are made, why they fail, and the one lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from deploytools.databases.failures import COLLATION_HINT, FAILURES, LOST_HINT, REPLICA_HINT, SQLSTATE_HINTS
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.secret.value import Secret

Connection = psycopg.Connection[Any]

#: Where the master works and where the lock is taken: advisory locks are per database, so it is always this one.
MAINTENANCE_DATABASE = "postgres"

#: Seconds; libpq takes less than 2 as 2.
CONNECT_TIMEOUT = 5

#: The one advisory lock: "deploytools" as a number.
LOCK_KEY = int.from_bytes(b"deploytl")


@dataclass(frozen=True)
class ServerAddress:
    """Where the server is, and what its certificate must say.

    Attributes:
        host: the name that the certificate must bear.
        port: TCP port.
        hostaddr: address to connect to in place of what `host` resolves to: the near end of a tunnel.
        sslmode: libpq's.
        sslrootcert: path of the CA bundle; empty: libpq's default.
    """

    host: str
    port: int
    hostaddr: str = ""
    sslmode: str = "verify-full"
    sslrootcert: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (f" (through {self.hostaddr})" if self.hostaddr else "")


@dataclass(frozen=True)
class Login:
    """Who connects where."""

    address: ServerAddress
    user: str
    password: Secret[str]

    def connect(self, database: str, *, settings: str = "") -> Connection:
        """A connection in autocommit mode; the caller closes it.

        Args:
            settings: libpq's ``options``, which count more than what was set for the role.

        Raises:
            ConnectionFailed: with the link of the chain that broke.
        """
        address = self.address
        options: dict[str, Any] = {
            "hostaddr": address.hostaddr,
            "sslrootcert": address.sslrootcert,
            "options": settings,
        }
        try:
            return psycopg.connect(
                host=address.host,
                port=address.port,
                user=self.user,
                password=self.password.reveal(),
                dbname=database,
                sslmode=address.sslmode,
                connect_timeout=CONNECT_TIMEOUT,
                application_name="deploytools",
                autocommit=True,
                prepare_threshold=None,
                row_factory=namedtuple_row,
                **{key: value for key, value in options.items() if value},
            )
        except psycopg.Error as error:
            raise connection_failed(str(error), who=f"{self.user} to {database} at {address}") from None


def connection_failed(text: str, *, who: str) -> ConnectionFailed:
    """The error for what libpq wrote.

    Args:
        text: libpq's message.
        who: role, database and server, for the sentence.
    """
    for pattern, kind, hint in FAILURES:
        telling = [line for line in text.splitlines() if re.search(pattern, line, re.IGNORECASE)]
        if telling:
            return ConnectionFailed(f"No connection of {who} ({kind}): {_said(telling[0])}", hint=hint, kind=kind)
    kind = ConnectionFailure.OTHER
    return ConnectionFailed(
        f"No connection of {who}: {_said(text)}", hint="Try the same with psql for more.", kind=kind
    )


def _said(text: str) -> str:
    """libpq's words without its preamble, in one line."""
    words = " ".join(text.split())
    return re.sub(r"^(- |host: .*?: )*(connection (failed|is bad): )?(connection to server .*? failed: )?", "", words)


@contextmanager
def translating(deed: str) -> Iterator[None]:
    """Around statements: PostgreSQL's errors become `DatabaseError`, with its own sentence and SQLSTATE.

    Raises:
        DatabaseError: it refused, or the session was lost.
    """
    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        if is_lost(error):
            raise DatabaseError(
                f"The session was lost when PostgreSQL was to {deed}: {said}", hint=LOST_HINT, sqlstate=error.sqlstate
            ) from error
        raise DatabaseError(
            f"PostgreSQL refused to {deed}: {said}{detail}",
            hint=_hint(error),
            sqlstate=error.sqlstate,
        ) from error


def _hint(error: psycopg.Error) -> str:
    if error.sqlstate == "XX000" and "collation version" in str(error):
        return COLLATION_HINT
    return SQLSTATE_HINTS.get(error.sqlstate or "", "Run it again: what was done stays, the rest is left.")


def is_lost(error: BaseException) -> bool:
    """Whether there is no session any more, so that it is not known what became of the statement."""
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(("08", "57P"))


def replica_error(address: ServerAddress) -> DatabaseError:
    """What to raise where the server is in recovery."""
    return DatabaseError(
        f"{address} is a read replica: nothing can be changed there.", hint=REPLICA_HINT, sqlstate="25006"
    )


def server_version(connection: Connection) -> str:
    """The server's version without its packager's remarks, for example ``16.4``."""
    return (connection.info.parameter_status("server_version") or "unknown").split()[0]


@contextmanager
def locked(login: Login, *, wait: float) -> Iterator[Connection]:
    """The master's session, holding the one advisory lock; nobody else's run changes anything meanwhile.

    Args:
        wait: seconds to wait for another run to finish.

    Raises:
        DatabaseError: another run holds the lock still; says who.
    """
    with session(login) as connection:
        with translating("prepare the session"):
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{int(wait * 1000)}ms"])
        with translating("take the lock"):
            _take_lock(connection, wait)
        yield connection


def _take_lock(connection: Connection, wait: float) -> None:
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
    except psycopg.errors.LockNotAvailable:
        raise DatabaseError(
            f"Another run has held the lock for more than {wait:g} s: {lock_holder(connection, LOCK_KEY)}.",
            hint="Wait for it to finish. If it is dead: SELECT pg_terminate_backend(pid)",
            sqlstate="55P03",
        ) from None


#: Only PostgreSQL's own functions and operators: whoever may create some elsewhere would have them run by who asks.
TRUSTED = "-c search_path=pg_catalog"

#: That, and what an administrator may have set for the role otherwise, and a run that creates databases cannot do with;
#: and that a lock does not outlive a vanished client by hours.
_STARTUP_SETTINGS = " ".join(
    [TRUSTED]
    + [
        f"-c {setting}"
        for setting in (
            "statement_timeout=0",
            "idle_session_timeout=0",
            "default_transaction_read_only=off",
            "tcp_keepalives_idle=30",
            "tcp_keepalives_interval=10",
            "tcp_keepalives_count=3",
        )
    ]
)


@contextmanager
def session(login: Login, database: str = MAINTENANCE_DATABASE) -> Iterator[Connection]:
    """The master's session, without a statement time-out, on a primary server; it trusts nothing but pg_catalog."""
    with _connect_master(login, database) as connection:
        with translating("prepare the session"):
            connection.execute(
                "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'"
            )
            is_replica = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        if is_replica and is_replica[0]:
            raise replica_error(login.address)
        yield connection


def _connect_master(login: Login, database: str) -> Connection:
    try:
        return login.connect(database, settings=_STARTUP_SETTINGS)
    except ConnectionFailed as error:
        if error.kind is not ConnectionFailure.PASSWORD:
            raise
        raise ConnectionFailed(
            str(error),
            hint=f"Put the right password of the master user {login.user} into the secret as master_password, or set a "
            "new one: aws rds modify-db-instance --master-user-password",
            kind=error.kind,
        ) from None


def lock_holder(connection: psycopg.Connection[Any], key: int) -> str:
    """Who holds the advisory lock `key` in the session's database, for an error's sentence."""
    row = connection.execute(
        """
        SELECT a.pid, a.usename::text, host(a.client_addr), a.backend_start
        FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
        WHERE l.locktype = 'advisory' AND l.granted AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
        """,
        [key],
    ).fetchone()
    if row is None:
        return "it has just let go"
    pid, user, address, start = row
    since = start.isoformat(timespec="seconds") if start else "an unknown time"
    return f"process {pid} of {user} from {address}, connected since {since}"
