"""The script, psql's and the editor's, leaves what the command leaves, however often it is run."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import psycopg
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


def run_in_editor(site: Site, script: str) -> list[str]:
    """One statement at a time, each in a session of its own, in autocommit mode; returns what went wrong.

    A person runs those statements CREATE DATABASE that are of the databases which the query before them names.
    """
    missing: list[str] = []
    said = []
    for part in script.split("\n\n"):
        text = "\n".join(line for line in part.splitlines() if not line.startswith("--"))
        if text.startswith("CREATE DATABASE") and not any(f'"{name}"' in text for name in missing):
            continue
        with site.master.connect("postgres") as connection:
            try:
                cursor = connection.execute(text.encode())
            except psycopg.Error as error:
                said.append(str(error.diag.message_primary))
            else:
                missing += [row.missing for row in cursor.fetchall()] if cursor.description else []
    return said


def by_command(site: Site, request: pytest.FixtureRequest) -> Site:
    """The same tenants, made by the command under other names."""
    name = site.postgres.fresh_name()
    app = replace(site.app, user=f"{name}_app")
    request.addfinalizer(lambda: site.postgres.sweep(name))
    made = Site(
        site.postgres, site.master, app, Wanted(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two", OPTIONS)))
    )
    assert errors(made.run()) == [None, None]
    return made


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
    assert everything(by_command(site, request)) == after


def test_in_an_editor_each_statement_runs_by_itself_and_all_of_them_twice(site, request):
    script = sql_script(site.wanted, {site.app.user: site.app}, "editor")
    assert (re.findall(r"(?m)^\\", script), "gexec" in script, PASSWORD.reveal() in script) == ([], False, False)
    assert run_in_editor(site, script) == []
    after = everything(site)
    assert site.plan().is_empty
    assert run_in_editor(site, script) == []
    assert everything(site) == after
    assert errors(site.run()) == [None, None]
    assert everything(by_command(site, request)) == after


def test_an_editors_script_goes_on_where_it_was_stopped_and_a_database_made_twice_does_no_harm(site):
    script = sql_script(site.wanted, {site.app.user: site.app}, "editor")
    parts = script.split("\n\n")
    assert len(parts) == 8
    for end in range(1, len(parts)):
        assert run_in_editor(site, "\n\n".join(parts[:end])) == []
    assert site.plan().is_empty
    (create,) = [part for part in parts if f'CREATE DATABASE "{site.names[0]}"' in part]
    with site.master.connect("postgres") as connection, pytest.raises(psycopg.errors.DuplicateDatabase):
        connection.execute(create.encode())
    assert site.plan().is_empty


def test_an_editors_script_refuses_what_is_not_as_it_must_be(site):
    script = sql_script(site.wanted, {site.app.user: site.app}, "editor")
    parts = script.split("\n\n")
    settle = [part for part in parts if "SELECT oid, datallowconn" in part]
    assert run_in_editor(site, parts[1]) == []
    assert run_in_editor(site, settle[0]) == [f"{site.names[0]} is missing: create it first."]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(site.names[0])))
        before = site.postgres.snapshot(site.names)
        assert run_in_editor(site, settle[0]) == [f"{site.names[0]} exists and was not made by these commands."]
        assert site.postgres.snapshot(site.names) == before
        admin.execute(sql.SQL("GRANT rds_iam TO {}").format(sql.Identifier(site.app.user)))
    assert run_in_editor(site, parts[1]) == [f"The role {site.app.user} may do more than an application must."]


def test_names_and_passwords_cannot_end_a_quotation(one_postgres):
    login = Login(one_postgres.address, "a$deploytools$'b", PASSWORD)
    script = sql_script(Wanted(login.user, (Tenant("shop"),)), {"shop": login}, "editor")
    (role,) = [part for part in script.split("\n\n") if "-- Role" in part]
    with one_postgres.master.connect("postgres") as connection, connection.transaction(force_rollback=True):
        connection.execute(role.encode())
        found = connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [login.user]).fetchall()
        assert found == [(True,)]


def test_it_goes_on_where_it_was_stopped(site):
    script = sql_script(site.wanted, {site.app.user: site.app})
    parts = script.split("\n\n")
    assert len(parts) == 7
    for end in range(1, len(parts)):
        assert psql(site.master, "\n\n".join(parts[:end]))[1:] == ("", 0)
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
