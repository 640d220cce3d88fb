"""What the application's role can see of the server: its slots, forgotten databases, the leftovers of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from deploytools.databases.catalogue import read_catalogue, read_slots
from deploytools.databases.server import Login
from deploytools.secret.value import Secret
from tests.postgres import Postgres


@pytest.fixture
def owner(postgres: Postgres) -> Iterator[Login]:
    """A role with two databases of its own and one that a test run left."""
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


def test_what_belongs_to_no_tenant(owner):
    found = read_catalogue(owner, f"{owner.user}_one", [f"{owner.user}_one"], [owner.user])
    assert [role.name for role in found.roles] == [owner.user]
    assert set(found.databases) == {f"{owner.user}_one"}
    assert found.unnamed == (f"{owner.user}_old",)
    assert f"test_{owner.user}" in found.test_databases
    assert f"test_{owner.user}" not in found.unnamed


def test_the_server_s_slots(owner, postgres):
    with postgres.admin() as admin:
        (maximum,) = admin.execute("SHOW max_connections").fetchone()
        (reserved,) = admin.execute("SHOW superuser_reserved_connections").fetchone()
        slots = read_slots(owner, f"{owner.user}_one")
    assert (slots.maximum, slots.reserved) == (int(maximum), int(reserved))
    assert 2 <= slots.used <= slots.maximum
