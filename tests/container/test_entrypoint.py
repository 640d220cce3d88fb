"""``python -m deploytools.container`` as a container runs it, against the local cloud."""

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
from hypothesis import given
from hypothesis import strategies as st

from deploytools.container import logging_configuration
from deploytools.container.entrypoint import NUMBERS, Step, plan_steps, run_step
from deploytools.errors import ConfigurationError
from deploytools.tenants.tenant_migration import LOCK_KEY
from deploytools.verification.findings import Severity
from deploytools.verification.registry import load_registry
from tests.container.http_client import wait_for
from tests.sockets import free_port, silent_port

ROOT = Path(__file__).parent.parent.parent
FORWARDER = ROOT / "tests/tunnel/fake_forwarder.py"
#: The variables of the entrypoint.
VARIABLES = ("WAIT_SECONDS", "RUN_MIGRATIONS", "FAIL_LEVEL", "LOG_LEVEL", "LOG_FORMAT", *NUMBERS, "WEB_QUERY_TIMEOUT")
PRINT_PID = (sys.executable, "-c", "import os; print(os.getpid(), os.environ['DATABASE_NAME'])")


@pytest.mark.parametrize(
    ("environment", "migration", "wait", "level"),
    [
        ({}, ("--check", "--tenant", "one"), "30", "high"),
        ({"RUN_MIGRATIONS": "check", "WAIT_SECONDS": "5"}, ("--check", "--tenant", "one"), "5", "high"),
        ({"RUN_MIGRATIONS": "tenant", "FAIL_LEVEL": "Critical"}, ("--noinput", "--tenant", "one"), "30", "critical"),
        ({"RUN_MIGRATIONS": "all"}, ("--noinput",), "30", "high"),
        ({"RUN_MIGRATIONS": "skip"}, None, "30", "high"),
    ],
)
def test_steps_for_each_environment(environment, migration, wait, level):
    steps = plan_steps(environment | {"DATABASE_NAME": "one"})
    assert steps == (
        Step("check_rds", ("--wait", wait)),
        *([Step("migrate_tenants", migration)] if migration else []),
        Step("verify_deploy", ("--tag", "startup", "--fail-level", level)),
    )


@pytest.mark.parametrize(
    ("environment", "message", "hint"),
    [
        (
            {"WAIT_SECONDS": "soon"},
            "WAIT_SECONDS must be a number of seconds, got 'soon'.",
            "For example: WAIT_SECONDS=60",
        ),
        (
            {"RUN_MIGRATIONS": "1"},
            "RUN_MIGRATIONS must be one of check, tenant, all, skip, got '1'.",
            "For example: RUN_MIGRATIONS=check",
        ),
        (
            {"FAIL_LEVEL": "all"},
            "FAIL_LEVEL must be one of low, medium, high, critical, got 'all'.",
            "For example: FAIL_LEVEL=high",
        ),
        (
            {"WEB_THREADS": "many"},
            "WEB_THREADS must be a number from 1 to 1000, got 'many'.",
            "For example: WEB_THREADS=4",
        ),
        (
            {"WEB_CONCURRENCY": "0"},
            "WEB_CONCURRENCY must be a number from 1 to 1000, got '0'.",
            "For example: WEB_CONCURRENCY=4",
        ),
        ({"PORT": "70000"}, "PORT must be a number from 1 to 65535, got '70000'.", "For example: PORT=8000"),
        (
            {"WEB_QUERY_TIMEOUT": "1e3"},
            "WEB_QUERY_TIMEOUT must be a number of seconds, got '1e3'.",
            "For example: WEB_QUERY_TIMEOUT=15",
        ),
    ],
)
def test_invalid_values_are_refused(environment, message, hint):
    with pytest.raises(ConfigurationError) as caught:
        plan_steps(environment)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@given(st.text(st.characters(exclude_characters="\0")), st.sampled_from(VARIABLES))
def test_any_value_is_used_or_refused_with_a_hint(value, name):
    """The environment can contain any bytes: Python decodes invalid ones to surrogates."""
    environment = {"LOG_LEVEL": "", "LOG_FORMAT": "", name: value}
    try:
        plan_steps(environment)
        logging_configuration(level=environment["LOG_LEVEL"], style=environment["LOG_FORMAT"])
    except ConfigurationError as error:
        assert str(error).startswith(f"{name} must be ")
        assert error.hint.startswith(f"For example: {name}=")


def test_each_failure_of_check_rds_prevents_the_start():
    """Whatever FAIL_LEVEL is, which has the meaning of ``--fail-level``: none is below critical."""
    registry = load_registry(
        "deploytools.verification.secret.facts",
        "deploytools.verification.connection.checks",
        "deploytools.verification.databases.checks",
    )
    checks = [*registry.select(["connection"]), registry.named("databases.table-privileges")]
    assert {check.severity for check in checks} == {Severity.CRITICAL}


def test_each_step_refuses_invalid_settings(settings, caplog):
    """As ``python manage.py`` does; `call_command` would not."""
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ACCOUNT": "1234"}
    steps = plan_steps({})
    assert [(step.command, run_step(step)) for step in steps] == [(step.command, 2) for step in steps]
    assert caplog.text.count("deploytools.E005") == len(steps) == 3


class Container:
    """One run of the entrypoint."""

    def __init__(self, place: Path, environment: dict[str, str], *command: str) -> None:
        self.log = place / f"log-{len(list(place.iterdir()))}"
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        settings = {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production", "LOG_FORMAT": "json"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploytools.container", *command],
                cwd=ROOT, env=keep | settings | environment, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def finish(self) -> tuple[str, int]:
        """Return the output of the command and the exit code."""
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

    def has_logged(self, pattern: str) -> bool:
        return any(re.search(pattern, message) for message in self.messages)


StartContainer = Callable[..., Container]


@pytest.fixture
def start_container(tmp_path) -> Iterator[StartContainer]:
    started = []

    def start(deployment, *command: str, **environment: str) -> Container:
        variables = {**deployment.environment, "WAIT_SECONDS": "1", **environment}
        started.append(Container(tmp_path, variables, *(command or PRINT_PID)))
        return started[-1]

    yield start
    for container in started:
        container.process.kill()
        container.process.communicate()


ALL_COMPLETED = [("settings", 0), ("check_rds", 0), ("migrate_tenants", 0), ("verify_deploy", 0)]


@pytest.mark.slow
def test_the_process_is_replaced_by_the_command(created, start_container):
    container = start_container(created, "sh", "-c", "echo $$; exit 7", RUN_MIGRATIONS="skip")
    assert container.finish() == (f"{container.process.pid}\n", 7)
    assert container.steps == [("settings", 0), ("check_rds", 0), ("verify_deploy", 0)]
    assert container.messages[-1] == "Starting sh."

    container = start_container(created, "/nowhere/gunicorn", RUN_MIGRATIONS="skip")
    assert container.finish() == ("", 127)
    assert container.messages[-1].startswith("Command not found: /nowhere/gunicorn.\nHint: ")

    container = start_container(created, "./README.md", RUN_MIGRATIONS="skip")
    assert container.finish() == ("", 126)
    assert container.messages[-1] == (
        "Cannot execute ./README.md: Permission denied.\nHint: Check that the file is executable."
    )


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--help",), 0)])
def test_usage_without_a_command(arguments, code):
    command = [sys.executable, "-m", "deploytools.container", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout or done.stderr).startswith("usage: python -m deploytools.container COMMAND")
    assert (done.returncode, bool(done.stdout), bool(done.stderr)) == (code, code == 0, code != 0)


def test_sigterm_is_handled_before_anything_slow_is_imported(tmp_path):
    # Short sleeps: Python runs no handler for a signal that arrives just before a sleep until the sleep has ended.
    slow = "import time; print('importing', flush=True); [time.sleep(0.1) for _ in range(600)]"
    (tmp_path / "logging.py").write_text(slow)
    with subprocess.Popen(
        [sys.executable, "-m", "deploytools.container", "true"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143


@pytest.mark.slow
def test_the_start_waits_for_the_database(created, start_container, tmp_path):
    port, target = free_port(), created.postgres.address.port
    container = start_container(created, DB_PORT=str(port), WAIT_SECONDS="60", RUN_MIGRATIONS="skip")
    wait_for(lambda: container.has_logged(r"Waiting for PostgreSQL \(connection refused\), \d+ s left"), 60)
    log = {"FAKE_TARGET": str(target), "FAKE_LOG": str(tmp_path / "arguments")}
    forwarder = subprocess.Popen([sys.executable, FORWARDER, "-L", f"127.0.0.1:{port}:h:5432"], env=os.environ | log)
    try:
        assert container.finish()[1] == 0
    finally:
        forwarder.kill()
        forwarder.wait()


@pytest.mark.slow
def test_an_unreachable_database_ends_the_start(deployment, start_container):
    container = start_container(deployment, DB_PORT=str(free_port()))
    assert container.finish() == ("", 1)
    assert container.steps == [("settings", 0), ("check_rds", 1)]
    (failed,) = [line for line in container.lines if line.get("status") == "fail"]
    assert {name: failed[name] for name in ("level", "check", "severity", "tenant")} == {
        "level": "ERROR", "check": "connection.connect", "severity": "critical", "tenant": deployment.tenants[0],
    }  # fmt: skip
    assert str(failed["message"]).startswith("connection.connect (fail): Could not connect as ")
    assert str(failed["hint"]).startswith("Check that the instance is available and the tunnel is open")
    assert re.fullmatch(r"check_rds: failed with exit code 1 in \d+\.\d\d s\.", container.messages[-1])


@pytest.mark.slow
def test_an_incomplete_secret_ends_the_start(deployment, start_container):
    deployment.put(password=None, email_user="")
    container = start_container(deployment)
    assert container.finish() == ("", 2)
    assert container.steps == [("settings", 2)]
    assert container.lines[0]["level"] == "ERROR"
    assert container.messages[0] == (
        f"The secret {deployment.name} is missing 2 required keys: password, email_user.\n"
        "Hint: Write them to a JSON file and run: python manage.py sync_secrets FILE "
        "--settings StartupWebApp.settings"
    )


def test_an_error_is_logged_as_text_by_default(deployment, start_container):
    container = start_container(deployment, DATABASE_NAME="", LOG_FORMAT="text")
    assert container.finish() == ("", 2)
    first, second, *_ = container.log.read_text().splitlines()
    assert first.endswith(" ERROR entrypoint: DATABASE_NAME is not set in the environment.")
    assert second.startswith("Hint: For example: export DATABASE_NAME=")


@pytest.mark.slow
def test_the_reason_of_a_failed_start_is_logged_at_each_level(created, start_container):
    created.put(password="not-the-password-of-the-role-000000000000")
    container = start_container(created, LOG_LEVEL="warning", RUN_MIGRATIONS="skip")
    assert container.finish() == ("", 1)
    assert {line["level"] for line in container.lines} == {"ERROR"}
    assert container.has_logged("password authentication failed")

    refused = start_container(created, LOG_LEVEL="ERROR")
    assert refused.finish() == ("", 1)
    assert refused.has_logged("password authentication failed")


@pytest.mark.slow
def test_a_weak_password_that_works_does_not_prevent_the_start(created, start_container):
    password = "weak-but-it-works-27-chars!"
    with created.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {created.role} PASSWORD '{password}'")
    created.put(password=password)
    container = start_container(created, RUN_MIGRATIONS="skip", FAIL_LEVEL="critical")
    assert container.finish()[1] == 0
    warnings = [line for line in container.lines if line["level"] == "WARNING"]
    assert [line.get("check") for line in warnings if "characters" in str(line["message"])]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LOG_LEVEL": "nonsense"}, "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'NONSENSE'."),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of text, json, got 'xml'."),
        (
            {"DJANGO_SETTINGS_MODULE": "shop.nothing"},
            "Cannot load the settings shop.nothing: ModuleNotFoundError: No module named 'shop'",
        ),
        (
            {"PROCESSES": "abc"},
            "Cannot load the settings StartupWebApp.settings_production: ValueError: invalid literal for int() "
            "with base 10: 'abc'",
        ),
    ],
)
def test_an_invalid_value_is_one_sentence_and_one_hint(deployment, start_container, environment, message):
    container = start_container(deployment, **environment)
    assert container.finish() == ("", 2)
    first = container.log.read_text()
    assert message in first
    assert "\nHint: " in first or "\\nHint: " in first
    assert "Traceback" not in first


@pytest.mark.parametrize("level", ["", "info", "Error"])
def test_the_level_can_be_empty_or_in_lower_case(deployment, start_container, level):
    container = start_container(deployment, DATABASE_NAME="", LOG_LEVEL=level)
    assert container.finish() == ("", 2)
    assert container.messages[0].startswith("DATABASE_NAME is not set in the environment.\nHint: ")


def applied_migrations(deployment) -> list[tuple[str, str]]:
    with deployment.login().connect(deployment.tenants[0]) as session:
        if session.execute("SELECT to_regclass('django_migrations')").fetchone()[0] is None:
            return []
        return [tuple(row) for row in session.execute("SELECT app, name FROM django_migrations").fetchall()]


@pytest.mark.slow
def test_unapplied_migrations_end_the_start_or_are_applied(created, start_container):
    refused = start_container(created)
    assert refused.finish() == ("", 1)
    assert refused.steps[-1] == ("migrate_tenants", 1)
    assert refused.has_logged(f"{created.tenants[0]}: to migrate: ")
    assert applied_migrations(created) == []

    allowed = start_container(created, RUN_MIGRATIONS="tenant")
    assert allowed.finish() == (f"{allowed.process.pid} {created.tenants[0]}\n", 0)
    assert allowed.steps == ALL_COMPLETED
    rows = applied_migrations(created)
    assert len(rows) == len(set(rows)) > 20
    with created.login().connect(created.tenants[1]) as session:  # The other tenant is unchanged.
        assert session.execute("SELECT to_regclass('django_migrations')").fetchone()[0] is None

    again = start_container(created)
    assert again.finish()[1] == 0
    assert again.steps == ALL_COMPLETED
    assert applied_migrations(created) == rows
    assert all(line["seconds"] >= 0 for line in again.lines if "step" in line)
    assert {line["level"] for line in again.lines} == {"INFO"}
    assert created.document()["password"] not in again.log.read_text()


@pytest.mark.slow
def test_forking_is_refused_with_a_thread_that_python_does_not_count():
    code = (
        "import _thread, threading; from deploytools.rollout.workers import may_fork; before = may_fork();"
        "lock = _thread.allocate_lock(); lock.acquire(); _thread.start_new_thread(lock.acquire, ());"
        "print(before, threading.active_count(), may_fork())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True 1 False\n"


@pytest.mark.slow
def test_ten_concurrent_starts_apply_migrations_once(created, start_container):
    containers = [start_container(created, RUN_MIGRATIONS="tenant", WAIT_SECONDS="60") for _ in range(10)]
    assert [container.finish()[1] for container in containers] == [0] * 10
    rows = applied_migrations(created)
    assert len(rows) == len(set(rows)) > 20
    assert sum(container.has_logged(r"\b\d+ applied: ") for container in containers) == 1


def is_connected(container: Container, port: int) -> bool:
    """Return whether the process has a connection to `port`."""
    found = psutil.Process(container.process.pid).net_connections()
    return any(connection.raddr and connection.raddr.port == port for connection in found)


@pytest.mark.slow
def test_sigterm_while_reading_the_secret(deployment, start_container):
    with silent_port() as port:
        container = start_container(deployment, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
        wait_for(lambda: is_connected(container, port), 60)
        container.process.send_signal(signal.SIGTERM)
        assert container.finish() == ("", 143)
    assert re.fullmatch(r"Terminated by SIGTERM during settings after \d+\.\d s\.", container.messages[-1])


@pytest.mark.slow
def test_sigterm_while_waiting_for_the_database(deployment, start_container):
    container = start_container(deployment, DB_PORT=str(free_port()), WAIT_SECONDS="600")
    wait_for(lambda: container.has_logged("Waiting for PostgreSQL"), 60)
    container.process.send_signal(signal.SIGTERM)
    assert container.finish() == ("", 143)
    assert container.messages[-1].startswith("Terminated by SIGTERM during check_rds after ")


@pytest.mark.slow
def test_sigterm_while_a_login_is_blocked(deployment, start_container):
    with silent_port() as port:
        container = start_container(deployment, DB_PORT=str(port), WAIT_SECONDS="600")
        wait_for(lambda: is_connected(container, port), 60)
        container.process.send_signal(signal.SIGTERM)
        assert container.finish() == ("", 143)


@pytest.mark.slow
def test_sigterm_while_another_container_migrates(created, start_container):
    with created.login().connect(created.tenants[0]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        container = start_container(created, RUN_MIGRATIONS="tenant")
        wait_for(lambda: created.tenants[0] in databases_with_lock_requests(created), 60)
        container.process.send_signal(signal.SIGTERM)
        assert container.finish() == ("", 143)
        assert applied_migrations(created) == []
    assert container.has_logged("Canceled while another run was migrating")
    assert container.steps[-1] == ("migrate_tenants", 143)


def databases_with_lock_requests(deployment) -> set[str]:
    """Return the databases in which a session requested the tenant's lock."""
    with deployment.postgres.admin() as admin:
        rows = admin.execute("SELECT datname FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%'")
        return {name for (name,) in rows.fetchall()}


SERVER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("up", flush=True)
for _ in range(600):
    time.sleep(0.1)  # a signal just before a long sleep would wait for its end
"""


@pytest.mark.slow
def test_sigterm_reaches_the_server(created, start_container):
    container = start_container(created, sys.executable, "-c", SERVER, RUN_MIGRATIONS="skip")
    assert container.process.stdout is not None
    assert container.process.stdout.readline() == "up\n"
    container.process.send_signal(signal.SIGTERM)
    assert container.finish() == ("", 9)
