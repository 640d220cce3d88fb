"""Plans and results of three hundred tenants: a summary, equal tenants in groups, failures last."""

from __future__ import annotations

import json
import re
from pathlib import Path

from deploytools.errors import DatabaseError, Refused
from deploytools.reports.tenant_groups import group_tenants
from deploytools.reports.tenants_json import action, to_json
from deploytools.reports.tenants_text import to_plan_text, to_text
from deploytools.tenants import database_operations
from deploytools.tenants.database_operations import AllowConnections, CreateDatabase, OwnerOperation
from deploytools.tenants.operations import CreateRole, Operation, SetPassword, WriteSecret
from deploytools.tenants.options import Tenant
from deploytools.tenants.plan import DatabasePlan, TenantPlan
from deploytools.tenants.provisioning import ProvisioningResult

REFERENCE = Path(__file__).parent.parent.parent / "docs" / "reference.md"
TENANTS = [Tenant(f"shop_{number:03}") for number in range(300)]


def unmanaged(name: str) -> Refused:
    return Refused(f"{name} exists but is not managed.", hint=f"Adopt {name}.")


def planned(number: int, tenant: Tenant) -> TenantPlan:
    name = tenant.name
    if number in (5, 7):
        return TenantPlan(tenant, error=unmanaged(name), notes=(f"Connected to {name}: old",))
    if number % 100 == 50:
        return TenantPlan(tenant)
    secret = WriteSecret(f"prod/tenant/{name}", name, ("password",), is_new=True)
    return TenantPlan(tenant, (secret, CreateRole(name), CreateDatabase(name), AllowConnections(name, name)))


PLAN = DatabasePlan((CreateRole("app"),), tuple(planned(*item) for item in enumerate(TENANTS)))


def test_plan_of_300_tenants():
    assert to_plan_text(PLAN).splitlines() == [
        "300 tenants: 295 to create, 3 up to date, 2 refused; 1 step for the shared role",
        "  - create role app (LOGIN only; password from the secret)",
        "  for each of 295 tenants (shop_000, shop_001, shop_002 and 292 more):",
        "    - create secret prod/tenant/TENANT with a new password for role TENANT",
        "    - create role TENANT (LOGIN only; password from the secret)",
        "    - create database TENANT with connections disabled",
        "    - enable connections to TENANT",
        "  for each of 2 tenants (shop_005, shop_007):",
        "    ! TENANT exists but is not managed.",
        "      Hint: Adopt TENANT.",
        "    · Connected to TENANT: old",
    ]
    details = to_plan_text(PLAN, verbosity=2).splitlines()
    assert (len(details), details[2:6]) == (
        1 + 1 + 295 * 4 + 2 * 3,
        [
            "  - create secret prod/tenant/shop_000 with a new password for role shop_000",
            "  - create role shop_000 (LOGIN only; password from the secret)",
            "  - create database shop_000 with connections disabled",
            "  - enable connections to shop_000",
        ],
    )


def test_results_of_300_tenants():
    def result(number: int, tenant: Tenant) -> ProvisioningResult:
        name = tenant.name
        if number in (5, 7):
            return ProvisioningResult(tenant, error=unmanaged(name))
        if number % 100 == 50:
            return ProvisioningResult(tenant, error=DatabaseError(f"Could not create {name}: full.", hint="Wait."))
        return ProvisioningResult(tenant, (CreateDatabase(name), AllowConnections(name, "app")))

    results = [result(*item) for item in enumerate(TENANTS)]
    notes = [(tenant.name, f"old can still connect to {tenant.name}.") for tenant in TENANTS[:4]]
    lines = to_text(results, [*notes, ("", "a template")], is_shared=True, seconds=12.34).splitlines()
    assert lines == [
        "✓ shop_000, shop_001, shop_002, shop_003, shop_004, shop_006, shop_008, shop_009",
        "  and 287 more: 2 steps applied; verified: the application role can log in and",
        "  create tables, PUBLIC cannot connect",
        "· for each of 4 tenants (shop_000, shop_001, shop_002 and 1 more): old can still",
        "  connect to TENANT.",
        "· a template",
        "✗ shop_005, shop_007: TENANT exists but is not managed.",
        "  Hint: Adopt TENANT.",
        "✗ shop_050, shop_150, shop_250: Could not create TENANT: full.",
        "  Hint: Wait.",
        "300 tenants: 295 verified, 2 refused, 3 failed; 12.3 s",
    ]
    details = to_text(results, notes, is_shared=True, seconds=1, verbosity=2).splitlines()
    assert [sum(line.startswith(symbol) for line in details) for symbol in "✓·✗"] == [295, 4, 5]


def test_long_names_of_a_group_are_not_broken():
    names = [f"customer_{'x' * 40}_{number:03}" for number in range(300)]
    tenants = tuple(TenantPlan(Tenant(name), (CreateDatabase(name),)) for name in names)
    assert to_plan_text(DatabasePlan((), tenants)).splitlines() == [
        "300 tenants: 300 to create",
        "  for each of 300 tenants",
        f"    ({names[0]},",
        f"    {names[1]},",
        f"    {names[2]} and 297 more):",
        "    - create database TENANT with connections disabled",
    ]
    notes = [(name, f"old can connect to {name}.") for name in names]
    assert to_text([], notes, is_shared=True, seconds=1).splitlines()[:5] == [
        "· for each of 300 tenants",
        f"  ({names[0]},",
        f"  {names[1]},",
        f"  {names[2]} and 297 more): old can",
        "  connect to TENANT.",
    ]


def test_long_sentences_are_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    error = Refused("shop_a exists, but create_tenant_dbs did not create and did not adopt it.", hint="Adopt it " * 8)
    text = to_plan_text(DatabasePlan((), (TenantPlan(Tenant("shop_a"), error=error, notes=("Connected: old " * 5,)),)))
    result = to_text([ProvisioningResult(Tenant("shop_a"), error=error)], [], is_shared=True, seconds=1)
    assert max(map(len, [*text.splitlines(), *result.splitlines()])) <= 60
    assert text.splitlines()[1:4] == [
        "  ! shop_a exists, but create_tenant_dbs did not create and",
        "    did not adopt it.",
        "    Hint: Adopt it Adopt it Adopt it Adopt it Adopt it Adopt",
    ]


def test_a_plan_for_the_shared_role_only():
    plan = DatabasePlan((SetPassword("app"),), (TenantPlan(Tenant("shop_a")),))
    assert to_plan_text(plan).splitlines()[0] == "1 tenant: 1 up to date; 1 step for the shared role"


def test_a_group_has_no_text_that_differs_in_more_than_the_name():
    assert group_tenants([("a", "create a"), ("b", "create b in a"), ("", "note"), ("c", "create c")]) == [
        (["a", "c"], "create TENANT"),
        (["b"], "create b in a"),
        ([""], "note"),
    ]
    assert group_tenants([("shop", "create shop-two"), ("two", "create two")]) == [
        (["shop"], "create shop-two"),
        (["two"], "create two"),
    ]


def test_json_of_a_plan():
    document = json.loads(to_json("server", PLAN, (), ()))
    assert document["counts"] == {"to create": 295, "up to date": 3, "refused": 2}
    assert document["plan"][5]["notes"] == ["Connected to shop_005: old"]
    assert document["plan"][0]["steps"][0] == {
        "action": "write_secret",
        "object": "prod/tenant/shop_000",
        "role": "shop_000",
        "description": "create secret prod/tenant/shop_000 with a new password for role shop_000",
    }


def test_the_reference_lists_every_action():
    """A program relies on these codes: a class that is renamed would change one."""
    kinds = [*Operation.__subclasses__(), *OwnerOperation.__subclasses__()]
    codes = {
        action(kind)
        for kind in kinds
        if kind.__module__.startswith("deploytools.tenants.") and kind is not OwnerOperation
    }
    section = REFERENCE.read_text(encoding="utf-8").partition("### Actions\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([a-z_]+)`", section)) == codes
    assert database_operations.__name__ in {kind.__module__ for kind in kinds}
