"""The rules of the rooms: which way imports point, what is pure, who imports boto3 and psycopg."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deploytools"
MODULES = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}

#: A room may import those after it in this order, and itself.
ORDER = ["management", "reporting", "verification", "databases", "loader", "secret", "checks", "aws", "conf", "errors"]
MAY_ALSO = {
    "checks": {"databases.tenants", "secret.host", "verification.waivers"},
    "apps": {"checks"},
}
PURE = {
    "secret.contract", "secret.document", "secret.sync", "secret.value", "secret.rules", "secret.making", "secret.mail",
    "secret.fingerprint", "secret.inspection", "secret.pairs", "secret.rollback", "secret.request",
    "secret.schema", "secret.policy",
    "databases.tenants", "databases.plan", "databases.steps", "databases.state", "databases.obstacles",
    "databases.history", "databases.fleet", "databases.templates", "databases.failures",
    "verification.findings", "verification.facts", "verification.policies", "verification.troubleshooting", "errors",
    "verification.waivers", "verification.least_privilege", "verification.differences", "verification.stored",
    "reporting.text", "reporting.guide", "reporting.condensed", "reporting.json", "reporting.junit",
    "reporting.github", "reporting.markdown", "reporting.findings",
}  # fmt: skip
IMPURE = {"django", "boto3", "botocore", "psycopg", "os", "time", "datetime", "random", "secrets"}
#: Days and times are values of theirs; the clock is not.
HOLD_DAYS = {"verification.waivers", "verification.stored"}


def imports(path: Path) -> set[str]:
    """The modules that `path` imports when it runs; those for type checkers only do not count."""
    tree = ast.parse(path.read_text())
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
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
    if here in {"", "apps"}:
        return
    allowed = set(ORDER[ORDER.index(here) :]) if here in ORDER else set()
    for imported in imports(MODULES[module]):
        if imported.startswith("deploytools.") and room(imported) not in allowed:
            assert any(imported.startswith(f"deploytools.{also}") for also in MAY_ALSO.get(here, ())), imported


@pytest.mark.parametrize("module", sorted(f"deploytools.{name}" for name in PURE))
def test_pure_modules_touch_nothing(module):
    holds_days = module.removeprefix("deploytools.") in HOLD_DAYS
    forbidden = IMPURE - {"datetime"} if holds_days else IMPURE
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & forbidden
    assert not {".now(", ".today("} & set(re.findall(r"\.\w+\(", MODULES[module].read_text()))


def test_checks_do_no_input_or_output():
    for module, path in MODULES.items():
        if module.startswith("deploytools.verification.checks"):
            assert not {name.split(".")[0] for name in imports(path)} & (IMPURE | {"subprocess", "socket", "smtplib"})


@pytest.mark.parametrize(("library", "home"), [("boto3", "aws"), ("botocore", "aws"), ("psycopg", "databases")])
def test_each_driver_has_one_home(library, home):
    users = {room(m) for m, path in MODULES.items() if any(i.split(".")[0] == library for i in imports(path))}
    assert users == {home}


def test_the_loader_needs_no_django():
    code = "import deploytools.loader, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_starting_django_imports_no_driver():
    code = (
        "import os, django, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'StartupWebApp.settings'; django.setup();"
        "from deploytools import checks; sys.exit('boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
