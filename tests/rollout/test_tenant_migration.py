"""One tenant's migration on each version of PostgreSQL, and its failures."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models.signals import post_migrate
from django.db.utils import load_backend
from psycopg import sql

from deploytools.errors import ConfigurationError, ConnectionFailed, ConnectionFailure
from deploytools.postgres.connections import Login
from deploytools.postgres.default_connection import default_connection_to
from deploytools.postgres.failures import SQLSTATE_HINTS
from deploytools.reports.rollout_report import description
from deploytools.secrets.document import Secret
from deploytools.tenants.migration_graph import MigrationRecord, read_graph, read_record
from deploytools.tenants.migration_history import History
from deploytools.tenants.state import TENANT_COMMENT
from deploytools.tenants.tenant_migration import (
    LOCK_KEY,
    MigrationLimits,
    MigrationOutcome,
    inspect_tenant,
    migrate_tenant,
)
from tests.fleet.world import FIRST, SECOND, make_databases

PASSWORD = Secret("correct-horse-battery-staple-0123456789")


@pytest.fixture
def version(settings):
    """Select the version of the test app's migrations."""
    settings.INSTALLED_APPS = ["deploytools", "tests.fleet"]

    def choose(name: str):
        settings.MIGRATION_MODULES = {"fleet": f"tests.fleet.migrations.{name}"}
        return read_graph()

    return choose


@pytest.fixture
def tenant(postgres, django_db_blocker):
    """A role and its empty database. Django can connect to it."""
    name = postgres.fresh_name()
    login = Login(postgres.address, f"{name}_app", PASSWORD)
    make_databases(postgres, login, [f"{name}_one", f"{name}_two"])
    with django_db_blocker.unblock():
        yield login, f"{name}_two"
    postgres.sweep(name)


def rows(login: Login, database: str, query: str) -> list[tuple[object, ...]]:
    with login.connect(database) as connection:
        return [tuple(row) for row in connection.execute(query.encode()).fetchall()]


def test_migrate_and_run_again(tenant, version):
    login, name = tenant
    graph = version("v2")
    before = connections["default"]
    assert inspect_tenant(login, name, graph).before == History((FIRST, SECOND))
    result = migrate_tenant(login, name, graph, MigrationLimits())
    assert (result.outcome, result.before, result.after, result.applied, result.error) == (
        MigrationOutcome.MIGRATED,
        History((FIRST, SECOND)),
        History(),
        (FIRST, SECOND),
        "",
    )
    assert rows(login, name, "SELECT app, name FROM django_migrations ORDER BY id") == [FIRST, SECOND]
    again = migrate_tenant(login, name, graph, MigrationLimits())
    assert (again.outcome, again.applied, inspect_tenant(login, name, graph).outcome) == (
        MigrationOutcome.UP_TO_DATE,
        (),
        MigrationOutcome.UP_TO_DATE,
    )
    assert connections["default"] is before


RECORD = "SELECT app, name FROM django_migrations ORDER BY app, name"
SQUASHED = ("fleet", "0001_squashed_0002_extra")


def start_squashed(login: Login, database: str, version: Any, releases: str) -> None:
    """Migrate `database` with Django's ``migrate`` to a release: ``v1``, ``v2`` or none."""
    if releases:
        version(releases)
        with default_connection_to(login, database):
            call_command("migrate", verbosity=0)


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "v1", "v2"])
def test_a_squash_over_three_releases_ends_as_with_plain_migrate(tenant, version, before):
    """A squashed migration without a row is applied again when the originals are deleted."""
    login, name = tenant
    plain = name.removesuffix("_two") + "_one"
    for database in (name, plain):
        start_squashed(login, database, version, before)
    for release in ("squashed", "cleaned"):
        graph = version(release)
        result = migrate_tenant(login, name, graph, MigrationLimits())
        assert (result.outcome.value, result.error) == (("migrated", "up to date")[release == "cleaned"], "")
        start_squashed(login, plain, version, release)
        assert rows(login, name, RECORD) == rows(login, plain, RECORD)
        assert SQUASHED in rows(login, name, RECORD)
        assert inspect_tenant(login, name, graph).outcome is MigrationOutcome.UP_TO_DATE


@pytest.mark.slow
def test_a_tenant_that_skipped_the_release_of_a_squash_continues_with_that_release(tenant, version):
    login, name = tenant
    for release in ("v1", "cleaned"):
        result = migrate_tenant(login, name, version(release), MigrationLimits())
    assert (
        result.error == 'fleet.0001_squashed_0002_extra failed (DuplicateTable): relation "fleet_note" already exists'
    )
    assert "deploy the release that still has them first" in result.hint
    for release in ("squashed", "cleaned"):
        result = migrate_tenant(login, name, version(release), MigrationLimits())
        assert result.error == ""


def test_a_squash_of_applied_migrations_is_pending_until_it_is_recorded(tenant, version):
    login, name = tenant
    migrate_tenant(login, name, version("v2"), MigrationLimits())
    graph = version("squashed")
    planned = inspect_tenant(login, name, graph)
    assert (planned.outcome, planned.before) == (MigrationOutcome.PENDING, History(unrecorded=(SQUASHED,)))
    assert description(planned) == "to migrate: 1 to record: fleet.0001_squashed_0002_extra"
    result = migrate_tenant(login, name, graph, MigrationLimits())
    assert (result.outcome, result.applied, result.after) == (MigrationOutcome.MIGRATED, (), History())
    assert description(result) == "1 recorded: fleet.0001_squashed_0002_extra"


@pytest.mark.slow
def test_lock_timeout(tenant, version):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), MigrationLimits())
    graph = version("torn")
    with login.connect(name) as holder, holder.transaction():
        holder.execute("LOCK TABLE fleet_note IN ACCESS EXCLUSIVE MODE")
        result = migrate_tenant(login, name, graph, MigrationLimits(lock_timeout=0.1))
    assert result.outcome is MigrationOutcome.FAILED
    assert result.error == "fleet.0002_torn failed (LockNotAvailable): canceling statement due to lock timeout"
    assert "--lock-timeout" in result.hint


@pytest.mark.slow
def test_statement_timeout(tenant, version):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), MigrationLimits())
    result = migrate_tenant(login, name, version("concurrent"), MigrationLimits(statement_timeout=0.05))
    assert result.error == "fleet.0002_index failed (QueryCanceled): canceling statement due to statement timeout"
    assert result.hint.startswith(
        "The migration is not atomic: what it did before the error is kept. A statement exceeded"
    )


def test_failure_of_a_non_atomic_migration(tenant, version):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), MigrationLimits())
    result = migrate_tenant(login, name, version("torn"), MigrationLimits())
    assert result.error == "fleet.0002_torn failed (DivisionByZero): division by zero"
    assert result.hint.startswith("The migration is not atomic: what it did before the error is kept.")
    assert rows(login, name, "SELECT text FROM fleet_note") == [("half",)]


def test_wait_for_another_runs_lock(tenant, version):
    login, name = tenant
    graph = version("v2")
    with login.connect(name) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        result = migrate_tenant(login, name, graph, MigrationLimits(wait_for_lock=0.1))
        pid = other.info.backend_pid
    assert result.error.startswith(
        f"Another run has held the lock of {name} for more than 0.1 s: process {pid} of {login.user} from 127.0.0.1, "
        "connected since "
    )
    assert result.hint.endswith(f"If it hangs, end it: SELECT pg_terminate_backend({pid})")
    assert result.outcome is MigrationOutcome.FAILED
    assert migrate_tenant(login, name, graph, MigrationLimits(wait_for_lock=5)).outcome is MigrationOutcome.MIGRATED


@pytest.fixture
def failing_post_migrate():
    """A receiver of post_migrate that fails."""

    def fail(**kwargs):
        raise RuntimeError("lost")

    post_migrate.connect(fail)
    yield lambda: post_migrate.disconnect(fail)
    post_migrate.disconnect(fail)


@pytest.mark.slow
@pytest.mark.parametrize("comment", [None, TENANT_COMMENT, "custom"])
def test_interrupted_post_migrate_is_run_again(tenant, version, failing_post_migrate, comment):
    login, name = tenant
    graph = version("v2")
    comment_on = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
    with login.connect(name) as connection:
        connection.execute(comment_on)
    result = migrate_tenant(login, name, graph, MigrationLimits())
    assert (result.outcome, result.applied, result.error) == (
        MigrationOutcome.FAILED,
        (FIRST, SECOND),
        "The migration failed (RuntimeError): lost",
    )
    assert result.hint.startswith("Applied migrations are kept; the next run continues.")
    inspected = inspect_tenant(login, name, graph)
    assert (inspected.outcome, inspected.before) == (MigrationOutcome.PENDING, History(is_unfinished=True))
    failing_post_migrate()
    again = migrate_tenant(login, name, graph, MigrationLimits())
    assert (again.outcome, again.applied, again.after) == (MigrationOutcome.MIGRATED, (), History())
    assert inspect_tenant(login, name, graph).outcome is MigrationOutcome.UP_TO_DATE
    kept = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    assert rows(login, name, kept) == [(comment,)]


def test_record_of_a_database_without_migrations(tenant):
    login, name = tenant
    with login.connect(name) as connection:
        assert read_record(connection) == MigrationRecord(frozenset(), TENANT_COMMENT)
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(name)))
        assert read_record(connection) == MigrationRecord(frozenset(), "")
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS 'custom'").format(sql.Identifier(name)))
        connection.execute("CREATE TABLE django_migrations (id integer, app text, name text)")
        assert read_record(connection) == MigrationRecord(frozenset(), "custom")
        connection.execute("INSERT INTO django_migrations VALUES (1, 'fleet', '0001_initial')")
        assert read_record(connection) == MigrationRecord(frozenset({FIRST}), "custom")


def test_role_that_does_not_own_the_database_sets_no_marker(tenant, version, postgres):
    login, name = tenant
    with postgres.admin(name) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(name)))
        admin.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(login.user)))
    assert migrate_tenant(login, name, version("v2"), MigrationLimits()).outcome is MigrationOutcome.MIGRATED


@pytest.mark.slow
def test_timeouts_of_the_role_do_not_end_a_migration(tenant, version, postgres):
    """The migration of that version polls for a row, and sleeps in its transaction."""
    login, name = tenant
    migrate_tenant(login, name, version("v1"), MigrationLimits())
    settings = ["idle_in_transaction_session_timeout", *(["transaction_timeout"] if postgres.version >= 17 else [])]
    with postgres.admin(name) as admin:
        for setting in settings:
            admin.execute(
                sql.SQL("ALTER ROLE {} SET {} TO '40ms'").format(sql.Identifier(login.user), sql.Identifier(setting))
            )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(leave_a_row, postgres, name)
        result = migrate_tenant(login, name, version("waiting"), MigrationLimits())
        waiting.result()
    assert (result.outcome, result.error) == (MigrationOutcome.MIGRATED, "")


def leave_a_row(postgres, name):
    """Insert the row that the migration waits for, once it has started to wait."""
    with postgres.admin(name) as admin:
        begun = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND now() - xact_start > interval '120 ms'"
        while not admin.execute(begun, [name]).fetchone():
            time.sleep(0.02)
        admin.execute("INSERT INTO fleet_note (text) VALUES ('go on')")


@pytest.mark.slow
def test_read_only_role_migrates_nothing(tenant, version, postgres):
    login, name = tenant
    with postgres.admin() as admin:
        admin.execute(
            sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(sql.Identifier(login.user))
        )
    result = migrate_tenant(login, name, version("v2"), MigrationLimits())
    assert (result.outcome, result.applied) == (MigrationOutcome.FAILED, ())
    assert result.error == (
        "The migration failed (ReadOnlySqlTransaction): cannot execute COMMENT in a read-only transaction"
    )
    assert result.hint == f"Applied migrations are kept; the next run continues. {SQLSTATE_HINTS['25006']}"


def test_lock_is_per_tenant(tenant, version):
    login, name = tenant
    graph = version("v2")
    with login.connect(name.replace("_two", "_one")) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        assert migrate_tenant(login, name, graph, MigrationLimits(wait_for_lock=0)).outcome is MigrationOutcome.MIGRATED


@pytest.mark.slow
def test_terminated_session_is_rolled_back(tenant, version, postgres):
    login, name = tenant
    migrate_tenant(login, name, version("v1"), MigrationLimits())
    graph = version("cut")
    with postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(login.user)))
    result = migrate_tenant(login, name, graph, MigrationLimits())
    assert result.outcome is MigrationOutcome.FAILED
    assert result.error.startswith("fleet.0002_cut failed (AdminShutdown): terminating connection")
    assert result.hint.startswith("The connection was lost, so it is unknown whether the migration was rolled back")
    assert rows(login, name, "SELECT app, name FROM django_migrations") == [FIRST]
    assert migrate_tenant(login, name, version("v2"), MigrationLimits()).outcome is MigrationOutcome.MIGRATED


def test_host_whose_default_is_sqlite(tenant, version):
    """Its backend is not one for PostgreSQL, and its options are unknown to PostgreSQL."""
    login, name = tenant
    before = connections["default"]
    engine = "django.db.backends.sqlite3"
    sqlite = before.settings_dict | {"ENGINE": engine, "NAME": ":memory:", "OPTIONS": {"timeout": 20}}
    connections["default"] = load_backend(engine).DatabaseWrapper(sqlite, "default")
    try:
        result = migrate_tenant(login, name, version("v2"), MigrationLimits())
        assert (result.outcome, result.error) == (MigrationOutcome.MIGRATED, "")
        assert connections["default"].vendor == "sqlite"
    finally:
        connections["default"] = before


class NothingOnDefault:
    """A router of a project whose tables are all in other databases."""

    def allow_migrate(self, db, app_label, **hints):
        return db != "default"


def test_router_that_excludes_every_model_from_the_tenants_databases(version, settings):
    settings.DATABASE_ROUTERS = [NothingOnDefault()]
    with pytest.raises(ConfigurationError, match="DATABASE_ROUTERS excludes all models from the alias default"):
        version("v2")


@pytest.mark.parametrize(
    ("database", "password", "kind"),
    [("{}_none", PASSWORD, ConnectionFailure.NO_DATABASE), ("{}", Secret("wrong"), ConnectionFailure.PASSWORD)],
)
def test_connection_errors_are_translated(tenant, database, password, kind):
    login, name = tenant
    other = Login(login.address, login.user, password)
    before = connections["default"]
    with pytest.raises(ConnectionFailed) as caught, default_connection_to(other, database.format(name)):
        pass
    assert caught.value.kind is kind
    assert str(caught.value).startswith(f"Could not connect as {login.user} to ")
    assert PASSWORD.reveal() not in repr(caught.value)
    assert connections["default"] is before


def test_options_of_the_host_are_kept_and_its_address_is_replaced(tenant, settings):
    login, name = tenant
    mine = connections["default"].settings_dict
    kept = mine["OPTIONS"]
    mine["OPTIONS"] = {"sslmode": "disable", "passfile": "/nowhere", "options": "-c search_path=public,pg_catalog"}
    try:
        with default_connection_to(login, name) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_database(), current_user, current_setting('search_path')")
            assert cursor.fetchall() == [(name, login.user, "public,pg_catalog")]
            assert connection.settings_dict["OPTIONS"]["sslmode"] == "verify-full"
    finally:
        mine["OPTIONS"] = kept
