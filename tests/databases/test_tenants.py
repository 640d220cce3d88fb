"""Which names a tenant may have."""

from __future__ import annotations

import pytest

from deploytools.databases.tenants import Tenant, name_violations, parse_tenants
from deploytools.errors import ConfigurationError

UNSAFE = "is not a database name that is safe everywhere."
RESERVED = "is a name of PostgreSQL's, of RDS's or of Django's test databases."


@pytest.mark.parametrize("name", ["a", "startupwebapp_prod", "a1_2", "a" * 63])
def test_good_names(name):
    assert parse_tenants([name]) == parse_tenants([{"NAME": name}]) == (Tenant(name),)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", UNSAFE),
        ("A", UNSAFE),
        ("1a", UNSAFE),
        ("_a", UNSAFE),
        ("a-b", UNSAFE),
        ("a b", UNSAFE),
        ("ä", UNSAFE),
        ('a"; DROP DATABASE b; --', UNSAFE),
        ("a\n", UNSAFE),
        ("a" * 64, UNSAFE),
        ("postgres", RESERVED),
        ("template0", RESERVED),
        ("rdsadmin", RESERVED),
        ("pg_x", RESERVED),
        ("rds_x", RESERVED),
        ("test_shop", RESERVED),
    ],
)
def test_bad_names(name, problem):
    assert [sentence for sentence, _ in name_violations([name])] == [f'"{name}" {problem}']


def test_all_violations_at_once():
    with pytest.raises(ConfigurationError) as caught:
        parse_tenants(["shop", {"NAME": "shop", "OWNR": "me"}, 5, "Shop"])
    assert str(caught.value) == (
        'DEPLOYTOOLS["TENANTS"] cannot be used: Tenant "shop" has an option that nobody reads: "OWNR". '
        "5 is neither a name nor a dict. "
        f'"5" {UNSAFE} "Shop" {UNSAFE} '
        'Tenant "shop" is named 3 times (upper and lower case count as one).'
    )
