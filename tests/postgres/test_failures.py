"""Real failures between a command and its server, each followed by a run that converges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.postgres.connections import LOCK_KEY, locked_session, session
from deploytools.postgres.failures import LOST_HINT, SQLSTATE_HINTS
from deploytools.secrets.document import Secret
from deploytools.tenants.catalog import read_locales, read_slots
from deploytools.tenants.database_operations import AllowConnections, ChangeOwner, CreateDatabase
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import Tenant
from deploytools.tenants.step_execution import require_checks
from tests.fleet.world import wait_until
from tests.postgres.proxy import Proxy, proxy
from tests.postgres_server import Postgres
from tests.tenants.sites import PASSWORD, Listener, Site, errors, make_site


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    yield from make_site(postgres)


@pytest.fixture
def one_site(one_postgres: Postgres) -> Iterator[Site]:
    yield from make_site(one_postgres)


CUTS = ["create role", "grant", "create database", "revoke", "set comment", "transfer", "enable"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("sentence", CUTS)
def test_connection_cut_before_or_after_a_statement_is_executed(one_site, mode, sentence):
    """After: the outcome is unknown to this run, and the next run reads it."""
    site = one_site
    address = site.postgres.address
    with proxy(address.hostaddr, address.port) as between:
        through = replace(site.master, address=replace(address, port=between.port))
        with locked_session(through, wait=30) as connection:
            provisioner = site.provisioner(connection)
            provisioner = replace(provisioner, logins=replace(provisioner.logins, master=through))
            plan = provisioner.plan()
            listener = Listener(_cut_at(plan.role_steps + plan.tenants[0].steps, sentence, between, mode))
            if sentence == CUTS[0]:
                between.mode = mode
            try:
                first, second = errors(provisioner.apply(plan, listener))
            except DatabaseError:  # A step of the role.
                first, second = "failed", "failed"
        assert between.cut.is_set()
        assert (first is None, second is None) == (False, False)
    assert errors(site.run()) == [None, None]
    assert site.plan().is_empty


def _cut_at(steps: tuple[Operation, ...], sentence: str, between: Proxy, mode: str) -> Callable[[Operation], None]:
    """A listener that cuts the connection in the step whose description starts with `sentence`."""
    sentences = [str(step) for step in steps]
    at = next(number for number, text in enumerate(sentences) if text.startswith(sentence))

    def on_step(step: Operation) -> None:
        if sentences.index(str(step)) == at - 1:
            between.mode = mode

    return on_step


@pytest.mark.slow
def test_backend_terminated_in_create_database(site):
    """CREATE DATABASE is slow: another session terminates it while it copies."""
    with ThreadPoolExecutor(1) as pool, site.postgres.admin() as admin:

        def kill() -> int:
            query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE %s AND pid <> %s"
            while True:
                like = f'CREATE DATABASE "{site.names[0]}%'
                if admin.execute(query, [like, admin.info.backend_pid]).rowcount:
                    return 1

        killed = pool.submit(kill)
        first, second = errors(site.run())
        assert killed.result(30) == 1
    assert second is not None
    assert first is not None
    assert errors(site.run()) == [None, None]
    assert site.plan().is_empty


@pytest.mark.slow
def test_eight_concurrent_runs_for_different_tenants(site):
    names = [f"{site.app.user}{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda name: errors(site.run(tenants=(Tenant(name),))), names))
    assert results == [[None]] * 8
    assert site.plan(tenants=tuple(map(Tenant, names))).is_empty


@pytest.mark.slow
def test_settings_of_the_master_role_are_overridden(site):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    with site.postgres.admin() as admin:
        for setting in ("default_transaction_read_only = on", "statement_timeout = 1", "idle_session_timeout = 1"):
            admin.execute(sql.SQL("ALTER ROLE {} SET " + setting).format(sql.Identifier(master.user)))
    assert errors(replace(site, master=master).run()) == [None, None]


@pytest.mark.slow
def test_read_only_application_role_fails_the_verification(site):
    site.run()
    with site.postgres.admin() as admin:
        name = sql.Identifier(site.app.user)
        admin.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(name))
    sentence = f"Could not create a table as {site.app.user} in {{}}: cannot execute CREATE TABLE in a read-only "
    results = site.run()
    assert errors(results) == [sentence.format(name) + "transaction" for name in site.names]
    assert {result.error.hint for result in results} == {SQLSTATE_HINTS["25006"]}


def test_circular_membership_is_refused_before_a_grant(site):
    """After GRANT postgres TO django_app, GRANT django_app TO postgres would fail with 0LP01."""
    site.postgres.make_role(site.app.user, PASSWORD)
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (master.user, site.app.user))))
    with pytest.raises(DatabaseError) as caught:
        replace(site, master=master).run()
    assert str(caught.value) == (
        f"Role {site.app.user} has {master.user}, which an application role must not have; nothing was changed."
    )
    assert site.postgres.snapshot(site.names) == []


def test_session_in_template1_does_not_matter(site):
    with site.master.connect("template1"):
        assert errors(site.run()) == [None, None]


@pytest.mark.slow
def test_role_without_a_free_slot_fails_and_the_others_are_created(site):
    site.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(site.app.user)))
    with site.app.connect(site.names[0]), pytest.raises(ConnectionFailed) as caught:
        site.run()
    assert caught.value.kind is ConnectionFailure.TOO_MANY
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT -1").format(sql.Identifier(site.app.user)))
        admin.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(sql.Identifier(site.names[0])))
    first, second = errors(site.run())
    assert first is not None
    assert "too many connections" in first
    assert second is None


def test_free_slots_exclude_reserved_ones(one_site):
    with session(one_site.master) as connection:
        before = read_slots(connection).free
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(one_site.master.connect("postgres"))
            assert before - read_slots(connection).free > 0
        limit = connection.execute("SHOW max_connections").fetchone()
    assert limit is not None
    assert before < int(limit[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        ("ALTER DATABASE {one} OWNER TO rdsadmin", "{one} is owned by rdsadmin, expected {app}"),
        (
            "GRANT CONNECT ON DATABASE {one} TO PUBLIC",
            "PUBLIC can connect to {one}, so its connections were not enabled",
        ),
        (
            "UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{one}'",
            "another session has started to drop {one}",
        ),
        ("DROP DATABASE {one}", "database {one} no longer exists"),
    ],
)
def test_server_changes_between_two_steps(one_site, tamper, sentence):
    """Just before connections are enabled, when every other step is complete."""
    site = one_site
    one = site.names[0]
    words = {"one": one, "app": site.app.user}

    def on_step(step: Operation) -> None:
        if isinstance(step, ChangeOwner) and step.database == one:
            with site.postgres.admin() as admin:
                admin.execute(tamper.format(**words).encode())

    first, second = errors(site.run(on_step))
    assert first == f"The server has changed since the plan was made: {sentence.format(**words)}."
    assert second is None
    assert [row[2] for row in site.postgres.snapshot([one])] in ([False], [])


def test_database_and_role_created_by_another_session(one_site):
    site = one_site
    with locked_session(site.master, wait=30) as connection:
        provisioner = site.provisioner(connection)
        plan = provisioner.plan()
        with site.postgres.admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(site.names[0])))
        first, second = errors(provisioner.apply(plan, Listener(lambda step: None)))
    assert first == (
        f"The server has changed since the plan was made: database {site.names[0]} was created by another session."
    )
    assert second is None
    with session(site.master) as connection, pytest.raises(DatabaseError, match="was created by another session"):
        require_checks(plan.role_steps[0].precondition(), connection)


@pytest.mark.slow
def test_known_and_unknown_locale(site):
    with session(site.master) as connection:
        assert read_locales(connection, "C.UTF-8") == (True, ())
        has_it, others = read_locales(connection, "xx_XX.UTF-8")
    assert (has_it, "C" in others) == (False, True)
    assert errors(site.run(locale="C.UTF-8")) == [None, None]
    assert site.plan(locale="C.utf8").is_empty


def test_error_names_the_session_that_holds_the_lock(one_site):
    with session(one_site.master) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        pid = holder.info.backend_pid
        with pytest.raises(DatabaseError) as caught, locked_session(one_site.master, wait=0.1):
            pass
    assert f"process {pid} of postgres from 127.0.0.1" in str(caught.value)


def test_connection_lost_while_waiting_for_the_lock(one_site):
    master = one_site.postgres.make_role(f"{one_site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")

    def terminate_waiting_session() -> None:
        query = "SELECT FROM pg_stat_activity WHERE usename = %s AND wait_event = 'advisory'"
        with one_site.postgres.admin() as admin:
            wait_until(lambda: admin.execute(query, [master.user]).rowcount)
        one_site.postgres.terminate(master.user)

    with ThreadPoolExecutor(1) as pool, session(one_site.master) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        pool.submit(terminate_waiting_session)
        with pytest.raises(DatabaseError) as caught, locked_session(master, wait=30):
            pass
    message = str(caught.value)  # psycopg 3.2.0 adds libpq's own words around those of the server.
    assert message.startswith("Connection lost while trying to acquire the advisory lock: ")
    assert "terminating connection due to administrator command" in message
    assert caught.value.hint == LOST_HINT


@pytest.mark.slow
def test_owner_from_which_the_master_does_not_inherit(one_site):
    site = one_site
    owner = site.postgres.make_role(f"{site.app.user}_else", Secret("x" * 40))
    with site.postgres.admin() as admin:
        names = map(sql.Identifier, (site.names[0], owner.user))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    first, second = errors(site.run(adopt=True))
    assert (first, second) == (
        f"{site.names[0]} is owned by {owner.user}, from which postgres does not inherit; it was not changed.",
        None,
    )


@pytest.mark.slow
def test_first_and_last_step(one_site):
    """A run first creates a database and last enables its connections."""
    done: list[Operation] = []
    one_site.run(done.append)
    of_one = [step for step in done if getattr(step, "database", "") == one_site.names[0]]
    assert (type(of_one[0]), type(of_one[-1])) == (CreateDatabase, AllowConnections)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), one_site.app.connect(one_site.names[0]) as connection:
        connection.execute("CREATE DATABASE more")
