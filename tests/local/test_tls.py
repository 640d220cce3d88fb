"""Clients see the same whether the server was built with TLS or has a TLS proxy in front of it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import struct
import threading
import time
from typing import Any

import psycopg
import pytest

from deploytools.local import CloudState, PostgresState
from tests.local.running import wait_for


def connect(parameters: dict[str, str], **changes: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(**{**parameters, **changes}, autocommit=True)


def test_certificate_and_name_are_verified(cloud: CloudState, server: PostgresState) -> None:
    with connect(cloud.as_master(server)) as connection:
        assert connection.pgconn.ssl_in_use
        assert (connection.info.parameter_status("server_version") or "").startswith(server.version)


def test_other_host_name(cloud: CloudState, server: PostgresState) -> None:
    with pytest.raises(psycopg.OperationalError, match='does not match host name "localhost"'):
        connect(cloud.as_master(server), host="localhost")


@pytest.mark.skipif(psycopg.pq.version() < 160000, reason="libpq before 16 does not know the system's authorities")
def test_other_certificate_authority(cloud: CloudState, server: PostgresState) -> None:
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(cloud.as_master(server), sslrootcert="system")


def test_wrong_password(cloud: CloudState, server: PostgresState) -> None:
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "postgres"'):
        connect(cloud.as_master(server), password="wrong")


def test_message_for_plaintext(cloud: CloudState, server: PostgresState) -> None:
    expected = 'FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "postgres", database "other", no encryption'
    with pytest.raises(psycopg.OperationalError, match=expected):
        connect(cloud.as_master(server, "other"), sslmode="disable")


def test_sqlstate_for_plaintext(server: PostgresState) -> None:
    startup = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
    with socket.create_connection((server.hostaddr, server.port), timeout=5) as client:
        client.sendall(struct.pack("!I", len(startup) + 4) + startup)
        answer = b""
        while data := client.recv(4096):
            answer += data
    assert answer[:1] == b"E"
    assert b"C28000\0" in answer


def test_gssapi_request(server: PostgresState) -> None:
    with socket.create_connection((server.hostaddr, server.port), timeout=5) as client:
        client.sendall(struct.pack("!II", 8, 80877104))
        assert client.recv(1) in b"NG"  # G: a server that was built with Kerberos
    with socket.create_connection((server.hostaddr, server.port), timeout=5) as client:
        client.sendall(struct.pack("!II", 8, 80877103))
        assert client.recv(1) == b"S"


def test_other_protocol(server: PostgresState) -> None:
    with socket.create_connection((server.hostaddr, server.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) in (b"", b"E")


@pytest.mark.parametrize("method", ["cancel", "cancel_safe"])  # the request in plaintext, and through TLS
def test_cancel(cloud: CloudState, server: PostgresState, method: str) -> None:
    with connect(cloud.as_master(server)) as connection:
        threading.Timer(0.2, getattr(connection, method)).start()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - started < 10
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.slow
def test_large_results_and_copy(cloud: CloudState, server: PostgresState) -> None:
    with connect(cloud.as_master(server)) as connection:
        rows = connection.execute("SELECT repeat('x', 1000000) FROM generate_series(1, 20)").fetchall()
        assert [len(value) for (value,) in rows] == [1_000_000] * 20
        connection.execute("CREATE TEMP TABLE copied (value text)")
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            for _ in range(100):
                copy.write_row(("y" * 100_000,))
        with connection.cursor().copy("COPY copied TO STDOUT") as copy:
            assert sum(len(block) for block in copy) == 100 * 100_001


@pytest.mark.slow
def test_forty_concurrent_connections(cloud: CloudState, server: PostgresState) -> None:
    def ask(number: int) -> int:
        with connect(cloud.as_master(server)) as connection:
            row = connection.execute("SELECT %s::int, pg_sleep(0.1)", [number]).fetchone()
            assert row
            return int(row[0])

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        assert list(pool.map(ask, range(40))) == list(range(40))


def test_terminated_session(cloud: CloudState, server: PostgresState) -> None:
    with connect(cloud.as_master(server)) as victim, connect(cloud.as_superuser(server)) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [victim.info.backend_pid])
        with pytest.raises(psycopg.OperationalError, match="terminating connection due to administrator command"):
            victim.execute("SELECT 1")


def test_killed_client(cloud: CloudState, server: PostgresState) -> None:
    with connect(cloud.as_superuser(server)) as admin:
        connection = connect(cloud.as_master(server))
        process_id = connection.info.backend_pid
        with socket.socket(fileno=connection.fileno()) as theirs:  # Closed without a Terminate message.
            theirs.shutdown(socket.SHUT_RDWR)
            theirs.detach()
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        assert wait_for(lambda: admin.execute(query, [process_id]).fetchone() == (0,), seconds=5)
        connection.close()
