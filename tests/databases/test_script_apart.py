"""The script with a role per tenant touches nothing that the command would leave alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from deploytools.databases.script import sql_script
from deploytools.databases.server import Login
from deploytools.databases.state import HALF_MADE_LIMIT, MARK
from deploytools.secret.value import Secret
from tests.databases.test_isolation import PASSWORD, Site, a_site
from tests.databases.test_script import DONE, psql
from tests.postgres import Postgres, scram


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    yield from a_site(postgres)


def script(site: Site, password: Secret[str] = PASSWORD) -> str:
    return sql_script(site.wanted, {name: Login(site.postgres.address, name, password) for name in site.names})


def run(site: Site, text: str) -> tuple[str, int]:
    """The first error, without psql's preamble, and the exit code."""
    out, err, code = psql(site.postgres.master, text)
    assert (out, err) == DONE[:2] if code == 0 else out == ""
    return next((line.partition("ERROR:  ")[2] for line in err.splitlines() if "ERROR:" in line), ""), code


def as_admin(site: Site, statement: str, *names: str, database: str = "postgres") -> None:
    with site.postgres.admin(database) as admin:
        admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def test_run_twice_each_tenant_is_apart_and_it_goes_on_where_it_was_stopped(site):
    parts = script(site).split("\n\n")
    assert len(parts) == 9
    for end in range(1, len(parts)):
        assert run(site, "\n\n".join([*parts[:end], "\\echo " + DONE[0]])) == ("", 0)
    before = site.postgres.snapshot(site.names)
    assert run(site, script(site)) == ("", 0)
    assert site.postgres.snapshot(site.names) == before
    for name, other in (site.names, site.names[::-1]):
        login = Login(site.postgres.address, name, PASSWORD)
        login.connect(name).close()
        with pytest.raises(Exception, match="permission denied for database"):
            login.connect(other)


def test_a_password_that_was_rotated_since_stays(site):
    one, _ = site.names
    text, rotated = script(site), Login(site.postgres.address, one, Secret("rotated-password-rotated-password"))
    assert run(site, text) == ("", 0)
    with site.postgres.admin() as admin:
        verifier = sql.Literal(scram(admin, one, rotated.password))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(one), verifier))
    assert run(site, text) == ("", 0)
    rotated.connect(one).close()


def test_somebody_elses_role_keeps_its_password_and_gets_no_database(site):
    one, _ = site.names
    stranger = site.postgres.make_role(one, Secret("somebody-elses-password-somebody-elses"))
    as_admin(site, "GRANT {} TO postgres WITH ADMIN OPTION", one)
    for _ in range(2):
        assert run(site, script(site)) == (
            f"The role {one} exists and owns no database of this tenant's: somebody else's, or create_tenant_dbs was "
            "interrupted and must finish.",
            3,
        )
    stranger.connect("postgres").close()
    assert site.postgres.snapshot(site.names) == []


def test_what_the_command_made_is_taken_as_it_is(site):
    assert site.run() == [None, None]
    before = site.postgres.snapshot(site.names)
    assert run(site, script(site)) == ("", 0)
    assert site.postgres.snapshot(site.names) == before
    assert site.plan().is_empty


def test_roles_that_reach_each_other_stop_it_before_anything_is_made(site):
    one, two = site.names
    for name in (f"{one}_between", two):
        as_admin(site, "CREATE ROLE {}", name)
    as_admin(
        site, "CREATE ROLE {} LOGIN; GRANT {} TO {}; GRANT {} TO {}", one, f"{one}_between", one, two, f"{one}_between"
    )
    assert run(site, script(site)) == (f"{one} is a member of {two}: one tenant would reach another.", 3)
    assert site.postgres.snapshot(site.names) == []


@pytest.mark.parametrize("is_let_in", [False, True])
def test_an_interrupted_copy_of_a_template_is_left_to_the_command(site, is_let_in):
    one, _ = site.names
    template = f"{one}_filled"
    with site.postgres.master.connect("postgres") as master:
        master.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
        with site.postgres.master.connect(template) as inside:
            inside.execute("CREATE TABLE django_migrations (id integer)")
        assert (
            run(site, "".join(f"{part}\n\n" for part in script(site).split("\n\n")[:4]) + "\\echo " + DONE[0])[1] == 0
        )
        master.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} ALLOW_CONNECTIONS false CONNECTION LIMIT {}").format(
                sql.Identifier(one), sql.Identifier(template), sql.Literal(HALF_MADE_LIMIT)
            )
        )
    if is_let_in:
        as_admin(site, "REVOKE ALL ON DATABASE {} FROM PUBLIC; ALTER DATABASE {} ALLOW_CONNECTIONS true", one, one)
        as_admin(site, f"COMMENT ON DATABASE {{}} IS '{MARK}'", one)
    before = site.postgres.snapshot(site.names)
    assert run(site, script(site)) == (
        f"{one} is being made with its tables, and that was interrupted: finish it with create_tenant_dbs.",
        3,
    )
    assert site.postgres.snapshot(site.names) == before
