"""Facts of the rotation that are computed from PostgreSQL's catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploytools.tenants.state import RoleState
from deploytools.verification.secret import rotation_facts
from deploytools.verification.secret.rotation_facts import open_logins
from tests.verification.zoo.world import CATALOGUE, REGISTRY, WORLD


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
def test_two_open_logins_of_another_tenant(monkeypatch, second: dict[str, Any], expected: tuple[str, ...]):
    names = ("shop", "shop_b", "clinic", "hotel")
    catalog = replace(CATALOGUE, roles=(*map(RoleState, names), RoleState("clinic_b", **second)))
    monkeypatch.setattr(rotation_facts, "read_catalog", lambda *_: catalog)
    settings = replace(WORLD["settings"], isolation="role-per-tenant", tenants=["shop", "clinic", "hotel"])
    assert open_logins(WORLD["secret"], WORLD["secret_description"], settings) == expected


def test_a_shared_login_needs_no_connection_until_its_first_rotation():
    assert open_logins(WORLD["secret"], WORLD["secret_description"], WORLD["settings"]) == ()
    assert "connection" not in REGISTRY.sources_for([REGISTRY.checks["secret.former-login"]])
