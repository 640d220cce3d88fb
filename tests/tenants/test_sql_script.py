"""The SQL script has the same result as the command, however often it is run."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import sql

from deploytools.postgres.connections import Login, ServerAddress, scram_verifier
from deploytools.secrets.document import Secret
from deploytools.tenants.options import DesiredState, Tenant, TenantOptions
from deploytools.tenants.sql_script import sql_script
from tests.postgres_server import Postgres
from tests.tenants.sites import Site, errors

PASSWORD = Secret("correct-horse-battery-staple'0123456789")
OPTIONS = TenantOptions(connection_limit=20, statement_timeout=30_000)


def by_command(site: Site, request: pytest.FixtureRequest) -> Site:
    """The same tenants, created by the command with other names."""
    name = site.postgres.fresh_name()
    app = replace(site.app, user=f"{name}_app")
    request.addfinalizer(lambda: site.postgres.sweep(name))
    made = Site(
        site.postgres, site.master, app, DesiredState(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two", OPTIONS)))
    )
    assert errors(made.run()) == [None, None]
    return made


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    name = postgres.fresh_name()
    app = Login(postgres.address, f"{name}_app", PASSWORD)
    yield Site(
        postgres, postgres.master, app, DesiredState(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two", OPTIONS)))
    )
    postgres.sweep(name)


def psql(login: Login, script: str, database: str = "postgres") -> tuple[str, str, int]:
    address = login.address
    environment = {
        "PGHOST": address.host,
        "PGHOSTADDR": address.hostaddr,
        "PGPORT": str(address.port),
        "PGUSER": login.user,
        "PGPASSWORD": login.password.reveal(),
        "PGDATABASE": database,
        "PGSSLMODE": address.sslmode,
        "PGSSLROOTCERT": address.sslrootcert,
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        ["psql", "--no-psqlrc"], input=script, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout, done.stderr, done.returncode


DONE = ("Done. Verify it: python manage.py create_tenant_dbs --verify\n", "", 0)


def everything(site: Site) -> list[object]:
    """Return the catalog of databases, role and settings without names and passwords."""
    with site.postgres.admin() as admin:
        settings = admin.execute(
            "SELECT setdatabase <> 0 AS of_database, setconfig FROM pg_db_role_setting "
            "WHERE setrole::regrole::text = %s "
            "OR setdatabase IN (SELECT oid FROM pg_database WHERE datname = ANY(%s)) ORDER BY 1",
            [site.app.user, site.names],
        ).fetchall()
        role = admin.execute(
            "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolinherit, array(SELECT member::regrole::text "
            "FROM pg_auth_members WHERE roleid = r.oid ORDER BY 1) FROM pg_roles r WHERE rolname = %s",
            [site.app.user],
        ).fetchall()
    text = repr([site.postgres.snapshot(site.names), settings, role])
    return [text.replace(site.app.user.removesuffix("_app"), "NAME")]


@pytest.mark.slow
def test_script_has_the_result_of_the_command_and_can_be_run_again(site, request):
    script = sql_script(site.desired, {site.app.user: site.app})
    assert psql(site.master, script) == DONE
    after = everything(site)
    assert site.plan().is_empty
    assert psql(site.master, script) == DONE
    assert everything(site) == after
    assert errors(site.run()) == [None, None]
    assert everything(by_command(site, request)) == after


@pytest.mark.slow
def test_names_and_passwords_are_quoted(postgres):
    name = postgres.fresh_name() + "$deploytools$'b\"\\ :owner"
    login = Login(postgres.address, name, PASSWORD)
    try:
        assert psql(postgres.master, sql_script(DesiredState(name, ()), {name: login})) == DONE
        login.connect("postgres").close()
    finally:
        with postgres.admin() as admin:
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.mark.slow
def test_script_continues_an_interrupted_script(site):
    script = sql_script(site.desired, {site.app.user: site.app})
    parts = script.split("\n\n")
    assert len(parts) == 5
    for end in range(1, len(parts)):
        assert psql(site.master, "\n\n".join(parts[:end]))[1:] == ("", 0)
    assert psql(site.master, script) == DONE
    assert site.plan().is_empty


@pytest.mark.slow
def test_script_can_be_interrupted_after_any_statement(one_postgres):
    name = one_postgres.fresh_name()
    app = Login(one_postgres.address, f"{name}_app", PASSWORD)
    site = Site(one_postgres, one_postgres.master, app, DesiredState(app.user, (Tenant(f"{name}_one", OPTIONS),)))
    lines = sql_script(site.desired, {app.user: app}).splitlines(keepends=True)
    try:
        for end, line in enumerate(lines, 1):
            if line.rstrip().endswith((";", "\\gexec", "\\gset")):
                psql(site.master, "".join(lines[:end]))
                for *_, allows_connections, _limit, _comment, acl in one_postgres.snapshot(site.names):
                    assert not allows_connections or (acl and not re.search(r"[{,]=", acl)), "PUBLIC can connect"
        assert psql(site.master, "".join(lines)) == DONE
        assert site.plan().is_empty
    finally:
        one_postgres.sweep(name)


@pytest.mark.slow
def test_script_refuses_an_unmanaged_database_and_excess_permissions(site):
    script = sql_script(site.desired, {site.app.user: site.app})
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(site.names[0])))
    before = site.postgres.snapshot(site.names)
    out, err, code = psql(site.master, script)
    assert f"ERROR:  {site.names[0]} exists but is not managed by deploytools." in err
    assert (out, code, site.postgres.snapshot(site.names)) == ("", 3, before)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(sql.Identifier(site.app.user)))
    assert (
        f"ERROR:  Role {site.app.user} has permissions that an application role must not have."
        in psql(site.master, script)[1]
    )


def test_script_requires_the_maintenance_database(site):
    script = sql_script(site.desired, {site.app.user: site.app})
    out, err, code = psql(site.master, script, "template1")
    assert ("Connect to the database postgres." in err, out, code) == (True, "", 3)


def test_script_contains_verifiers_instead_of_passwords(one_postgres):
    login = Login(one_postgres.address, "app", PASSWORD)
    script = sql_script(DesiredState("app", (Tenant("shop"),)), {"app": login})
    assert (PASSWORD.reveal() in script, "SCRAM-SHA-256$4096:" in script) == (False, True)
    assert scram_verifier(login) != scram_verifier(login)


def test_verifier_needs_no_connection(monkeypatch):
    """Also not to the address of a tunnel."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(server.getsockname()[1]))
        scram_verifier(Login(ServerAddress("db.example", 5432), "app", PASSWORD))
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
