"""scripts/entrypoint as a container runs it, against the local cloud."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploytools.databases.migrating import LOCK_KEY
from deploytools.errors import ConfigurationError
from StartupWebApp.entrypoint import Step, planned_steps
from tests.operations.test_tunnel import STAND_IN
from tests.sockets import silent_port
from tests.test_gunicorn import free_port, wait_for

ROOT = Path(__file__).parent.parent.parent
TELL = (sys.executable, "-c", "import os; print(os.getpid(), os.environ['DATABASE_NAME'])")


@pytest.mark.parametrize(
    ("environment", "migration", "wait", "level"),
    [
        ({}, ("--check", "--tenant", "one"), "30", "high"),
        ({"RUN_MIGRATIONS": "0", "WAIT_SECONDS": "5"}, ("--check", "--tenant", "one"), "5", "high"),
        ({"RUN_MIGRATIONS": "1", "FAIL_ON": "critical"}, ("--noinput", "--tenant", "one"), "30", "critical"),
        ({"RUN_MIGRATIONS": "all"}, ("--noinput",), "30", "high"),
        ({"RUN_MIGRATIONS": "skip"}, None, "30", "high"),
    ],
)
def test_the_steps(environment, migration, wait, level):
    steps = planned_steps(environment | {"DATABASE_NAME": "one"})
    assert steps == (
        Step("check_rds", ("--wait", wait)),
        *([Step("migrate_tenants", migration)] if migration else []),
        Step("verify_deploy", ("--tag", "startup", "--fail-level", level)),
    )


@pytest.mark.parametrize(
    ("environment", "sentence", "hint"),
    [
        ({"WAIT_SECONDS": "soon"}, "WAIT_SECONDS is 'soon'", "It must be a number of seconds, for example 60."),
        ({"RUN_MIGRATIONS": "yes"}, "RUN_MIGRATIONS is 'yes'", "It must be 0 (none may be missing), 1 (this tenant), "),
        ({"FAIL_ON": "all"}, "FAIL_ON is 'all'", "It must be one of low, medium, high, critical."),
    ],
)
def test_values_that_cannot_be(environment, sentence, hint):
    with pytest.raises(ConfigurationError) as caught:
        planned_steps(environment)
    assert (str(caught.value), caught.value.hint.startswith(hint)) == (f"{sentence}, which it cannot be.", True)


class Container:
    """One start of the entrypoint."""

    def __init__(self, place: Path, environment: dict[str, str], *command: str) -> None:
        self.log = place / f"log-{len(list(place.iterdir()))}"
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        settings = {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production", "LOG_FORMAT": "json"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/entrypoint", *command],
                cwd=ROOT, env=keep | settings | environment, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def finish(self) -> tuple[str, int]:
        """What the command wrote, and the exit code."""
        out, _ = self.process.communicate(timeout=120)
        return out, self.process.returncode

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line]

    @property
    def messages(self) -> list[str]:
        return [str(line["message"]) for line in self.lines]

    @property
    def steps(self) -> list[tuple[object, object]]:
        return [(line["step"], line["exit_code"]) for line in self.lines if "step" in line]

    def says(self, pattern: str) -> bool:
        return any(re.search(pattern, message) for message in self.messages)


Starting = Callable[..., Container]


@pytest.fixture
def starting(tmp_path) -> Iterator[Starting]:
    started = []

    def start(deployment, *command: str, **environment: str) -> Container:
        variables = {**deployment.environment, "WAIT_SECONDS": "1", **environment}
        started.append(Container(tmp_path, variables, *(command or TELL)))
        return started[-1]

    yield start
    for container in started:
        container.process.kill()
        container.process.communicate()


ALL_FINE = [("settings", 0), ("check_rds", 0), ("migrate_tenants", 0), ("verify_deploy", 0)]


def test_it_becomes_the_command_or_says_why_not(created, starting):
    container = starting(created, "sh", "-c", "echo $$; exit 7", RUN_MIGRATIONS="skip")
    assert container.finish() == (f"{container.process.pid}\n", 7)
    assert container.steps == [("settings", 0), ("check_rds", 0), ("verify_deploy", 0)]
    assert container.messages[-1] == "Starting sh."

    container = starting(created, "/nowhere/gunicorn", RUN_MIGRATIONS="skip")
    assert container.finish() == ("", 127)
    assert container.messages[-1].startswith("There is no command /nowhere/gunicorn.\nHint: ")

    container = starting(created, "./README.md", RUN_MIGRATIONS="skip")
    assert container.finish() == ("", 126)
    assert container.messages[-1] == "./README.md cannot be run: Permission denied.\nHint: Is it executable?"


def test_nothing_to_start(deployment, starting, tmp_path):
    container = Container(tmp_path, dict(deployment.environment))
    assert container.finish() == ("", 2)
    assert container.messages == ["No command to start was given.\nHint: For example: scripts/entrypoint gunicorn …"]


def test_a_database_that_is_late(created, starting, tmp_path):
    port, target = free_port(), created.postgres.address.port
    container = starting(created, DB_PORT=str(port), WAIT_SECONDS="60", RUN_MIGRATIONS="skip")
    wait_for(lambda: container.says(r"Waiting for PostgreSQL \(refused\), \d+ s left"), 60)
    log = {"STAND_IN_TARGET": str(target), "STAND_IN_LOG": str(tmp_path / "stand-in")}
    forwarder = subprocess.Popen([sys.executable, STAND_IN, "-L", f"127.0.0.1:{port}:h:5432"], env=os.environ | log)
    try:
        assert container.finish()[1] == 0
    finally:
        forwarder.kill()
        forwarder.wait()


def test_a_database_that_never_comes(deployment, starting):
    container = starting(deployment, DB_PORT=str(free_port()))
    assert container.finish() == ("", 1)
    assert container.steps == [("settings", 0), ("check_rds", 1)]
    assert container.says("✗ Successfully connected to AWS RDS PostgreSQL")
    assert container.says("Nothing listens there: is the instance available")
    assert re.fullmatch(r"check_rds: failed with exit code 1 in \d+\.\d\d s\.", container.messages[-1])


def test_an_incomplete_secret(deployment, starting):
    deployment.put(password=None, email_user="")
    container = starting(deployment)
    assert container.finish() == ("", 2)
    assert container.steps == [("settings", 2)]
    assert container.lines[0]["level"] == "ERROR"
    assert container.messages[0] == (
        f"The secret {deployment.name} lacks 2 of the keys it needs: password, email_user.\n"
        "Hint: Write them into a JSON file and run: python manage.py sync_secrets FILE "
        "--settings StartupWebApp.settings"
    )


def test_an_error_is_two_lines_of_text_where_nobody_asked_for_json(deployment, starting):
    container = starting(deployment, DATABASE_NAME="", LOG_FORMAT="text")
    assert container.finish() == ("", 2)
    first, second, *_ = container.log.read_text().splitlines()
    assert first.endswith(
        " ERROR entrypoint: The production settings need DATABASE_NAME in the environment."
    )  # fmt: skip
    assert second.startswith("Hint: For example: export DATABASE_NAME=")


def applied(deployment) -> list[tuple[str, str]]:
    with deployment.login().connect(deployment.tenants[0]) as session:
        if session.execute("SELECT to_regclass('django_migrations')").fetchone()[0] is None:
            return []
        return [tuple(row) for row in session.execute("SELECT app, name FROM django_migrations").fetchall()]


@pytest.mark.slow
def test_missing_migrations_stop_the_start_unless_it_may_apply_them(created, starting):
    refused = starting(created)
    assert refused.finish() == ("", 1)
    assert refused.steps[-1] == ("migrate_tenants", 1)
    assert refused.says(f"{created.tenants[0]}: to migrate: ")
    assert applied(created) == []

    allowed = starting(created, RUN_MIGRATIONS="1")
    assert allowed.finish() == (f"{allowed.process.pid} {created.tenants[0]}\n", 0)
    assert allowed.steps == ALL_FINE
    rows = applied(created)
    assert len(rows) == len(set(rows)) > 20
    with created.login().connect(created.tenants[1]) as session:  # Another tenant is not this container's.
        assert session.execute("SELECT to_regclass('django_migrations')").fetchone()[0] is None

    again = starting(created)
    assert again.finish()[1] == 0
    assert again.steps == ALL_FINE
    assert applied(created) == rows
    assert all(line["seconds"] >= 0 for line in again.lines if "step" in line)
    assert {line["level"] for line in again.lines} == {"INFO"}
    assert created.document()["password"] not in again.log.read_text()


def test_a_thread_that_python_no_longer_counts_forbids_a_fork():
    code = (
        "import _thread, threading; from deploytools.databases.pool import may_fork; before = may_fork();"
        "lock = _thread.allocate_lock(); lock.acquire(); _thread.start_new_thread(lock.acquire, ());"
        "print(before, threading.active_count(), may_fork())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True 1 False\n"


@pytest.mark.slow
def test_ten_at_once_do_the_work_once(created, starting):
    containers = [starting(created, RUN_MIGRATIONS="1", WAIT_SECONDS="60") for _ in range(10)]
    assert [container.finish()[1] for container in containers] == [0] * 10
    rows = applied(created)
    assert len(rows) == len(set(rows)) > 20
    assert sum(container.says(r"\b\d+ applied: ") for container in containers) == 1


def connected(container: Container, port: int) -> bool:
    """Whether it has a connection to `port`."""
    found = psutil.Process(container.process.pid).net_connections()
    return any(connection.raddr and connection.raddr.port == port for connection in found)


def test_sigterm_while_it_waits_for_the_secret(deployment, starting):
    with silent_port() as port:
        container = starting(deployment, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
        wait_for(lambda: connected(container, port), 60)
        container.process.send_signal(signal.SIGTERM)
        assert container.finish() == ("", 143)
    assert re.fullmatch(r"Ended by SIGTERM during settings, after \d+\.\d s\.", container.messages[-1])


def test_sigterm_while_it_waits_for_the_database(deployment, starting):
    container = starting(deployment, DB_PORT=str(free_port()), WAIT_SECONDS="600")
    wait_for(lambda: container.says("Waiting for PostgreSQL"), 60)
    container.process.send_signal(signal.SIGTERM)
    assert container.finish() == ("", 143)
    assert container.messages[-1].startswith("check_rds: failed with exit code 143 ")


def test_sigterm_while_a_login_hangs(deployment, starting):
    with silent_port() as port:
        container = starting(deployment, DB_PORT=str(port), WAIT_SECONDS="600")
        wait_for(lambda: connected(container, port), 60)
        container.process.send_signal(signal.SIGTERM)
        assert container.finish() == ("", 143)


def test_sigterm_while_another_container_migrates(created, starting):
    with created.login().connect(created.tenants[0]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        container = starting(created, RUN_MIGRATIONS="1")
        wait_for(lambda: created.tenants[0] in waiting_processes(created), 60)
        container.process.send_signal(signal.SIGTERM)
        assert container.finish() == ("", 143)
        assert applied(created) == []
    assert container.says("It was told to end while another run migrated")
    assert container.steps[-1] == ("migrate_tenants", 143)


def waiting_processes(deployment) -> set[str]:
    """The databases in which somebody has just asked for the tenant's lock."""
    with deployment.postgres.admin() as admin:
        rows = admin.execute("SELECT datname FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%'")
        return {name for (name,) in rows.fetchall()}


SERVER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("up", flush=True)
time.sleep(60)
"""


def test_sigterm_reaches_the_server(created, starting):
    container = starting(created, sys.executable, "-c", SERVER, RUN_MIGRATIONS="skip")
    assert container.process.stdout is not None
    assert container.process.stdout.readline() == "up\n"
    container.process.send_signal(signal.SIGTERM)
    assert container.finish() == ("", 9)
