"""What the application role can read from the server: connection slots, unlisted databases, test databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from deploytools.tenants.catalog import read_server_catalog, read_slots
from tests.postgres_server import Postgres


@pytest.fixture
def owner(postgres: Postgres) -> Iterator[Login]:
    """A role with two databases, and one that a test run left behind."""
    name = postgres.fresh_name()
    login = postgres.make_role(name, Secret("Aq7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU"))
    databases = [f"{name}_one", f"{name}_old", f"test_{name}"]
    with postgres.admin() as admin:
        for database in databases:
            command = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(name))
            admin.execute(command)
    yield login
    with postgres.admin() as admin:
        for database in databases:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.slow
def test_unlisted_and_test_databases(owner, postgres):
    copies = [f"{owner.user}_one{end}" for end in ("-old", "_restored", "x")]
    with postgres.admin() as admin:
        for copy in copies:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(copy)))
        try:
            found = read_server_catalog(owner, f"{owner.user}_one", [f"{owner.user}_one"], [owner.user])
        finally:
            for copy in copies:
                admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(copy)))
    assert [role.name for role in found.roles] == [owner.user]
    assert set(found.databases) == {f"{owner.user}_one"}
    assert set(found.unlisted) == {f"{owner.user}_old", *copies[:2]}
    assert f"test_{owner.user}" in found.test_databases
    assert f"test_{owner.user}" not in found.unlisted


@pytest.mark.slow
def test_other_logins(owner, postgres):
    """Roles with CONNECT, directly or through a membership; not administrators, nor logins of the owner."""
    database, analyst, group, member, clone, acting, master, idle = (
        f"{owner.user}_{name}" for name in ("one", "analyst", "readers", "member", "clone", "acting", "master", "idle")
    )
    statements = (
        f"CREATE ROLE {analyst} LOGIN",
        f"CREATE ROLE {group}",
        f"CREATE ROLE {member} LOGIN IN ROLE {group}",
        f"CREATE ROLE {clone} LOGIN IN ROLE {owner.user}",
        f"CREATE ROLE {acting} LOGIN IN ROLE {owner.user}",
        f"ALTER ROLE {acting} SET role = {owner.user}",
        f"CREATE ROLE {master} LOGIN CREATEROLE",
        f"CREATE ROLE {idle} LOGIN",
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {database} TO {analyst}, {group}, {master}",
    )
    with postgres.admin() as admin:
        for statement in statements:
            admin.execute(statement)
        try:
            found = read_server_catalog(owner, database, [database], [owner.user])
        finally:
            admin.execute(f"REVOKE ALL ON DATABASE {database} FROM {analyst}, {group}, {master}")
            for role in (analyst, member, group, clone, acting, master, idle):
                admin.execute(f"DROP ROLE {role}")
    assert found.other_logins == {database: (analyst, member)}


@pytest.mark.slow
def test_membership_in_an_administrators_role(owner, postgres):
    """Also through another role; a role without privileges is none."""
    group, admins, readers = (f"{owner.user}_{name}" for name in ("group", "admins", "readers"))
    with postgres.admin() as admin:
        admin.execute(f"CREATE ROLE {admins} CREATEDB; CREATE ROLE {group} IN ROLE {admins}; CREATE ROLE {readers}")
        admin.execute(f"GRANT {group}, {readers} TO {owner.user}")
        try:
            (role,) = read_server_catalog(owner, f"{owner.user}_one", [], [owner.user]).roles
        finally:
            admin.execute(f"DROP ROLE {group}, {admins}, {readers}")
    assert role.memberships == {group, admins, readers}
    assert role.admin_memberships == {admins}
    assert role.excess_permissions == (admins,)


@pytest.mark.slow
def test_connection_slots(owner, postgres):
    with postgres.admin() as admin:
        (maximum,) = admin.execute("SHOW max_connections").fetchone()
        (reserved,) = admin.execute("SHOW superuser_reserved_connections").fetchone()
        with owner.connect(f"{owner.user}_one") as connection:
            slots = read_slots(connection)
    assert (slots.maximum, slots.reserved) == (int(maximum), int(reserved))
    assert 2 <= slots.used <= slots.maximum
