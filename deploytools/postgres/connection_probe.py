"""Probe one connection stage by stage, each timed: DNS, TCP, TLS, login, database, query.

libpq does all of it in one call. The probe stops at the first stage that fails and reports which one it is.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from psycopg.rows import namedtuple_row

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.postgres.connections import (
    CONNECT_TIMEOUT,
    Connection,
    Login,
    ServerAddress,
    connection_error,
    server_version,
    translate_database_errors,
)

DNS, TCP, TLS, LOGIN, DATABASE, QUERY = STAGES = ("DNS", "TCP", "TLS", "login", "database", "query")

#: PostgreSQL's SSLRequest message: its length and its code.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)

#: Attempts to get the same connection of a pooler to the server twice. Other facts are read at the same time.
LEAK_ATTEMPTS = 5

#: Failures after the password was accepted: PostgreSQL checks the database last.
_DATABASE_FAILURES = {ConnectionFailure.NO_DATABASE, ConnectionFailure.NO_CONNECT}


@dataclass(frozen=True)
class ProbeStage:
    """One stage that succeeded.

    Attributes:
        name: one of `STAGES`.
        detail: what was found, for example the addresses or the TLS version.
    """

    name: str
    seconds: float
    detail: str


@dataclass(frozen=True)
class SessionReport:
    """What one session found.

    Attributes:
        user: the role whose permissions the session has: ``current_user``.
        login: the role that logged in: ``session_user``.
        server_version: for example ``16.4``.
        server: identifies the server: the time when it was started, as seconds since 1970.
        address: the server's end of the connection.
        tls: protocol and cipher; ``TLS`` where a proxy terminates it; empty without TLS.
        is_pooled: whether a connection pooler is in between.
        connect_seconds: from name resolution to login.
        query_seconds: one round trip.
    """

    database: str
    user: str
    login: str
    server_version: str
    server: str
    address: str
    sslmode: str
    tls: str
    is_pooled: bool
    connect_seconds: float
    query_seconds: float


@dataclass(frozen=True)
class ProbeResult:
    """The result of probing one connection.

    Attributes:
        error: why the stage failed; None if all succeeded.
        stages: the stages that succeeded, in order.
        failed_stage: the stage that failed; empty if all succeeded.
    """

    report: SessionReport | None = None
    error: DatabaseError | None = None
    stages: tuple[ProbeStage, ...] = ()
    failed_stage: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the server's name resolves to; none if it was not resolved."""
        return tuple(address for stage in self.stages if stage.name == DNS for address in stage.detail.split(", "))


def probe(login: Login, database: str) -> ProbeResult:
    """Probe the connection of `login` to `database` until a stage fails. Never raises `DatabaseError`."""
    stages: list[ProbeStage] = []
    try:
        with _connect(_resolve(login.address, stages), login.address, stages) as connected:
            if login.address.sslmode != "disable":
                _handshake(connected, login.address, stages)
    except _StageFailed as failure:
        error = connection_error(failure.message, who=f"{login.user} to {database} at {login.address}")
        return ProbeResult(None, error, tuple(stages), failure.stage)
    return _log_in(login, database, tuple(stages))


def read_session_report(login: Login, database: str) -> SessionReport:
    """Log in and run one query."""
    started = time.monotonic()
    with login.connect(database) as connection:
        return read_session(connection, time.monotonic() - started)


def read_session(connection: Connection, connect_seconds: float) -> SessionReport:
    """Run one query, and read what `connection` is connected to."""
    with translate_database_errors("run a test query"), connection.cursor(row_factory=namedtuple_row) as cursor:
        started = time.monotonic()
        cursor.execute("SELECT 1").fetchone()
        query_seconds = time.monotonic() - started
        found: Any = cursor.execute(
            """
            SELECT current_database()::text AS database, current_user::text AS role, session_user::text AS login,
                   extract(epoch FROM pg_postmaster_start_time())::text AS server,
                   coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a Unix socket') AS address,
                   (SELECT version || ' ' || cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl) AS tls,
                   pg_backend_pid() AS process
            """
        ).fetchone()
    sslmode = next(option.val for option in connection.pgconn.info if option.keyword == b"sslmode")
    return SessionReport(
        database=found.database,
        user=found.role,
        login=found.login,
        server_version=server_version(connection),
        server=found.server,
        address=found.address,
        sslmode=(sslmode or b"").decode(),
        tls=(found.tls or "TLS") if connection.pgconn.ssl_in_use else "",
        is_pooled=found.process != connection.info.backend_pid,
        connect_seconds=connect_seconds,
        query_seconds=query_seconds,
    )


def leaks_session_state(login: Login, database: str) -> bool | None:
    """Return whether a new connection through a pooler has a setting that an earlier connection made.

    None: each of `LEAK_ATTEMPTS` times the pooler used another of its connections to the server, because other clients
    use it, too.
    """
    attempts = (_leaks_once(login, database) for _ in range(LEAK_ATTEMPTS))
    return next((found for found in attempts if found is not None), None)


def _leaks_once(login: Login, database: str) -> bool | None:
    value = uuid.uuid4().hex
    with login.connect(database) as connection, translate_database_errors("set a parameter"):
        # One statement is one transaction: its process is the one with the setting.
        query = "SELECT pg_backend_pid() AS process, set_config('deploytools.probe', %s, false)"
        before = connection.execute(query, [value]).fetchone()
    with login.connect(database) as connection, translate_database_errors("read a parameter"):
        query = "SELECT pg_backend_pid() AS process, current_setting('deploytools.probe', true) AS value"
        after = connection.execute(query).fetchone()
        connection.execute("SELECT set_config('deploytools.probe', '', false)")
    if before is None or after is None or before.process != after.process:
        return None
    return bool(after.value == value)


class _StageFailed(Exception):
    """A stage failed; `message` uses libpq's words, so that `connection_error` classifies both with one table."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.message = stage, message


def _resolve(address: ServerAddress, stages: list[ProbeStage]) -> Sequence[str]:
    if address.hostaddr:
        stages.append(ProbeStage(DNS, 0.0, f"not resolved, {address.hostaddr} is set"))
        return [address.hostaddr]
    started = time.monotonic()
    try:
        entries = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _StageFailed(DNS, f"could not translate host name: {_message(error)}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    stages.append(ProbeStage(DNS, time.monotonic() - started, ", ".join(sorted(addresses))))
    return addresses


def _connect(addresses: Sequence[str], address: ServerAddress, stages: list[ProbeStage]) -> socket.socket:
    started, problems = time.monotonic(), []
    for candidate in addresses:
        is_private = not address.hostaddr and ip_address(candidate.partition("%")[0]).is_private
        where = f"{candidate}, a private address" if is_private else candidate
        try:
            connected = socket.create_connection((candidate, address.port), CONNECT_TIMEOUT)
        except TimeoutError:
            problems.append(f"{where}: timed out after {CONNECT_TIMEOUT} s")
        except OSError as error:
            problems.append(f"{where}: {_message(error)}")
        else:
            stages.append(ProbeStage(TCP, time.monotonic() - started, candidate))
            return connected
    raise _StageFailed(TCP, "; ".join(sorted(problems)))


def _handshake(connected: socket.socket, address: ServerAddress, stages: list[ProbeStage]) -> None:
    """Start TLS as libpq does: send an SSLRequest and read a one-letter response."""
    started = time.monotonic()
    try:
        connected.sendall(SSL_REQUEST)
        letter = connected.recv(1)
        detail = _start_tls(connected, address) if letter == b"S" else _without_tls(letter, address)
    except ssl.SSLCertVerificationError as error:
        raise _StageFailed(TLS, _certificate_problem(error, address)) from None
    except TimeoutError:
        message = f"the server accepted the connection but sent no response: timed out after {CONNECT_TIMEOUT} s"
        raise _StageFailed(TLS, message) from None
    except OSError as error:
        raise _StageFailed(TLS, _message(error)) from None
    stages.append(ProbeStage(TLS, time.monotonic() - started, detail))


def _start_tls(connected: socket.socket, address: ServerAddress) -> str:
    context = _context(address)
    name = address.host if address.sslmode == "verify-full" or not _is_address(address.host) else None
    with context.wrap_socket(connected, server_hostname=name) as secured:
        certificate = secured.getpeercert() or {}
        until = certificate.get("notAfter")
        return f"{secured.version()}, certificate {f'valid until {until}' if until else 'not verified'}"


def _without_tls(letter: bytes, address: ServerAddress) -> str:
    if letter == b"N" and address.sslmode in {"allow", "prefer"}:
        return "not supported by the server"
    if letter == b"N":
        raise _StageFailed(TLS, "server does not support SSL")
    raise _StageFailed(TLS, "the server closed the connection or is not a PostgreSQL server")


def _context(address: ServerAddress) -> ssl.SSLContext:
    """Interpret ``sslmode`` as libpq does: ``require`` verifies the certificate only if a CA is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = address.sslmode == "verify-full"
    if address.sslmode in {"verify-ca", "verify-full"} or address.sslrootcert:
        _load_ca(context, address.sslrootcert)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_ca(context: ssl.SSLContext, sslrootcert: str) -> None:
    if sslrootcert == "system":
        context.load_default_certs()
        return
    file = Path(sslrootcert or "~/.postgresql/root.crt").expanduser()
    try:
        context.load_verify_locations(file)
    except OSError:  # ssl.SSLError is a subclass.
        raise _StageFailed(TLS, f'root certificate file "{file}" cannot be read') from None


def _certificate_problem(error: ssl.SSLCertVerificationError, address: ServerAddress) -> str:
    if error.verify_code in {62, 64}:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return f'server certificate for another host does not match host name "{address.host}"'
    return f"certificate verify failed: {error.verify_message}"


def _message(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _log_in(login: Login, database: str, stages: tuple[ProbeStage, ...]) -> ProbeResult:
    """The stages that libpq does: login, database and query."""
    try:
        report = read_session_report(login, database)
    except ConnectionFailed as error:
        return ProbeResult(None, error, stages, DATABASE if error.kind in _DATABASE_FAILURES else LOGIN)
    except DatabaseError as error:
        return ProbeResult(None, error, stages, QUERY)
    succeeded = (
        ProbeStage(LOGIN, report.connect_seconds, report.user),
        ProbeStage(QUERY, report.query_seconds, report.database),
    )
    return ProbeResult(report, stages=(*stages, *succeeded))
