"""Connections to PostgreSQL, the translation of its errors, and the advisory lock of create_tenant_dbs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import Diagnostic
from psycopg.rows import namedtuple_row

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.postgres.failures import COLLATION_HINT, FAILURES, LOST_HINT, POOLER_HINT, REPLICA_HINT, SQLSTATE_HINTS
from deploytools.secrets.document import Secret

Connection = psycopg.Connection[Any]

#: The database of the master's session. Advisory locks are per database, so every run must use the same one.
MAINTENANCE_DATABASE = "postgres"

#: Seconds. libpq takes 1 as 2.
CONNECT_TIMEOUT = 5

#: PostgreSQL's lock_timeout for each step of create_tenant_dbs: other sessions queue behind a statement that waits.
STEP_LOCK_TIMEOUT = "10s"

#: The advisory lock of create_tenant_dbs: "deploytl" as a number.
LOCK_KEY = int.from_bytes(b"deploytl")


@dataclass(frozen=True)
class ServerAddress:
    """The address of a server, and how to verify its certificate.

    Attributes:
        host: host name, which the certificate must have with ``verify-full``.
        hostaddr: address to connect to instead of the one that `host` resolves to: the local end of a tunnel.
        sslrootcert: path of the CA bundle; empty: libpq's default.
    """

    host: str
    port: int
    hostaddr: str = ""
    sslmode: str = "verify-full"
    sslrootcert: str = ""

    @property
    def options(self) -> dict[str, str]:
        """libpq's parameters beside host and port."""
        options = {"sslmode": self.sslmode, "sslrootcert": self.sslrootcert, "hostaddr": self.hostaddr}
        return {name: value for name, value in options.items() if value}

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (f" (through {self.hostaddr})" if self.hostaddr else "")


@dataclass(frozen=True)
class Login:
    """A server and the credentials of a role.

    Attributes:
        pending: returns the password of a rotation in progress, or None if there is none.
        wrong_password: how to correct the password if PostgreSQL refuses it; it depends on where it comes from.
    """

    address: ServerAddress
    user: str
    password: Secret[str]
    pending: Callable[[], Secret[str] | None] | None = field(default=None, compare=False, repr=False)
    wrong_password: str = field(default="", compare=False, repr=False)

    def with_credentials(self, document: Mapping[str, Secret[Any]]) -> Login:
        """Return the login with the ``username`` and ``password`` of a secret, on the same server."""
        user, password = (str(document[key].reveal()) for key in ("username", "password"))
        return replace(self, user=user, password=Secret(password))

    def connect(self, database: str, *, settings: str = "") -> Connection:
        """Return a new connection in autocommit mode. The caller closes it.

        Args:
            settings: libpq's ``options``; they override settings of the role and the database.

        Raises:
            ConnectionFailed: with the reason as ``kind``.
        """
        address, options = self.address, dict[str, Any](self.address.options)
        if settings:
            options["options"] = settings
        try:
            return psycopg.connect(
                host=address.host,
                port=address.port,
                user=self.user,
                password=self.password.reveal(),
                dbname=database,
                connect_timeout=CONNECT_TIMEOUT,
                application_name="deploytools",
                client_encoding="UTF8",  # With SQL_ASCII, psycopg would return bytes instead of text.
                autocommit=True,
                prepare_threshold=None,
                row_factory=namedtuple_row,
                **options,
            )
        except psycopg.Error as error:
            raise connection_error(str(error), who=f"{self.user} to {database} at {address}") from None


def connection_error(text: str, *, who: str) -> ConnectionFailed:
    """Return the error for a message of libpq's.

    Args:
        who: role, database and server, for the sentence.
    """
    for pattern, kind, hint in FAILURES:
        matching = [line for line in text.splitlines() if re.search(pattern, line, re.IGNORECASE)]
        if matching:
            return ConnectionFailed(
                f"Could not connect as {who} ({kind}): {_message(matching[0])}", hint=hint, kind=kind
            )
    kind = ConnectionFailure.OTHER
    return ConnectionFailed(
        f"Could not connect as {who}: {_message(text)}", hint="Connect with psql to see the complete error.", kind=kind
    )


def _message(text: str) -> str:
    """The message without libpq's preamble, on one line."""
    words = " ".join(text.split())
    return re.sub(r"^(- |host: .*?: )*(connection (failed|is bad): )?(connection to server .*? failed: )?", "", words)


@contextmanager
def translate_database_errors(action: str) -> Iterator[None]:
    """Translate psycopg's errors into `DatabaseError`, with PostgreSQL's own message and SQLSTATE.

    Args:
        action: what the statements do, for the sentence "Could not …".

    Raises:
        DatabaseError: a statement failed, or the connection was lost.
    """
    try:
        yield
    except psycopg.Error as error:
        message = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        if is_connection_lost(error):
            raise DatabaseError(
                f"Connection lost while trying to {action}: {message}", hint=LOST_HINT, sqlstate=error.sqlstate
            ) from error
        hint = SQLSTATE_HINTS.get(error.sqlstate or "", "Run the command again. Completed steps are kept.")
        if error.sqlstate == "XX000" and "collation version" in str(error):
            hint = COLLATION_HINT
        raise DatabaseError(f"Could not {action}: {message}{detail}", hint=hint, sqlstate=error.sqlstate) from error


def is_connection_lost(error: BaseException) -> bool:
    """Return whether the connection was lost, so that it is unknown whether the statement was executed."""
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(("08", "57P"))


def replica_error(address: ServerAddress) -> DatabaseError:
    """Return the error for a server that is in recovery."""
    return DatabaseError(f"{address} is a read replica. Nothing was changed.", hint=REPLICA_HINT, sqlstate="25006")


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Return whether a pooler is in between: the process that it names at login is not the one that runs a query."""
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    return row is None or bool(row[0] != connection.info.backend_pid)


def require_direct_connection(connection: psycopg.Connection[Any], address: ServerAddress) -> None:
    """Raise `ConnectionFailed` if a pooler is in between.

    Advisory locks and settings of a session would stay behind in a session that other clients get.
    """
    if is_pooled(connection):
        raise ConnectionFailed(
            f"{address} is a connection pooler, for example PgBouncer. Nothing was changed.",
            hint=POOLER_HINT,
            kind=ConnectionFailure.POOLER,
        )


def server_version(connection: Connection) -> str:
    """Return the server's version without the suffix of its distribution, for example ``16.4``."""
    return (connection.info.parameter_status("server_version") or "unknown").split()[0]


@contextmanager
def locked_session(login: Login, *, wait: float) -> Iterator[Connection]:
    """Open the master's session and hold the advisory lock, so that no other run changes anything.

    Args:
        wait: seconds to wait for another run to finish.

    Raises:
        DatabaseError: another run still holds the lock; the message names its session.
    """
    with session(login) as connection:
        with translate_database_errors("prepare the session"):
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{int(wait * 1000)}ms"])
        with translate_database_errors("acquire the advisory lock"):
            _take_lock(connection, wait)
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [STEP_LOCK_TIMEOUT])
        yield connection


def _take_lock(connection: Connection, wait: float) -> None:
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
    except psycopg.errors.LockNotAvailable:
        sentence = f"Another run has held the lock for more than {wait:g} s"
        raise lock_error(connection, LOCK_KEY, sentence) from None


#: Only PostgreSQL's own functions and operators are found: a role that can create functions in another schema could
#: otherwise have the master execute them.
TRUSTED_SEARCH_PATH = "-c search_path=pg_catalog"

#: Settings of the master's session, whatever is set for the role or the database: no time-outs, and TCP keepalives, so
#: that the lock of a vanished client is released within a minute.
_STARTUP_SETTINGS = (
    f"{TRUSTED_SEARCH_PATH} -c statement_timeout=0 -c idle_session_timeout=0 -c default_transaction_read_only=off "
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
)


@contextmanager
def session(login: Login, database: str = MAINTENANCE_DATABASE) -> Iterator[Connection]:
    """Open the master's session, without time-outs and with only ``pg_catalog`` in its search path.

    Raises:
        DatabaseError: the server is a read replica.
    """
    with _connect_master(login, database) as connection:
        with translate_database_errors("prepare the session"):
            require_direct_connection(connection, login.address)
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
        if login.pending and (password := login.pending()):
            return _connect_master(replace(login, password=password, pending=None), database)
        raise ConnectionFailed(str(error), hint=login.wrong_password or error.hint, kind=error.kind) from None


def lock_error(connection: psycopg.Connection[Any], key: int, message: str) -> DatabaseError:
    """Return the error of a run that waited too long for the advisory lock `key` in the database of `connection`.

    Args:
        message: the sentence, to which the session that holds the lock is added.
    """
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
        return DatabaseError(f"{message}, but has just released it.", hint="Run the command again.", sqlstate="55P03")
    pid, user, address, start = row
    since = start.isoformat(timespec="seconds") if start else "an unknown time"
    return DatabaseError(
        f"{message}: process {pid} of {user} from {address}, connected since {since}.",
        hint="Wait until it has finished, or wait longer: --wait-for-lock SECONDS. If it hangs, end it: SELECT "
        f"pg_terminate_backend({pid})",
        sqlstate="55P03",
    )


def scram_verifier(login: Login) -> str:
    """Return the password as PostgreSQL stores it (RFC 5803), computed here: the server never sees the password."""
    # Without hostaddr, libpq would connect to PGHOSTADDR.
    unconnected = psycopg.pq.PGconn.connect_start(b"host=/nonexistent hostaddr=''")
    password = login.password.reveal().encode()
    return unconnected.encrypt_password(password, login.user.encode(), b"scram-sha-256").decode()


@contextmanager
def set_role(connection: Connection, role: str) -> Iterator[None]:
    """Act as `role`; empty: as the session's user."""
    if role in ("", connection.info.user):
        yield
        return
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("RESET ROLE")


@contextmanager
def fail_if_nothing_revoked(connection: Connection) -> Iterator[None]:
    """Raise DatabaseError for ``WARNING: no privileges could be revoked`` (01006): PostgreSQL reports success."""
    warnings: list[str] = []

    def listen(notice: Diagnostic) -> None:
        if notice.sqlstate == "01006":
            warnings.append(notice.message_primary or "no privileges could be revoked")

    connection.add_notice_handler(listen)
    try:
        yield
    finally:
        connection.remove_notice_handler(listen)
    if warnings:
        raise DatabaseError(
            f"PostgreSQL revoked nothing: {warnings[0]}.",
            hint="Find out who granted it, in psql (\\l), and REVOKE it as that role.",
        )
