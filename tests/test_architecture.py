"""The rules of the rooms: which way imports point, what is pure, which modules import boto3 and psycopg."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deploytools"
MODULES = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}

#: A room may import those of the lines below its own, and itself.
LAYERS = [
    {"management", "deploy_checks"},
    {"reports", "container", "local", "tunnel", "ecs", "testing", "scaffold"},
    {"verification", "rollout"},
    {"rotation"},
    {"tenants"},
    {"backend"},
    {"postgres"},
    {"settings"},
    {"loader"},
    {"secrets"},
    {"checks"},
    {"aws", "conf"},
    {"errors"},
    {"wording", "signals"},
]
MAY_ALSO = {
    "checks": {"tenants.options", "secrets.custom_fields", "verification.waivers"},
    "settings": {"tenants.options"},
    "apps": {"checks"},
    "": {"local", "conf"},
}
PURE = {
    "errors", "wording",
    "secrets.contract", "secrets.document", "secrets.plan", "secrets.inputs", "secrets.inspection",
    "secrets.iam_policy", "secrets.plan_details", "secrets.progress", "secrets.versions",
    "tenants.options", "tenants.plan", "tenants.operations", "tenants.database_operations", "tenants.state",
    "tenants.preflight", "tenants.target", "tenants.migration_history", "tenants.templates",
    "postgres.failures", "rollout.results",
    "verification.findings", "verification.fact_result", "verification.iam.policies",
    "verification.waivers", "verification.least_privilege", "verification.report_diff",
    "rotation.rotation_state", "rotation.key_phases", "rotation.rotation_steps", "rotation.rotation_plan",
    "reports.guide", "reports.grouping", "reports.json", "reports.junit",
    "scaffold.file_plan",
    "reports.github", "reports.markdown", "reports.findings_text",
}  # fmt: skip
#: The way of a tenant through create_tenant_dbs, from the settings to the report, in the order of imports.
WAY = (
    "conf", "tenants.options", "tenants.catalog", "tenants.operations", "tenants.database_operations", "tenants.plan",
    "tenants.provisioning", "reports.tenants_text",
)  # fmt: skip
IMPURE = {"django", "boto3", "botocore", "psycopg", "os", "time", "datetime", "random", "secrets"}
#: Days and times are values of theirs; the clock is not.
HOLD_DAYS = {"secrets.versions", "verification.waivers", "rotation.key_phases"}


def imports(path: Path, *, for_types: bool = False) -> set[str]:
    """The modules that `path` imports when it runs and, on demand, those for type checkers only."""
    tree = ast.parse(path.read_text())
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    guarded = [] if for_types else guarded
    skipped = {id(inner) for node in guarded for inner in ast.walk(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in skipped:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and id(node) not in skipped and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module):
    here = room(module)
    if here in {"", "__init__", "apps"}:
        return
    (layer,) = [number for number, rooms in enumerate(LAYERS) if here in rooms]
    allowed = {here}.union(*LAYERS[layer + 1 :])
    for imported in imports(MODULES[module]):
        if imported.startswith("deploytools.") and room(imported) not in allowed:
            assert any(imported.startswith(f"deploytools.{also}") for also in MAY_ALSO.get(here, ())), imported


def test_no_modules_import_each_other_in_a_circle():
    """Not even for type checkers."""
    graph = {module: imports(path, for_types=True) & set(MODULES) for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # Raises CycleError.


def test_a_tenants_way_is_short_and_has_no_returns():
    """What is beside the way serves one module of it, to which the tenant comes back."""
    way = [f"deploytools.{name}" for name in WAY]
    assert len(way) <= 8
    for number, module in enumerate(way):
        assert not imports(MODULES[module], for_types=True) & set(way[number:]), module
    for module, path in MODULES.items():
        if room(module) == "tenants" and "deploytools.tenants.options.Tenant" in imports(path) and module not in way:
            assert len([station for station in way if module in imports(MODULES[station])]) <= 1, module


@pytest.mark.parametrize("module", sorted(f"deploytools.{name}" for name in PURE))
def test_pure_modules_touch_nothing(module):
    holds_days = module.removeprefix("deploytools.") in HOLD_DAYS
    forbidden = IMPURE - {"datetime"} if holds_days else IMPURE
    imported = {name for name in imports(MODULES[module]) if not name.startswith("psycopg.sql")}  # It performs no I/O.
    assert not {name.split(".")[0] for name in imported} & forbidden
    assert not {".now(", ".today("} & set(re.findall(r"\.\w+\(", MODULES[module].read_text()))


def test_checks_do_no_input_or_output():
    for module, path in MODULES.items():
        if re.fullmatch(r"deploytools\.verification\.\w+\.(\w+_)?checks", module):
            assert not {name.split(".")[0] for name in imports(path)} & (IMPURE | {"subprocess", "socket", "smtplib"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("boto3", {"aws", "local"}),
        ("botocore", {"aws", "local"}),
        ("psycopg", {"backend", "postgres", "rotation", "tenants", "rollout", "local"}),
    ],
)
def test_each_driver_has_its_homes(library, homes):
    users = {room(m) for m, path in MODULES.items() if any(i.split(".")[0] == library for i in imports(path))}
    assert users <= homes


def test_the_loader_needs_no_django():
    code = "import deploytools.loader, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_starting_django_imports_no_driver():
    code = (
        "import os, django, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'StartupWebApp.settings'; django.setup();"
        "from deploytools import checks; sys.exit('boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_of_modules_are_unique():
    """Except for the parts that several rooms have."""
    names = [path.stem for path in MODULES.values()]
    repeated = {name for name in names if names.count(name) > 1}
    assert repeated <= {"__init__", "__main__", "base", "facts", "checks", "plan"}
