"""Evaluation of CONNECT privileges and of the owners of objects."""

from __future__ import annotations

import pytest

from deploytools.errors import DatabaseError
from deploytools.postgres.connections import Login, ServerAddress
from deploytools.secrets.document import Secret
from deploytools.tenants.isolation import (
    ConnectPrivileges,
    evaluate_connect_privileges,
    evaluate_object_owners,
    other_tenant_logins,
)
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.ownership import Owned

APART = DesiredState("app", (Tenant("one"), Tenant("two")), is_shared=False)
SHARED = DesiredState("app", (Tenant("one"), Tenant("two")))
ADDRESS = ServerAddress("db.example", 5432)
FINISHED = DesiredState("app", (Tenant("one"), Tenant("two")), is_shared=False, finish=True)


@pytest.mark.parametrize(
    ("desired", "holder", "violations", "unknown"),
    [
        (APART, ("one", "one", "one"), {}, {}),
        (APART, ("one", "postgres", "one"), {}, {}),
        (APART, ("one", "app", "one"), {}, {}),
        (FINISHED, ("one", "app", "one"), {"one": ("app",)}, {}),
        (APART, ("one", "app", "app"), {"one": ("app",)}, {}),
        (APART, ("one", "app", "friends"), {"one": ("app",)}, {}),
        (APART, ("one", "two", "one"), {"one": ("two",)}, {}),
        (APART, ("one", "PUBLIC", "unknown"), {"one": ("PUBLIC",)}, {}),
        (APART, ("one", "analyst", "one"), {}, {"one": ("analyst",)}),
        (SHARED, ("one", "two", "app"), {}, {}),
        (SHARED, ("one", "two", "two"), {"one": ("two",)}, {}),
    ],
)
def test_previous_owner_can_connect_only_as_a_member_of_the_owner(desired, holder, violations, unknown):
    assert evaluate_connect_privileges([holder], desired, "postgres") == ConnectPrivileges(violations, unknown)


def test_role_with_two_grants_is_listed_once():
    holders = [("one", "two", "one"), ("one", "two", "two")]
    assert evaluate_connect_privileges(holders, APART, "postgres").violations == {"one": ("two",)}


EXTENSION = (
    "Objects in one not owned by one: extension ltree (owner {}); PostgreSQL cannot change the owner of an extension"
)


@pytest.mark.parametrize(
    ("objects", "notes"),
    [
        ([], ()),
        ([Owned("analyst", "user mapping", "analyst on server far")], ()),
        ([Owned("analyst", "table", "public.x")], ("Objects in one not owned by one: table public.x (owner analyst)",)),
        ([Owned("analyst", "extension", "ltree")], (EXTENSION.format("analyst"),)),
        ([Owned("app", "extension", "ltree")], (EXTENSION.format("app"),)),
        (
            [Owned("analyst", "table", f"t{number}") for number in range(7)],
            (
                "Objects in one not owned by one: "
                + ", ".join(f"table t{n} (owner analyst)" for n in range(5))
                + " and 2 more",
            ),
        ),
    ],
)
def test_objects_of_other_roles_are_reported(objects, notes):
    assert evaluate_object_owners(objects, APART.tenants[0], APART) == notes


@pytest.mark.parametrize(
    "item",
    [
        Owned("app", "table", "public.x"),
        Owned("two", "default acl", "for role two on tables"),
        Owned("app", "user mapping", "app on server far"),
    ],
)
def test_object_of_another_tenants_role_is_an_error(item):
    with pytest.raises(DatabaseError) as caught:
        evaluate_object_owners([item, Owned("analyst", "table", "public.y")], APART.tenants[0], APART)
    assert str(caught.value) == f"Objects in one are not owned by one: {item} (owner {item.owner})."
    assert caught.value.hint == (
        "Change their owner as the master user (ALTER … OWNER TO …), or drop them, in psql. Then run the command again."
    )


@pytest.mark.parametrize(("tenants", "tried"), [(1, 0), (2, 1), (32, 31), (33, 2), (500, 2)])
def test_logins_of_other_tenants_are_tried(tenants, tried):
    """All logins for up to 1,000 pairs; beyond that two for each database, so that every login is tried."""
    logins = {f"t{number}": Login(ADDRESS, f"t{number}", Secret("x")) for number in range(tenants)}
    pairs = {(name, login.user) for name in logins for login in other_tenant_logins(name, logins)}
    assert len(pairs) == tenants * tried
    assert all(name != user for name, user in pairs)
    assert {user for _, user in pairs} == (set(logins) if tried else set())
