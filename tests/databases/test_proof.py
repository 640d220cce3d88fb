"""Who may connect, judged."""

from __future__ import annotations

import pytest

from deploytools.databases.objects import Owned
from deploytools.databases.proof import Reach, judge_owned, judge_reach
from deploytools.databases.state import Wanted
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError

APART = Wanted("app", (Tenant("one"), Tenant("two")), is_shared=False)
SHARED = Wanted("app", (Tenant("one"), Tenant("two")))
FINISHED = Wanted("app", (Tenant("one"), Tenant("two")), is_shared=False, finish=True)


@pytest.mark.parametrize(
    ("wanted", "holder", "breaches", "others"),
    [
        (APART, ("one", "one", "one"), {}, {}),
        (APART, ("one", "postgres", "one"), {}, {}),
        (APART, ("one", "app", "one"), {}, {}),
        (FINISHED, ("one", "app", "one"), {"one": ("app",)}, {}),
        (APART, ("one", "app", "app"), {"one": ("app",)}, {}),
        (APART, ("one", "app", "friends"), {"one": ("app",)}, {}),
        (APART, ("one", "two", "one"), {"one": ("two",)}, {}),
        (APART, ("one", "PUBLIC", "nobody"), {"one": ("PUBLIC",)}, {}),
        (APART, ("one", "analyst", "one"), {}, {"one": ("analyst",)}),
        (SHARED, ("one", "two", "app"), {}, {}),
        (SHARED, ("one", "two", "two"), {"one": ("two",)}, {}),
    ],
)
def test_the_former_role_may_come_in_as_a_member_of_the_owner_only(wanted, holder, breaches, others):
    assert judge_reach([holder], wanted, "postgres") == Reach(breaches, others)


def test_a_role_that_comes_in_by_two_ways_is_named_once():
    holders = [("one", "two", "one"), ("one", "two", "two")]
    assert judge_reach(holders, APART, "postgres").breaches == {"one": ("two",)}


EXTENSION = "not one's in one: extension ltree of {}; PostgreSQL lets nobody hand over an extension"


@pytest.mark.parametrize(
    ("foreigners", "remarks"),
    [
        ([], ()),
        ([Owned("analyst", "user mapping", "analyst on server far")], ()),
        ([Owned("analyst", "table", "public.x")], ("not one's in one: table public.x of analyst",)),
        ([Owned("analyst", "extension", "ltree")], (EXTENSION.format("analyst"),)),
        ([Owned("app", "extension", "ltree")], (EXTENSION.format("app"),)),
        (
            [Owned("analyst", "table", f"t{number}") for number in range(7)],
            ("not one's in one: " + ", ".join(f"table t{n} of analyst" for n in range(5)) + " and 2 more",),
        ),
    ],
)
def test_what_strangers_own_is_told(foreigners, remarks):
    assert judge_owned(foreigners, APART.tenants[0], APART) == remarks


@pytest.mark.parametrize(
    "item",
    [
        Owned("app", "table", "public.x"),
        Owned("two", "default acl", "for role two on tables"),
        Owned("app", "user mapping", "app on server far"),
    ],
)
def test_what_a_role_of_ours_owns_elsewhere_is_an_error(item):
    with pytest.raises(DatabaseError) as caught:
        judge_owned([item, Owned("analyst", "table", "public.y")], APART.tenants[0], APART)
    assert str(caught.value) == f"In one not everything belongs to one: {item} of {item.owner}."
    assert caught.value.hint == (
        "Hand it over as the master (ALTER … OWNER TO …), or drop it, in psql; then run it again."
    )
