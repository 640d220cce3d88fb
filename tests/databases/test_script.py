"""The script for psql leaves what the command leaves, however often it is run."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import sql

from deploytools.databases.script import scram_verifier, sql_script
from deploytools.databases.server import Login
from deploytools.databases.state import Wanted
from deploytools.databases.tenants import Tenant, TenantOptions
from deploytools.secret.value import Secret
from tests.databases.test_apply import Site, errors
from tests.postgres import Postgres

PASSWORD = Secret("correct-horse-battery-staple'0123456789")
OPTIONS = TenantOptions(connection_limit=20, statement_timeout=30_000)


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    name = postgres.fresh_name()
    app = Login(postgres.address, f"{name}_app", PASSWORD)
    yield Site(
        postgres, postgres.master, app, Wanted(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two", OPTIONS)))
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


DONE = ("Done. Prove it: python manage.py create_tenant_dbs --verify\n", "", 0)


def everything(site: Site) -> list[object]:
    """The catalogue of databases, role and settings, names and passwords apart."""
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


def test_run_twice_it_leaves_what_the_command_leaves(site, request):
    script = sql_script(site.wanted, {site.app.user: site.app})
    assert psql(site.master, script) == DONE
    after = everything(site)
    assert site.plan().is_empty
    assert psql(site.master, script) == DONE
    assert everything(site) == after
    assert errors(site.run()) == [None, None]

    name = site.postgres.fresh_name()
    app = replace(site.app, user=f"{name}_app")
    tenants = (Tenant(f"{name}_one"), Tenant(f"{name}_two", OPTIONS))
    by_command = Site(site.postgres, site.master, app, Wanted(app.user, tenants))
    request.addfinalizer(lambda: site.postgres.sweep(name))
    assert errors(by_command.run()) == [None, None]
    assert everything(by_command) == after


def test_it_goes_on_where_it_was_stopped(site):
    script = sql_script(site.wanted, {site.app.user: site.app})
    lines = script.splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines, 1) if re.search(r"(gexec|;)$", line)]
    for end in ends[:: max(1, len(ends) // 8)]:
        assert psql(site.master, "".join(lines[:end]))[1:] == ("", 0)
    assert psql(site.master, script) == DONE
    assert site.plan().is_empty


def test_it_stops_at_a_foreign_database_and_at_a_powerful_role(site):
    script = sql_script(site.wanted, {site.app.user: site.app})
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(site.names[0])))
    before = site.postgres.snapshot(site.names)
    out, err, code = psql(site.master, script)
    assert f"ERROR:  {site.names[0]} exists and was not made by these commands." in err
    assert (out, code, site.postgres.snapshot(site.names)) == ("", 3, before)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT rds_iam TO {}").format(sql.Identifier(site.app.user)))
    assert f"ERROR:  The role {site.app.user} may do more than an application must." in psql(site.master, script)[1]


def test_it_refuses_another_database_than_the_one_where_the_lock_is(site):
    script = sql_script(site.wanted, {site.app.user: site.app})
    out, err, code = psql(site.master, script, "template1")
    assert ("Connect to the database postgres." in err, out, code) == (True, "", 3)


def test_it_holds_verifiers_only(one_postgres):
    login = Login(one_postgres.address, "app", PASSWORD)
    script = sql_script(Wanted("app", (Tenant("shop"),)), {"app": login})
    assert (PASSWORD.reveal() in script, "SCRAM-SHA-256$4096:" in script) == (False, True)
    assert scram_verifier(login) != scram_verifier(login)
