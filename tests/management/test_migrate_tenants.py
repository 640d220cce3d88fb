"""`migrate_tenants` as a separate process, on real databases: (out, err, exit code), and what it left unchanged."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from psycopg import sql

from deploytools.conf import read_settings
from deploytools.rollout import workers
from deploytools.rollout.fleet import inspect_tenants, read_fleet
from deploytools.tenants.tenant_migration import MigrationLimits, MigrationOutcome
from tests.fleet.world import FIRST, ROOT, SECOND, Fleet, ended, is_alive, is_migrating, make_databases, wait_until

#: Seconds, which differ between runs.
TIMES = re.compile(r"\d+\.\d s")


def plain(text: str) -> list[str]:
    """The lines before wrapping, without times."""
    return re.sub(r"\n  (?!Hint)", " ", TIMES.sub("… s", text)).splitlines()


@pytest.fixture
def fleet(deployment):
    """Three tenants without tables."""
    names = [f"{deployment.name}_{number}" for number in ("one", "two", "three")]
    make_databases(deployment.postgres, deployment.login(), names)
    return Fleet(deployment, names)


@pytest.mark.other_versions
def test_plan_migrate_and_run_again(fleet, tmp_path):
    report = tmp_path / "report.json"
    one, two, three = fleet.names
    planned = fleet.run("v2", "--plan")
    assert (plain(planned.out), planned.err, planned.code) == (
        [
            "3 tenants: 3 to migrate; … s",
            f"- {one}, {two}, {three}: to migrate: 2 unapplied: fleet.0001_initial, fleet.0002_extra",
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
        (name, "2 unapplied", "up to date") for name in fleet.names
    ]
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST, SECOND]] * 3

    again = fleet.run("v2")
    assert plain(again.out) == [f"✓ {one}, {two}, {three}: up to date", "3 tenants: 3 up to date; … s"]
    assert (again.err, again.code) == ("", 0)
    assert fleet.run("v2", "--check").code == 0


@pytest.mark.slow
@pytest.mark.other_versions
def test_up_to_date_tenant_costs_one_connection_and_one_query(fleet):
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
        assert len([line for line in about if re.search(r"LOG:  (statement|execute)", line)]) == 1


@pytest.mark.slow
def test_unmanaged_database_is_migrated_only_on_request(fleet):
    one, two, three = fleet.names
    with fleet.deployment.postgres.admin() as admin:
        for name, comment in ((one, None), (two, "a reporting database")):
            admin.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))
    assert fleet.run("v1", "--check").code == 1
    result = fleet.run("v1", "--keep-going")
    assert plain(result.out) == [
        f"✓ {three}: 1 applied: fleet.0001_initial",
        f"✗ {one}, {two}: The database is not managed by deploytools.",
        "  Hint: If it belongs to this tenant, review and adopt it: python manage.py create_tenant_dbs --adopt --plan. "
        "To migrate it without that, add --unmanaged.",
        "3 tenants: 1 migrated, 2 refused; … s",
    ]
    assert (result.code, [fleet.tables(name) for name in (one, two)]) == (1, [set(), set()])
    assert fleet.run("v1", "--unmanaged").code == 0
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST]] * 3
    assert fleet.run("v1").code == 0, "an unmanaged database that is up to date is only read"


@pytest.mark.slow
def test_plan_warns_of_operations_that_block_a_large_table(fleet):
    one, two, three = fleet.names
    assert fleet.run("v1").code == 0
    fleet.execute(two, "INSERT INTO fleet_note (text) SELECT repeat(md5(n::text), 40) FROM generate_series(1, 30000) n")
    fleet.execute(two, "ANALYZE fleet_note")
    small = fleet.run("heavy", "--plan")
    assert plain(small.out) == [
        "3 tenants: 3 to migrate; … s",
        f"- {one}, {two}, {three}: to migrate: 1 unapplied: fleet.0002_heavy",
    ]
    result = fleet.run("heavy", "--plan", "--canary", two, "--format", "json")
    warnings = json.loads(result.out)["warnings"]
    assert {(entry["migration"], entry["table"], entry["tenant"]) for entry in warnings} == {
        ("fleet.0002_heavy", "fleet_note", two)
    }
    assert [" ".join(entry["reason"].split()[:3]) for entry in warnings] == [
        "ADD COLUMN with",
        "SET NOT NULL",
        "ALTER COLUMN TYPE",
        "CREATE INDEX without",
        "ADD CONSTRAINT CHECK",
        "ADD CONSTRAINT builds",
    ]
    *_, warning, hint = plain(fleet.run("heavy", "--plan", "--canary", two).out)
    assert re.match(
        rf"! fleet\.0002_heavy, table fleet_note \(\d\d MB, about 30,000 rows in {two}\): ADD COLU", warning
    )
    assert hint.startswith("  Hint: Migrate when few users are active")
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST]] * 3


@pytest.mark.slow
def test_confirmation_requires_a_terminal(fleet):
    result = fleet.run("v2", noinput=False)
    assert result.err.splitlines()[-2].startswith(
        "Error: Confirmation required, but stdin is not a terminal. Nothing was changed."
    )
    assert (result.out, result.code, [fleet.tables(name) for name in fleet.names]) == ("", 1, [set()] * 3)


@pytest.mark.other_versions
@pytest.mark.slow
def test_first_failure_stops_the_rest_and_is_rolled_back(fleet):
    assert fleet.run("v1").code == 0
    one, two, three = fleet.names
    result = fleet.run("failing", "--jobs", "1", "--traceback")
    assert plain(result.out) == [
        f"✓ {one}: 1 applied: fleet.0002_fails",
        f"- {three}: not started: 1 unapplied: fleet.0002_fails",
        "  Hint: A tenant failed. Fix it, or continue with the others: --keep-going",
        f"✗ {two}: fleet.0002_fails failed (ValueError): a bug in a migration",
        "  Hint: The migration was rolled back. Run the command with --traceback for details.",
        "3 tenants: 1 migrated, 1 not started, 1 failed; … s",
    ]
    assert f"{one}: printed by a migration\n" in result.err
    assert f"{two}: printed by a migration\n" in result.err
    assert 'raise ValueError("a bug in a migration")' in result.err
    assert result.code == 2
    assert [fleet.applied(name)[1:] for name in fleet.names] == [[("fleet", "0002_fails")], [], []]
    assert [len(fleet.query(name, "SELECT FROM fleet_note")) for name in fleet.names] == [1, 0, 0]

    on = fleet.run("failing", "--keep-going")
    assert (plain(on.out)[-1], on.code) == ("3 tenants: 1 up to date, 2 failed; … s", 2)
    fixed = fleet.run("v2")
    assert fixed.code == 0
    assert f"✓ {one}: 1 applied: fleet.0002_extra; ahead of this code: fleet.0002_fails" in plain(fixed.out)
    assert [fleet.applied(name)[-1] for name in fleet.names] == [SECOND] * 3


@pytest.mark.slow
def test_canary_goes_first_and_its_failure_stops_the_rest(fleet):
    assert fleet.run("v1").code == 0
    one, two, _ = fleet.names
    result = fleet.run("failing", "--canary", two, "--keep-going")
    assert (plain(result.out)[-1], result.code) == ("3 tenants: 2 not started, 1 failed; … s", 2)
    assert [len(fleet.applied(name)) for name in fleet.names] == [1, 1, 1]
    passed = fleet.run("failing", "--canary", one, "--tenant", one, "--tenant", two)
    assert f"✓ {one} (… s)" in plain(passed.err)
    assert f"✓ {one}: 1 applied: fleet.0002_fails" in plain(passed.out)
    assert plain(passed.out)[-1] == "2 tenants: 1 migrated, 1 failed; … s"


@pytest.mark.slow
def test_up_to_date_ahead_missing_and_inconsistent_tenants(fleet):
    assert fleet.run("v2").code == 0
    one, two, three = fleet.names
    fleet.execute(two, "DELETE FROM django_migrations WHERE name = '0001_initial'")
    with fleet.deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(three)))
    before = fleet.applied(two)
    result = fleet.run("v1", "--plan")
    assert plain(result.out)[0] == "3 tenants: 1 up to date, 1 to migrate, 1 failed; … s"
    assert plain(result.out)[1] == f"✓ {one}: up to date; ahead of this code: fleet.0002_extra"
    assert plain(result.out)[2] == (
        f"- {two}: to migrate: 1 unapplied: fleet.0001_initial; ahead of this code: fleet.0002_extra"
    )
    assert f'database "{three}" does not exist' in plain(result.out)[3]
    assert result.code == 2
    broken = fleet.run("v2", "--tenant", two)
    assert plain(broken.out) == [
        f"✗ {two}: Inconsistent migration history: fleet.0002_extra is applied before its dependency "
        "fleet.0001_initial.",
        f"  Hint: Compare the table django_migrations of {two} with the output of: python manage.py showmigrations",
        "1 tenant: 1 refused; … s",
    ]
    assert (broken.code, fleet.applied(two)) == (1, before)


@pytest.mark.slow
def test_ten_concurrent_runs_migrate_each_tenant_once(fleet):
    """One run migrates a tenant, with CREATE INDEX CONCURRENTLY; nine wait and find it up to date."""
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
def test_first_signal_finishes_the_running_tenant_and_starts_no_other(fleet, signum, code):
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
            assert line == f"Stopping after {one}. Press Ctrl-C again to cancel (the migration is rolled back).\n"
            break
    fleet.execute(one, "INSERT INTO fleet_note (text) VALUES ('go on')")
    result = ended(process)
    assert (plain(result.out)[-1], result.code) == ("3 tenants: 1 migrated, 2 not started; … s", code)
    assert [len(fleet.applied(name)) for name in (one, two, three)] == [2, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_blocked_inspection(fleet, signum, code):
    assert fleet.run("v1").code == 0
    one = fleet.names[0]
    with fleet.deployment.postgres.admin(one) as locking, locking.transaction():
        locking.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        process = fleet.start("v2", "--plan")
        waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'django_migrations'::regclass"
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        wait_until(lambda: fleet.query(one, f"{waiting} AND {here}"))
        process.send_signal(signum)
        assert ended(process).code == code
    assert len(fleet.applied(one)) == 1


@pytest.mark.slow
def test_second_signal_cancels_and_a_new_run_continues(fleet):
    assert fleet.run("v1").code == 0
    one, _, _ = fleet.names
    process = fleet.start("waiting", "--jobs", "1")
    wait_until(lambda: is_migrating(fleet, one))
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert any(line.startswith("Stopping") for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    result = ended(process)
    assert f"✗ {one}: The worker process was ended by SIGTERM" in "\n".join(plain(result.out))
    assert (result.code, len(fleet.applied(one))) == (143, 1)
    for name in fleet.names:
        fleet.execute(name, "INSERT INTO fleet_note (text) VALUES ('go on')")
    assert fleet.run("waiting").code == 0


@pytest.mark.slow
def test_closed_terminal_cancels_the_running_migration(fleet):
    assert fleet.run("v1").code == 0
    one, _, _ = fleet.names
    process = fleet.start("waiting", "--jobs", "1")
    wait_until(lambda: is_migrating(fleet, one))
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGHUP)
    assert ended(process).code == 129
    assert (is_alive(child), [len(fleet.applied(name)) for name in fleet.names]) == (False, [1, 1, 1])
    for name in fleet.names:
        fleet.execute(name, "INSERT INTO fleet_note (text) VALUES ('go on')")
    assert fleet.run("waiting").code == 0


@pytest.mark.slow
def test_killed_command_leaves_no_process_and_no_lock(fleet):
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


@pytest.mark.slow
def test_crashed_worker_fails_one_tenant(fleet):
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
    assert "The worker process was ended by SIGKILL" in "\n".join(plain(result.out))


@pytest.mark.slow
def test_shards_and_merged_reports(fleet, tmp_path):
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
        "Error: The report of shard 0/2 is missing.",
        "Hint: Run that shard, or add its report: --merge FILE…",
    ]
    assert part.code == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "environment", "error"),
    [
        (["--shard", "2/2"], {}, 'Error: "2/2" is not a shard.'),
        (["--tenant", "unknown"], {}, 'Error: DEPLOYTOOLS["TENANTS"] has no tenant unknown.'),
        (["--canary", "unknown"], {}, 'Error: DEPLOYTOOLS["TENANTS"] has no tenant unknown.'),
        ([], {"JOB_COMPLETION_INDEX": "1"}, "Error: JOB_COMPLETION_INDEX is set but JOB_COMPLETIONS is not"),
        (["--merge", "manage.py"], {}, "Error: manage.py is not a report of migrate_tenants: JSONDecodeError"),
        (["--merge", "nothing.json"], {}, "Error: nothing.json could not be read: No such file or directory."),
        (["--jobs", "0"], {}, "usage: manage.py migrate_tenants"),
    ],
)
def test_invalid_options(fleet, arguments, environment, error):
    result = fleet.run("v2", *arguments, **environment)
    assert (result.out, result.code) == ("", 2)
    assert result.err.startswith(error)
    assert [fleet.tables(name) for name in fleet.names] == [set()] * 3


@pytest.mark.slow
def test_content_types_are_not_cached_across_tenants(fleet):
    """Django caches content types by alias: a permission of the second tenant would refer to the first one's."""
    apps = {"FLEET_APPS": "django.contrib.contenttypes,django.contrib.auth"}
    one, two, _ = fleet.names
    assert fleet.run("v1", "--tenant", one, "--tenant", two, **apps).code == 0
    fleet.execute(two, "INSERT INTO django_content_type (app_label, model) VALUES ('taken', 'taken')")
    assert fleet.run("v2", "--jobs", "1", "--tenant", one, "--tenant", two, **apps).code == 0
    query = """
        SELECT c.app_label, c.model FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
        WHERE p.codename = 'add_extra'
    """
    assert [fleet.query(name, query) for name in (one, two)] == [[("fleet", "extra")]] * 2
    ids = [fleet.query(name, "SELECT id FROM django_content_type WHERE model = 'extra'") for name in (one, two)]
    assert ids[0] != ids[1]


@pytest.mark.slow
def test_production_settings(fleet):
    result = fleet.run("v2", "--plan", DJANGO_SETTINGS_MODULE="StartupWebApp.settings_production")
    assert (plain(result.out)[0], result.err, result.code) == ("3 tenants: 3 to migrate; … s", "", 0)


@pytest.mark.slow
def test_workers_are_spawned_if_a_fork_is_not_safe(fleet, monkeypatch):
    """Spawned workers load the settings and read the secret from AWS: a secret is never pickled."""
    for name, value in fleet.environment("v2").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(workers, "may_fork", lambda: False)
    read = read_fleet(read_settings())
    with workers.WorkerPool(1, MigrationLimits(), read) as spawned:
        inspected = inspect_tenants(read, fleet.names[:1], 1)
        results = list(spawned.results(workers.TaskKind.MIGRATE, fleet.names[:1], lambda: True))
    assert [result.outcome for result in (*inspected, *results)] == [
        MigrationOutcome.PENDING,
        MigrationOutcome.MIGRATED,
    ]


IN_A_THREAD = """
import sys, threading
import django
django.setup()
from django.core.management import CommandError, call_command

def run():
    try:
        call_command("migrate_tenants", *sys.argv[1:])
    except CommandError as error:
        print(error.returncode, error, file=sys.stderr)

thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


@pytest.mark.slow
def test_call_command_from_another_thread(fleet):
    """No command needs the main thread: no signal handler is installed, and workers are spawned."""
    one = fleet.names[0]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", IN_A_THREAD, *arguments],
            cwd=ROOT, env=fleet.environment("v2"), capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip

    checked = call("--tenant", one, "--check")
    assert re.fullmatch(r"1 1 tenant: 1 to migrate; \d+\.\d s\n", checked.stderr)
    migrated = call("--tenant", one, "--noinput")
    assert plain(migrated.stdout)[-1] == "1 tenant: 1 migrated; … s"
    assert fleet.applied(one) == [FIRST, SECOND]


def test_process_with_threads_is_not_forked():
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        assert not workers.may_fork()
    finally:
        leave.set()
        thread.join()
