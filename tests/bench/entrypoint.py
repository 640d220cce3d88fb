"""Cold start of a container with nothing to do, up to `exec`, compared with one `manage.py check`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploytools.local.cloud_environment import merged
from tests.bench.measure import environment_line, in_turns, table
from tests.local_cloud import separate_cloud, shop_variables

ROOT = Path(__file__).parent.parent.parent
TENANT = "startupwebapp_prod"
ROUNDS = 8
BASE = {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings", "TENANTS": TENANT}
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production",
    "DATABASE_NAME": TENANT,
    "ALLOWED_HOSTS": "localhost",
    "TENANTS": TENANT,
}
#: The same by hand: one process per step.
STEPS = (
    ("check_rds", "--wait", "30"),
    ("migrate_tenants", "--check", "--tenant", TENANT),
    ("verify_deploy", "--tag", "startup", "--fail-level", "critical"),
)


def run() -> str:
    """Create and migrate one tenant on a separate local cloud, and measure."""
    with separate_cloud() as cloud:
        environment = merged(shop_variables(cloud), os.environ)
        for command in (("create_tenant_dbs", "--noinput"), ("migrate_tenants", "--noinput")):
            _run(environment | BASE, "manage.py", *command)
        seconds = in_turns(_cases(environment | PRODUCTION), rounds=ROUNDS)
        return _section(seconds, f"PostgreSQL {cloud.main.major}")


def _cases(environment: Mapping[str, str]) -> dict[str, Callable[[], object]]:
    starting = {**environment, "FAIL_LEVEL": "critical"}  # The emulated account's secret has placeholders.
    return {
        "interpreter": lambda: _run(environment, "-c", "pass"),
        "check": lambda: _run(environment, "manage.py", "check"),
        "entrypoint": lambda: _run(starting, "-m", "deploytools.container", "true"),
        "check only": lambda: _run({**starting, "RUN_MIGRATIONS": "skip"}, "-m", "deploytools.container", "true"),
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
        "interpreter": "only the interpreter",
        "check": "`manage.py check` under the production settings",
        "entrypoint": "`python -m deploytools.container true`, nothing to do",
        "check only": "the same with `RUN_MIGRATIONS=skip`",
        "three processes": "its three commands, one process each",
    }
    rows = [[name, f"{seconds[key]:.2f} s", f"{seconds[key] / floor:.2f}"] for key, name in names.items()]
    return f"""## Start of a container

From process start to `exec`, with the database created and migrated. Goal: at most 1.3 times `manage.py check`.
{environment_line(server)}

{table(["", "median", "ratio"], rows)}
"""
