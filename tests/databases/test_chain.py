"""The chain of a connection, link by link, against real servers and against ports that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from deploytools.databases import chain
from deploytools.databases.server import Login
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.secret.value import Secret
from tests.sockets import silent_port


@contextmanager
def answering(said: bytes) -> Iterator[int]:
    """A port that reads what it is asked, says `said` and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(8)
                    connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def kind(found: chain.Chain) -> ConnectionFailure | None:
    return found.error.kind if isinstance(found.error, ConnectionFailed) else None


def at(login: Login, **changes: Any) -> Login:
    return replace(login, address=replace(login.address, **changes))


def test_every_link_holds(postgres):
    found = chain.walk(postgres.master, "postgres")
    assert [link.name for link in found.links] == ["name", "TCP", "TLS", "login", "query"]
    assert (found.broken, found.error) == ("", None)
    assert found.report is not None
    assert found.report.server_version.startswith(f"{postgres.version}.")
    seen = {link.name: link.seen for link in found.links}
    assert seen["name"] == "not asked for, 127.0.0.1 is given"
    assert seen["TLS"].startswith("TLSv1.3, certificate valid until ")
    assert (seen["login"], seen["query"]) == ("postgres", "postgres")


def test_without_a_ca_require_believes_everybody(one_postgres):
    found = chain.walk(at(one_postgres.master, sslmode="require", sslrootcert=""), "postgres")
    assert {link.name: link.seen for link in found.links}["TLS"] == "TLSv1.3, certificate not verified"


def test_a_name_is_resolved_where_no_address_is_given(one_postgres):
    found = chain.walk(at(one_postgres.master, host="localhost", hostaddr="", sslmode="verify-ca"), "postgres")
    assert [link.name for link in found.links] == ["name", "TCP", "TLS", "login", "query"]
    assert "127.0.0.1" in found.links[0].seen


@pytest.mark.parametrize(
    ("changes", "broken", "why", "held"),
    [
        ({"hostaddr": "", "host": "no-such.invalid"}, "name", ConnectionFailure.NO_SUCH_NAME, []),
        ({"port": 9}, "TCP", ConnectionFailure.REFUSED, ["name"]),
        ({"host": "db.elsewhere.net"}, "TLS", ConnectionFailure.CERTIFICATE_NAME, ["name", "TCP"]),
        ({"sslrootcert": "/no/such/file.pem"}, "TLS", ConnectionFailure.CERTIFICATE, ["name", "TCP"]),
        ({"sslrootcert": "system"}, "TLS", ConnectionFailure.CERTIFICATE, ["name", "TCP"]),
    ],
)
def test_the_first_link_that_breaks_ends_it(one_postgres, changes, broken, why, held):
    found = chain.walk(at(one_postgres.master, **changes), "postgres")
    assert (found.broken, kind(found), [link.name for link in found.links]) == (broken, why, held)
    assert found.report is None
    assert found.error and found.error.hint


@pytest.mark.parametrize(
    ("said", "sslmode", "why", "sentence"),
    [
        (b"N", "require", ConnectionFailure.NO_TLS, "server does not support SSL"),
        (b"", "require", ConnectionFailure.OTHER, "it ended the connection, or speaks something else than PostgreSQL"),
        (b"HTTP/1.1 400", "prefer", ConnectionFailure.OTHER, "it ended the connection, or speaks something else"),
    ],
)
def test_a_server_that_is_no_postgresql(one_postgres, said, sslmode, why, sentence):
    with answering(said) as port:
        found = chain.walk(at(one_postgres.master, port=port, sslmode=sslmode), "postgres")
    assert (found.broken, kind(found)) == ("TLS", why)
    assert sentence in str(found.error)


def test_the_order_in_which_a_resolver_answers_is_not_told(one_postgres, monkeypatch):
    """Resolvers turn the addresses of a name round from answer to answer."""
    order = [("127.0.0.1", 9), ("127.0.0.2", 9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: [(2, 1, 6, "", at) for at in order if host])
    login = at(one_postgres.master, host="db.example.net", hostaddr="", port=9)
    before = chain.walk(login, "postgres")
    order.reverse()
    after = chain.walk(login, "postgres")
    assert before.links[0].seen == after.links[0].seen == "127.0.0.1, 127.0.0.2"
    assert str(before.error) == str(after.error)
    assert "127.0.0.1" in str(before.error) and "127.0.0.2" in str(before.error)


def test_a_server_that_says_nothing_is_given_up(one_postgres, monkeypatch):
    monkeypatch.setattr(chain, "CONNECT_TIMEOUT", 0.2)
    with silent_port() as port:
        found = chain.walk(at(one_postgres.master, port=port), "postgres")
    assert (found.broken, kind(found)) == ("TLS", ConnectionFailure.TIMEOUT)
    assert "took the connection and said nothing" in str(found.error)


@pytest.mark.parametrize(
    ("who", "database", "broken", "why"),
    [
        ({"password": Secret("wrong")}, "postgres", "login", ConnectionFailure.PASSWORD),
        ({}, "no_such_database", "database", ConnectionFailure.NO_DATABASE),
        ({}, "template0", "database", ConnectionFailure.NO_CONNECT),
    ],
)
def test_the_server_refuses(one_postgres, who, database, broken, why):
    found = chain.walk(replace(one_postgres.master, **who), database)
    assert (found.broken, kind(found)) == (broken, why)
    assert [link.name for link in found.links] == ["name", "TCP", "TLS"]
