"""Names and options of tenants."""

from __future__ import annotations

import pytest

from deploytools.errors import ConfigurationError
from deploytools.tenants.options import (
    Tenant,
    TenantOptions,
    milliseconds,
    name_violations,
    option_violations,
    parse_tenants,
)

UNSAFE = "is not a valid tenant name."
RESERVED = "is a reserved name of PostgreSQL, RDS, Django's tests or deploytools."


@pytest.mark.parametrize("name", ["a", "startupwebapp_prod", "a1_2", "a" * 63])
def test_valid_names(name):
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
def test_invalid_names(name, problem):
    assert [sentence for sentence, _ in name_violations([name])] == [f'"{name}" {problem}']


def test_all_violations_at_once():
    with pytest.raises(ConfigurationError) as caught:
        parse_tenants(["shop", {"NAME": "shop", "OWNR": "me"}, 5, "Shop"])
    assert str(caught.value) == (
        'DEPLOYTOOLS["TENANTS"] is invalid: Tenant "shop" has an unknown option: "OWNR". '
        "5 is neither a name nor a dict. "
        f'"5" {UNSAFE} "Shop" {UNSAFE} '
        'Tenant "shop" is listed 3 times (case is ignored).'
    )


def test_names_that_are_equal_after_truncation():
    long = "a" * 63
    sentences = [sentence for sentence, _ in name_violations([long + "b", long + "c", long])]
    assert sentences == [
        f'"{long}b" {UNSAFE}',
        f'"{long}c" {UNSAFE}',
        f'3 tenants are truncated by PostgreSQL to the same name: "{long}".',
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
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
def test_milliseconds(value, expected):
    assert milliseconds(value) == expected


def test_own_options_take_precedence():
    for_all = {"STATEMENT_TIMEOUT": "30s", "CONNECTION_LIMIT": 50}
    assert parse_tenants(["a", {"NAME": "b", "CONNECTION_LIMIT": -1}], for_all) == (
        Tenant("a", TenantOptions(50, 30_000)),
        Tenant("b", TenantOptions(-1, 30_000)),
    )


@pytest.mark.parametrize("limit", [0, -2, "5", True, 10_000, 2.0])
def test_invalid_connection_limits(limit):
    assert option_violations({"CONNECTION_LIMIT": limit}, "x") == [
        (
            f"x has an invalid CONNECTION_LIMIT: {limit!r}.",
            "Set CONNECTION_LIMIT to an integer of at least 1, or -1 for no limit.",
        )
    ]


def test_unknown_options_of_all_tenants_and_of_one():
    with pytest.raises(ConfigurationError) as caught:
        parse_tenants([{"NAME": "a", "OWNER": "me"}], {"STATEMENT_TIMEOUT": "soon", "LIMIT": 1})
    assert str(caught.value) == (
        'DEPLOYTOOLS["TENANTS"] is invalid: Tenant "a" has an unknown option: "OWNER". '
        'DEPLOYTOOLS["TENANT_OPTIONS"] has an unknown option: "LIMIT". '
        "DEPLOYTOOLS[\"TENANT_OPTIONS\"] has an invalid STATEMENT_TIMEOUT: 'soon'."
    )


def test_names_of_second_logins():
    """With a role per tenant, `rotate_credentials` needs another role for each."""
    longest = "a" * 61
    assert (
        name_violations(["shop", "shop_b", longest + "a"]) == name_violations(["shop", longest], has_roles=True) == []
    )
    assert name_violations(["shop", "shop_b", longest + "a"], has_roles=True) == [
        ('Tenant "shop_b" has the name of the second login of tenant "shop".', "Rename one of the two."),
        (
            f'The second login of tenant "{longest}a" would have a name of more than 63 bytes.',
            "Use names of at most 61 characters.",
        ),
    ]
    with pytest.raises(ConfigurationError, match="has the name of the second login"):
        parse_tenants(["shop", "shop_b"], has_roles=True)
