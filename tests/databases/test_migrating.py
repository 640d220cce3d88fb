"""One tenant brought forward on each version of PostgreSQL, and what stops it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.db.models.signals import post_migrate
from psycopg import sql

from deploytools.databases.alias import pointed_at
from deploytools.databases.failures import SQLSTATE_HINTS
from deploytools.databases.fleet import Limits, Outcome
from deploytools.databases.history import History
from deploytools.databases.migrating import LOCK_KEY, look_at, migrate_tenant
from deploytools.databases.migrations import read_graph
from deploytools.databases.server import Login
from deploytools.databases.state import MARK
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.secret.value import Secret
from tests.fleet.world import FIRST, SECOND, make_databases

PASSWORD = Secret("correct-horse-battery-staple-0123456789")


@pytest.fixture
def version(settings):
    """Chooses the version of the small app's migrations."""
    settings.INSTALLED_APPS = ["deploytools", "tests.fleet"]

    def choose(name: str):
        settings.MIGRATION_MODULES = {"fleet": f"tests.fleet.migrations.{name}"}
        return read_graph()

    return choose


@pytest.fixture
def tenant(postgres, django_db_blocker):
    """A role and its empty database; Django may connect to it, and to no test database."""
    name = postgres.fresh_name()
    login = Login(postgres.address, f"{name}_app", PASSWORD)
    make_databases(postgres, login, [f"{name}_one", f"{name}_two"])
    with django_db_blocker.unblock():
        yield login, f"{name}_two"
    postgres.sweep(name)


def rows(login: Login, database: str, query: str) -> list[tuple[object, ...]]:
    with login.connect(database) as connection:
        return [tuple(row) for row in connection.execute(query.encode()).fetchall()]


def test_forward_and_again(tenant, version):
    login, name = tenant
    graph = version("v2")
    before = connections["default"]
    assert look_at(login, name, graph).before == History((FIRST, SECOND))
    result = migrate_tenant(login, name, graph, Limits())
    assert (result.outcome, result.before, result.after, result.applied, result.error) == (
        Outcome.MIGRATED,
        History((FIRST, SECOND)),
        History(),
        (FIRST, SECOND),
        "",
    )
    assert rows(login, name, "SELECT app, name FROM django_migrations ORDER BY id") == [FIRST, SECOND]
    again = migrate_tenant(login, name, graph, Limits())
    assert (again.outcome, again.applied, look_at(login, name, graph).outcome) == (
        Outcome.UP_TO_DATE,
        (),
        Outcome.UP_TO_DATE,
    )
    assert connections["default"] is before


def test_somebody_who_holds_a_table_is_not_waited_for_silently(tenant, version):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), Limits())
    graph = version("torn")
    with login.connect(name) as holder, holder.transaction():
        holder.execute("LOCK TABLE fleet_note IN ACCESS EXCLUSIVE MODE")
        result = migrate_tenant(login, name, graph, Limits(lock=0.1))
    assert result.outcome is Outcome.FAILED
    assert result.error == "fleet.0002_torn failed (LockNotAvailable): canceling statement due to lock timeout"
    assert "--lock-timeout" in result.hint


def test_a_statement_that_takes_too_long(tenant, version):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), Limits())
    result = migrate_tenant(login, name, version("concurrent"), Limits(statement=0.05))
    assert result.error == "fleet.0002_index failed (QueryCanceled): canceling statement due to statement timeout"
    assert result.hint.startswith("What it did before stays: it is not atomic. A statement took longer")


def test_what_is_not_atomic_is_told(tenant, version):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), Limits())
    result = migrate_tenant(login, name, version("torn"), Limits())
    assert result.error == "fleet.0002_torn failed (DivisionByZero): division by zero"
    assert result.hint.startswith("What it did before stays: it is not atomic.")
    assert rows(login, name, "SELECT text FROM fleet_note") == [("half",)]


def test_another_runs_lock_is_waited_for_and_told(tenant, version):
    login, name = tenant
    graph = version("v2")
    with login.connect(name) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        result = migrate_tenant(login, name, graph, Limits(wait=0.1))
        pid = other.info.backend_pid
    assert result.error.startswith(
        f"Another run has been migrating {name} for more than 0.1 s: process {pid} of {login.user} from 127.0.0.1, "
        "connected since "
    )
    assert result.outcome is Outcome.FAILED
    assert migrate_tenant(login, name, graph, Limits(wait=5)).outcome is Outcome.MIGRATED


@pytest.fixture
def lost_after_the_migrations():
    """A receiver of post_migrate that fails."""

    def fail(**kwargs):
        raise RuntimeError("lost")

    post_migrate.connect(fail)
    yield lambda: post_migrate.disconnect(fail)
    post_migrate.disconnect(fail)


@pytest.mark.parametrize("comment", [None, MARK, "somebody's"])
def test_a_tenant_that_lost_post_migrate_is_migrated_again(tenant, version, lost_after_the_migrations, comment):
    login, name = tenant
    graph = version("v2")
    said = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
    with login.connect(name) as connection:
        connection.execute(said)
    result = migrate_tenant(login, name, graph, Limits())
    assert (result.outcome, result.applied, result.error) == (
        Outcome.FAILED,
        (FIRST, SECOND),
        "The migration failed (RuntimeError): lost",
    )
    assert result.hint.startswith("What was applied stays; the next run does the rest.")
    looked = look_at(login, name, graph)
    assert (looked.outcome, looked.before) == (Outcome.PENDING, History(is_unfinished=True))
    lost_after_the_migrations()
    again = migrate_tenant(login, name, graph, Limits())
    assert (again.outcome, again.applied, again.after) == (Outcome.MIGRATED, (), History())
    assert look_at(login, name, graph).outcome is Outcome.UP_TO_DATE
    kept = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    assert rows(login, name, kept) == [(comment,)]


def test_who_does_not_own_the_database_migrates_without_a_note(tenant, version, postgres):
    login, name = tenant
    with postgres.admin(name) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(name)))
        admin.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(login.user)))
    assert migrate_tenant(login, name, version("v2"), Limits()).outcome is Outcome.MIGRATED


def test_an_administrators_timeouts_do_not_end_a_migration(tenant, version, postgres):
    """The small app's migration of that version looks for a row, and sleeps in its transaction."""
    login, name = tenant
    migrate_tenant(login, name, version("v1"), Limits())
    settings = ["idle_in_transaction_session_timeout", *(["transaction_timeout"] if postgres.version >= 17 else [])]
    with postgres.admin(name) as admin:
        for setting in settings:
            admin.execute(
                sql.SQL("ALTER ROLE {} SET {} TO '40ms'").format(sql.Identifier(login.user), sql.Identifier(setting))
            )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(leave_a_row, postgres, name)
        result = migrate_tenant(login, name, version("waiting"), Limits())
        waiting.result()
    assert (result.outcome, result.error) == (Outcome.MIGRATED, "")


def leave_a_row(postgres, name):
    """What the migration waits for, once it has begun to wait."""
    with postgres.admin(name) as admin:
        begun = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND now() - xact_start > interval '120 ms'"
        while not admin.execute(begun, [name]).fetchone():
            time.sleep(0.02)
        admin.execute("INSERT INTO fleet_note (text) VALUES ('go on')")


def test_a_role_that_may_only_read_migrates_nothing(tenant, version, postgres):
    login, name = tenant
    with postgres.admin() as admin:
        admin.execute(
            sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(sql.Identifier(login.user))
        )
    result = migrate_tenant(login, name, version("v2"), Limits())
    assert (result.outcome, result.applied) == (Outcome.FAILED, ())
    assert result.error == (
        "The migration failed (ReadOnlySqlTransaction): cannot execute COMMENT in a read-only transaction"
    )
    assert result.hint == f"What was applied stays; the next run does the rest. {SQLSTATE_HINTS['25006']}"


def test_locks_are_a_tenants_own(tenant, version):
    login, name = tenant
    graph = version("v2")
    with login.connect(name.replace("_two", "_one")) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        assert migrate_tenant(login, name, graph, Limits(wait=0)).outcome is Outcome.MIGRATED


def test_a_session_that_is_cut_is_rolled_back(tenant, version, postgres):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), Limits())
    graph = version("cut")
    with postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(login.user)))
    result = migrate_tenant(login, name, graph, Limits())
    assert result.outcome is Outcome.FAILED
    assert result.error.startswith("fleet.0002_cut failed (AdminShutdown): terminating connection")
    assert result.hint.startswith("The session was lost, so it is not known whether it was rolled back")
    assert rows(login, name, "SELECT app, name FROM django_migrations") == [FIRST]
    assert migrate_tenant(login, name, version("v2"), Limits()).outcome is Outcome.MIGRATED


@pytest.mark.parametrize(
    ("database", "password", "kind"),
    [("{}_none", PASSWORD, ConnectionFailure.NO_DATABASE), ("{}", Secret("wrong"), ConnectionFailure.PASSWORD)],
)
def test_no_connection_is_said_as_everywhere(tenant, database, password, kind):
    login, name = tenant
    other = Login(login.address, login.user, password)
    before = connections["default"]
    with pytest.raises(ConnectionFailed) as caught, pointed_at(other, database.format(name)):
        pass
    assert caught.value.kind is kind
    assert str(caught.value).startswith(f"No connection of {login.user} to ")
    assert PASSWORD.reveal() not in repr(caught.value)
    assert connections["default"] is before


def test_the_hosts_own_options_stay_and_its_address_goes(tenant, settings):
    login, name = tenant
    mine = connections["default"].settings_dict
    kept = mine["OPTIONS"]
    mine["OPTIONS"] = {"sslmode": "disable", "passfile": "/nowhere", "options": "-c search_path=public,pg_catalog"}
    try:
        with pointed_at(login, name) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_database(), current_user, current_setting('search_path')")
            assert cursor.fetchall() == [(name, login.user, "public,pg_catalog")]
            assert connection.settings_dict["OPTIONS"]["sslmode"] == "verify-full"
    finally:
        mine["OPTIONS"] = kept
