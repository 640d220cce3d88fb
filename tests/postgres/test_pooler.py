"""The commands refuse a connection pooler, which would keep their locks and settings; a real PgBouncer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connection_probe import LEAK_ATTEMPTS, leaks_session_state, probe
from deploytools.postgres.connections import Connection, Login, connection_error, is_pooled, locked_session
from deploytools.postgres.failures import POOLER_HINT
from deploytools.secrets.document import Secret
from deploytools.tenants.migration_graph import read_graph
from deploytools.tenants.tenant_migration import MigrationLimits, MigrationOutcome, migrate_tenant
from tests.fleet.world import make_databases
from tests.pgbouncer import pgbouncer
from tests.postgres_server import Postgres

PASSWORD = Secret("correct-horse-battery-staple-0123456789")


@pytest.fixture
def tenant(one_postgres: Postgres, django_db_blocker) -> Iterator[tuple[Login, str]]:
    name = one_postgres.fresh_name()
    login = Login(one_postgres.address, f"{name}_app", PASSWORD)
    make_databases(one_postgres, login, [f"{name}_one"])
    with django_db_blocker.unblock():
        yield login, f"{name}_one"
    one_postgres.sweep(name)


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("Feature not supported: RDS Proxy currently doesn’t support command-line options.", "POOLER", "Connect to"),
        ("This RDS proxy has no credentials for the role app. Check the credentials.", "POOLER", "Add the secret"),
        ("This RDS Proxy requires TLS connections", "TLS_REQUIRED", 'Set DEPLOYTOOLS["SSLMODE"]'),
        ("Timed-out waiting to acquire database connection", "TOO_MANY", "RDS Proxy could not"),
    ],
)
def test_messages_of_rds_proxy(text: str, kind: str, hint: str) -> None:
    error = connection_error(f'connection to server at "10.0.0.5", port 5432 failed: FATAL:  {text}', who="app")
    assert error.kind is ConnectionFailure[kind]
    assert error.hint.startswith(hint)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pooler_is_recognized_before_a_lock_is_taken(accessible: Path, one_postgres: Postgres, mode: str) -> None:
    with pgbouncer(accessible, one_postgres, one_postgres.master, mode=mode, ignore="options") as (master,):
        with pytest.raises(ConnectionFailed) as caught, locked_session(master, wait=1):
            raise AssertionError("the session was opened")
        assert (str(caught.value), caught.value.hint, caught.value.kind) == (
            f"{master.address} is a connection pooler, for example PgBouncer. Nothing was changed.",
            POOLER_HINT,
            ConnectionFailure.POOLER,
        )
        with master.connect("postgres") as connection:
            assert is_pooled(connection)
    with one_postgres.master.connect("postgres") as connection:
        assert not is_pooled(connection)


def test_pooler_that_refuses_the_settings_of_a_session(accessible: Path, one_postgres: Postgres) -> None:
    with (
        pgbouncer(accessible, one_postgres, one_postgres.master, mode="transaction") as (master,),
        pytest.raises(ConnectionFailed, match="unsupported startup parameter") as caught,
        locked_session(master, wait=1),
    ):
        raise AssertionError("the session was opened")
    assert (caught.value.hint, caught.value.kind) == (POOLER_HINT, ConnectionFailure.POOLER)


def test_wrong_password_at_a_pooler(accessible: Path, one_postgres: Postgres, tenant: tuple[Login, str]) -> None:
    login, database = tenant
    with (
        pgbouncer(accessible, one_postgres, login, mode="transaction") as (pooled,),
        pytest.raises(ConnectionFailed) as caught,
    ):
        Login(pooled.address, login.user, Secret("another-password")).connect(database)
    assert caught.value.kind is ConnectionFailure.PASSWORD


@pytest.mark.parametrize(("mode", "leaks"), [("session", False), ("transaction", True)])
def test_probe_reports_a_pooler_and_whether_it_resets_sessions(
    accessible: Path, one_postgres: Postgres, tenant: tuple[Login, str], mode: str, leaks: bool
) -> None:
    login, database = tenant
    with pgbouncer(accessible, one_postgres, login, mode=mode) as (pooled,):
        report = probe(pooled, database).report
        assert report
        assert (report.is_pooled, leaks_session_state(pooled, database)) == (True, leaks)
    direct = probe(login, database).report
    assert direct
    assert not direct.is_pooled


@pytest.mark.parametrize(("busy", "leaks"), [(1, False), (LEAK_ATTEMPTS, None)])
def test_sessions_of_another_connection_to_the_server_show_nothing(
    accessible: Path, one_postgres: Postgres, tenant: tuple[Login, str], monkeypatch, busy: int, leaks: bool | None
) -> None:
    """During the first attempts, another client takes the connection of the first session before the second one."""
    login, database = tenant
    with pgbouncer(accessible, one_postgres, login, mode="session") as (pooled,), ExitStack() as held:
        connect, opened = Login.connect, list[Connection]()

        def connect_while_the_first_is_in_use(self: Login, name: str) -> Connection:
            if len(opened) % 2 and len(opened) < 2 * busy:
                held.enter_context(connect(self, name)).execute(b"SELECT 1")
            opened.append(connect(self, name))
            return opened[-1]

        with monkeypatch.context() as patch:
            patch.setattr(Login, "connect", connect_while_the_first_is_in_use)
            assert leaks_session_state(pooled, database) is leaks


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_tenant_is_not_migrated_through_a_pooler(
    accessible: Path, one_postgres: Postgres, tenant: tuple[Login, str], settings, mode: str
) -> None:
    settings.INSTALLED_APPS = ["deploytools", "tests.fleet"]
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v2"}
    login, database = tenant
    with pgbouncer(accessible, one_postgres, login, mode=mode, ignore="options") as (pooled,):
        result = migrate_tenant(pooled, database, read_graph(), MigrationLimits())
        assert (result.outcome, result.error, result.hint) == (
            MigrationOutcome.FAILED,
            f"{pooled.address} is a connection pooler, for example PgBouncer. Nothing was changed.",
            POOLER_HINT,
        )
        with one_postgres.admin(database) as admin:
            query = "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND "
            assert admin.execute(f"{query} datname = current_database()".encode()).fetchall() == []
            assert admin.execute("SELECT FROM pg_tables WHERE schemaname = 'public'").fetchall() == []
    assert migrate_tenant(login, database, read_graph(), MigrationLimits()).outcome is MigrationOutcome.MIGRATED
