"""A container's cold start with nothing to do, from nothing to `exec`, beside one `manage.py check`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.measure import by_turns, circumstances, table
from localcloud import LocalCloud
from localcloud.environment import merged

ROOT = Path(__file__).parent.parent
TENANT = "startupwebapp_prod"
ROUNDS = 8
BASE = {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings", "TENANTS": TENANT}
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production",
    "DATABASE_NAME": TENANT,
    "ALLOWED_HOSTS": "localhost",
    "TENANTS": TENANT,
}
#: What somebody would write by hand: one process a step.
STEPS = (
    ("check_rds", "--wait", "30"),
    ("migrate_tenants", "--check", "--tenant", TENANT),
    ("verify_deploy", "--tag", "startup", "--fail-level", "critical"),
)


def run() -> str:
    """Make and migrate one tenant on a local cloud of its own, and measure."""
    with tempfile.TemporaryDirectory() as directory, LocalCloud(Path(directory, "cloud")) as cloud:
        environment = merged(cloud, os.environ)
        for command in (("create_tenant_dbs", "--noinput"), ("migrate_tenants", "--noinput")):
            _run(environment | BASE, "manage.py", *command)
        seconds = by_turns(_cases(environment | PRODUCTION), rounds=ROUNDS)
        return _section(seconds, f"PostgreSQL {cloud.main.major}")


def _cases(environment: Mapping[str, str]) -> dict[str, Callable[[], object]]:
    starting = {**environment, "FAIL_ON": "critical"}  # The emulated account's secret has placeholders.
    return {
        "interpreter": lambda: _run(environment, "-c", "pass"),
        "check": lambda: _run(environment, "manage.py", "check"),
        "entrypoint": lambda: _run(starting, "scripts/entrypoint", "true"),
        "look only": lambda: _run({**starting, "RUN_MIGRATIONS": "skip"}, "scripts/entrypoint", "true"),
        "three processes": lambda: _one_by_one(environment),
    }


def _one_by_one(environment: Mapping[str, str]) -> None:
    for step in STEPS:
        _run(environment, "manage.py", *step)


def _run(environment: Mapping[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True, capture_output=True)


def _section(seconds: Mapping[str, float], server: str) -> str:
    floor = seconds["check"]
    names = {
        "interpreter": "the interpreter alone",
        "check": "`manage.py check` under the production settings",
        "entrypoint": "`scripts/entrypoint true`, nothing to do",
        "look only": "the same with `RUN_MIGRATIONS=skip`",
        "three processes": "its three commands, a process each",
    }
    rows = [[name, f"{seconds[key]:.2f} s", f"{seconds[key] / floor:.2f}"] for key, name in names.items()]
    return f"""## A container's start

From nothing to `exec`, with the database there and every migration applied; aim: at most twice `manage.py check`.
{circumstances(server)}

{table(["", "median", "ratio"], rows)}
"""
