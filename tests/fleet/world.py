"""Tenants made without the commands, and `migrate_tenants` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from deploytools.databases.server import Login
from tests.deployment import Deployment
from tests.management.runner import Result
from tests.postgres import Postgres

ROOT = Path(__file__).parent.parent.parent
FIRST, SECOND = ("fleet", "0001_initial"), ("fleet", "0002_extra")


def make_databases(postgres: Postgres, owner: Login, names: list[str]) -> None:
    """A role and databases that it owns."""
    postgres.make_role(owner.user, owner.password)
    with postgres.admin() as admin:
        for name in names:
            parts = {"name": sql.Identifier(name), "owner": sql.Identifier(owner.user)}
            admin.execute(sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE template0").format(**parts))


@dataclass(frozen=True)
class Fleet:
    """Tenants of a deployment, and how to migrate them."""

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

    def start(self, version: str, *arguments: str, noinput: bool = True, **more: str) -> subprocess.Popen[str]:
        """``python manage.py migrate_tenants --noinput arguments…``"""
        return subprocess.Popen(
            [sys.executable, "manage.py", "migrate_tenants", *(["--noinput"] if noinput else []), *arguments],
            cwd=ROOT,
            env=self.environment(version, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, version: str, *arguments: str, noinput: bool = True, **more: str) -> Result:
        """As `start`, to the end."""
        return ended(self.start(version, *arguments, noinput=noinput, **more))

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
    """What a process left."""
    out, err = process.communicate(timeout=120)
    return Result(out, err, process.returncode)
