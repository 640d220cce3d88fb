"""Extensions of a tenant's database, created by the master user, on real servers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import sql

from deploytools.tenants.database_operations import CreateExtension
from deploytools.tenants.options import DesiredState, Tenant, TenantOptions
from deploytools.tenants.plan import plan_databases
from deploytools.tenants.state import Extension, RoleState, ServerState
from tests.management.runner import run
from tests.tenants.sites import Site, errors


def with_extensions(site: Site, *extensions: str) -> Site:
    """Return the site whose first tenant needs `extensions`."""
    one, two = site.names
    tenants = (Tenant(one, TenantOptions(extensions=extensions)), Tenant(two))
    return replace(site, desired=replace(site.desired, tenants=tenants))


def trusted(site: Site) -> str:
    """Return a trusted extension that a new database does not have; the builds of 16 and 18 have only PL/pgSQL."""
    if site.postgres.version in (14, 15, 17):
        return "hstore"
    return "plpgsql"


def remove(site: Site, database: str, extension: str) -> None:
    with site.postgres.admin(database) as admin:
        admin.execute(sql.SQL("DROP EXTENSION {}").format(sql.Identifier(extension)))


@pytest.mark.slow
def test_extension_is_created_in_new_and_existing_databases(site):
    one, name = site.names[0], trusted(site)
    needing = with_extensions(site, name)
    assert CreateExtension(one, name) in needing.plan().tenants[0].steps
    assert errors(needing.run()) == [None, None]
    assert needing.plan().is_empty
    remove(site, one, name)
    assert needing.plan().tenants[0].steps == (CreateExtension(one, name),)
    assert errors(needing.run()) == [None, None]
    assert needing.plan().is_empty
    with site.app.connect(one) as application:
        found = application.execute(
            "SELECT extnamespace::regnamespace::text AS schema FROM pg_extension WHERE extname = %s", [name]
        ).fetchall()
    assert [row.schema for row in found] == ["pg_catalog" if name == "plpgsql" else "public"]
    if name == "hstore":
        with site.app.connect(one) as application:
            application.execute("CREATE TABLE item (tags hstore)")


def test_extension_that_the_server_does_not_offer(site):
    first, second = with_extensions(site, "plpgsq").plan().tenants
    assert str(first.error) == f"The server does not offer the extension plpgsq for {site.names[0]}."
    assert first.error
    assert first.error.hint.partition("The server offers: ")[2].startswith("plpgsql")
    assert second.error is None


@pytest.mark.slow
def test_extension_that_only_a_superuser_can_create(site):
    """On RDS a member of rds_superuser can create it; on this server the master, its member, cannot."""
    one, name = site.names[0], "pgstattuple" if site.postgres.version in (14, 15, 17) else "vector"
    needing = with_extensions(site, name)
    refused = (
        f"postgres is not allowed to create the extension {name} in {one}: permission denied to create extension "
        f'"{name}".'
    )
    first, second = needing.run()
    assert (str(first.error), second.error) == (refused, None)
    assert first.error
    assert first.error.hint.startswith(f'Run in {one}, as a superuser: CREATE EXTENSION "{name}".')
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(one)))
    with site.postgres.admin(one) as admin:
        admin.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))
    assert errors(needing.run()) == [None, None]


def test_master_that_is_not_a_member_of_rds_superuser_is_refused_before_any_step():
    tenants = (Tenant("shop", TenantOptions(extensions=("vector",))),)
    master = RoleState("postgres", can_create_databases=True, can_create_roles=True)
    offered = {"vector": Extension("0.8", needs_superuser=True)}
    for able, sentence in (
        (master, "postgres is not allowed to create the extension vector in shop: it is not a trusted extension."),
        (replace(master, memberships=frozenset({"rds_superuser"})), "None"),
        (replace(master, is_superuser=True), "None"),
    ):
        (plan,) = plan_databases(DesiredState("app", tenants), ServerState(160004, able, extensions=offered)).tenants
        assert str(plan.error) == sentence


def test_other_version_is_noted(site):
    if site.postgres.version not in (14, 15, 17):
        pytest.skip("This build has one version of each extension.")
    one = site.names[0]
    needing = with_extensions(site, "hstore")
    site.run()
    with site.postgres.admin(one) as admin:
        admin.execute("CREATE EXTENSION hstore VERSION '1.4'")
    plan = needing.plan()
    (note,) = plan.tenants[0].notes
    assert plan.is_empty
    assert note.startswith(f"Extension hstore in {one} has version 1.4, the server offers 1.8. To update it, run in")
    statement = note.partition("as its owner: ")[2]
    with site.postgres.admin(one) as admin:
        admin.execute(statement.encode())
    assert needing.plan().tenants[0].notes == ()


@pytest.mark.xdist_group("templates")
def test_template_has_the_extensions_of_all_tenants(capsys, deployment, settings):
    one, two = deployment.tenants
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {
        "TENANTS": [one, {"NAME": two, "EXTENSIONS": ["plpgsql"]}],
        "TENANT_OPTIONS": {"EXTENSIONS": ["plpgsql"]},
    }
    planned = run(capsys, "create_tenant_dbs", "--migrate", "--plan")
    assert planned.out.count("create extension plpgsql in deploytools_template_") == 1
    assert f"create extension plpgsql in {one}" not in planned.out


def test_template_of_tenants_with_different_extensions(site):
    needing = with_extensions(site, "plpgsql")
    desired = replace(needing.desired, template="deploytools_template_x")
    assert desired.template_extensions == ()
