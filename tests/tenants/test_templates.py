"""New tenants with their tables, on every version of PostgreSQL, by a master that is not a superuser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from deploytools.errors import DatabaseError, UnmanagedDatabase
from deploytools.postgres.connections import Connection, Login, locked_session
from deploytools.tenants import database_operations
from deploytools.tenants.database_operations import (
    AllowConnections,
    AllowOwnerConnections,
    ChangeOwner,
    CloneTemplate,
    CreateDatabase,
    DropTemplate,
    FinalizeTemplate,
    ReassignObjects,
    RevokePublicConnect,
    RunMigrations,
    SetTenantComment,
    UnmarkTemplate,
    VerifyMigrations,
)
from deploytools.tenants.migration_graph import read_graph
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.provisioning import TenantProvisioner
from deploytools.tenants.state import INCOMPLETE_LIMIT, template_comment
from deploytools.tenants.tables import template_name
from deploytools.tenants.templates import drop_steps
from tests.fleet.world import FIRST, SECOND
from tests.postgres_server import Postgres
from tests.tenants.sites import PASSWORD, BaseSite, Killed, Listener, errors

#: One worker: `--prune-templates` drops the templates that another test with the same master user has built.
pytestmark = pytest.mark.xdist_group("templates")


class Site(BaseSite):
    """Two tenants that get tables."""

    @property
    def template(self) -> str:
        return self.desired.template

    def provisioner(self, connection: Connection, **changes: Any) -> TenantProvisioner:
        return replace(super().provisioner(connection, **changes), graph=read_graph())

    def run(self, on_step: Any = lambda step: None, **changes: Any) -> list[str | None]:
        return errors(self.apply(on_step, **changes))

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

    def query(self, name: str, query: str) -> list[tuple[Any, ...]]:
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
    desired = DesiredState(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two")), migrate=True)
    with django_db_blocker.unblock():
        yield Site(postgres, postgres.master, app, replace(desired, template=template_name(desired)))
    postgres.sweep(name)


HISTORY = "SELECT app, name FROM django_migrations ORDER BY id"
OWNERS = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'public'"


def test_template_is_built_once_and_copied(site):
    app, template, (one, two) = site.app.user, site.template, site.names
    plan = site.plan()
    assert plan.template_steps == (
        CreateDatabase(template),
        RevokePublicConnect(template, "postgres"),
        ChangeOwner(template, "postgres", app),
        AllowOwnerConnections(template, app),
        RunMigrations(template, app),
        FinalizeTemplate(template, app),
    )
    assert plan.tenants[0].steps == (
        CloneTemplate(one, template),
        RevokePublicConnect(one, "postgres"),
        SetTenantComment(one, "postgres"),
        ChangeOwner(one, "postgres", app),
        AllowOwnerConnections(one, app),
        VerifyMigrations(one, app),
        AllowConnections(one, app),
    )
    assert site.run() == [None, None]
    assert site.state() == (False, True, -1, template_comment("VERSION"), app, False)
    for name in (one, two):
        assert site.query(name, HISTORY) == [FIRST, SECOND]
        assert site.query(name, OWNERS) == [(app,)]
    before = site.postgres.snapshot([*site.names, template])
    assert (site.plan().is_empty, site.run()) == (True, [None, None])
    assert site.postgres.snapshot([*site.names, template]) == before


@pytest.mark.slow
def test_next_copy_is_created_while_a_copy_is_verified(site):
    one, two = site.names
    steps: list[Operation] = []
    assert site.run(steps.append) == [None, None]
    owner = site.app.user
    assert steps.index(CloneTemplate(two, site.template)) < steps.index(AllowConnections(one, owner))
    assert steps.index(VerifyMigrations(one, owner)) < steps.index(AllowConnections(one, owner))


@pytest.mark.slow
def test_copy_is_verified_in_one_login(site):
    assert site.run() == [None, None]
    for name in site.names:
        assert site.postgres.log().count(f"connection authorized: user={site.app.user} database={name}") == 1


@pytest.mark.slow
def test_later_tenant_uses_the_same_template(site):
    site.run()
    oid = site.query(site.names[0], f"SELECT oid FROM pg_database WHERE datname = '{site.template}'")  # noqa: S608
    more = (*site.desired.tenants, Tenant(f"{site.names[0]}_more"))
    assert site.plan(tenants=more).template_steps == ()
    assert site.run(tenants=more) == [None] * 3
    assert site.query(more[-1].name, HISTORY) == [FIRST, SECOND]
    assert site.query(site.names[0], f"SELECT oid FROM pg_database WHERE datname = '{site.template}'") == oid  # noqa: S608


@pytest.mark.slow
def test_no_template_migrates_before_connections_are_enabled(site):
    one, _ = site.names
    plan = site.plan(template="")
    assert plan.template_steps == ()
    assert plan.tenants[0].steps[-3:] == (
        AllowOwnerConnections(one, site.app.user),
        RunMigrations(one, site.app.user),
        AllowConnections(one, site.app.user),
    )
    assert site.run(template="") == [None, None]
    assert (site.query(one, HISTORY), site.state()) == ([FIRST, SECOND], ())


@pytest.mark.slow
@pytest.mark.parametrize("survived", [4, 8, 11, 13, 16])
def test_next_run_converges_after_a_kill(site, survived):
    count = iter(range(100))

    def kill(step: Operation) -> None:
        if next(count) == survived:
            raise Killed

    with pytest.raises(Killed):
        site.run(kill)
    assert site.run() == [None, None]
    assert site.plan().is_empty
    assert site.state() == (False, True, -1, template_comment("VERSION"), site.app.user, False)
    assert [site.query(name, HISTORY) for name in site.names] == [[FIRST, SECOND]] * 2


@pytest.mark.slow
def test_incomplete_template_is_dropped_and_built_again(site):
    def kill(step: Operation) -> None:
        if isinstance(step, AllowOwnerConnections):
            raise Killed

    with pytest.raises(Killed):
        site.run(kill)
    assert site.state()[:3] == (True, False, INCOMPLETE_LIMIT)
    assert site.plan().template_steps[:2] == (
        DropTemplate(site.template, site.app.user),
        CreateDatabase(site.template),
    )
    assert site.run() == [None, None]


@pytest.mark.slow
def test_failed_migration_leaves_no_template_and_no_tenant(site, settings):
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.torn"}
    with pytest.raises(DatabaseError, match=r"were not enabled: fleet\.0002_torn failed"):
        site.run()
    assert site.state()[1:3] == (False, INCOMPLETE_LIMIT)
    assert site.postgres.snapshot(site.names) == []
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v2"}
    assert site.run() == [None, None]


@pytest.mark.slow
def test_session_in_the_template_stops_its_completion(site, monkeypatch):
    """That session could still change the template afterwards."""
    monkeypatch.setattr(database_operations, "TEMPLATE_WAIT", 0.2)
    with ExitStack() as stack:

        def connect(step: Operation) -> None:
            if isinstance(step, RunMigrations):
                stack.enter_context(site.app.connect(site.template))

        with pytest.raises(DatabaseError) as caught:
            site.run(connect)
    assert (str(caught.value), caught.value.sqlstate) == (
        f"{site.app.user} is connected to template {site.template}, so that it cannot be finalized.",
        "55006",
    )
    assert (site.state()[:3], site.postgres.snapshot(site.names)) == ((True, False, INCOMPLETE_LIMIT), [])
    assert site.run() == [None, None]


CHANGES = (
    "CREATE TABLE other_table (id integer)",
    "INSERT INTO fleet_note (text) VALUES ('changed')",
    "COMMENT ON TABLE fleet_note IS 'changed'",
    "DELETE FROM django_migrations WHERE name = '0002_extra'",
    "SELECT 1",
)


@pytest.mark.slow
@pytest.mark.parametrize("is_closed_again", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_altered_template_is_not_copied_and_only_dropped_on_request(one_site, change, is_closed_again):
    """ALTER DATABASE, without which no session can connect, changes the version of the row. VACUUM does not."""
    site = one_site
    one, two = site.names
    site.run(tenants=(Tenant(one),))
    site.execute("VACUUM FREEZE pg_database")
    assert site.plan().template_steps == ()
    site.execute("ALTER DATABASE {} ALLOW_CONNECTIONS true", site.template)
    with site.app.connect(site.template) as inside:
        inside.execute(change.encode())
    if is_closed_again:
        site.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", site.template)
    before = site.state()
    with pytest.raises(UnmanagedDatabase) as caught:
        site.run()
    sentence = (
        f"Template {site.template} was altered after it was completed: its connections, settings or owner have changed."
    )
    assert (str(caught.value), site.state(), site.postgres.snapshot([two])) == (sentence, before, [])
    assert caught.value.hint.endswith("create_tenant_dbs --prune-templates --no-template")
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = site.provisioner(connection, template="")
        provisioner.prune(tuple(drop_steps(provisioner.old_templates())), Listener(lambda step: None))
    assert site.run() == [None, None]


@pytest.mark.slow
def test_template_altered_after_planning_is_not_copied(site):
    one, two = site.names
    site.run(tenants=(Tenant(one),))
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = site.provisioner(connection)
        plan = provisioner.plan()
        for allowed in ("true", "false"):
            site.execute(f"ALTER DATABASE {{}} ALLOW_CONNECTIONS {allowed}", site.template)
        first, second = errors(provisioner.apply(plan, Listener(lambda step: None)))
    assert (first, second) == (
        None,
        f"The server has changed since the plan was made: template {site.template} was changed or dropped.",
    )
    assert site.postgres.snapshot([two]) == []


@pytest.mark.slow
def test_template_with_another_comment_is_not_dropped(site):
    site.run()
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = site.provisioner(connection, template="")
        _, drop = drop_steps(provisioner.old_templates())
        site.execute("COMMENT ON DATABASE {} IS 'mine'", site.template)
        with pytest.raises(DatabaseError, match="is no longer a template created by deploytools"):
            provisioner.prune((drop,), Listener(lambda step: None))
    assert site.state()[3] == "mine"
    site.execute("ALTER DATABASE {} IS_TEMPLATE false", site.template)
    site.execute("DROP DATABASE {}", site.template)


@pytest.mark.slow
def test_copy_that_differs_from_the_migrations_remains_closed(site):
    one, _ = site.names

    def change(step: Operation) -> None:
        if isinstance(step, RunMigrations):
            with site.app.connect(site.template) as connection:
                connection.execute("DELETE FROM django_migrations WHERE name = '0002_extra'")

    first, _ = site.run(change)
    assert first == (f"Connections to {one} were not enabled: its migrations differ from the code's (1 unapplied).")
    with site.postgres.admin() as admin:
        row = admin.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", [one]).fetchone()
    assert row == (INCOMPLETE_LIMIT,)


def test_unmanaged_database_with_the_name_of_the_template(site):
    site.execute("CREATE DATABASE {}", site.template)
    try:
        with pytest.raises(UnmanagedDatabase, match="is not a template created by deploytools"):
            site.run()
        assert site.postgres.snapshot(site.names) == []
    finally:
        site.execute("DROP DATABASE {}", site.template)


@pytest.mark.slow
def test_old_templates_are_reported_and_dropped_on_request(site, settings):
    site.run()
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v1"}
    newer = replace(site, desired=replace(site.desired, template=template_name(site.desired)))
    assert newer.template != site.template
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = newer.provisioner(connection)
        assert ("", f"Template {site.template} is outdated; --prune-templates drops it") in provisioner.notes()
        without = replace(site, desired=replace(site.desired, template="")).provisioner(connection)
        assert without.notes() == []  # The template of another run is not outdated.
        steps = tuple(drop_steps(provisioner.old_templates()))
        assert steps == (UnmarkTemplate(site.template, site.app.user), DropTemplate(site.template, site.app.user))
        provisioner.prune(steps, Listener(lambda step: None))
        assert provisioner.old_templates() == ()
    assert site.state() == ()


def test_edited_migration_changes_the_template(site, tmp_path, monkeypatch):
    module = sys.modules["tests.fleet.migrations.v2.0002_extra"]
    edited = tmp_path / "0002_extra.py"
    edited.write_text("# edited")
    before = template_name(site.desired)
    monkeypatch.setattr(module, "__file__", str(edited))
    after = template_name(site.desired)
    assert len({before, after, template_name(replace(site.desired, locale="C.UTF-8"))}) == 3


def test_objects_of_the_copy_are_reassigned_with_role_per_tenant(site):
    """The master owns the template; it must own nothing in a copy."""
    one, _ = site.names
    desired = replace(site.desired, is_shared=False)
    plan = site.plan(is_shared=False, template=template_name(desired))
    steps = plan.tenants[0].steps
    assert ReassignObjects(one, "postgres", one, 0) in steps
    assert steps.index(ReassignObjects(one, "postgres", one, 0)) < steps.index(VerifyMigrations(one, one))
