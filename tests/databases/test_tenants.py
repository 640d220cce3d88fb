"""Which names a tenant may have."""

from __future__ import annotations

import pytest

from deploytools.databases.tenants import (
    Tenant,
    TenantOptions,
    milliseconds,
    name_violations,
    option_violations,
    parse_tenants,
)
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


def test_names_that_are_one_after_truncation():
    long = "a" * 63
    sentences = [sentence for sentence, _ in name_violations([long + "b", long + "c", long])]
    assert sentences == [
        f'"{long}b" {UNSAFE}',
        f'"{long}c" {UNSAFE}',
        f'3 tenants are all "{long}" to PostgreSQL, which cuts names off there.',
    ]


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (0, 0),
        (30_000, 30_000),
        ("30000", 30_000),
        ("30s", 30_000),
        ("2 min", 120_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("250ms", 250),
        ("2147483647", 2_147_483_647),
        ("2147483648", None),
        ("25d", None),
        (-1, None),
        ("1 week", None),
        ("", None),
        (None, None),
        (True, None),
        (1.5, None),
    ],
)
def test_times(value, meant):
    assert milliseconds(value) == meant


def test_options_of_all_and_of_one():
    for_all = {"STATEMENT_TIMEOUT": "30s", "CONNECTION_LIMIT": 50}
    assert parse_tenants(["a", {"NAME": "b", "CONNECTION_LIMIT": -1}], for_all) == (
        Tenant("a", TenantOptions(50, 30_000)),
        Tenant("b", TenantOptions(-1, 30_000)),
    )


@pytest.mark.parametrize("limit", [0, -2, "5", True, 10_000, 2.0])
def test_connection_limits_that_are_none(limit):
    assert option_violations({"CONNECTION_LIMIT": limit}, "x") == [
        (f"x has CONNECTION_LIMIT {limit!r}.", "CONNECTION_LIMIT is a whole number from 1 on, or -1 for no limit.")
    ]


def test_options_that_nobody_reads_are_told_for_all_and_for_one():
    with pytest.raises(ConfigurationError) as caught:
        parse_tenants([{"NAME": "a", "OWNER": "me"}], {"STATEMENT_TIMEOUT": "soon", "LIMIT": 1})
    assert str(caught.value) == (
        'DEPLOYTOOLS["TENANTS"] cannot be used: Tenant "a" has an option that nobody reads: "OWNER". '
        'DEPLOYTOOLS["TENANT_OPTIONS"] has an option that nobody reads: "LIMIT". '
        "DEPLOYTOOLS[\"TENANT_OPTIONS\"] has STATEMENT_TIMEOUT 'soon'."
    )
