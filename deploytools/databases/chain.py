"""The chain of one connection, link by link and each timed: name, TCP, TLS, login, query.

libpq goes through all of it in one call and words the failure in its own way; here it stops at the first link that
breaks and says which.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from deploytools.databases.probe import ConnectionReport, probe
from deploytools.databases.server import CONNECT_TIMEOUT, Login, ServerAddress, connection_failed
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError

NAME, TCP, TLS, LOGIN, DATABASE, QUERY = LINKS = ("name", "TCP", "TLS", "login", "database", "query")

#: What a client says to ask for TLS: its length and the number that PostgreSQL knows it by.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)

#: Failures after the password was accepted: PostgreSQL looks at the database last.
_OF_THE_DATABASE = {ConnectionFailure.NO_DATABASE, ConnectionFailure.NO_CONNECT}


@dataclass(frozen=True)
class Link:
    """One link that held.

    Attributes:
        name: one of `LINKS`.
        seconds: how long it took.
        seen: what was found.
    """

    name: str
    seconds: float
    seen: str


@dataclass(frozen=True)
class Chain:
    """What came of one attempt.

    Attributes:
        links: those that held, in order.
        broken: the link that broke; empty where none did.
        error: why it broke.
        report: what the connection saw, where none broke.
    """

    links: tuple[Link, ...] = ()
    broken: str = ""
    error: DatabaseError | None = None
    report: ConnectionReport | None = None


def walk(login: Login, database: str) -> Chain:
    """Go along the chain as `login` to `database` until a link breaks."""
    links: list[Link] = []
    try:
        _reach(login.address, links)
    except _Broken as end:
        error = connection_failed(end.said, who=f"{login.user} to {database} at {login.address}")
        return Chain(tuple(links), end.link, error)
    return _log_in(login, database, tuple(links))


class _Broken(Exception):
    """A link broke; `said` is worded as libpq words it, so that one table (`connection_failed`) knows both."""

    def __init__(self, link: str, said: str) -> None:
        super().__init__(said)
        self.link, self.said = link, said


def _reach(address: ServerAddress, links: list[Link]) -> None:
    addresses = _resolve(address, links)
    with _connect(addresses, address, links) as connected:
        if address.sslmode != "disable":
            _handshake(connected, address, links)


def _resolve(address: ServerAddress, links: list[Link]) -> Sequence[str]:
    if address.hostaddr:
        links.append(Link(NAME, 0.0, f"not asked for, {address.hostaddr} is given"))
        return [address.hostaddr]
    started = time.monotonic()
    try:
        answer = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _Broken(NAME, f"could not translate host name: {_said(error)}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in answer))
    links.append(Link(NAME, time.monotonic() - started, ", ".join(sorted(addresses))))
    return addresses


def _connect(addresses: Sequence[str], address: ServerAddress, links: list[Link]) -> socket.socket:
    started, problems = time.monotonic(), []
    for near in addresses:
        where = f"{near}, a private address" if _is_private(near) and not address.hostaddr else near
        try:
            connected = socket.create_connection((near, address.port), CONNECT_TIMEOUT)
        except TimeoutError:
            problems.append(f"{where}: timed out after {CONNECT_TIMEOUT} s")
        except OSError as error:
            problems.append(f"{where}: {_said(error)}")
        else:
            links.append(Link(TCP, time.monotonic() - started, near))
            return connected
    raise _Broken(TCP, "; ".join(sorted(problems)))


def _handshake(connected: socket.socket, address: ServerAddress, links: list[Link]) -> None:
    """As libpq begins: it asks for TLS and is answered with one letter."""
    started = time.monotonic()
    try:
        connected.sendall(SSL_REQUEST)
        letter = connected.recv(1)
        seen = _secured(connected, address) if letter == b"S" else _without_tls(letter, address)
    except ssl.SSLCertVerificationError as error:
        raise _Broken(TLS, _worded(error, address)) from None
    except TimeoutError:
        raise _Broken(TLS, f"it took the connection and said nothing: timed out after {CONNECT_TIMEOUT} s") from None
    except OSError as error:
        raise _Broken(TLS, _said(error)) from None
    links.append(Link(TLS, time.monotonic() - started, seen))


def _secured(connected: socket.socket, address: ServerAddress) -> str:
    context = _context(address)
    name = address.host if address.sslmode == "verify-full" or not _is_address(address.host) else None
    with context.wrap_socket(connected, server_hostname=name) as secured:
        certificate = secured.getpeercert() or {}
        until = certificate.get("notAfter")
        return f"{secured.version()}, certificate {f'valid until {until}' if until else 'not verified'}"


def _without_tls(letter: bytes, address: ServerAddress) -> str:
    if letter == b"N" and address.sslmode in {"allow", "prefer"}:
        return "the server has none"
    if letter == b"N":
        raise _Broken(TLS, "server does not support SSL")
    raise _Broken(TLS, "it ended the connection, or speaks something else than PostgreSQL")


def _context(address: ServerAddress) -> ssl.SSLContext:
    """As libpq understands ``sslmode``: without a CA ``require`` believes everybody, with one it verifies."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = address.sslmode == "verify-full"
    if address.sslmode in {"verify-ca", "verify-full"} or address.sslrootcert:
        _load_authority(context, address.sslrootcert)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_authority(context: ssl.SSLContext, named: str) -> None:
    if named == "system":
        context.load_default_certs()
        return
    file = Path(named or "~/.postgresql/root.crt").expanduser()
    try:
        context.load_verify_locations(file)
    except OSError:  # An SSLError is one, too.
        raise _Broken(TLS, f'root certificate file "{file}" cannot be read') from None


def _worded(error: ssl.SSLCertVerificationError, address: ServerAddress) -> str:
    if error.verify_code in {62, 64}:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return f'server certificate for another host does not match host name "{address.host}"'
    return f"certificate verify failed: {error.verify_message}"


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_private(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_private


def _log_in(login: Login, database: str, links: tuple[Link, ...]) -> Chain:
    """libpq's own attempt: login, database and query."""
    try:
        report = probe(login, database)
    except ConnectionFailed as error:
        return Chain(links, DATABASE if error.kind in _OF_THE_DATABASE else LOGIN, error)
    except DatabaseError as error:
        return Chain(links, QUERY, error)
    held = (Link(LOGIN, report.connect_seconds, report.user), Link(QUERY, report.query_seconds, report.database))
    return Chain((*links, *held), report=report)
