"""Create tenants with their tables and migrate them, compared with the same without these tools."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

import django
from psycopg import sql

from deploytools.local import CloudState
from deploytools.local.cloud_environment import merged
from deploytools.postgres.connections import Login
from tests.bench.measure import environment_line, in_turns, table, timed
from tests.local_cloud import separate_cloud, shop_variables

ROOT = Path(__file__).parent.parent.parent
TENANTS, LOOPED, ROUNDS = 100, 5, 11
MANY = 300
PREFIX = "bench"

#: What a run with nothing to migrate is compared with: start Django, read the secret, log in with psycopg.
BARE_LOGINS = """
import os, django
from multiprocessing.pool import ThreadPool
django.setup()
from deploytools.conf import read_settings
from deploytools.tenants.credentials import application_login, read_secret

settings = read_settings()
login = application_login(settings, read_secret(settings))

def read(tenant):
    with login.connect(tenant) as connection:
        connection.execute("SELECT app, name FROM django_migrations").fetchall()

ThreadPool(4).map(read, os.environ["TENANTS"].split(","), chunksize=1)
"""


@dataclass(frozen=True)
class Bench:
    """A local cloud, and commands that use it.

    Attributes:
        cloud: the state of the local cloud.
        environment: environment variables of a command.
    """

    cloud: CloudState
    environment: dict[str, str]

    def manage(self, *arguments: str, **more: str) -> None:
        self.python("manage.py", *arguments, **more)

    def python(self, *arguments: str, **more: str) -> None:
        subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )

    @cached_property
    def application(self) -> Login:
        """The login of the application's role."""
        from deploytools.conf import read_settings
        from deploytools.tenants.credentials import application_login, read_secret

        settings = read_settings()
        return application_login(settings, read_secret(settings))

    @cached_property
    def master(self) -> Login:
        """The login of the master user."""
        app = self.application
        return Login(app.address, "postgres", type(app.password)(self.cloud.master_password))

    def migrate(self, database: str, **more: str) -> None:
        """``manage.py migrate`` of one database."""
        app = self.application
        environment = {
            "DATABASE_USER": app.user,
            "DATABASE_PASSWORD": app.password.reveal(),
            "DATABASE_HOST": app.address.hostaddr,
            "DATABASE_PORT": str(app.address.port),
        }
        self.manage("migrate", "--verbosity", "0", DATABASE_NAME=database, **environment, **more)


@contextmanager
def start_bench() -> Iterator[Bench]:
    """Start a separate cloud, which this process uses, too."""
    with separate_cloud() as cloud:
        environment = merged(shop_variables(cloud), os.environ) | {
            "DJANGO_SETTINGS_MODULE": "tests.bench_settings",
            "FLEET": "v1",
            "TENANTS": ",".join(names(TENANTS)),
            "PYTHONPATH": str(ROOT),
        }
        os.environ.update(environment)
        django.setup()
        yield Bench(cloud, environment)


def names(number: int) -> list[str]:
    return [f"{PREFIX}_{index}" for index in range(number)]


def run() -> str:
    """Return the section for docs/benchmarks.md: all comparisons, in one run on one server."""
    with start_bench() as bench:
        rows, notes = one_with_tables(bench)
        bench.manage("create_tenant_dbs", "--migrate", "--noinput")
        rows += nothing_to_migrate(bench)
        rows += one_new_migration(bench)
        version = bench.cloud.main.major
    head = ["", "these tools", "compared with", "ratio"]
    versions = environment_line(f"PostgreSQL {version}", f"Django {django.__version__}")
    return "\n\n".join(["## Tables and migrations", versions, table(head, rows), notes])


def row(what: str, ours: float, beside: str, theirs: float) -> list[str]:
    return [what, f"{ours:.2f} s", f"{beside}: {theirs:.2f} s", f"{theirs / ours:.1f} times faster"]


def one_with_tables(bench: Bench) -> tuple[list[list[str]], str]:
    """One tenant with all tables: from a template, by ``migrate``, and by ``CREATE DATABASE … TEMPLATE`` alone."""
    from deploytools.postgres.connections import session

    with session(bench.master) as connection:
        cases = OneTenant(bench, connection)
        cases.from_template()
        seconds = in_turns(cases.by_name(), rounds=ROUNDS, average=mean)
        many = in_turns(cases.of_many(), rounds=1)
    rows = [
        row("one tenant with its tables", seconds["ours"], "`manage.py migrate`", seconds["migrate"]),
        [
            "the same",
            f"{seconds['ours']:.2f} s",
            f"`CREATE DATABASE … TEMPLATE` alone: {seconds['bare']:.2f} s",
            f"{seconds['ours'] / seconds['bare']:.1f} times as long",
        ],
        [
            f"{MANY} tenants with their tables",
            f"{many['ours']:.2f} s",
            f"{MANY} bare copies: {many['bare']:.2f} s",
            f"{many['ours'] / many['bare']:.2f} times as long",
        ],
    ]
    notes = (
        "These tools: everything except the start of the process (read the catalog, plan, copy, revoke, change the "
        "owner, compare, enable connections, read back, verify by logging in). The minimum: a connection "
        f"{seconds['connection'] * 1000:.1f} ms, a query {seconds['query'] * 1000:.2f} ms, a bare copy "
        f"{seconds['bare'] * 1000:.0f} ms. The first two rows are means of {ROUNDS - 1} rounds in turns, because the "
        f"disk time of a copy varies widely. The loop runs over {LOOPED} tenants and is scaled to {TENANTS}. "
        f"The row of {MANY} tenants is one round. {TENANTS} bare logins, for comparison: a process that starts Django, "
        "reads the secret, and reads the rows of `django_migrations` in each tenant with psycopg, in four threads."
    )
    return rows, notes


class OneTenant:
    """The cases of `one_with_tables`; each call creates another database."""

    def __init__(self, bench: Bench, connection: Any) -> None:
        from deploytools.tenants.migration_graph import read_graph
        from deploytools.tenants.options import DesiredState
        from deploytools.tenants.tables import template_name

        self.bench, self.connection = bench, connection
        self.app, self.graph, self.count = bench.application, read_graph(), iter(range(10_000))
        desired = DesiredState(self.app.user, (), migrate=True)
        self.desired = replace(desired, template=template_name(desired))

    def by_name(self) -> dict[str, Callable[[], object]]:
        return {
            "ours": self.from_template,
            "migrate": self.migrate,
            "bare": self.bare_copy,
            "connection": lambda: self.app.connect("o_0").close(),
            "query": lambda: self.connection.execute("SELECT 1"),
        }

    def of_many(self) -> dict[str, Callable[[], object]]:
        def bare_copies() -> None:
            for _ in range(MANY):
                self.bare_copy()

        return {"ours": lambda: self.from_template(MANY), "bare": bare_copies}

    def from_template(self, number: int = 1) -> None:
        from deploytools.tenants.logins import TenantLogins
        from deploytools.tenants.options import Tenant
        from deploytools.tenants.provisioning import TenantProvisioner

        desired = replace(self.desired, tenants=tuple(Tenant(f"o_{next(self.count)}") for _ in range(number)))
        provisioner = TenantProvisioner(self.connection, TenantLogins(self.bench.master, self.app, desired), self.graph)
        for result in provisioner.apply(provisioner.plan(), Silent()):
            if result.error:
                raise result.error

    def bare_copy(self) -> None:
        names = map(sql.Identifier, (f"b_{next(self.count)}", self.desired.template))
        self.connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))

    def migrate(self) -> None:
        name = f"m_{next(self.count)}"
        names = map(sql.Identifier, (name, self.app.user))
        self.connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(*names))
        self.bench.migrate(name)


class Silent:
    """A listener that prints nothing."""

    def step_done(self, step: object) -> None:
        pass

    def tenant_done(self, outcome: object) -> None:
        pass


def loop(bench: Bench, tenants: list[str], **more: str) -> float:
    """Return the seconds of a shell loop of ``migrate``, scaled to all tenants."""

    def each() -> None:
        for name in tenants:
            bench.migrate(name, **more)

    return timed(each) * TENANTS / len(tenants)


def nothing_to_migrate(bench: Bench) -> list[list[str]]:
    """All tenants up to date, and a process that only logs in to each."""
    cases = {
        "ours": lambda: bench.manage("migrate_tenants", "--noinput"),
        "logins": lambda: bench.python("-c", BARE_LOGINS),
    }
    seconds = in_turns(cases, rounds=6)
    theirs = loop(bench, names(TENANTS)[:LOOPED])
    return [
        row(f"{TENANTS} tenants with nothing to migrate", seconds["ours"], "a loop of `migrate`", theirs),
        row(f"{TENANTS} bare logins, each with a query", seconds["logins"], "a loop of `migrate`", theirs),
    ]


def one_new_migration(bench: Bench) -> list[list[str]]:
    """All tenants with one migration to apply."""
    theirs = loop(bench, names(TENANTS)[:LOOPED], FLEET="v2")
    rest = ",".join(names(TENANTS)[LOOPED:])
    ours = timed(lambda: bench.manage("migrate_tenants", "--noinput", FLEET="v2", TENANTS=rest))
    ours *= TENANTS / (TENANTS - LOOPED)
    return [row(f"{TENANTS} tenants with one new migration", ours, "a loop of `migrate`", theirs)]
