"""A hint that is a statement is run as the role that it names; the next run succeeds, and no role gains too much."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

import deploytools
from deploytools.errors import DeployError
from deploytools.postgres.connections import locked_session, session
from deploytools.tenants.database_operations import ChangeOwner, SetTenantComment
from deploytools.tenants.operations import Operation
from deploytools.tenants.state import TENANT_COMMENT
from tests.tenants.sites import PASSWORD, Killed, Listener, Site, errors

SOURCES = [
    file for package in ("tenants", "postgres") for file in (Path(deploytools.__file__).parent / package).glob("*.py")
]
STATEMENT = re.compile(r"\b(ALTER|GRANT|REVOKE|DROP|COMMENT|CREATE) [A-Z\"].*$", re.DOTALL)


def as_superuser(site: Site, statement: str, *names: str) -> None:
    with site.postgres.admin() as admin:
        text = sql.SQL(statement).format(*map(sql.Identifier, names)).as_string(None) if names else statement
        admin.execute(text.encode())


def make_foreign(site: Site, attributes: str = "") -> str:
    """Create the first tenant's database, owned by another role that the master user is not a member of."""
    old = site.postgres.make_role(f"{site.app.user}_Old", PASSWORD, attributes).user
    as_superuser(site, "CREATE DATABASE {} OWNER {}", site.names[0], old)
    return old


def owner_of_another_role(site: Site) -> None:
    make_foreign(site)


def owner_is_a_member_of_a_superuser(site: Site) -> None:
    as_superuser(site, "GRANT rdsadmin TO {}", make_foreign(site))


def owner_is_a_superuser(site: Site) -> None:
    as_superuser(site, "CREATE DATABASE {}", site.names[0])


def former_owner_without_inherit(site: Site) -> None:
    as_superuser(site, "GRANT {} TO postgres", make_foreign(site, "NOINHERIT"))


def connections_disabled(site: Site) -> None:
    site.run()
    as_superuser(site, "ALTER DATABASE {} ALLOW_CONNECTIONS false", site.names[0])


def interrupted_drop(site: Site) -> None:
    as_superuser(site, "CREATE DATABASE {}", site.names[0])
    with site.postgres.admin() as admin:
        admin.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [site.names[0]])


def objects_of_the_master(site: Site) -> None:
    """The transfer of the master's database, with the comment of a tenant, was interrupted."""
    one = site.names[0]
    with session(site.master) as master:
        master.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
        master.execute(SetTenantComment(one, "postgres").sql())
    with site.master.connect(one) as inside:
        inside.execute("CREATE TABLE stock (id integer); GRANT ALL ON stock TO PUBLIC")

    def kill(step: Operation) -> None:
        if isinstance(step, ChangeOwner) and step.database == one:
            raise Killed

    with locked_session(site.master, wait=30) as connection:
        provisioner = site.provisioner(connection, adopt=True)
        with pytest.raises(Killed):
            provisioner.apply(provisioner.plan(), Listener(kill))


def role_of_another_creator(site: Site) -> None:
    site.run()
    as_superuser(site, "REVOKE {} FROM postgres CASCADE", site.app.user)
    as_superuser(site, "ALTER ROLE {} PASSWORD NULL", site.app.user)


def role_with_excess_permissions(site: Site) -> None:
    """Some through another role, and granted by two roles: from 16 on, REVOKE must name the grantor."""
    site.run()
    app, group = site.app.user, f"{site.app.user}_Group"
    as_superuser(site, "ALTER ROLE {} REPLICATION BYPASSRLS CREATEDB", app)
    as_superuser(site, "GRANT pg_monitor TO {}", app)
    with session(site.master) as master:
        master.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(group)))
        master.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(app)))
    as_superuser(site, "GRANT pg_signal_backend TO {}", group)


SCENARIOS: list[tuple[Callable[[Site], None], bool]] = [
    (owner_of_another_role, True),
    (owner_is_a_member_of_a_superuser, True),
    (owner_is_a_superuser, True),
    (former_owner_without_inherit, True),
    (connections_disabled, False),
    (interrupted_drop, False),
    (objects_of_the_master, False),
    (role_of_another_creator, False),
    (role_with_excess_permissions, False),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "adopt"), SCENARIOS, ids=[scenario.__name__ for scenario, _ in SCENARIOS])
def test_the_statement_of_the_hint_helps(site, scenario, adopt):
    if scenario is role_of_another_creator and site.postgres.version < 16:
        pytest.skip("before 16 CREATEROLE is enough")
    scenario(site)
    site = replace(site, desired=replace(site.desired, adopt=adopt))
    error = first_error(site)
    assert error, "the scenario is refused"
    for _ in range(2):  # A statement can reveal the next problem.
        if error:
            statement = STATEMENT.search(error.hint)
            assert statement, error.hint
            for part in statement[0].split("; "):
                as_superuser(site, part)
            error = first_error(site)
    assert errors(site.run()) == [None, None]
    with site.postgres.admin() as admin:
        (row,) = admin.execute(
            "SELECT bool_or(pg_has_role('postgres', oid, 'MEMBER')) AS gained FROM pg_roles WHERE rolsuper"
        ).fetchall()
    assert not row.gained, "the master user must not become a superuser, or a member of one"


def first_error(site: Site) -> DeployError | None:
    try:
        return site.plan().tenants[0].error
    except DeployError as error:
        return error


def test_comment_in_the_hint_is_the_present_one_without_the_marker(site):
    objects_of_the_master(site)
    error = first_error(site)
    assert error
    assert f"IS '{TENANT_COMMENT}'; ALTER DATABASE" in error.hint


def strings(file: Path) -> Iterator[str]:
    """Yield the strings of a module, with a mark for each value in an f-string."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_text_grants_a_role_of_rds_or_makes_a_superuser():
    found = [text for file in SOURCES for text in strings(file) if re.search("GRANT|ALTER ROLE|CREATE ROLE", text)]
    assert len(found) > 10
    assert [text for text in found if re.search(r'GRANT "?(rds\w*|pg_\w+)"? TO|[^O]SUPERUSER\b', text)] == []


@pytest.mark.slow
def test_notes_on_limits_of_the_application_role(site):
    site.run()
    as_superuser(site, "ALTER ROLE {} CONNECTION LIMIT 50 VALID UNTIL '2099-12-31 23:00+00'", site.app.user)
    plans = site.plan()
    assert plans.is_empty
    limit, expiry = plans.tenants[0].notes
    assert limit == f"Role {site.app.user} has CONNECTION LIMIT 50, for all its databases together"
    assert expiry.startswith(f"Password of role {site.app.user} expires at 2099-12-31 23:00:00 UTC. ")
    with session(site.master) as master:
        for statement in (f'ALTER ROLE "{site.app.user}" CONNECTION LIMIT -1', expiry.partition("master user: ")[2]):
            master.execute(statement.encode())
    assert site.plan().tenants[0].notes == ()


@pytest.mark.slow
def test_the_hint_names_the_group_that_the_role_leaves(site):
    """Only one membership of the group is excessive, but REVOKE takes them all."""
    role_with_excess_permissions(site)
    error = first_error(site)
    assert error and f"(the role also loses the other privileges of {site.app.user}_Group): ALTER ROLE" in error.hint
