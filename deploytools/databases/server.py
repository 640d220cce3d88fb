"""Connections to PostgreSQL: how they are made, why they fail, and the one lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

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

    def connect(self, database: str) -> Connection:
        """A connection in autocommit mode; the caller closes it.

        Raises:
            ConnectionFailed: with the link of the chain that broke.
        """
        address = self.address
        options: dict[str, Any] = {"hostaddr": address.hostaddr, "sslrootcert": address.sslrootcert}
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


#: What libpq and PostgreSQL write, in the order in which they are looked for. psycopg has no SQLSTATE for a connection
#: that failed (FACTS B2.18), so the text has to do. Hints are those of the guide's Troubleshooting.
_FAILURES: tuple[tuple[str, ConnectionFailure, str], ...] = (
    (
        r"could not translate host name|failed to resolve host|Name or service not known|nodename nor servname",
        ConnectionFailure.NO_SUCH_NAME,
        "Check host in the secret; from outside the VPC, go through a tunnel: DB_HOSTADDR=127.0.0.1 DB_PORT=…",
    ),
    (
        r"server certificate for .* does not match",
        ConnectionFailure.CERTIFICATE_NAME,
        "Something else listens there (a local PostgreSQL on the tunnel's port?), or host is not the RDS endpoint. "
        "Through a tunnel keep the endpoint as host and set DB_HOSTADDR=127.0.0.1.",
    ),
    (
        r"certificate verify failed|root certificate file",
        ConnectionFailure.CERTIFICATE,
        "Point DB_SSLROOTCERT at AWS's CA bundle, global-bundle.pem "
        "(https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem).",
    ),
    (
        r"server does not support SSL",
        ConnectionFailure.NO_TLS,
        "RDS always speaks TLS, so this is another server: check the tunnel's port.",
    ),
    (
        r"password authentication failed|no password supplied|authentication failed for user",
        ConnectionFailure.PASSWORD,
        "The password in the secret is not the one in the database, or there is no such role. "
        "If the secret is right, this sets the role's: python manage.py create_tenant_dbs",
    ),
    (
        r"no encryption",
        ConnectionFailure.TLS_REQUIRED,
        "The server wants TLS (rds.force_ssl): use sslmode=verify-full and DB_SSLROOTCERT.",
    ),
    (
        r'database ".*" does not exist',
        ConnectionFailure.NO_DATABASE,
        "Create the tenants' databases: python manage.py create_tenant_dbs",
    ),
    (
        r"permission denied for database|not currently accepting connections|User does not have CONNECT",
        ConnectionFailure.NO_CONNECT,
        "Look at what is missing: python manage.py create_tenant_dbs --plan",
    ),
    (
        r"too many (clients|connections)|remaining connection slots",
        ConnectionFailure.TOO_MANY,
        "Close idle connections, or lower CONN_MAX_AGE and the number of workers.",
    ),
    (
        r"starting up|shutting down|in recovery mode|not yet accepting connections",
        ConnectionFailure.STARTING,
        "Wait for it: python manage.py check_rds --wait 60",
    ),
    (
        r"Connection refused",
        ConnectionFailure.REFUSED,
        "Nothing listens there: is the instance available, is the tunnel open? Do not open the security group to the "
        "world; use a tunnel through the bastion host.",
    ),
    (
        r"timeout expired|timed out|timeout|Network is unreachable|No route to host",
        ConnectionFailure.TIMEOUT,
        "RDS is in a private subnet and its security group lets only the backend in: run it inside the VPC, or through "
        "a tunnel by the bastion host (DB_HOSTADDR=127.0.0.1 DB_PORT=…).",
    ),
)


def connection_failed(text: str, *, who: str) -> ConnectionFailed:
    """The error for what libpq wrote.

    Args:
        text: libpq's message.
        who: role, database and server, for the sentence.
    """
    for pattern, kind, hint in _FAILURES:
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


#: Hints for SQLSTATEs that have a usual cause here.
_SQLSTATE_HINTS = {
    "25006": "This is a read replica, or the session is read-only: connect to the primary instance.",
    "42501": "Use the master user of the RDS instance, not the application's.",
    "42809": "DEPLOYTOOLS['LOCALE'] must be one that the server has: SELECT collname FROM pg_collation",
    "53100": "The instance's storage is full: enlarge it, then run it again.",
    "53300": "Close idle connections, or lower CONN_MAX_AGE and the number of workers.",
    "55006": "Somebody is connected to the template; run it again.",
    "57014": "Run it again: what was done stays, the rest is left.",
}


@contextmanager
def translating(deed: str) -> Iterator[None]:
    """Around statements: PostgreSQL's errors become `DatabaseError`, with its own sentence and SQLSTATE."""
    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        raise DatabaseError(
            f"PostgreSQL refused to {deed}: {said}{detail}",
            hint=_SQLSTATE_HINTS.get(error.sqlstate or "", "Run it again: what was done stays, the rest is left."),
            sqlstate=error.sqlstate,
        ) from error


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
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        except psycopg.errors.LockNotAvailable:
            raise DatabaseError(
                f"Another run has held the lock for more than {wait:g} s: {_lock_holder(connection)}.",
                hint="Wait for it to finish. If it is dead: SELECT pg_terminate_backend(pid)",
                sqlstate="55P03",
            ) from None
        yield connection


#: What an administrator may have set for a role otherwise, and a run that creates databases cannot do with. Those that
#: this version does not know are left out.
_SESSION_SETTINGS = """
    SELECT set_config(name, value, false) FROM (VALUES
        ('statement_timeout', '0'), ('transaction_timeout', '0'), ('idle_session_timeout', '0'),
        ('idle_in_transaction_session_timeout', '0'), ('default_transaction_read_only', 'off')
    ) AS wanted(name, value) JOIN pg_settings USING (name)
"""


def free_slots(connection: Connection) -> int:
    """How many more connections the server takes from roles that are no superusers."""
    with translating("show its connections"):
        row = connection.execute(
            """
            SELECT (SELECT sum(CASE name WHEN 'max_connections' THEN 1 ELSE -1 END * setting::integer) FROM pg_settings
                    WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections',
                                   'rds.rds_superuser_reserved_connections'))
                 - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS free
            """
        ).fetchone()
    return int(row.free) if row else 0


@contextmanager
def session(login: Login) -> Iterator[Connection]:
    """The master's session in the maintenance database, without a statement time-out, on a primary server."""
    with _connect_master(login) as connection:
        with translating("prepare the session"):
            connection.execute(_SESSION_SETTINGS)
            is_replica = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        if is_replica and is_replica[0]:
            raise DatabaseError(f"{login.address} is a read replica.", hint=_SQLSTATE_HINTS["25006"], sqlstate="25006")
        yield connection


def _connect_master(login: Login) -> Connection:
    try:
        return login.connect(MAINTENANCE_DATABASE)
    except ConnectionFailed as error:
        if error.kind is not ConnectionFailure.PASSWORD:
            raise
        raise ConnectionFailed(
            str(error),
            hint=f"Put the right password of the master user {login.user} into the secret as master_password, or set a "
            "new one: aws rds modify-db-instance --master-user-password",
            kind=error.kind,
        ) from None


def _lock_holder(connection: Connection) -> str:
    row = connection.execute(
        """
        SELECT a.pid, a.usename, a.client_addr, a.backend_start
        FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = %s)
          AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
        """,
        [MAINTENANCE_DATABASE, LOCK_KEY],
    ).fetchone()
    if row is None:
        return "it has just let go"
    since = row.backend_start.isoformat(timespec="seconds") if row.backend_start else "an unknown time"
    return f"process {row.pid} of {row.usename} from {row.client_addr}, connected since {since}"
