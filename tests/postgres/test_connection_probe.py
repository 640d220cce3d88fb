"""The connection probe, stage by stage, against real servers and against ports that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres import connection_probe
from deploytools.postgres.connection_probe import ProbeResult, probe
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from tests.sockets import silent_port


@contextmanager
def answering(response: bytes) -> Iterator[int]:
    """A port that reads one request, sends `response` and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(8)
                    connection.sendall(response)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def kind(found: ProbeResult) -> ConnectionFailure | None:
    return found.error.kind if isinstance(found.error, ConnectionFailed) else None


def at(login: Login, **changes: Any) -> Login:
    return replace(login, address=replace(login.address, **changes))


def test_all_stages_succeed(postgres):
    found = probe(postgres.master, "postgres")
    assert [stage.name for stage in found.stages] == ["DNS", "TCP", "TLS", "login", "query"]
    assert (found.failed_stage, found.error) == ("", None)
    assert found.report is not None
    assert found.report.server_version.startswith(f"{postgres.version}.")
    seen = {stage.name: stage.detail for stage in found.stages}
    assert seen["DNS"] == "not resolved, 127.0.0.1 is set"
    assert seen["TLS"].startswith("TLSv1.3, certificate valid until ")
    assert (seen["login"], seen["query"]) == ("postgres", "postgres")


def test_require_without_a_ca_does_not_verify(one_postgres):
    found = probe(at(one_postgres.master, sslmode="require", sslrootcert=""), "postgres")
    assert {stage.name: stage.detail for stage in found.stages}["TLS"] == "TLSv1.3, certificate not verified"


@pytest.mark.slow
def test_text_is_read_from_a_database_with_the_encoding_sql_ascii(one_postgres):
    """It is that of the maintenance database if initdb ran with the locale C."""
    name = one_postgres.fresh_name()
    try:
        with one_postgres.admin() as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
        with one_postgres.superuser.connect(name) as session:
            assert session.execute("SELECT 'ä'::text").fetchall() == [("ä",)]
    finally:
        one_postgres.sweep(name)


def test_host_is_resolved_without_hostaddr(one_postgres):
    found = probe(at(one_postgres.master, host="localhost", hostaddr="", sslmode="verify-ca"), "postgres")
    assert [stage.name for stage in found.stages] == ["DNS", "TCP", "TLS", "login", "query"]
    assert "127.0.0.1" in found.stages[0].detail


@pytest.mark.parametrize(
    ("changes", "failed", "why", "succeeded"),
    [
        ({"hostaddr": "", "host": "no-such.invalid"}, "DNS", ConnectionFailure.NO_SUCH_NAME, []),
        ({"port": 9}, "TCP", ConnectionFailure.REFUSED, ["DNS"]),
        ({"host": "db.elsewhere.net"}, "TLS", ConnectionFailure.CERTIFICATE_NAME, ["DNS", "TCP"]),
        ({"sslrootcert": "/no/such/file.pem"}, "TLS", ConnectionFailure.CERTIFICATE, ["DNS", "TCP"]),
        ({"sslrootcert": "system"}, "TLS", ConnectionFailure.CERTIFICATE, ["DNS", "TCP"]),
    ],
)
def test_probe_stops_at_the_first_failed_stage(one_postgres, changes, failed, why, succeeded):
    found = probe(at(one_postgres.master, **changes), "postgres")
    assert (found.failed_stage, kind(found), [stage.name for stage in found.stages]) == (failed, why, succeeded)
    assert found.report is None
    assert found.error and found.error.hint


@pytest.mark.parametrize(
    ("response", "sslmode", "why", "sentence"),
    [
        (b"N", "require", ConnectionFailure.NO_TLS, "server does not support SSL"),
        (b"", "require", ConnectionFailure.OTHER, "the server closed the connection or is not a PostgreSQL server"),
        (
            b"HTTP/1.1 400",
            "prefer",
            ConnectionFailure.OTHER,
            "the server closed the connection or is not a PostgreSQL server",
        ),
    ],
)
def test_not_a_postgresql_server(one_postgres, response, sslmode, why, sentence):
    with answering(response) as port:
        found = probe(at(one_postgres.master, port=port, sslmode=sslmode), "postgres")
    assert (found.failed_stage, kind(found)) == ("TLS", why)
    assert sentence in str(found.error)


def test_result_does_not_depend_on_the_order_of_addresses(one_postgres, monkeypatch):
    """Resolvers rotate the addresses of a name."""
    order = [("127.0.0.1", 9), ("127.0.0.2", 9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: [(2, 1, 6, "", at) for at in order if host])
    login = at(one_postgres.master, host="db.example.net", hostaddr="", port=9)
    before = probe(login, "postgres")
    order.reverse()
    after = probe(login, "postgres")
    assert before.stages[0].detail == after.stages[0].detail == "127.0.0.1, 127.0.0.2"
    assert str(before.error) == str(after.error)
    assert "127.0.0.1" in str(before.error) and "127.0.0.2" in str(before.error)


def test_silent_server_times_out(one_postgres, monkeypatch):
    monkeypatch.setattr(connection_probe, "CONNECT_TIMEOUT", 0.2)
    with silent_port() as port:
        found = probe(at(one_postgres.master, port=port), "postgres")
    assert (found.failed_stage, kind(found)) == ("TLS", ConnectionFailure.TIMEOUT)
    assert "accepted the connection but sent no response" in str(found.error)


@pytest.mark.parametrize(
    ("changes", "database", "failed", "why"),
    [
        ({"password": Secret("wrong")}, "postgres", "login", ConnectionFailure.PASSWORD),
        ({}, "no_such_database", "database", ConnectionFailure.NO_DATABASE),
        ({}, "template0", "database", ConnectionFailure.NO_CONNECT),
    ],
)
def test_server_rejects_the_login(one_postgres, changes, database, failed, why):
    found = probe(replace(one_postgres.master, **changes), database)
    assert (found.failed_stage, kind(found)) == (failed, why)
    assert [stage.name for stage in found.stages] == ["DNS", "TCP", "TLS"]
