"""gunicorn with the settings of the container."""

from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path

import pytest

from deploytools.container import gunicorn_config as gunicorn
from tests.container.gunicorn_server import probe, serving
from tests.container.http_client import get, wait_for
from tests.sockets import free_port

ROOT = Path(__file__).parent.parent.parent
SHARED_MEMORY = "/dev/shm"  # noqa: S108


@pytest.mark.parametrize(
    ("files", "available", "expected"),
    [
        ({}, 4, 4),
        ({"cpu.max": "max 100000"}, 4, 4),
        ({"cpu.max": "25000 100000"}, 4, 1),
        ({"cpu.max": "150000 100000"}, 4, 2),
        ({"cpu.max": "800000 100000"}, 4, 4),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 4, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4, 4),
        ({"cpu.max": "nonsense"}, 4, 4),
    ],
)
def test_the_cpu_count_respects_the_cgroup_quota(tmp_path, files, available, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert gunicorn.cpu_count(tmp_path, available) == expected


def test_timeouts_fit_the_task_definition():
    definition = json.loads((ROOT / "deploy/aws/task-service.json").read_text())
    (container,) = definition["containerDefinitions"]
    assert gunicorn.graceful_timeout < container["stopTimeout"]
    assert gunicorn.worker_tmp_dir == SHARED_MEMORY


@pytest.mark.slow
def test_requests_are_logged_as_json_and_sigterm_ends_the_server(tmp_path):
    log = tmp_path / "log"
    with serving(log, LOG_FORMAT="json", WEB_CONCURRENCY="2") as (port, arbiter):
        assert get(port, "/healthz?token=canary-token", X_Forwarded_For="203.0.113.7") == (200, b"ok\n")
        assert probe(port) == (0, "")
        wait_for(lambda: len(arbiter.children()) == 2)
        for child in arbiter.children():
            files = [str(link.readlink()) for link in Path(f"/proc/{child.pid}/fd").iterdir()]
            assert any(name.startswith(f"{SHARED_MEMORY}/wgunicorn-") for name in files), files
        arbiter.send_signal(signal.SIGTERM)
        assert arbiter.wait(30) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (first, *_) = [line for line in lines if line["logger"] == "gunicorn.access"]
    request = first["request"]
    assert {key: request[key] for key in ("method", "path", "status", "bytes", "client")} == {
        "method": "GET", "path": "/healthz", "status": 200, "bytes": 3, "client": "203.0.113.7",
    }  # fmt: skip
    assert "canary-token" not in log.read_text()
    assert {line["logger"] for line in lines} <= {"gunicorn.access", "gunicorn.error"}


def test_the_probe_reports_an_error():
    port = free_port()
    code, error = probe(port)
    assert (code, error.startswith(f"No response from port {port}: ")) == (1, True)


SLOW = """
import os, time
os.environ["DJANGO_SETTINGS_MODULE"] = "StartupWebApp.settings"
import django
django.setup()
from django.db import connection
assert connection.connection is None
connection.connect()
PID = connection.connection.info.backend_pid

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1.5)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{PID} {connection.connection is None}".encode()]
"""


@pytest.fixture
def reachable(one_postgres, monkeypatch) -> dict[str, str]:
    """The environment for the base settings, which have no TLS options: libpq reads them from the environment."""
    master, address = one_postgres.master, one_postgres.address
    return {
        "DATABASE_HOST": address.host, "DATABASE_PORT": str(address.port), "DATABASE_USER": master.user,
        "DATABASE_PASSWORD": master.password.reveal(), "DATABASE_NAME": "postgres",
        "PGHOSTADDR": address.hostaddr, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": address.sslrootcert,
    }  # fmt: skip


@pytest.mark.slow
def test_connections_are_closed_before_the_fork(tmp_path, one_postgres, reachable):
    (tmp_path / "slow_application.py").write_text(SLOW)
    with serving(tmp_path / "log", "slow_application", PYTHONPATH=str(tmp_path), WEB_CONCURRENCY="2", **reachable) as (
        port,
        _,
    ):
        status, body = get(port, "/")
        pid, is_closed = body.decode().split()
        assert (status, is_closed) == (200, "True")
        with one_postgres.admin() as admin:
            assert admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [int(pid)]).fetchone() is None


@pytest.mark.slow
def test_a_request_in_progress_is_completed_after_sigterm(tmp_path, reachable):
    (tmp_path / "slow_application.py").write_text(SLOW)
    with serving(tmp_path / "log", "slow_application", PYTHONPATH=str(tmp_path), WEB_CONCURRENCY="1", **reachable) as (
        port,
        arbiter,
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/slow")
        wait_for(lambda: [c for c in arbiter.children() for s in c.net_connections() if s.status == "ESTABLISHED"])
        arbiter.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        assert (response.status, arbiter.wait(30)) == (200, 0)
        connection.close()
