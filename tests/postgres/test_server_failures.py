"""Servers that are full, killed, read-only or out of date: the error, what is kept, and a run that completes after the
fix. Each test has its own server.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connections import Login
from deploytools.postgres.failures import COLLATION_HINT, LOST_HINT, NO_SLOT_HINT, REPLICA_HINT, SQLSTATE_HINTS
from deploytools.secrets.document import Secret
from deploytools.tenants.database_operations import AllowConnections
from deploytools.tenants.operations import Operation
from tests.conftest import OPTIONAL_VERSIONS, REQUIRED_VERSIONS, installed
from tests.fleet.world import FIRST, SECOND, Fleet, wait_until
from tests.management.runner import Result, run
from tests.management.test_tables import create
from tests.postgres_server import Postgres
from tests.servers import OwnServer, can_mount, own_server, replica_of, resize, upgraded, used
from tests.tenants.sites import Site, errors, make_site


def _versions(versions: Iterable[int]) -> list[Any]:
    """Each worker of pytest-xdist needs one server."""
    return [
        pytest.param(version, id=f"pg{version}", marks=[pytest.mark.slow, pytest.mark.xdist_group(f"own-{version}")])
        for version in sorted(versions)
    ]


VERSIONS = _versions(OPTIONAL_VERSIONS)
#: Django 6.1 does not support 14.
OLDEST = pytest.mark.parametrize("own", _versions([min(REQUIRED_VERSIONS)]), indirect=True)
NEWEST = pytest.mark.parametrize("own", VERSIONS[-1:], indirect=True)

RESERVED = {
    14: "remaining connection slots are reserved for non-replication superuser connections",
    17: "remaining connection slots are reserved for roles with the SUPERUSER attribute",
}


@pytest.fixture(scope="module", params=VERSIONS)
def own(request: pytest.FixtureRequest) -> Iterator[OwnServer]:
    """A server with nine connection slots for roles that are not superusers."""
    with own_server(installed(request.param), "max_connections = 12\n") as server:
        yield server


@pytest.fixture
def one_postgres(own: OwnServer) -> Postgres:
    return own.postgres


@pytest.fixture
def fleet(deployment) -> Fleet:
    return Fleet(deployment, deployment.tenants)


def migrate(fleet: Fleet, version: str, *arguments: str) -> tuple[list[tuple[str, str]], int]:
    """Run ``migrate_tenants``; return the error and hint of each tenant, and the exit code."""
    result = fleet.run(version, "--format", "json", "--jobs", "1", *arguments)
    return [(tenant["error"], tenant["hint"]) for tenant in json.loads(result.out)["tenants"]], result.code


def failed(result: Result) -> dict[str, str]:
    """The error and hint of each tenant that ``create_tenant_dbs`` failed for."""
    found = {}
    for names, error, hint in re.findall(
        r"✗ (.*?): (.*?) Hint: (.*?)(?= ✗ | \d+ tenants?: )", " ".join(result.out.split())
    ):
        for name in names.split(", "):
            found[f"{name}: {error.replace('TENANT', name)}"] = hint.replace("TENANT", name)
    return found


@pytest.fixture
def site(own: OwnServer) -> Iterator[Site]:
    yield from make_site(own.postgres)


@contextmanager
def every_slot_taken(server: Postgres, name: str) -> Iterator[None]:
    """Take every connection slot with another role."""
    other = server.make_role(f"{name}_other", Secret("x" * 40))
    with ExitStack() as stack:
        with pytest.raises(ConnectionFailed) as caught:
            while True:
                stack.enter_context(other.connect("postgres"))
        assert caught.value.kind is ConnectionFailure.TOO_MANY
        yield
    wait_until(lambda: not sessions_of(server, other))
    with server.admin() as admin:
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(other.user)))


def sessions_of(server: Postgres, login: Login) -> int:
    with server.admin() as admin:
        return admin.execute("SELECT FROM pg_stat_activity WHERE usename = %s", [login.user]).rowcount


def test_no_connection_slot_changes_nothing(capsys, own, deployment, fleet):
    address, reason = own.postgres.address, RESERVED[own.postgres.version]
    sentence = f"Could not connect as {{}} at {address} (too many connections): FATAL: {reason}"
    with every_slot_taken(own.postgres, deployment.name):
        refused = f"Error: {sentence.format('postgres to postgres')}\nHint: {NO_SLOT_HINT}\n"
        assert run(capsys, "create_tenant_dbs", "--noinput") == Result("", refused, 2)
        assert own.postgres.snapshot(fleet.names) == []
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with every_slot_taken(own.postgres, deployment.name):
        refusals = [(sentence.format(f"{deployment.role} to {name}"), NO_SLOT_HINT) for name in fleet.names]
        assert migrate(fleet, "v1", "--keep-going") == (refusals, 2)
        assert [fleet.tables(name) for name in fleet.names] == [set(), set()]
    assert migrate(fleet, "v1") == ([("", "")] * 2, 0)


@NEWEST
def test_no_connection_slot_for_the_verification(own, site):
    """The last slot is the master's own."""
    with ExitStack() as stack:

        def on_step(step: Operation) -> None:
            if isinstance(step, AllowConnections) and step.database == site.names[0]:
                stack.enter_context(every_slot_taken(own.postgres, site.app.user))

        results = errors(site.run(on_step))
    assert [error is not None and "too many connections" in error for error in results] == [True, True]
    assert errors(site.run()) == [None, None]
    assert site.plan().is_empty


def test_backend_killed_in_create_database(capsys, own, deployment):
    """The server restarts into recovery, and every session is lost."""
    one, two = deployment.tenants
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_while_it_copies, own, one)
        result = run(capsys, "create_tenant_dbs", "--noinput")
        killed.result()
    lost = f"{one}: Connection lost while trying to create database {one} with connections disabled: "
    (first, *rest), (hint, *_) = failed(result), failed(result).values()
    assert (first.startswith(lost), hint) == (True, LOST_HINT)
    assert rest == [f"{two}: The master user's session was lost before {two} was started."]
    note = "· Cannot read which other roles can connect: Connection lost while trying to read who can connect: "
    assert (f"\n{note}" in result.out, result.code) == (True, 2)
    wait_until(lambda: answers(own.postgres))
    assert own.postgres.snapshot([one, two]) == []
    again = run(capsys, "create_tenant_dbs", "--noinput")
    assert (f"✓ {one}, {two}: 5 steps applied" in again.out, again.code) == (True, 0)
    assert run(capsys, "create_tenant_dbs", "--check").code == 0


def kill_while_it_copies(own: OwnServer, database: str) -> None:
    """Hold the template until the backend is known, release it, and kill it once it has created the directory."""
    base = own.data / "base"
    query = "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND wait_event_type = 'Lock'"
    with own.postgres.admin() as admin, own.postgres.admin() as holder:
        with holder.transaction():
            holder.execute("COMMENT ON DATABASE template0 IS 'held'")
            wait_until(lambda: admin.execute(query, [f'CREATE DATABASE "{database}"%']).rowcount)
            ((pid,),) = admin.execute(query, [f'CREATE DATABASE "{database}"%']).fetchall()
            before = set(base.iterdir())
        deadline = time.monotonic() + 30
        while set(base.iterdir()) == before and time.monotonic() < deadline:
            pass
        os.kill(pid, 9)


def answers(server: Postgres) -> bool:
    try:
        server.superuser.connect("postgres").close()
    except ConnectionFailed:
        return False
    return True


@NEWEST
def test_backend_killed_in_a_migration(capsys, own, fleet):
    one, two = fleet.names
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    assert migrate(fleet, "v1")[1] == 0
    running = fleet.start("waiting", "--format", "json", "--jobs", "1")
    inside = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename <> user "
        "AND query LIKE '%fleet_note%'"
    )
    wait_until(lambda: fleet.query(one, inside))
    ((pid,),) = fleet.query(one, inside)
    os.kill(pid, 9)
    out, _ = running.communicate(timeout=60)
    first, second = json.loads(out)["tenants"]
    assert first["error"].startswith("fleet.0002_waits failed (OperationalError): ")
    assert first["hint"] == (
        "The connection was lost, so it is unknown whether the migration was rolled back; the next run checks. Run the "
        "command again when the server responds: python manage.py check_rds --wait 60"
    )
    assert (second["outcome"], running.returncode) == ("not started", 2)
    wait_until(lambda: answers(own.postgres))
    assert [fleet.applied(name) for name in (one, two)] == [[FIRST]] * 2
    assert migrate(fleet, "v2") == ([("", "")] * 2, 0)


@NEWEST
def test_transaction_timeout_in_a_migration(capsys, own, fleet):
    """Only the migration can set it: a setting of the role or the database is overridden."""
    one, _ = fleet.names
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with own.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} SET transaction_timeout TO '40ms'").format(sql.Identifier(one)))
    assert migrate(fleet, "v1") == ([("", "")] * 2, 0)
    results, code = migrate(fleet, "timeout", "--tenant", one)
    error = "fleet.0002_too_long failed (TransactionTimeout): terminating connection due to transaction timeout"
    hint = (
        "The migration was rolled back. transaction_timeout ended it. The session starts with transaction_timeout = 0, "
        "so the migration sets it."
    )
    assert (results, code) == ([(error, hint)], 2)
    assert (fleet.applied(one), fleet.query(one, "SELECT FROM fleet_note")) == ([FIRST], [])
    assert migrate(fleet, "v2") == ([("", "")] * 2, 0)


@NEWEST
def test_transaction_timeout_in_the_verification(capsys, own, deployment):
    """The verification is the application's own session, with the settings of its role."""
    one, role = deployment.tenants[0], sql.Identifier(deployment.role)
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with own.postgres.admin(one) as admin:
        admin.execute(
            "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(10); END'"
        )
        admin.execute("CREATE EVENT TRIGGER slow ON ddl_command_end EXECUTE FUNCTION slow()")
        admin.execute(sql.SQL("ALTER ROLE {} SET transaction_timeout = '2s'").format(role))
        result = run(capsys, "create_tenant_dbs", "--verify")
        sentence = f"Could not create a table as {deployment.role} in {one}: terminating connection due to transaction"
        assert failed(result) == {f"{one}: {sentence} timeout": SQLSTATE_HINTS["25P04"]}
        assert result.code == 2
        admin.execute(sql.SQL("ALTER ROLE {} RESET transaction_timeout").format(role))
        admin.execute("DROP EVENT TRIGGER slow")
    assert run(capsys, "create_tenant_dbs", "--verify").code == 0


def collation_version(server: Postgres, version: str | None, *databases: str) -> None:
    """Simulate an upgrade of the server's C library. An upgrade changes no row, so restore the comment that has the
    version of its row.
    """
    query = "SELECT xmin::text, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s"
    with server.admin() as admin:
        for name in databases:
            ((before, comment),) = admin.execute(query, [name]).fetchall()
            admin.execute("UPDATE pg_database SET datcollversion = %s WHERE datname = %s", [version, name])
            ((after, _),) = admin.execute(query, [name]).fetchall()
            admin.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(name), sql.Literal(comment.replace(before, after))
                )
            )


@NEWEST
def test_collation_version_mismatch(capsys, own, deployment):
    """For template1 and the maintenance database it is a warning; template0 must be fixed by a superuser."""
    collation_version(own.postgres, "0.1", "template0", "template1", "postgres")
    sentence = (
        '{0}: Could not create database {0} with connections disabled: template database "template0" has a '
        "collation version, but no actual collation version could be determined"
    )
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert failed(result) == {sentence.format(name): COLLATION_HINT for name in deployment.tenants}
    assert (result.code, own.postgres.snapshot(deployment.tenants)) == (2, [])
    collation_version(own.postgres, None, "template0")
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert (f"✓ {', '.join(deployment.tenants)}: 5 steps applied" in result.out, result.code) == (True, 0)
    assert "collation" not in result.out + result.err
    collation_version(own.postgres, None, "template1", "postgres")


@NEWEST
def test_collation_version_mismatch_of_a_template(own, deployment, fleet):
    one, two = fleet.names
    assert create(deployment, "--migrate", TENANTS=one).code == 0
    with own.postgres.admin() as admin:
        ((template,),) = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'deploytools%'").fetchall()
    collation_version(own.postgres, "0.1", template)
    result = create(deployment, "--migrate")
    expected = (
        f"{two}: Could not create database {two} from template {template} with connections disabled: template "
        f'database "{template}" has a collation version, but no actual collation version could be determined'
    )
    assert failed(result) == {expected: COLLATION_HINT}
    assert (result.code, own.postgres.snapshot([two])) == (2, [])
    assert create(deployment, "--prune-templates", "--no-template").code == 0
    assert create(deployment, "--migrate").code == 0
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST, SECOND]] * 2


class TestFull:
    """A disk with 3 MB of free space; shared_buffers is small, so that writes reach the disk at once."""

    @pytest.fixture(params=VERSIONS[-1:])
    def own(self, request: pytest.FixtureRequest) -> Iterator[OwnServer]:
        if not can_mount():
            pytest.skip("this user cannot mount a disk")
        with own_server(installed(request.param), "shared_buffers = '128kB'\n", room=3 << 20) as server:
            yield server

    def test_disk_full(self, capsys, own, deployment, fleet):
        hint = SQLSTATE_HINTS["53100"]
        result = run(capsys, "create_tenant_dbs", "--noinput")
        for name, (error, advice) in zip(fleet.names, failed(result).items(), strict=True):
            assert error.startswith(f"{name}: Could not create database {name} with connections disabled: could ")
            assert (error.endswith(": No space left on device"), advice) == (True, hint)
        assert (result.code, own.postgres.snapshot(fleet.names)) == (2, [])
        disk: Path = own.data / "base"
        resize(disk, 100 << 20)
        assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
        resize(disk, used(disk) + (64 << 10))
        results, code = migrate(fleet, "v2", "--keep-going")
        assert [("No space left on device" in error, advice.endswith(hint)) for error, advice in results] == [
            (True, True)
        ] * 2
        assert (code, [fleet.tables(name) & {"fleet_extra"} for name in fleet.names]) == (2, [set()] * 2)
        resize(disk, 100 << 20)
        assert migrate(fleet, "v2") == ([("", "")] * 2, 0)


class TestReplica:
    """The endpoint of a read replica in the secret."""

    @pytest.fixture(params=VERSIONS[-1:])
    def own(self, request: pytest.FixtureRequest) -> Iterator[OwnServer]:
        with own_server(installed(request.param)) as server:
            yield server

    def test_read_replica(self, capsys, own, deployment, fleet):
        assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
        assert migrate(fleet, "v1")[1] == 0
        with replica_of(own, installed(own.postgres.version)) as replica:
            address = replica.postgres.address
            sentence = f"{address} is a read replica. Nothing was changed."
            deployment.put(port=address.port)
            refused = Result("", f"Error: {sentence}\nHint: {REPLICA_HINT}\n", 2)
            for option in ("--noinput", "--plan", "--verify"):
                assert run(capsys, "create_tenant_dbs", option) == refused
            versions = deployment.versions()
            for credential in ("password", "master_password", "django_secret_key"):
                for option in ("--noinput", "--plan"):
                    assert run(capsys, "rotate_credentials", credential, option) == refused
            assert deployment.versions() == versions
            assert migrate(fleet, "v1") == ([("", "")] * 2, 0)  # There is nothing to change.
            assert migrate(fleet, "v2", "--keep-going") == ([(sentence, REPLICA_HINT)] * 2, 2)
        deployment.put()
        assert [fleet.applied(name) for name in fleet.names] == [[FIRST]] * 2
        assert migrate(fleet, "v2") == ([("", "")] * 2, 0)
        assert run(capsys, "create_tenant_dbs", "--check").code == 0


class TestUpgrade:
    """pg_upgrade to 17, where CREATEROLE gives no rights on existing roles, from a version where it is enough."""

    @pytest.fixture(params=VERSIONS[:1])
    def own(self, request: pytest.FixtureRequest) -> Iterator[OwnServer]:
        with own_server(installed(request.param)) as server:
            yield server

    @pytest.fixture
    def upgrade(self, own: OwnServer) -> Iterator[Callable[[], OwnServer]]:
        with ExitStack() as stack:
            yield lambda: stack.enter_context(upgraded(own, installed(max(OPTIONAL_VERSIONS))))

    @OLDEST
    def test_tenants_created_before_an_upgrade(self, capsys, upgrade, deployment, fleet, settings):
        app, (one, two) = deployment.role, fleet.names
        settings.DEPLOYTOOLS |= {"TENANTS": [one]}
        assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
        settings.DEPLOYTOOLS |= {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": f"{deployment.name}/tenant/"}
        assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
        server = upgrade()
        assert run(capsys, "create_tenant_dbs", "--check").code == 0

        before = "another role created that role, or it was created before an upgrade to PostgreSQL 16."
        result = run(capsys, "create_tenant_dbs", "--finish", "--noinput")
        fix = f'As the role that granted it, or a superuser: REVOKE "{one}" FROM "{app}"'
        assert failed(result) == {f"{one}: postgres is not allowed to revoke {one} from {app}: {before}": fix}
        assert result.code == 2
        with server.postgres.admin() as admin:
            admin.execute(fix.partition(": ")[2].encode())
        assert run(capsys, "create_tenant_dbs", "--finish", "--noinput").code == 0

        settings.DEPLOYTOOLS |= {"TENANTS": [one, two]}
        assert run(capsys, "create_tenant_dbs", "--finish", "--noinput").code == 0
        settings.DEPLOYTOOLS |= {"ISOLATION": "shared"}
        result = run(capsys, "create_tenant_dbs", "--noinput")
        grant = 'As the role that created it, or a superuser: GRANT "{}" TO "{}"'
        assert failed(result) == {
            f"{name}: postgres is not allowed to grant {app} to {name}: {before}": grant.format(app, name)
            for name in (one, two)
        }
        with server.postgres.admin() as admin:
            for name in (one, two):
                admin.execute(grant.format(app, name).partition(": ")[2].encode())
        assert run(capsys, "create_tenant_dbs", "--noinput").code == 0

        deployment.put(password="another-password-of-the-applications-0123")
        result = run(capsys, "create_tenant_dbs", "--noinput")
        assert result.err.splitlines() == [
            f"Error: postgres is not allowed to set the password of {app}: {before}",
            f'Hint: As the role that created it: GRANT "{app}" TO "postgres" WITH ADMIN OPTION',
        ]

    def test_template_stops_an_upgrade_until_it_is_dropped(
        self, capsys, own, upgrade, deployment, settings, django_db_blocker
    ):
        """See docs/migrations.md: pg_upgrade must connect to every database."""
        settings.INSTALLED_APPS = ["deploytools", "tests.fleet"]
        settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v2"}
        with django_db_blocker.unblock():
            assert run(capsys, "create_tenant_dbs", "--migrate", "--noinput").code == 0
        with pytest.raises(AssertionError, match="must allow connections"):
            upgrade()
        own.process.password_file.touch()  # A server that starts removes it.
        own.process.start()
        own.process.wait_until_ready()
        assert run(capsys, "create_tenant_dbs", "--prune-templates", "--no-template", "--noinput").code == 0
        upgrade()
        assert run(capsys, "create_tenant_dbs", "--check").code == 0
