"""New tenants with their tables, on every version of PostgreSQL, by a master that is no superuser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from psycopg import sql

from deploytools.databases import recheck
from deploytools.databases.migrations import read_graph
from deploytools.databases.plan import DatabasePlan
from deploytools.databases.server import Connection, Login, locked, session
from deploytools.databases.state import HALF_MADE_LIMIT, Wanted
from deploytools.databases.steps import (
    CloneTemplate,
    CompareTables,
    CreateDatabase,
    DropTemplate,
    HandOver,
    HandOverObjects,
    LetOwnerIn,
    Mark,
    MigrateTables,
    Open,
    SealTemplate,
    ShutOutPublic,
    Step,
    UnsealTemplate,
)
from deploytools.databases.tables import template_name
from deploytools.databases.templates import drop_steps, ready_mark
from deploytools.databases.tenancy import Tenancy
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError, ForeignDatabase
from deploytools.secret.value import Secret
from tests.databases.test_apply import Killed, Told, errors
from tests.fleet.world import FIRST, SECOND
from tests.postgres import Postgres

PASSWORD = Secret("correct-horse-battery-staple-0123456789")


@dataclass(frozen=True)
class Site:
    """Two tenants that are to have tables."""

    postgres: Postgres
    app: Login
    wanted: Wanted

    @property
    def names(self) -> list[str]:
        return [tenant.name for tenant in self.wanted.tenants]

    @property
    def template(self) -> str:
        return self.wanted.template

    def tenancy(self, connection: Connection, **changes: Any) -> Tenancy:
        wanted = replace(self.wanted, **changes)
        return Tenancy(connection, self.postgres.master, self.app, wanted, graph=read_graph())

    def plan(self, **changes: Any) -> DatabasePlan:
        with session(self.postgres.master) as connection:
            return self.tenancy(connection, **changes).plan()

    def run(self, told: Any = lambda step: None, **changes: Any) -> list[str | None]:
        with locked(self.postgres.master, wait=30) as connection:
            tenancy = self.tenancy(connection, **changes)
            return errors(tenancy.apply(tenancy.plan(), Told(told)))

    def state(self) -> tuple[Any, ...]:
        query = """SELECT datallowconn, datistemplate, datconnlimit,
                   replace(shobj_description(oid, 'pg_database'), xmin::text, 'VERSION'),
                   pg_get_userbyid(datdba)::text, has_database_privilege('public', oid, 'CONNECT')
                   FROM pg_database WHERE datname = %s"""
        with self.postgres.admin() as admin:
            row = admin.execute(query, [self.template]).fetchone()
            return tuple(row) if row else ()

    def execute(self, statement: str, *names: str) -> None:
        with self.postgres.admin() as admin:
            admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def look(self, name: str, query: str) -> list[tuple[Any, ...]]:
        with self.app.connect(name) as connection:
            return [tuple(row) for row in connection.execute(query.encode()).fetchall()]


@pytest.fixture
def site(postgres: Postgres, settings: Any, django_db_blocker: Any) -> Iterator[Site]:
    yield from _site(postgres, settings, django_db_blocker)


@pytest.fixture
def one_site(one_postgres: Postgres, settings: Any, django_db_blocker: Any) -> Iterator[Site]:
    yield from _site(one_postgres, settings, django_db_blocker)


def _site(postgres: Postgres, settings: Any, django_db_blocker: Any) -> Iterator[Site]:
    settings.INSTALLED_APPS = ["deploytools", "tests.fleet"]
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v2"}
    name = postgres.fresh_name()
    app = Login(postgres.address, f"{name}_app", PASSWORD)
    wanted = Wanted(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two")), migrate=True)
    with django_db_blocker.unblock():
        yield Site(postgres, app, replace(wanted, template=template_name(wanted)))
    postgres.sweep(name)


HISTORY = "SELECT app, name FROM django_migrations ORDER BY id"
OWNERS = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'public'"


def test_built_once_and_copied(site):
    app, template, (one, two) = site.app.user, site.template, site.names
    plan = site.plan()
    assert plan.template_steps == (
        CreateDatabase(template),
        ShutOutPublic(template, "postgres"),
        HandOver(template, "postgres", app),
        LetOwnerIn(template, app),
        MigrateTables(template, app),
        SealTemplate(template, app),
    )
    assert plan.tenants[0].steps == (
        CloneTemplate(one, template),
        ShutOutPublic(one, "postgres"),
        Mark(one, "postgres"),
        HandOver(one, "postgres", app),
        LetOwnerIn(one, app),
        CompareTables(one, app),
        Open(one, app),
    )
    assert site.run() == [None, None]
    assert site.state() == (False, True, -1, ready_mark("VERSION"), app, False)
    for name in (one, two):
        assert site.look(name, HISTORY) == [FIRST, SECOND]
        assert site.look(name, OWNERS) == [(app,)]
    before = site.postgres.snapshot([*site.names, template])
    assert (site.plan().is_empty, site.run()) == (True, [None, None])
    assert site.postgres.snapshot([*site.names, template]) == before


def test_a_new_tenant_later_takes_the_same_template(site):
    site.run()
    oid = site.look(site.names[0], f"SELECT oid FROM pg_database WHERE datname = '{site.template}'")  # noqa: S608
    more = (*site.wanted.tenants, Tenant(f"{site.names[0]}_more"))
    assert site.plan(tenants=more).template_steps == ()
    assert site.run(tenants=more) == [None] * 3
    assert site.look(more[-1].name, HISTORY) == [FIRST, SECOND]
    assert site.look(site.names[0], f"SELECT oid FROM pg_database WHERE datname = '{site.template}'") == oid  # noqa: S608


def test_no_template_runs_the_migrations_before_it_opens(site):
    one, _ = site.names
    plan = site.plan(template="")
    assert plan.template_steps == ()
    assert plan.tenants[0].steps[-3:] == (
        LetOwnerIn(one, site.app.user),
        MigrateTables(one, site.app.user),
        Open(one, site.app.user),
    )
    assert site.run(template="") == [None, None]
    assert (site.look(one, HISTORY), site.state()) == ([FIRST, SECOND], ())


@pytest.mark.slow
@pytest.mark.parametrize("survived", [4, 8, 11, 13, 16])
def test_killed_on_the_way_the_next_run_converges(site, survived):
    count = iter(range(100))

    def kill(step: Step) -> None:
        if next(count) == survived:
            raise Killed

    with pytest.raises(Killed):
        site.run(kill)
    assert site.run() == [None, None]
    assert site.plan().is_empty
    assert site.state() == (False, True, -1, ready_mark("VERSION"), site.app.user, False)
    assert [site.look(name, HISTORY) for name in site.names] == [[FIRST, SECOND]] * 2


def test_a_half_made_template_is_dropped_and_made_anew(site):
    def kill(step: Step) -> None:
        if isinstance(step, LetOwnerIn):
            raise Killed

    with pytest.raises(Killed):
        site.run(kill)
    assert site.state()[:3] == (True, False, HALF_MADE_LIMIT)
    assert site.plan().template_steps[:2] == (
        DropTemplate(site.template, site.app.user),
        CreateDatabase(site.template),
    )
    assert site.run() == [None, None]


def test_a_migration_that_fails_leaves_no_template_and_no_tenant(site, settings):
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.torn"}
    with pytest.raises(DatabaseError, match=r"is still closed: fleet\.0002_torn failed \(DivisionByZero\)"):
        site.run()
    assert site.state()[1:3] == (False, HALF_MADE_LIMIT)
    assert site.postgres.snapshot(site.names) == []
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v2"}
    assert site.run() == [None, None]


def test_a_session_in_the_template_when_it_is_to_be_closed_is_told_and_the_next_run_goes_on(site, monkeypatch):
    """It could go on changing the template afterwards."""
    monkeypatch.setattr(recheck, "LOOKS", 3)
    with ExitStack() as stack:

        def come_in(step: Step) -> None:
            if isinstance(step, MigrateTables):
                stack.enter_context(site.app.connect(site.template))

        with pytest.raises(DatabaseError) as caught:
            site.run(come_in)
    assert (str(caught.value), caught.value.sqlstate) == (
        f"{site.app.user} works in the template {site.template}, which was to be closed.",
        "55006",
    )
    assert (site.state()[:3], site.postgres.snapshot(site.names)) == ((True, False, HALF_MADE_LIMIT), [])
    assert site.run() == [None, None]


SOMEBODYS = (
    "CREATE TABLE somebodys_work (id integer)",
    "INSERT INTO fleet_note (text) VALUES ('somebody''s')",
    "COMMENT ON TABLE fleet_note IS 'somebody''s'",
    "DELETE FROM django_migrations WHERE name = '0002_extra'",
    "SELECT 1",
)


@pytest.mark.slow
@pytest.mark.parametrize("is_closed_again", [False, True])
@pytest.mark.parametrize("work", SOMEBODYS)
def test_a_template_that_somebody_was_in_is_neither_copied_nor_dropped_unasked(one_site, work, is_closed_again):
    """The version of its row tells: nobody comes in without ALTER DATABASE. VACUUM leaves the version as it is."""
    site = one_site
    one, two = site.names
    site.run(tenants=(Tenant(one),))
    site.execute("VACUUM FREEZE pg_database")
    assert site.plan().template_steps == ()
    site.execute("ALTER DATABASE {} ALLOW_CONNECTIONS true", site.template)
    with site.app.connect(site.template) as inside:
        inside.execute(work.encode())
    if is_closed_again:
        site.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", site.template)
    before = site.state()
    with pytest.raises(ForeignDatabase) as caught:
        site.run()
    sentence = (
        f"The template {site.template} is not as it was closed: somebody opened, altered or gave it away since; it "
        "was left alone."
    )
    assert (str(caught.value), site.state(), site.postgres.snapshot([two])) == (sentence, before, [])
    assert caught.value.hint.endswith("create_tenant_dbs --prune-templates --no-template")
    with locked(site.postgres.master, wait=30) as connection:
        tenancy = site.tenancy(connection, template="")
        tenancy.prune(tuple(drop_steps(tenancy.old_templates())), Told(lambda step: None))
    assert site.run() == [None, None]


def test_a_template_that_somebody_opens_between_the_plan_and_the_copy_is_not_copied(site):
    one, two = site.names
    site.run(tenants=(Tenant(one),))
    with locked(site.postgres.master, wait=30) as connection:
        tenancy = site.tenancy(connection)
        plan = tenancy.plan()
        for allowed in ("true", "false"):
            site.execute(f"ALTER DATABASE {{}} ALLOW_CONNECTIONS {allowed}", site.template)
        first, second = errors(tenancy.apply(plan, Told(lambda step: None)))
    assert (first, second) == (
        None,
        f"Somebody else changed the server meanwhile: the template {site.template} is not as it was closed.",
    )
    assert site.postgres.snapshot([two]) == []


def test_what_has_become_somebody_elses_meanwhile_is_not_dropped(site):
    site.run()
    with locked(site.postgres.master, wait=30) as connection:
        tenancy = site.tenancy(connection, template="")
        _, drop = drop_steps(tenancy.old_templates())
        site.execute("COMMENT ON DATABASE {} IS 'mine'", site.template)
        with pytest.raises(DatabaseError, match="is no template of these commands' making any more"):
            tenancy.prune((drop,), Told(lambda step: None))
    assert site.state()[3] == "mine"
    site.execute("ALTER DATABASE {} IS_TEMPLATE false", site.template)
    site.execute("DROP DATABASE {}", site.template)


def test_a_copy_that_is_not_what_the_migrations_make_stays_closed(site):
    one, _ = site.names

    def change(step: Step) -> None:
        if isinstance(step, MigrateTables):
            with site.app.connect(site.template) as connection:
                connection.execute("DELETE FROM django_migrations WHERE name = '0002_extra'")

    first, _ = site.run(change)
    assert first == f"{one} is still closed: the copy is not what this code's migrations make (1 to apply)."
    with site.postgres.admin() as admin:
        row = admin.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", [one]).fetchone()
    assert row == (HALF_MADE_LIMIT,)


def test_somebody_elses_database_of_that_name_is_left_alone(site):
    site.execute("CREATE DATABASE {}", site.template)
    try:
        with pytest.raises(ForeignDatabase, match="is no template of these commands' making"):
            site.run()
        assert site.postgres.snapshot(site.names) == []
    finally:
        site.execute("DROP DATABASE {}", site.template)


def test_old_templates_are_told_and_dropped_only_when_asked(site, settings):
    site.run()
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v1"}
    newer = replace(site, wanted=replace(site.wanted, template=template_name(site.wanted)))
    assert newer.template != site.template
    with locked(site.postgres.master, wait=30) as connection:
        tenancy = newer.tenancy(connection)
        assert f"{site.template} is an old template; --prune-templates drops it" in tenancy.remarks()
        steps = tuple(drop_steps(tenancy.old_templates()))
        assert steps == (UnsealTemplate(site.template, site.app.user), DropTemplate(site.template, site.app.user))
        tenancy.prune(steps, Told(lambda step: None))
        assert tenancy.old_templates() == ()
    assert site.state() == ()


def test_an_edited_migration_makes_another_template(site, tmp_path, monkeypatch):
    module = sys.modules["tests.fleet.migrations.v2.0002_extra"]
    edited = tmp_path / "0002_extra.py"
    edited.write_text("# edited")
    before = template_name(site.wanted)
    monkeypatch.setattr(module, "__file__", str(edited))
    after = template_name(site.wanted)
    assert len({before, after, template_name(replace(site.wanted, locale="C.UTF-8"))}) == 3


def test_with_a_role_each_the_objects_of_the_copy_are_handed_over(site):
    """The template is the master's; nothing in a copy may stay so."""
    one, _ = site.names
    wanted = replace(site.wanted, is_shared=False)
    plan = site.plan(is_shared=False, template=template_name(wanted))
    steps = plan.tenants[0].steps
    assert HandOverObjects(one, "postgres", one, 0) in steps
    assert steps.index(HandOverObjects(one, "postgres", one, 0)) < steps.index(CompareTables(one, one))
