"""Facts of the rotation that are computed from PostgreSQL's catalog."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from deploytools.tenants.catalog import read_expiry
from deploytools.verification.secret import rotation_facts
from deploytools.verification.secret.rotation_facts import _read_role, open_logins, read_open_logins
from tests.deployment import Deployment
from tests.verification.zoo.world import REGISTRY, WORLD

EXPIRY_DATES = {
    "none": ("LOGIN", True, False),
    "infinity": ("LOGIN VALID UNTIL 'infinity'", True, False),
    "far": ("LOGIN VALID UNTIL '10000-01-01'", True, False),
    "later": ("LOGIN VALID UNTIL '2099-01-01'", True, True),
    "past": ("LOGIN VALID UNTIL '2001-01-01'", False, True),
    "ancient": ("LOGIN VALID UNTIL '0044-03-15 BC'", False, False),
    "closed": ("NOLOGIN", False, False),
}


@pytest.mark.slow
def test_expiry_dates_in_the_catalog(made: Deployment):
    roles = {f"{made.name}_{name}": values for name, values in EXPIRY_DATES.items()}
    login = Login(made.postgres.address, made.role, Secret(made.document()["password"]))
    with made.postgres.admin() as admin:
        for name, (options, _, _) in roles.items():
            admin.execute(f"CREATE ROLE {name} {options}".encode())
        for style in ("ISO", "German", "SQL, DMY"):
            admin.execute(f"ALTER ROLE {made.role} SET datestyle = {style}".encode())
            assert read_open_logins(login, made.tenants[0], [*roles, "no_role"]) == {
                name for name, (_, is_open, _) in roles.items() if is_open
            }
            for name, (_, _, is_date) in roles.items():
                assert (_read_role(login, made.tenants[0], name)[1] is not None) == is_date
            admin.execute(f"ALTER ROLE {made.role} VALID UNTIL '2099-01-02'".encode())
            assert read_expiry(login).startswith("2099-01-0")
            admin.execute(f"ALTER ROLE {made.role} VALID UNTIL '10000-01-01'".encode())
            assert read_expiry(login) == ""


def test_two_open_logins_of_another_tenant(monkeypatch):
    found = {"shop", "shop_b", "clinic", "clinic_b", "hotel"}
    monkeypatch.setattr(rotation_facts, "tenant_login", lambda *_: None)
    monkeypatch.setattr(rotation_facts, "read_open_logins", lambda login, database, names: found & set(names))
    settings = replace(WORLD["settings"], isolation="role-per-tenant", tenants=["shop", "clinic", "hotel"])
    assert open_logins(WORLD["secret"], settings) == ("clinic",)


def test_a_shared_login_needs_no_connection_until_its_first_rotation():
    assert open_logins(WORLD["secret"], WORLD["settings"]) == ()
    assert "connection" not in REGISTRY.sources_for([REGISTRY.checks["secret.former-login"]])
