"""Tenants that were created without the commands, and `migrate_tenants` as a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from psycopg import sql

from deploytools.postgres.connections import Login
from deploytools.tenants.state import TENANT_COMMENT
from tests.deployment import Deployment
from tests.forked import manage
from tests.management.runner import Result
from tests.postgres_server import Postgres

ROOT = Path(__file__).parent.parent.parent
FIRST, SECOND = ("fleet", "0001_initial"), ("fleet", "0002_extra")


def make_databases(postgres: Postgres, owner: Login, names: list[str]) -> None:
    """Create a role and databases that it owns, with the comment of `create_tenant_dbs`."""
    postgres.make_role(owner.user, owner.password)
    with postgres.admin() as admin:
        for name in names:
            parts = {"name": sql.Identifier(name), "owner": sql.Identifier(owner.user)}
            admin.execute(sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE template0").format(**parts))
            admin.execute(sql.SQL(f"COMMENT ON DATABASE {{name}} IS '{TENANT_COMMENT}'").format(**parts))


@dataclass(frozen=True)
class Fleet:
    """Tenants of a deployment, and their migration."""

    deployment: Deployment
    names: list[str]

    def environment(self, version: str, **more: str) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **keep,
            **self.deployment.environment,
            "TENANTS": ",".join(self.names),
            "DJANGO_SETTINGS_MODULE": "tests.fleet_settings",
            "FLEET": version,
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def start(self, version: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start ``python manage.py migrate_tenants --noinput arguments…``."""
        return subprocess.Popen(
            [sys.executable, "manage.py", "migrate_tenants", "--noinput", *arguments],
            cwd=ROOT,
            env=self.environment(version, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, version: str, *arguments: str, noinput: bool = True, **more: str) -> Result:
        """Run ``python manage.py migrate_tenants --noinput arguments…``."""
        command = ("migrate_tenants", *(["--noinput"] if noinput else []), *arguments)
        return manage(*command, environment=self.environment(version, **more))

    def query(self, name: str, query: str) -> list[tuple[Any, ...]]:
        with self.deployment.postgres.admin(name) as admin:
            return [tuple(row) for row in admin.execute(query.encode()).fetchall()]

    def execute(self, name: str, statement: str) -> None:
        with self.deployment.login().connect(name) as connection:
            connection.execute(statement.encode())

    def applied(self, name: str) -> list[tuple[Any, ...]]:
        return self.query(name, "SELECT app, name FROM django_migrations ORDER BY id")

    def tables(self, name: str) -> set[str]:
        rows = self.query(name, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        return {table for (table,) in rows}


def ended(process: subprocess.Popen[str]) -> Result:
    """Wait for a process; return its output and exit code."""
    out, err = process.communicate(timeout=120)
    return Result(out, err, process.returncode)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for another process, at most 30 seconds."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("timed out")


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_migrating(fleet: Fleet, name: str) -> bool:
    query = (
        "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND datname = {}"
    )
    with fleet.deployment.postgres.admin() as admin:
        return bool(admin.execute(sql.SQL(query).format(sql.Literal(name))).fetchall())
