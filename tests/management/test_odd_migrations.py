"""Migrations that exit, crash, reconnect or leave something behind: the report names tenant, migration and cause."""

from __future__ import annotations

import json
import re

import psutil
import pytest

from tests.fleet.world import FIRST, ROOT, Fleet, ended, is_alive, make_databases
from tests.management.runner import Result

ODD = ("fleet", "0002_odd")
BROKEN = "tests/fleet/migrations/broken/0002_broken.py"


@pytest.fixture
def fleet(deployment) -> Fleet:
    """One tenant without tables."""
    make_databases(deployment.postgres, deployment.login(), [deployment.tenants[0]])
    return Fleet(deployment, deployment.tenants[:1])


def text(result: Result) -> str:
    return " ".join(result.out.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("odd", "error", "hint"),
    [
        ("exits", "fleet.0002_odd failed (SystemExit): no license", "The migration is not atomic"),
        (
            "crashes",
            "The worker process was ended by SIGSEGV during fleet.0002_odd.",
            "What was not committed is rolled back. Run the command again.",
        ),
        (
            "is killed",
            "The worker process was ended by SIGKILL during fleet.0002_odd.",
            "What was not committed is rolled back. If no user killed it, the memory was exhausted: reduce --jobs.",
        ),
        (
            "leaves an index",
            "fleet.0002_odd failed (UniqueViolation): could not create unique index",
            "The migration is not atomic: what it did before the error is kept. Run the command with --traceback for "
            "details. It left an invalid index. Drop it before the next run: DROP INDEX CONCURRENTLY public.once",
        ),
        (
            "writes a terminal",
            f"fleet.0002_odd failed (ValueError): [31mred {'x' * 100}",
            "The migration is not atomic",
        ),
    ],
)
def test_failure_names_tenant_migration_and_cause(fleet, odd, error, hint):
    result = fleet.run("odd", ODD=odd)
    assert f"✗ {fleet.names[0]}: {error}" in text(result)
    assert f"Hint: {hint}" in text(result)
    assert (result.code, fleet.applied(fleet.names[0])) == (2, [FIRST])
    assert max(len(result.out), len(result.err)) < 5_000
    assert "\x1b" not in result.out + result.err


@pytest.mark.slow
def test_traceback_has_no_control_characters(fleet):
    result = fleet.run("odd", "--traceback", ODD="writes a terminal")
    assert "\nValueError:  [31mred \nxxx" in result.err
    assert (len(result.err) < 10_000, "\x1b" in result.err) == (True, False)


@pytest.mark.slow
def test_worker_is_killed_while_a_process_of_the_migration_keeps_its_pipe_open(fleet):
    process = fleet.start("odd", ODD="leaves a process")
    result = ended(process)
    (child,) = map(psutil.Process, map(int, re.findall(rf"^{fleet.names[0]}: child (\d+)$", result.err, re.MULTILINE)))
    try:
        assert "The worker process was ended by SIGKILL during fleet.0002_odd." in text(result)
        assert (result.code, is_alive(child)) == (2, True)
    finally:
        child.kill()


def test_output_of_a_migration_has_the_name_of_its_tenant(fleet):
    (name,) = fleet.names
    result = fleet.run("odd", "--format", "json", ODD="prints")
    lines = [line for line in result.err.splitlines() if line.startswith(f"{name}: ")]
    assert lines[:3] == [f"{name}: first", f"{name}: second [31mred", f"{name}: to stderr"]
    assert "logged" in lines[3]
    assert lines[4:] == [
        f"{name}: {line}" for line in ("not UTF-8: \\udcff", "by a program", "by another", "without an end")
    ]
    assert (result.code, json.loads(result.out)["counts"]) == (0, {"migrated": 1})


@pytest.mark.slow
def test_reconnecting_migration_stops_if_another_run_has_migrated_the_tenant(fleet):
    result = fleet.run("odd", ODD="reconnects late")
    assert "Another run migrated the tenant while a migration had closed its connection; applied before" in text(result)
    assert (result.code, fleet.applied(fleet.names[0])) == (2, [FIRST, ODD])


@pytest.mark.slow
def test_hint_for_an_invalid_index_helps(fleet):
    (name,) = fleet.names
    fleet.run("odd", ODD="leaves an index")
    with fleet.deployment.login().connect(name) as connection:
        connection.execute("DROP INDEX CONCURRENTLY public.once")
        connection.execute("DELETE FROM fleet_note")
    assert fleet.run("odd", ODD="nothing").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("odd", ["starts processes", "reconnects"])
def test_migration_works_as_with_migrate(fleet, odd):
    result = fleet.run("odd", "--lock-timeout", "3", ODD=odd)
    assert (result.code, fleet.applied(fleet.names[0])) == (0, [FIRST, ODD])
    notes = fleet.query(fleet.names[0], "SELECT text FROM fleet_note")
    assert notes == ([("3s 1",)] if odd == "reconnects" else []), "the new session has the lock and the time-out"


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--plan", "--check", "--noinput"])
def test_migration_that_cannot_be_imported_is_one_sentence(fleet, option):
    result = fleet.run("broken", option)
    assert (result.out, result.code) == ("", 2)
    assert result.err == (
        f"Error: The migrations cannot be loaded (ModuleNotFoundError in {ROOT / BROKEN}): No module named "
        "'no_such_module'\n"
        "Hint: Run: python manage.py makemigrations --check\n"
    )
