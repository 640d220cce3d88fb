"""Tenants made on real servers, by a master that is no superuser, as on RDS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from psycopg import sql

from deploytools.databases import apply
from deploytools.databases.apply import Outcome
from deploytools.databases.catalogue import read_catalogue
from deploytools.databases.plan import DatabasePlan
from deploytools.databases.proof import prove
from deploytools.databases.server import Connection, Login, locked, session
from deploytools.databases.state import HALF_MADE_LIMIT, MARK, ROLE_DEFAULTS, Wanted
from deploytools.databases.statements import no_verifier, statement
from deploytools.databases.steps import CreateDatabase, CreateRole, GrantToMaster, SetPassword, SetRoleDefaults, Step
from deploytools.databases.tenancy import Tenancy
from deploytools.databases.tenants import Tenant
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.secret.value import Secret
from tests.postgres import Postgres

PASSWORD = Secret("correct-horse-battery-staple-0123456789")


@dataclass(frozen=True)
class Site:
    """Names of its own on a shared server, and who works there."""

    postgres: Postgres
    master: Login
    app: Login
    wanted: Wanted

    @property
    def names(self) -> list[str]:
        return [tenant.name for tenant in self.wanted.tenants]

    def plan(self, **changes: Any) -> DatabasePlan:
        with session(self.master) as connection:
            return self.tenancy(connection, **changes).plan()

    def run(self, step_done: Callable[[Step], object] = lambda step: None, **changes: Any) -> tuple[Outcome, ...]:
        with locked(self.master, wait=30) as connection:
            tenancy = self.tenancy(connection, **changes)
            return tenancy.apply(tenancy.plan(), Told(step_done))

    def tenancy(self, connection: Connection, **changes: Any) -> Tenancy:
        return Tenancy(connection, self.master, self.app, replace(self.wanted, **changes))


@dataclass(frozen=True)
class Told:
    """A watcher."""

    told: Callable[[Step], object]

    def step_done(self, step: Step) -> None:
        self.told(step)

    def tenant_done(self, outcome: Outcome) -> None:
        pass


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    yield from a_site(postgres)


def a_site(postgres: Postgres) -> Iterator[Site]:
    name = postgres.fresh_name()
    app = Login(postgres.address, f"{name}_app", PASSWORD)
    wanted = Wanted(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two")))
    yield Site(postgres, postgres.master, app, wanted)
    postgres.sweep(name)


def errors(outcomes: tuple[Outcome, ...]) -> list[str | None]:
    return [str(outcome.error) if outcome.error else None for outcome in outcomes]


def test_from_nothing_to_proved_and_a_second_run_changes_nothing(site):
    done: list[Step] = []
    assert errors(site.run(done.append)) == [None, None]
    assert done[:2] == [CreateRole(site.app.user), GrantToMaster(site.app.user)]
    assert done[2] == SetRoleDefaults(site.app.user, tuple(ROLE_DEFAULTS.items()))
    assert len(done) == 3 + 2 * 5
    before = site.postgres.snapshot(site.names)
    again: list[Step] = []
    assert site.plan().is_empty
    assert errors(site.run(again.append)) == [None, None]
    assert (again, site.postgres.snapshot(site.names)) == ([], before)


def test_what_is_made_is_what_was_promised(site):
    site.run()
    catalogue = read_catalogue(site.app, site.names[0], site.names, [site.app.user])
    for name in site.names:
        database = catalogue.databases[name]
        assert (database.owner, database.encoding, database.is_marked) == (site.app.user, "UTF8", True)
        assert (database.allows_connections, database.connection_limit) == (True, -1)
        assert not database.public_may_connect
    (role,) = catalogue.roles
    assert (role.can_login, role.is_superuser, role.can_create_databases, role.can_create_roles) == (
        True,
        False,
        False,
        False,
    )


def test_a_stranger_cannot_log_in_to_a_tenant(site):
    site.run()
    stranger = site.postgres.make_role(f"{site.app.user}_stranger", PASSWORD)
    with pytest.raises(ConnectionFailed) as caught:
        stranger.connect(site.names[0])
    assert caught.value.kind is ConnectionFailure.NO_CONNECT


def test_an_open_database_is_shut_again_and_the_proof_notices_one(site):
    site.run()
    name = site.names[0]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(name)))
    with pytest.raises(DatabaseError, match="PUBLIC may connect to"):
        prove(site.app, name)
    assert [len(tenant.steps) for tenant in site.plan().tenants] == [1, 0]
    assert errors(site.run()) == [None, None]
    prove(site.app, name)


class Killed(BaseException):
    """As a kill -9 of the command: nothing after it runs."""


@pytest.mark.slow
@pytest.mark.parametrize("survived", range(13))
def test_interrupted_after_any_step_the_next_run_converges(site, survived):
    count = iter(range(100))

    def kill(step: Step) -> None:
        if next(count) == survived:
            raise Killed

    with pytest.raises(Killed):
        site.run(kill)
    assert errors(site.run()) == [None, None]
    assert site.plan().is_empty


def test_eight_at_once_make_it_once(site):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: site.run(), range(8)))
    assert [errors(outcomes) for outcomes in results] == [[None, None]] * 8
    assert sorted(len(outcome.done) for outcomes in results for outcome in outcomes) == [0] * 14 + [5] * 2


def test_somebody_elses_lock_is_waited_for_and_told(site):
    with locked(site.master, wait=5), pytest.raises(DatabaseError) as caught, locked(site.master, wait=0.2):
        pass
    assert str(caught.value).startswith("Another run has held the lock for more than 0.2 s: process ")
    assert f"of {site.master.user} from 127.0.0.1" in str(caught.value)


def test_a_foreign_database_is_left_alone_and_the_other_tenant_is_made(site):
    one = site.names[0]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    before = site.postgres.snapshot([one])
    first, second = errors(site.run())
    assert first == (
        f"{one} exists and was not made by these commands (owner rdsadmin, PUBLIC may connect); it was left alone."
    )
    assert (second, site.postgres.snapshot([one])) == (None, before)


def test_adoption_of_a_database_that_the_master_made(site):
    one = site.names[0]
    with session(site.master) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    assert errors(site.run())[0] is not None
    assert errors(site.run(adopt=True)) == [None, None]
    assert errors(site.run()) == [None, None]


def test_a_password_that_has_drifted_is_set_to_the_secrets(site):
    site.run()
    changed = replace(site, app=replace(site.app, password=Secret("another-password-that-is-long-enough")))
    assert changed.plan().role_steps == (SetPassword(site.app.user),)
    assert errors(changed.run()) == [None, None]
    with pytest.raises(ConnectionFailed) as caught:
        site.app.connect(site.names[0])
    assert caught.value.kind is ConnectionFailure.PASSWORD


def test_a_role_that_somebody_else_made(site):
    site.postgres.make_role(site.app.user, PASSWORD)
    if site.postgres.version < 16:
        assert errors(site.run()) == [None, None]
        return
    with pytest.raises(DatabaseError) as caught:
        site.run()
    assert (caught.value.sqlstate, caught.value.hint) == (
        "42501",
        f"As whoever made it: GRANT {site.app.user} TO postgres WITH ADMIN OPTION",
    )
    assert site.postgres.snapshot(site.names) == []


def test_a_role_that_reaches_too_far_is_refused_before_anything_is_granted(site):
    site.postgres.make_role(site.app.user, PASSWORD)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT rds_iam TO {}").format(sql.Identifier(site.app.user)))
    with pytest.raises(DatabaseError, match="has rds_iam, which an application must not have"):
        site.run()
    assert site.postgres.snapshot(site.names) == []


def test_a_master_that_inherits_nothing(site):
    """From 16 on its REVOKE on a database that it handed over would do nothing, with a mere warning."""
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE NOINHERIT")
    other = replace(site, master=master)
    assert errors(other.run()) == [None, None]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(site.names[0])))
    assert errors(other.run()) == [None, None]
    prove(site.app, site.names[0])


def test_a_revoke_that_revokes_nothing_is_an_error(site, monkeypatch):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE NOINHERIT")
    other = replace(site, master=master)
    other.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(site.names[0])))
        if site.postgres.version >= 16:  # It has let itself inherit.
            names = [sql.Identifier(name) for name in (site.app.user, master.user)]
            admin.execute(sql.SQL("REVOKE {} FROM {} CASCADE").format(*names))
            admin.execute(sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(*names))

    @contextmanager
    def as_itself(connection: object, owner: str | None) -> Iterator[None]:
        yield

    monkeypatch.setattr(apply, "_acting_as", as_itself)
    first, second = errors(other.run())
    assert (first, second) == (
        f'PostgreSQL revoked nothing: no privileges could be revoked for "{site.names[0]}".',
        None,
    )


@pytest.mark.parametrize("attributes", ["CREATEDB", "CREATEROLE", ""])
def test_a_master_without_its_powers_is_told_before_anything_is_done(site, attributes):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, attributes)
    with pytest.raises(DatabaseError, match=r"lacks .*CREATE.*: permission denied to create what is wanted"):
        replace(site, master=master).run()
    assert site.postgres.snapshot(site.names) == []


def test_a_locale_that_the_server_lacks(site):
    with pytest.raises(DatabaseError) as caught:
        site.run(locale="xx_XX.UTF-8")
    assert (str(caught.value), caught.value.sqlstate) == (
        "The server has no locale xx_XX.UTF-8; nothing was created.",
        "42809",
    )
    assert "to one that it has: C" in caught.value.hint
    assert site.postgres.snapshot(site.names) == []


def test_an_interrupted_drop_is_told_and_not_altered(site):
    """ALTER DATABASE on it is FATAL and would kill the master's session, and with it the other tenants."""
    site.run()
    with site.postgres.admin() as admin:
        admin.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [site.names[0]])
    first, second = errors(site.run())
    assert (first, second) == (f"{site.names[0]} is what an interrupted DROP DATABASE left behind.", None)


def test_half_made_databases_are_closed_and_known_by_their_limit(site):
    with locked(site.master, wait=30) as connection:
        connection.execute(statement(CreateDatabase(site.names[0]), no_verifier))
    assert site.postgres.snapshot([site.names[0]]) == [(site.names[0], "postgres", False, HALF_MADE_LIMIT, None, None)]
    assert errors(site.run()) == [None, None]


def test_the_session_is_lost_half_way_and_the_next_run_converges(site):
    """As a master of its own: every session of that role is cut, and others work as the other."""
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    site = replace(site, master=master)

    def cut(step: Step) -> None:
        if isinstance(step, CreateDatabase):
            site.postgres.terminate(site.master.user)

    first, second = errors(site.run(cut))
    assert first is not None
    assert "terminating connection" in first
    assert second == f"The master's session was lost before {site.names[1]} was begun."
    assert errors(site.run()) == [None, None]


def test_the_session_is_lost_after_the_first_tenant_which_is_then_not_proved(site):
    master = site.postgres.make_role(f"{site.app.user}_master", PASSWORD, "CREATEDB CREATEROLE")
    site = replace(site, master=master)

    def cut(step: Step) -> None:
        if step == CreateDatabase(site.names[1]):
            site.postgres.terminate(site.master.user)

    first, second = site.run(cut)
    assert first.error is not None
    assert str(first.error).startswith(f"{site.names[0]} was not proved: ")
    assert (len(first.done), first.error.hint) == (5, "Prove it: python manage.py create_tenant_dbs --verify")
    assert "terminating connection" in str(second.error)
    assert errors(site.run()) == [None, None]


def test_no_password_reaches_the_servers_log(site):
    site.run()
    replace(site, app=replace(site.app, password=Secret("canary-password-canary-password-canary"))).run()
    log = site.postgres.log()
    assert site.app.user in log
    assert "SCRAM-SHA-256$" in log
    assert [word for word in (PASSWORD.reveal(), "canary-password") if word in log] == []


def test_the_proof_leaves_nothing_behind(site):
    site.run()
    prove(site.app, site.names[0])
    with site.app.connect(site.names[0]) as connection:
        assert connection.execute("SELECT to_regclass('deploytools_proof') AS it").fetchone() == (None,)


def test_marks_are_comments(site):
    site.run()
    assert {row[4] for row in site.postgres.snapshot(site.names)} == {MARK}


def test_locks_keep_two_runs_apart(site):
    """The second waits until the first has let go."""
    order: list[str] = []
    entered = threading.Event()

    def first() -> None:
        with locked(site.master, wait=30):
            entered.set()
            threading.Event().wait(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(30)
    with locked(site.master, wait=30):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_statements_are_composed_not_formatted():
    evil = 'x"; DROP DATABASE y; --'
    text = statement(CreateDatabase(evil), no_verifier).as_string(None)
    assert text.startswith('CREATE DATABASE "x""; DROP DATABASE y; --" TEMPLATE template0')
