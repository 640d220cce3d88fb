"""`migrate_tenants` as a process of its own, on real databases: (out, err, exit code), and what it did not touch."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time

import psutil
import pytest
from psycopg import sql

from deploytools.databases import pool
from deploytools.databases.access import read_secret
from deploytools.databases.fleet import Limits, Outcome
from deploytools.databases.rollout import look
from tests.fleet.world import FIRST, SECOND, Fleet, ended, make_databases

#: Seconds, which differ from run to run.
TIMES = re.compile(r"\d+\.\d s")


def plain(text: str) -> list[str]:
    """The lines as they were before they were wrapped, without times."""
    return re.sub(r"\n  (?!Hint)", " ", TIMES.sub("… s", text)).splitlines()


@pytest.fixture
def fleet(deployment):
    """Three tenants without tables."""
    names = [f"{deployment.name}_{number}" for number in ("one", "two", "three")]
    make_databases(deployment.postgres, deployment.login(), names)
    return Fleet(deployment, names)


def wait_until(condition) -> None:
    """Wait for what another process does."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came about")


@pytest.mark.other_versions
def test_from_nothing_to_migrated_and_again(fleet, tmp_path):
    report = tmp_path / "report.json"
    one, two, three = fleet.names
    planned = fleet.run("v2", "--plan")
    assert (plain(planned.out), planned.err, planned.code) == (
        [
            f"- {one}, {two}, {three}: to migrate: 2 to apply: fleet.0001_initial, fleet.0002_extra",
            "3 tenants: 3 to migrate; … s",
        ],
        "",
        0,
    )
    assert fleet.run("v2", "--check")._replace(out="") == ("", "", 1)
    assert [fleet.tables(name) for name in fleet.names] == [set(), set(), set()]

    first = fleet.run("v2", "--format", "json", "--output", str(report))
    assert (first.out, first.code) == ("", 0)
    assert sorted(plain(first.err)[-3:]) == sorted(
        f"✓ {name}: 2 applied: fleet.0001_initial, fleet.0002_extra (… s)" for name in fleet.names
    )
    document = json.loads(report.read_text())
    assert document["counts"] == {"migrated": 3}
    assert [(entry["tenant"], entry["before"]["state"], entry["after"]["state"]) for entry in document["tenants"]] == [
        (name, "2 to apply", "up to date") for name in fleet.names
    ]
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST, SECOND]] * 3

    again = fleet.run("v2")
    assert plain(again.out) == [f"✓ {one}, {two}, {three}: up to date", "3 tenants: 3 up to date; … s"]
    assert (again.err, again.code) == ("", 0)
    assert fleet.run("v2", "--check").code == 0


@pytest.mark.other_versions
def test_nothing_to_do_costs_one_connection_and_one_query(fleet):
    assert fleet.run("v1").code == 0
    role = fleet.deployment.role
    with fleet.deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} SET log_statement = 'all'").format(sql.Identifier(role)))
    before = len(fleet.deployment.postgres.log())
    assert fleet.run("v1").code == 0
    lines = fleet.deployment.postgres.log()[before:].splitlines()
    for name in fleet.names:
        about = [line for line in lines if f"{role}@{name} " in line]
        assert len([line for line in about if "connection authorized" in line]) == 1
        statements = [line for line in about if re.search(r"LOG:  (statement|execute)", line)]
        assert [line.rpartition(" FROM ")[2] for line in statements] == ["django_migrations"]


def test_without_a_terminal_it_does_not_guess(fleet):
    result = fleet.run("v2", noinput=False)
    assert result.err.splitlines()[-2].startswith("Error: Nothing was changed: this is not a terminal")
    assert (result.out, result.code, [fleet.tables(name) for name in fleet.names]) == ("", 1, [set()] * 3)


@pytest.mark.other_versions
@pytest.mark.slow
def test_the_first_failure_stops_the_rest_and_what_failed_is_rolled_back(fleet):
    assert fleet.run("v1").code == 0
    one, two, three = fleet.names
    result = fleet.run("failing", "--jobs", "1", "--traceback")
    assert plain(result.out) == [
        f"✓ {one}: 1 applied: fleet.0002_fails",
        f"- {three}: not started: 1 to apply: fleet.0002_fails",
        f"✗ {two}: fleet.0002_fails failed (ValueError): a bug in a migration",
        "  Hint: It was rolled back. Look at the whole of it with --traceback.",
        "3 tenants: 1 migrated, 1 not started, 1 failed; … s",
    ]
    assert "printed by a migration" in result.err
    assert 'raise ValueError("a bug in a migration")' in result.err
    assert result.code == 2
    assert [fleet.applied(name)[1:] for name in fleet.names] == [[("fleet", "0002_fails")], [], []]
    assert [len(fleet.query(name, "SELECT FROM fleet_note")) for name in fleet.names] == [1, 0, 0]

    on = fleet.run("failing", "--keep-going")
    assert (plain(on.out)[-1], on.code) == ("3 tenants: 1 up to date, 2 failed; … s", 2)
    mended = fleet.run("v2")
    assert mended.code == 0
    assert f"✓ {one}: 1 applied: fleet.0002_extra; ahead of this code: fleet.0002_fails" in plain(mended.out)
    assert [fleet.applied(name)[-1] for name in fleet.names] == [SECOND] * 3


@pytest.mark.slow
def test_a_canary_goes_first_and_keeps_the_others_from_harm(fleet):
    assert fleet.run("v1").code == 0
    one, two, _ = fleet.names
    result = fleet.run("failing", "--canary", two, "--keep-going")
    assert (plain(result.out)[-1], result.code) == ("3 tenants: 2 not started, 1 failed; … s", 2)
    assert [len(fleet.applied(name)) for name in fleet.names] == [1, 1, 1]
    passed = fleet.run("failing", "--canary", one, "--tenant", one, two)
    assert f"✓ {one}: 1 applied: fleet.0002_fails (… s)" in plain(passed.err)
    assert plain(passed.out)[-1] == "2 tenants: 1 migrated, 1 failed; … s"


def test_histories_that_are_told_apart(fleet):
    assert fleet.run("v2").code == 0
    one, two, three = fleet.names
    fleet.execute(two, "DELETE FROM django_migrations WHERE name = '0001_initial'")
    with fleet.deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(three)))
    before = fleet.applied(two)
    result = fleet.run("v1", "--plan")
    assert plain(result.out)[0] == f"✓ {one}: up to date; ahead of this code: fleet.0002_extra"
    assert plain(result.out)[1] == (
        f"- {two}: to migrate: 1 to apply: fleet.0001_initial; ahead of this code: fleet.0002_extra"
    )
    assert f'database "{three}" does not exist' in plain(result.out)[2]
    assert result.code == 2
    broken = fleet.run("v2", "--tenant", two)
    assert plain(broken.out) == [
        f"✗ {two}: Its history is inconsistent: fleet.0002_extra is applied and fleet.0001_initial, which it needs, is "
        "not.",
        f"  Hint: Compare it with the code: DATABASE_NAME={two} python manage.py showmigrations",
        "1 tenant: 1 refused; … s",
    ]
    assert (broken.code, fleet.applied(two)) == (1, before)


@pytest.mark.slow
def test_ten_at_once_migrate_once(fleet):
    """One migrates each tenant, with an index made concurrently, and nine wait and find nothing to do."""
    assert fleet.run("v1").code == 0
    running = [fleet.start("concurrent", "--format", "json", "--jobs", "3") for _ in range(10)]
    results = [ended(process) for process in running]
    assert [result.code for result in results] == [0] * 10, results
    entries = [entry for result in results for entry in json.loads(result.out)["tenants"]]
    for name in fleet.names:
        applied = [entry["applied"] for entry in entries if entry["tenant"] == name]
        assert sorted(applied) == [[]] * 9 + [["fleet.0002_index"]]
        assert fleet.applied(name) == [FIRST, ("fleet", "0002_index")]
    states = {entry["after"]["state"] for entry in entries}
    assert states == {"up to date"}


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_running_one_finish_and_starts_no_other(fleet, signum, code):
    assert fleet.run("v1").code == 0
    one, two, three = fleet.names
    process = fleet.start("waiting", "--jobs", "1")
    wait_until(lambda: is_migrating(fleet, one))
    if signum == signal.SIGINT:
        os.killpg(process.pid, signum)  # As a terminal does.
    else:
        process.send_signal(signum)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Stopping"):
            assert line == f"Stopping when {one} is done. The same again ends it now: it is rolled back.\n"
            break
    fleet.execute(one, "INSERT INTO fleet_note (text) VALUES ('go on')")
    result = ended(process)
    assert (plain(result.out)[-1], result.code) == ("3 tenants: 1 migrated, 2 not started; … s", code)
    assert [len(fleet.applied(name)) for name in (one, two, three)] == [2, 1, 1]


@pytest.mark.slow
def test_a_second_signal_ends_it_and_a_new_run_goes_on(fleet):
    assert fleet.run("v1").code == 0
    one, _, _ = fleet.names
    process = fleet.start("waiting", "--jobs", "1")
    wait_until(lambda: is_migrating(fleet, one))
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert any(line.startswith("Stopping") for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    result = ended(process)
    assert f"✗ {one}: The process that migrated it ended with code -15." in "\n".join(plain(result.out))
    assert (result.code, len(fleet.applied(one))) == (143, 1)
    for name in fleet.names:
        fleet.execute(name, "INSERT INTO fleet_note (text) VALUES ('go on')")
    assert fleet.run("waiting").code == 0


@pytest.mark.slow
def test_a_killed_command_leaves_no_process_and_no_lock(fleet):
    assert fleet.run("v1").code == 0
    one, _, _ = fleet.names
    process = fleet.start("waiting", "--jobs", "2")
    wait_until(lambda: is_migrating(fleet, one))
    children = psutil.Process(process.pid).children()
    process.kill()
    for name in fleet.names:
        fleet.execute(name, "INSERT INTO fleet_note (text) VALUES ('go on')")
    process.communicate()
    wait_until(lambda: not any(map(is_alive, children)))
    assert fleet.run("waiting").code == 0


def test_a_worker_that_dies_is_one_tenants_failure(fleet):
    assert fleet.run("v1").code == 0
    one, _, _ = fleet.names
    process = fleet.start("waiting", "--jobs", "1", "--keep-going")
    wait_until(lambda: is_migrating(fleet, one))
    (child,) = psutil.Process(process.pid).children()
    child.kill()
    for name in fleet.names[1:]:
        fleet.execute(name, "INSERT INTO fleet_note (text) VALUES ('go on')")
    result = ended(process)
    assert (plain(result.out)[-1], result.code) == ("3 tenants: 2 migrated, 1 failed; … s", 2)
    assert "The process that migrated it ended with code -9." in "\n".join(plain(result.out))


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_migrating(fleet: Fleet, name: str) -> bool:
    query = (
        "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND datname = {}"
    )
    with fleet.deployment.postgres.admin() as admin:
        return bool(admin.execute(sql.SQL(query).format(sql.Literal(name))).fetchall())


def test_shards_divide_the_tenants_and_their_reports_merge(fleet, tmp_path):
    one, two, three = fleet.names
    files = [tmp_path / f"{index}.json" for index in range(2)]
    batch = {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "2"}
    kubernetes = {"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2"}
    for file, environment in zip(files, (batch, kubernetes), strict=True):
        assert fleet.run("v2", "--format", "json", "--output", str(file), **environment).code == 0
    tenants = [[entry["tenant"] for entry in json.loads(file.read_text())["tenants"]] for file in files]
    assert tenants == [[one, three], [two]]
    whole = fleet.run("v2", "--merge", *map(str, files))
    assert (plain(whole.out)[-1], whole.err, whole.code) == (
        "3 tenants: 3 migrated; … s, shard 0/2, 1/2",
        "",
        0,
    )
    part = fleet.run("v2", "--merge", str(files[1]))
    assert part.err.splitlines() == [
        "Error: There is no report of shard 0/2.",
        "Hint: Run it, or name its report, too: --merge FILE…",
    ]
    assert part.code == 2


@pytest.mark.parametrize(
    ("arguments", "environment", "error"),
    [
        (["--shard", "2/2"], {}, 'Error: "2/2" is not a shard.'),
        (["--tenant", "nobody"], {}, "Error: The settings name no tenant nobody."),
        (["--canary", "nobody"], {}, "Error: The settings name no tenant nobody."),
        ([], {"JOB_COMPLETION_INDEX": "1"}, "Error: JOB_COMPLETION_INDEX is set and JOB_COMPLETIONS is not"),
        (["--merge", "manage.py"], {}, "Error: manage.py is no report of migrate_tenants: JSONDecodeError"),
        (["--merge", "nothing.json"], {}, "Error: nothing.json cannot be read"),
        (["--jobs", "0"], {}, "usage: manage.py migrate_tenants"),
    ],
)
def test_what_cannot_be_meant_is_told(fleet, arguments, environment, error):
    result = fleet.run("v2", *arguments, **environment)
    assert (result.out, result.code) == ("", 2)
    assert result.err.startswith(error)
    assert [fleet.tables(name) for name in fleet.names] == [set()] * 3


def test_ids_of_one_tenant_do_not_reach_another(fleet):
    """Django keeps content types by alias: a permission of the second tenant would point at the first one's."""
    apps = {"FLEET_APPS": "django.contrib.contenttypes,django.contrib.auth"}
    one, two, _ = fleet.names
    assert fleet.run("v1", "--tenant", one, two, **apps).code == 0
    fleet.execute(two, "INSERT INTO django_content_type (app_label, model) VALUES ('taken', 'taken')")
    assert fleet.run("v2", "--jobs", "1", "--tenant", one, two, **apps).code == 0
    query = """
        SELECT c.app_label, c.model FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
        WHERE p.codename = 'add_extra'
    """
    assert [fleet.query(name, query) for name in (one, two)] == [[("fleet", "extra")]] * 2
    ids = [fleet.query(name, "SELECT id FROM django_content_type WHERE model = 'extra'") for name in (one, two)]
    assert ids[0] != ids[1]


def test_it_works_under_the_production_settings(fleet):
    result = fleet.run("v2", "--plan", DJANGO_SETTINGS_MODULE="StartupWebApp.settings_production")
    assert (plain(result.out)[-1], result.err, result.code) == ("3 tenants: 3 to migrate; … s", "", 0)


def test_where_a_fork_is_not_safe_processes_are_spawned(fleet, monkeypatch):
    """They load the settings and read the secret anew: a secret is not pickled."""
    for name, value in fleet.environment("v2").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pool, "may_fork", lambda: False)
    with pool.Pool(1, Limits(), read_secret()) as spawned:
        looked = look(spawned, fleet.names[:1])
        results = list(spawned.results(pool.Deed.MIGRATE, fleet.names[:1], lambda: True))
    assert [result.outcome for result in (*looked, *results)] == [Outcome.PENDING, Outcome.MIGRATED]


def test_a_process_with_threads_is_not_forked():
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        assert not pool.may_fork()
    finally:
        leave.set()
        thread.join()
