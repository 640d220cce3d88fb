"""With a role per tenant, the script changes nothing that the command would not change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from deploytools.tenants.sql_script import sql_script
from deploytools.tenants.state import INCOMPLETE_LIMIT, TENANT_COMMENT
from tests.postgres_server import Postgres, scram
from tests.tenants.sites import PASSWORD, SeparateSite, make_separate_site
from tests.tenants.test_sql_script import DONE, psql


@pytest.fixture
def site(postgres: Postgres) -> Iterator[SeparateSite]:
    yield from make_separate_site(postgres)


def script(site: SeparateSite, password: Secret[str] = PASSWORD) -> str:
    return sql_script(site.desired, {name: Login(site.postgres.address, name, password) for name in site.names})


def run(site: SeparateSite, text: str) -> tuple[str, int]:
    """Return the first error, without psql's prefix, and the exit code."""
    out, err, code = psql(site.postgres.master, text)
    assert (out, err) == DONE[:2] if code == 0 else out == ""
    return next((line.partition("ERROR:  ")[2] for line in err.splitlines() if "ERROR:" in line), ""), code


def as_admin(site: SeparateSite, statement: str, *names: str, database: str = "postgres") -> None:
    with site.postgres.admin(database) as admin:
        admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.mark.slow
def test_tenants_are_isolated_after_any_number_of_runs(site):
    parts = script(site).split("\n\n")
    assert len(parts) == 7
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


@pytest.mark.slow
def test_rotated_password_is_kept(site):
    one, _ = site.names
    text, rotated = script(site), Login(site.postgres.address, one, Secret("rotated-password-rotated-password"))
    assert run(site, text) == ("", 0)
    with site.postgres.admin() as admin:
        verifier = sql.Literal(scram(admin, one, rotated.password))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(one), verifier))
    assert run(site, text) == ("", 0)
    rotated.connect(one).close()


def test_unmanaged_role_keeps_its_password_and_gets_no_database(site):
    one, _ = site.names
    role = site.postgres.make_role(one, Secret("another-password-another-password-0123"))
    as_admin(site, "GRANT {} TO postgres WITH ADMIN OPTION", one)
    for _ in range(2):
        assert run(site, script(site)) == (
            f"Role {one} exists but was not created by this script, or create_tenant_dbs was interrupted. Run "
            "create_tenant_dbs to finish.",
            3,
        )
    role.connect("postgres").close()
    assert site.postgres.snapshot(site.names) == []


@pytest.mark.slow
def test_tenants_created_by_the_command_are_unchanged(site):
    assert site.run() == [None, None]
    before = site.postgres.snapshot(site.names)
    assert run(site, script(site)) == ("", 0)
    assert site.postgres.snapshot(site.names) == before
    assert site.plan().is_empty


def test_member_of_another_tenants_role_is_refused_before_any_change(site):
    one, two = site.names
    for name in (f"{one}_between", two):
        as_admin(site, "CREATE ROLE {}", name)
    as_admin(
        site, "CREATE ROLE {} LOGIN; GRANT {} TO {}; GRANT {} TO {}", one, f"{one}_between", one, two, f"{one}_between"
    )
    assert run(site, script(site)) == (f"{one} is a member of {two}; tenants would not be isolated.", 3)
    assert site.postgres.snapshot(site.names) == []


@pytest.mark.slow
@pytest.mark.parametrize("is_accessible", [False, True])
def test_interrupted_copy_of_a_template_is_refused(site, is_accessible):
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
                sql.Identifier(one), sql.Identifier(template), sql.Literal(INCOMPLETE_LIMIT)
            )
        )
    if is_accessible:
        as_admin(site, "REVOKE ALL ON DATABASE {} FROM PUBLIC; ALTER DATABASE {} ALLOW_CONNECTIONS true", one, one)
        as_admin(site, f"COMMENT ON DATABASE {{}} IS '{TENANT_COMMENT}'", one)
    before = site.postgres.snapshot(site.names)
    assert run(site, script(site)) == (
        f"The creation of {one} with its tables was interrupted. Run create_tenant_dbs to finish.",
        3,
    )
    assert site.postgres.snapshot(site.names) == before
