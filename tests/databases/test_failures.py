"""What can go wrong between a command and its server, done for real; then a run that converges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from deploytools.databases import recheck
from deploytools.databases.catalogue import slots_of
from deploytools.databases.failures import LOST_HINT, SQLSTATE_HINTS
from deploytools.databases.reading import read_locales
from deploytools.databases.server import LOCK_KEY, locked, session
from deploytools.databases.steps import CreateDatabase, HandOver, Open, Step
from deploytools.databases.tenants import Tenant
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.secret.value import Secret
from tests.databases.proxy import Proxy, proxy
from tests.databases.test_apply import PASSWORD, Site, Told, a_site, errors
from tests.management.test_migrate_tenants import wait_until
from tests.postgres import Postgres


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    yield from a_site(postgres)


@pytest.fixture
def one_site(one_postgres: Postgres) -> Iterator[Site]:
    yield from a_site(one_postgres)


CUTS = ["create role", "grant", "create database", "revoke", "mark", "hand", "open"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("sentence", CUTS)
def test_the_connection_is_cut_before_or_after_the_server_obeyed(one_site, mode, sentence):
    """After: the outcome is unknown to the command, and known to the next run."""
    site = one_site
    address = site.postgres.address
    with proxy(address.hostaddr, address.port) as between:
        through = replace(site.master, address=replace(address, port=between.port))
        with locked(through, wait=30) as connection:
            tenancy = replace(site.tenancy(connection), master=through)
            plan = tenancy.plan()
            watcher = Told(_cut_at(plan.role_steps + plan.tenants[0].steps, sentence, between, mode))
            if sentence == CUTS[0]:
                between.mode = mode
            try:
                first, second = errors(tenancy.apply(plan, watcher))
            except DatabaseError:  # A step of the role's.
                first, second = "failed", "failed"
        assert between.cut.is_set()
        assert (first is None, second is None) == (False, False)
    assert errors(site.run()) == [None, None]
    assert site.plan().is_empty


def _cut_at(steps: tuple[Step, ...], sentence: str, between: Proxy, mode: str) -> Callable[[Step], None]:
    """A watcher that lets the cut happen in the step that begins with `sentence`."""
    sentences = [str(step) for step in steps]
    at = next(number for number, text in enumerate(sentences) if text.startswith(sentence))

    def told(step: Step) -> None:
        if sentences.index(str(step)) == at - 1:
            between.mode = mode

    return told


def test_the_backend_is_terminated_in_the_middle_of_create_database(site):
    """CREATE DATABASE is slow: another session ends it while it copies."""
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
def test_eight_at_once_for_different_tenants(site):
    names = [f"{site.app.user}{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda name: errors(site.run(tenants=(Tenant(name),))), names))
    assert results == [[None]] * 8
    assert site.plan(tenants=tuple(map(Tenant, names))).is_empty


def test_what_an_administrator_set_for_the_master_does_not_stop_it(site):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    with site.postgres.admin() as admin:
        for setting in ("default_transaction_read_only = on", "statement_timeout = 1", "idle_session_timeout = 1"):
            admin.execute(sql.SQL("ALTER ROLE {} SET " + setting).format(sql.Identifier(master.user)))
    assert errors(replace(site, master=master).run()) == [None, None]


def test_an_application_role_that_may_only_read_is_no_proof(site):
    site.run()
    with site.postgres.admin() as admin:
        name = sql.Identifier(site.app.user)
        admin.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(name))
    sentence = f"PostgreSQL refused to let {site.app.user} work in {{}}: cannot execute CREATE TABLE in a read-only "
    outcomes = site.run()
    assert errors(outcomes) == [sentence.format(name) + "transaction" for name in site.names]
    assert {outcome.error.hint for outcome in outcomes} == {SQLSTATE_HINTS["25006"]}


def test_a_circle_of_memberships_is_told_before_anything_is_granted(site):
    """GRANT postgres TO django_app, as some advise: then GRANT django_app TO postgres fails with 0LP01."""
    site.postgres.make_role(site.app.user, PASSWORD)
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (master.user, site.app.user))))
    with pytest.raises(DatabaseError) as caught:
        replace(site, master=master).run()
    assert str(caught.value) == (
        f"The role {site.app.user} exists and has {master.user}, which an application must not have; "
        "nothing was changed."
    )
    assert site.postgres.snapshot(site.names) == []


def test_a_session_in_the_template_of_others_does_not_matter(site):
    with site.master.connect("template1"):
        assert errors(site.run()) == [None, None]


def test_a_role_without_a_slot_left_is_told_and_the_rest_is_done(site):
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
    assert "no connection slot free" in first
    assert second is None


def test_free_slots_count_what_is_reserved(one_site):
    with session(one_site.master) as connection:
        before = slots_of(connection).free
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(one_site.master.connect("postgres"))
            assert before - slots_of(connection).free > 0
        limit = connection.execute("SHOW max_connections").fetchone()
    assert limit is not None
    assert before < int(limit[0])


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        ("ALTER DATABASE {one} OWNER TO rdsadmin", "{one} belongs to rdsadmin, not to {app}"),
        ("GRANT CONNECT ON DATABASE {one} TO PUBLIC", "PUBLIC may connect to {one}, so that it stays closed"),
        ("UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{one}'", "somebody has begun to drop {one}"),
        ("DROP DATABASE {one}", "{one} has gone"),
    ],
)
def test_the_world_changes_between_two_steps(one_site, tamper, sentence):
    """Just before it is opened, when everything else is done."""
    site = one_site
    one = site.names[0]
    words = {"one": one, "app": site.app.user}

    def told(step: Step) -> None:
        if isinstance(step, HandOver) and step.database == one:
            with site.postgres.admin() as admin:
                admin.execute(tamper.format(**words).encode())

    first, second = errors(site.run(told))
    assert first == f"Somebody else changed the server meanwhile: {sentence.format(**words)}."
    assert second is None
    assert [row[2] for row in site.postgres.snapshot([one])] in ([False], [])


def test_a_database_and_a_role_that_come_into_being_meanwhile(one_site):
    site = one_site
    with locked(site.master, wait=30) as connection:
        tenancy = site.tenancy(connection)
        plan = tenancy.plan()
        with site.postgres.admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(site.names[0])))
        first, second = errors(tenancy.apply(plan, Told(lambda step: None)))
    assert first == (f"Somebody else changed the server meanwhile: the database {site.names[0]} has come into being.")
    assert second is None
    with session(site.master) as connection, pytest.raises(DatabaseError, match="has come into being"):
        recheck.require_as_planned(connection, plan.role_steps[0])


def test_a_locale_of_the_system_is_there_and_another_is_not(site):
    with session(site.master) as connection:
        assert read_locales(connection, "C.UTF-8") == (True, ())
        has_it, others = read_locales(connection, "xx_XX.UTF-8")
    assert (has_it, "C" in others) == (False, True)
    assert errors(site.run(locale="C.UTF-8")) == [None, None]
    assert site.plan(locale="C.utf8").is_empty


def test_a_lock_that_is_held_for_ever_names_its_holder(one_site):
    with session(one_site.master) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        pid = holder.info.backend_pid
        with pytest.raises(DatabaseError) as caught, locked(one_site.master, wait=0.1):
            pass
    assert f"process {pid} of postgres from 127.0.0.1" in str(caught.value)


def test_a_session_that_is_lost_while_it_waits_for_the_lock(one_site):
    master = one_site.postgres.make_role(f"{one_site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")

    def end_whoever_waits() -> None:
        query = "SELECT FROM pg_stat_activity WHERE usename = %s AND wait_event = 'advisory'"
        with one_site.postgres.admin() as admin:
            wait_until(lambda: admin.execute(query, [master.user]).rowcount)
        one_site.postgres.terminate(master.user)

    with ThreadPoolExecutor(1) as pool, session(one_site.master) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        pool.submit(end_whoever_waits)
        with pytest.raises(DatabaseError) as caught, locked(master, wait=30):
            pass
    assert str(caught.value) == (
        "The session was lost when PostgreSQL was to take the lock: terminating connection due to administrator command"
    )
    assert caught.value.hint == LOST_HINT


def test_an_owner_that_the_master_is_no_member_of(one_site):
    site = one_site
    owner = site.postgres.make_role(f"{site.app.user}_else", Secret("x" * 40))
    with site.postgres.admin() as admin:
        names = map(sql.Identifier, (site.names[0], owner.user))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    first, second = errors(site.run(adopt=True))
    assert (first, second) == (
        f"{site.names[0]} belongs to {owner.user}, which postgres does not inherit from; it was left alone.",
        None,
    )


def test_steps_are_what_they_say(one_site):
    """A create and an open of one database in one run: the last step is the one that opens."""
    done: list[Step] = []
    one_site.run(done.append)
    of_one = [step for step in done if getattr(step, "database", "") == one_site.names[0]]
    assert (type(of_one[0]), type(of_one[-1])) == (CreateDatabase, Open)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), one_site.app.connect(one_site.names[0]) as connection:
        connection.execute("CREATE DATABASE more")
