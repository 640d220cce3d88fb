"""Who may connect, judged."""

from __future__ import annotations

import pytest

from deploytools.databases.proof import Reach, judge_reach
from deploytools.databases.state import Wanted
from deploytools.databases.tenants import Tenant

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
