"""Tenants created on real servers by a master user that is not a superuser, as on RDS."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.postgres.connections import Login, lock_error, locked_session, session
from deploytools.secrets.document import Secret
from deploytools.tenants import catalog, step_execution
from deploytools.tenants.catalog import read_server_catalog, read_state
from deploytools.tenants.database_operations import CreateDatabase, ReassignObjects
from deploytools.tenants.isolation import verify_tenant
from deploytools.tenants.operations import (
    CreateRole,
    GrantToMaster,
    Operation,
    RemoveExpiry,
    SetPassword,
    SetRoleDefaults,
)
from deploytools.tenants.options import DesiredState
from deploytools.tenants.state import INCOMPLETE_LIMIT, TENANT_COMMENT
from tests.fleet.world import wait_until
from tests.tenants.sites import PASSWORD, Killed, errors


@pytest.mark.slow
def test_second_run_changes_nothing(site):
    done: list[Operation] = []
    assert errors(site.run(done.append)) == [None, None]
    assert done[:2] == [CreateRole(site.app.user), GrantToMaster(site.app.user)]
    assert done[2] == SetRoleDefaults(site.app.user, tuple(DesiredState("app", ()).role_defaults.items()))
    assert len(done) == 3 + 2 * 5
    before = site.postgres.snapshot(site.names)
    again: list[Operation] = []
    assert site.plan().is_empty
    assert errors(site.run(again.append)) == [None, None]
    assert (again, site.postgres.snapshot(site.names)) == ([], before)


@pytest.mark.slow
def test_created_databases_and_role(site):
    site.run()
    catalogue = read_server_catalog(site.app, site.names[0], site.names, [site.app.user])
    for name in site.names:
        database = catalogue.databases[name]
        assert (database.owner, database.encoding, database.is_managed) == (site.app.user, "UTF8", True)
        assert (database.allows_connections, database.connection_limit) == (True, -1)
        assert not database.public_can_connect
    (role,) = catalogue.roles
    assert (role.can_login, role.is_superuser, role.can_create_databases, role.can_create_roles) == (
        True,
        False,
        False,
        False,
    )


@pytest.mark.slow
def test_other_role_cannot_log_in_to_a_tenant(site):
    site.run()
    other = site.postgres.make_role(f"{site.app.user}_other", PASSWORD)
    with pytest.raises(ConnectionFailed) as caught:
        other.connect(site.names[0])
    assert caught.value.kind is ConnectionFailure.NO_CONNECT


@pytest.mark.slow
def test_connect_of_public_is_found_and_revoked(site):
    site.run()
    name = site.names[0]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(name)))
    with pytest.raises(DatabaseError, match="PUBLIC can connect to"):
        verify_tenant(site.app, name)
    assert [len(tenant.steps) for tenant in site.plan().tenants] == [1, 0]
    assert errors(site.run()) == [None, None]
    verify_tenant(site.app, name)


@pytest.mark.slow
@pytest.mark.parametrize("survived", range(13))
def test_next_run_converges_after_an_interruption_at_any_step(site, survived):
    count = iter(range(100))

    def kill(step: Operation) -> None:
        if next(count) == survived:
            raise Killed

    with pytest.raises(Killed):
        site.run(kill)
    assert errors(site.run()) == [None, None]
    assert site.plan().is_empty


@pytest.mark.slow
def test_eight_concurrent_runs_create_each_tenant_once(site):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: site.run(), range(8)))
    assert [errors(results) for results in results] == [[None, None]] * 8
    assert sorted(len(result.done) for results in results for result in results) == [0] * 14 + [5] * 2


@pytest.mark.slow
def test_lock_of_another_run_is_waited_for_and_reported(site):
    with locked_session(site.master, wait=60) as holder:
        pid = holder.info.backend_pid
        with pytest.raises(DatabaseError) as caught, locked_session(site.master, wait=0.2):
            pass
    start = f"Another run has held the lock for more than 0.2 s: process {pid} of {site.master.user} from 127.0.0.1, "
    assert str(caught.value).startswith(start)
    assert caught.value.hint.endswith(f"If it hangs, end it: SELECT pg_terminate_backend({pid})")


@pytest.mark.slow
def test_the_statement_of_the_hint_ends_the_run_that_holds_the_lock(one_postgres):
    """As a role of this test: other tests hold the master user's lock."""
    name, key = one_postgres.fresh_name(), int.from_bytes(b"dt_tests")
    role = one_postgres.make_role(name, PASSWORD)
    try:
        with role.connect("postgres") as holder, role.connect("postgres") as waiting:
            holder.execute("SELECT pg_advisory_lock(%s)", [key])
            error = lock_error(waiting, key, "Another run holds the lock")
            waiting.execute(error.hint.partition("end it: ")[2].encode())
            waiting.execute("SELECT pg_advisory_lock(%s)", [key])
            with pytest.raises(psycopg.errors.AdminShutdown):
                holder.execute("SELECT 1")
    finally:
        one_postgres.sweep(name)


@pytest.mark.slow
def test_unmanaged_database_is_not_changed_and_the_other_tenant_is_created(site):
    one = site.names[0]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    before = site.postgres.snapshot([one])
    first, second = errors(site.run())
    assert first == (
        f"{one} exists but is not managed by deploytools (owner rdsadmin, PUBLIC can connect); it was not changed."
    )
    assert (second, site.postgres.snapshot([one])) == (None, before)


def test_adoption_of_a_database_of_the_master(site):
    one = site.names[0]
    with session(site.master) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    assert errors(site.run())[0] is not None
    assert errors(site.run(adopt=True)) == [None, None]
    assert errors(site.run()) == [None, None]


@pytest.mark.slow
def test_changed_password_is_set_to_the_one_in_the_secret(site):
    site.run()
    changed = replace(site, app=replace(site.app, password=Secret("another-password-that-is-long-enough")))
    assert changed.plan().role_steps == (SetPassword(site.app.user),)
    assert errors(changed.run()) == [None, None]
    with pytest.raises(ConnectionFailed) as caught:
        site.app.connect(site.names[0])
    assert caught.value.kind is ConnectionFailure.PASSWORD


def test_role_created_by_another_role(site):
    site.postgres.make_role(site.app.user, PASSWORD)
    if site.postgres.version < 16:
        assert errors(site.run()) == [None, None]
        return
    with pytest.raises(DatabaseError) as caught:
        site.run()
    assert (caught.value.sqlstate, caught.value.hint) == (
        "42501",
        f'As the role that created it: GRANT "{site.app.user}" TO "postgres" WITH ADMIN OPTION',
    )
    assert site.postgres.snapshot(site.names) == []


@pytest.mark.parametrize(
    ("statement", "excess"),
    [
        ("GRANT rds_iam TO {}", "rds_iam"),
        ("GRANT pg_signal_backend TO {}", "pg_signal_backend"),
        ("GRANT pg_read_all_stats TO {}", "pg_read_all_stats"),
        ("ALTER ROLE {} REPLICATION", "REPLICATION"),
        ("ALTER ROLE {} BYPASSRLS", "BYPASSRLS"),
    ],
)
def test_role_with_excess_permissions_is_refused_before_anything_is_granted(site, statement, excess):
    site.postgres.make_role(site.app.user, PASSWORD)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL(statement).format(sql.Identifier(site.app.user)))
    with pytest.raises(DatabaseError, match=f"has {excess}, which an application role must not have"):
        site.run()
    assert site.postgres.snapshot(site.names) == []


@pytest.mark.slow
def test_step_is_repeated_after_a_concurrent_change_of_the_same_row(site, caplog):
    site.run()
    one, other = site.names[0], f"{site.app.user}_other"
    site.postgres.make_role(other, PASSWORD)
    names = {"database": sql.Identifier(one), "role": sql.Identifier(other)}
    with site.postgres.admin() as admin, site.postgres.admin() as watcher, ThreadPoolExecutor(1) as pool:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {database} TO PUBLIC").format(**names))
        with admin.transaction():
            admin.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {database} TO {role}").format(**names))
            running = pool.submit(site.run)
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
            wait_until(lambda: watcher.execute(waiting, [f'REVOKE % ON DATABASE "{one}"%']).fetchall())
        assert errors(running.result(30)) == [None, None]
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == [
        f"revoke CONNECT and TEMPORARY on {one} from PUBLIC (tuple concurrently updated)"
    ]


@pytest.mark.slow
def test_step_is_repeated_after_a_lock_timeout(site, caplog, monkeypatch):
    site.run()
    monkeypatch.setattr("deploytools.postgres.connections.STEP_LOCK_TIMEOUT", "100ms")
    database = sql.Identifier(site.names[0])
    with site.postgres.admin() as admin, ThreadPoolExecutor(1) as pool:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(database))
        with admin.transaction():
            admin.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(database))
            running = pool.submit(site.run)
            wait_until(lambda: caplog.records)
        assert errors(running.result(30)) == [None, None]
    assert "canceling statement due to lock timeout" in caplog.records[0].getMessage()


@pytest.mark.slow
def test_role_that_has_expired_can_log_in_after_the_run(site):
    site.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} VALID UNTIL '2020-01-01'").format(sql.Identifier(site.app.user)))
    assert RemoveExpiry(site.app.user) in site.plan().role_steps
    assert errors(site.run()) == [None, None]
    assert site.plan().is_empty


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attribute", "cause", "fix"),
    [
        ("NOLOGIN", "exists but cannot log in", "LOGIN"),
        ("CONNECTION LIMIT 0", "has CONNECTION LIMIT 0, so it cannot log in", "CONNECTION LIMIT -1"),
        ("NOINHERIT", "has NOINHERIT, so it does not have the privileges of the database's owner", "INHERIT"),
    ],
)
def test_role_that_the_application_cannot_use_is_refused_with_the_statement(site, attribute, cause, fix):
    site.run()
    before, role = site.postgres.snapshot(site.names), site.app.user
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} " + attribute).format(sql.Identifier(role)))
    if attribute == "NOINHERIT" and site.postgres.version >= 16:
        assert errors(site.run()) == [None, None]
        return
    with pytest.raises(DatabaseError) as caught:
        site.run()
    statement = f'ALTER ROLE "{role}" {fix}'
    assert (str(caught.value), caught.value.hint) == (
        f"Role {role} {cause}.",
        f"If it is the application role, run: {statement}",
    )
    assert site.postgres.snapshot(site.names) == before
    with site.postgres.admin() as admin:
        admin.execute(statement.encode())
    assert errors(site.run()) == [None, None]


@pytest.mark.slow
def test_tables_that_the_master_restored_are_transferred_with_adopt(site):
    """``pg_restore --no-owner`` leaves every table to the master user."""
    site.run()
    one, role = site.names[0], site.app.user
    with site.postgres.master.connect(one) as master:
        master.execute("CREATE TABLE note (id bigserial PRIMARY KEY); CREATE TABLE stock (id integer)")
    unusable = (
        f"{role} has no privilege on 3 objects in {one}, for example sequence public.note_id_seq (owner postgres)."
    )
    assert errors(site.run()) == [f"{unusable} Nothing was changed.", None]
    with session(site.master) as connection:
        assert errors(site.provisioner(connection).verify()) == [f"{unusable} Nothing was changed.", None]
    with pytest.raises(DatabaseError, match=re.escape(unusable)):
        verify_tenant(site.app, one)
    adopting = replace(site, desired=replace(site.desired, adopt=True))
    assert [plan.steps for plan in adopting.plan().tenants] == [(ReassignObjects(one, "postgres", role, 3),), ()]
    assert errors(adopting.run()) == [None, None]
    assert site.plan().is_empty
    assert adopting.plan().is_empty
    with site.app.connect(one) as application:
        application.execute("INSERT INTO note DEFAULT VALUES; ALTER TABLE stock ADD text text")


@pytest.mark.slow
@pytest.mark.parametrize(
    "statements",
    [
        "CREATE TABLE stock (id integer)",
        "CREATE SCHEMA {role}; CREATE TABLE {role}.stock (id integer); GRANT ALL ON {role}.stock TO {role}",
    ],
)
def test_tables_of_another_role_that_the_application_cannot_use_fail_the_verification(site, statements):
    site.run()
    one, role = site.names[0], site.app.user
    with site.postgres.admin(one) as admin:
        owner = admin.info.user
        admin.execute(sql.SQL(statements).format(role=sql.Identifier(role)))
    with pytest.raises(DatabaseError, match=f"{role} has no privilege on 1 object in {one}") as caught:
        verify_tenant(site.app, one)
    assert str(caught.value).endswith(f"stock (owner {owner}).")


@pytest.mark.slow
def test_objects_that_the_application_can_use_pass(site):
    """Members of extensions and other roles' schemas do not concern the application."""
    site.run()
    one = site.names[0]
    with site.postgres.admin(one) as admin:
        admin.execute(
            sql.SQL(
                "CREATE TABLE stock (id bigserial); GRANT ALL ON stock, stock_id_seq TO {0}; "
                "CREATE TABLE record (id integer); GRANT INSERT ON record TO {0}; "
                "CREATE SCHEMA audit; CREATE TABLE audit.log (id integer); "
                "CREATE TABLE member (id integer); ALTER EXTENSION plpgsql ADD TABLE member"
            ).format(sql.Identifier(site.app.user))
        )
    assert errors(site.run()) == [None, None]


@pytest.mark.slow
def test_master_with_noinherit(site):
    """From 16 on, its REVOKE on a database that it has transferred would only issue a warning."""
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE NOINHERIT")
    other = replace(site, master=master)
    assert errors(other.run()) == [None, None]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(site.names[0])))
    assert errors(other.run()) == [None, None]
    verify_tenant(site.app, site.names[0])


@pytest.mark.slow
def test_revoke_without_effect_is_an_error(site, monkeypatch):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE NOINHERIT")
    other = replace(site, master=master)
    other.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(site.names[0])))
        if site.postgres.version >= 16:  # It has granted itself INHERIT.
            names = [sql.Identifier(name) for name in (site.app.user, master.user)]
            admin.execute(sql.SQL("REVOKE {} FROM {} CASCADE").format(*names))
            admin.execute(sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(*names))

    @contextmanager
    def as_itself(connection: object, owner: str | None) -> Iterator[None]:
        yield

    monkeypatch.setattr(step_execution, "set_role", as_itself)
    first, second = errors(other.run())
    assert (first, second) == (
        f'PostgreSQL revoked nothing: no privileges could be revoked for "{site.names[0]}".',
        None,
    )


@pytest.mark.parametrize("attributes", ["CREATEDB", "CREATEROLE", ""])
def test_master_without_createdb_or_createrole_is_refused_before_any_change(site, attributes):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, attributes)
    with pytest.raises(DatabaseError, match=r"does not have CREATE.*: permission denied to create tenants"):
        replace(site, master=master).run()
    assert site.postgres.snapshot(site.names) == []


def test_missing_locale(site):
    with pytest.raises(DatabaseError) as caught:
        site.run(locale="xx_XX.UTF-8")
    assert (str(caught.value), caught.value.sqlstate) == (
        "The server does not have the locale xx_XX.UTF-8; nothing was created.",
        "42809",
    )
    assert "to one of: C" in caught.value.hint
    assert site.postgres.snapshot(site.names) == []


@pytest.mark.slow
def test_interrupted_drop_is_reported_and_not_altered(site):
    """ALTER DATABASE on it is a FATAL error that would end the master's session and the work on other tenants."""
    site.run()
    with site.postgres.admin() as admin:
        admin.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [site.names[0]])
    first, second = errors(site.run())
    assert (first, second) == (f"{site.names[0]} is the remainder of an interrupted DROP DATABASE.", None)


@pytest.mark.slow
def test_incomplete_database_has_connections_disabled_and_its_own_limit(site):
    with locked_session(site.master, wait=30) as connection:
        connection.execute(CreateDatabase(site.names[0]).sql())
    assert site.postgres.snapshot([site.names[0]]) == [(site.names[0], "postgres", False, INCOMPLETE_LIMIT, None, None)]
    assert errors(site.run()) == [None, None]


@pytest.mark.slow
def test_next_run_converges_after_the_session_was_lost(site):
    """With a separate master: all sessions of that role are terminated, and other tests use the other role."""
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    site = replace(site, master=master)

    def cut(step: Operation) -> None:
        if isinstance(step, CreateDatabase):
            site.postgres.terminate(site.master.user)

    first, second = errors(site.run(cut))
    assert first is not None
    assert "terminating connection" in first
    assert second == f"The master user's session was lost before {site.names[1]} was started."
    assert errors(site.run()) == [None, None]


@pytest.mark.slow
def test_first_tenant_is_not_verified_if_the_session_is_lost_after_it(site):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    site = replace(site, master=master)

    def cut(step: Operation) -> None:
        if step == CreateDatabase(site.names[1]):
            site.postgres.terminate(site.master.user)

    first, second = site.run(cut)
    assert first.error is not None
    assert str(first.error).startswith(f"{site.names[0]} was not verified: ")
    assert (len(first.done), first.error.hint) == (5, "Verify it: python manage.py create_tenant_dbs --verify")
    assert "terminating connection" in str(second.error)
    assert errors(site.run()) == [None, None]


@pytest.mark.slow
def test_no_password_in_the_servers_log(site):
    site.run()
    replace(site, app=replace(site.app, password=Secret("canary-password-canary-password-canary"))).run()
    log = site.postgres.log()
    assert site.app.user in log
    assert "SCRAM-SHA-256$" in log
    assert [word for word in (PASSWORD.reveal(), "canary-password") if word in log] == []


@pytest.mark.slow
def test_verification_leaves_no_objects(site):
    site.run()
    verify_tenant(site.app, site.names[0])
    with site.app.connect(site.names[0]) as connection:
        assert connection.execute("SELECT to_regclass('deploytools_verification') AS it").fetchone() == (None,)


@pytest.mark.slow
def test_managed_databases_have_the_comment(site):
    site.run()
    assert {row[4] for row in site.postgres.snapshot(site.names)} == {TENANT_COMMENT}


def test_lock_serializes_two_runs(site):
    """The second run waits until the first has released the lock."""
    order: list[str] = []
    entered = threading.Event()

    def first() -> None:
        with locked_session(site.master, wait=30):
            entered.set()
            threading.Event().wait(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(30)
    with locked_session(site.master, wait=30):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_identifiers_are_quoted():
    evil = 'x"; DROP DATABASE y; --'
    text = CreateDatabase(evil).sql().as_string(None)
    assert text.startswith('CREATE DATABASE "x""; DROP DATABASE y; --" TEMPLATE template0')


def test_interrupt_while_passwords_are_tried_starts_no_other_login(one_site, monkeypatch):
    one_site.run()
    tried: list[Login] = []

    def hang(login: Login) -> bool:
        tried.append(login)
        if len(tried) == 2:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(1)
        return True

    monkeypatch.setattr(catalog, "password_works", hang)
    with session(one_site.master) as connection, pytest.raises(KeyboardInterrupt):
        read_state(connection, one_site.desired, [one_site.app] * 5)
    time.sleep(1.5)
    assert len(tried) == 2
