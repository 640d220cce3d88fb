"""Liveness, readiness and limits of gunicorn, against a real database that is locked, frozen or stopped."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from deploytools.container.liveness_socket import answer
from tests.container.gunicorn_server import probe, serving
from tests.container.http_client import get, wait_for
from tests.deployment import Deployment

TLS = {"X_Forwarded_Proto": "https", "Host": "localhost"}
ONE_WORKER = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "2"}


def production(deployment: Deployment, **environment: str) -> dict[str, str]:
    return {
        **deployment.environment,
        "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production",
        **ONE_WORKER,
        **environment,
    }


@contextmanager
def locked(deployment: Deployment) -> Iterator[None]:
    """Hold the lock that a migration of the table of products would hold."""
    with deployment.login().connect(deployment.tenants[0]) as session, session.transaction():
        session.execute("LOCK TABLE order_configuration IN ACCESS EXCLUSIVE MODE")
        yield


def sessions(deployment: Deployment) -> int:
    with deployment.postgres.admin() as admin:
        row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [deployment.role]).fetchone()
        assert row
        return int(row[0])


@pytest.mark.slow
def test_requests_that_are_blocked_for_40_seconds_do_not_fail_the_liveness_probe(tmp_path, migrated):
    with (
        serving(tmp_path / "log", **production(migrated, WEB_QUERY_TIMEOUT="0")) as (port, _),
        ThreadPoolExecutor(8) as clients,
    ):
        with locked(migrated):
            blocked = [clients.submit(get, port, "/order/products", **TLS) for _ in range(8)]
            wait_for(lambda: sessions(migrated) == 3)
            end = time.monotonic() + 40
            while time.monotonic() < end:
                assert probe(port) == (0, "")
            assert not any(request.done() for request in blocked)
        assert {request.result()[0] for request in blocked} == {200}


@pytest.mark.slow
def test_a_stopped_worker_fails_the_liveness_probe(tmp_path):
    with serving(tmp_path / "log", **ONE_WORKER) as (port, arbiter):
        wait_for(lambda: probe(port) == (0, ""))
        (worker,) = arbiter.children()
        worker.suspend()
        assert probe(port) == (1, "No worker of the server answers: timed out\n")
        worker.resume()
        assert probe(port) == (0, "")


def test_without_a_free_file_descriptor_probes_are_not_accepted_in_a_loop(monkeypatch):
    class Listener:
        calls = 0

        def accept(self):
            self.calls += 1
            assert self.calls == 1
            raise OSError(errno.EMFILE, "Too many open files")

    class Stop(Exception):
        pass

    def pause(seconds: float) -> None:
        raise Stop

    monkeypatch.setattr("deploytools.container.liveness_socket.time.sleep", pause)
    listener: Any = Listener()
    with pytest.raises(Stop):
        answer(listener, time.monotonic, limit=30)


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(tmp_path):
    """Its thread for probes still runs, but the heartbeat of its main loop does not."""
    (tmp_path / "hanging.py").write_text(
        "import os, time\n"
        "from gunicorn.workers.gthread import ThreadWorker\n"
        "class Worker(ThreadWorker):\n"
        "    def run(self):\n"
        "        self.notify()\n"
        "        time.sleep(3600)\n"
    )
    environment = {"PYTHONPATH": str(tmp_path), "GUNICORN_CMD_ARGS": "--worker-class hanging.Worker --timeout 8"}
    with serving(tmp_path / "log", **ONE_WORKER, **environment) as (port, arbiter):
        wait_for(lambda: probe(port) == (0, ""))
        (worker,) = arbiter.children()
        wait_for(lambda: not psutil.pid_exists(worker.pid))


@pytest.mark.slow
@pytest.mark.parametrize("clients", [1, 12])
def test_readiness_keeps_no_connection(tmp_path, migrated, clients):
    with serving(tmp_path / "log", **production(migrated)) as (port, _), ThreadPoolExecutor(clients) as pool:
        before = sessions(migrated)
        statuses = {response[0] for response in pool.map(lambda _: get(port, "/readyz", **TLS), range(60))}
        assert (statuses, sessions(migrated) - before) == ({200}, 0)


@pytest.mark.slow
def test_readiness_and_the_shop_agree_after_a_rotation(tmp_path, migrated):
    with serving(tmp_path / "log", **production(migrated, WEB_THREADS="1")) as (port, _):
        assert get(port, "/order/products", **TLS)[0] == 200
        with migrated.postgres.admin() as admin:
            admin.execute(f"ALTER ROLE {migrated.role} PASSWORD NULL")
        assert (get(port, "/order/products", **TLS)[0], get(port, "/readyz", **TLS)[0]) == (200, 200)
        migrated.postgres.terminate(migrated.role)
        assert get(port, "/order/products", **TLS)[0] == 500
        wait_for(lambda: get(port, "/readyz", **TLS)[0] == 503)


@pytest.mark.slow
def test_a_request_that_waits_for_a_lock_is_cancelled(tmp_path, migrated):
    with serving(tmp_path / "log", **production(migrated, WEB_QUERY_TIMEOUT="1")) as (port, _), locked(migrated):
        assert get(port, "/order/products", **TLS)[0] == 500
    assert "canceling statement due to lock timeout" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_frozen_database_is_reported(tmp_path, migrated):
    """The kernel acknowledges what the client sends, so that only the client can end the connection."""
    with serving(tmp_path / "log", **production(migrated, WEB_QUERY_TIMEOUT="600", WEB_THREADS="1")) as (port, _):
        assert get(port, "/order/products", **TLS)[0] == 200
        with migrated.postgres.admin() as admin:
            pids = [
                pid
                for (pid,) in admin.execute(
                    "SELECT pid FROM pg_stat_activity WHERE usename = %s", [migrated.role]
                ).fetchall()
            ]
        for pid in pids:
            psutil.Process(pid).send_signal(signal.SIGSTOP)
        try:
            assert get(port, "/order/products", **TLS)[0] == 200  # With a new connection: its health check failed.
        finally:
            for pid in pids:
                psutil.Process(pid).send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_limits_of_the_role_are_kept_and_commands_have_none(tmp_path, migrated):
    (tmp_path / "limits.py").write_text(
        "from django.core.wsgi import get_wsgi_application\n"
        "get_wsgi_application()\n"
        "from django.db import connection\n"
        "import os, socket\n"
        "NAMES = ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')\n"
        "OPTIONS = ('TCP_KEEPIDLE', 'TCP_KEEPINTVL', 'TCP_KEEPCNT', 'TCP_USER_TIMEOUT')\n"
        "def application(environ, start_response):\n"
        "    with connection.cursor() as cursor:\n"
        "        cursor.execute('SELECT ' + ', '.join(f\"current_setting('{name}')\" for name in NAMES))\n"
        "        row = cursor.fetchone()\n"
        "    with socket.socket(fileno=os.dup(connection.connection.fileno())) as tcp:\n"
        "        found = [tcp.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in OPTIONS]\n"
        "        found.append(tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))\n"
        "    connection.close()\n"
        "    start_response('200 OK', [])\n"
        "    return [' '.join(map(str, (*row, *found))).encode()]\n"
    )
    environment = production(migrated, PYTHONPATH=str(tmp_path))
    with serving(tmp_path / "log", "limits", **environment) as (port, _):
        assert get(port, "/") == (200, b"15s 7500ms 1min 30 10 3 20000 1")
        with migrated.postgres.admin() as admin:
            admin.execute(f"ALTER ROLE {migrated.role} SET statement_timeout = '2s'")
        assert get(port, "/") == (200, b"2s 7500ms 1min 30 10 3 20000 1")


@pytest.mark.slow
@pytest.mark.parametrize("accept", ["*; q=.2", "foo", "text/html, image/gif, *; q=.2, */*; q=.2"])
@pytest.mark.parametrize("query", ["", "?format=rss", "?format=openmetrics", "?format=nonsense"])
def test_accept_and_format_do_not_change_the_status(client, accept, query, deployment):
    """The tenant's database does not exist."""
    response = client.get(f"/readyz{query}", headers={"accept": accept})
    assert (response.status_code, response.json()["ready"]) == (503, False)
