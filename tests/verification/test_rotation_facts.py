"""Facts of the rotation that are computed from PostgreSQL's catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploytools.tenants.state import RoleState
from deploytools.verification.secret.rotation_facts import open_logins
from tests.verification.zoo.world import CATALOGUE, WORLD


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({}, ("clinic",)),
        ({"valid_until": "2036-01-01 00:00:00"}, ("clinic",)),
        ({"valid_until": "2026-03-02 00:00:00"}, ()),
        ({"is_expired": True, "valid_until": "2026-01-01 00:00:00"}, ()),
        ({"can_login": False}, ()),
    ],
)
def test_two_open_logins_of_another_tenant(second: dict[str, Any], expected: tuple[str, ...]):
    names = ("shop", "shop_b", "clinic", "hotel")
    catalog = replace(CATALOGUE, roles=(*map(RoleState, names), RoleState("clinic_b", **second)))
    settings = replace(WORLD["settings"], isolation="role-per-tenant")
    found = [
        open_logins(catalog, ("shop", "clinic", "hotel"), WORLD["secret_description"], chosen)
        for chosen in (settings, WORLD["settings"])
    ]
    assert found == [expected, ()]
