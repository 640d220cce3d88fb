"""Tenants made with their tables, and brought forward, beside what does the same without these tools."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import django
from psycopg import sql

from bench.measure import by_turns, circumstances, table, timed
from localcloud import CloudState, LocalCloud, find_installations
from localcloud.environment import merged

ROOT = Path(__file__).parent.parent
TENANTS, LOOPED, ROUNDS = 100, 5, 11
PREFIX = "bench"


@dataclass(frozen=True)
class Place:
    """A local cloud, and commands on it.

    Attributes:
        environment: what a command needs.
    """

    cloud: CloudState
    environment: dict[str, str]

    def manage(self, *arguments: str, **more: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )


@contextmanager
def place() -> Iterator[Place]:
    """A cloud of its own, and this process pointed at it."""
    with tempfile.TemporaryDirectory(prefix="deploytools-bench-") as directory:
        Path(directory).chmod(0o711)
        with LocalCloud(Path(directory, "cloud"), postgres=[find_installations()[0]]) as cloud:
            environment = merged(cloud, os.environ) | {
                "DJANGO_SETTINGS_MODULE": "tests.bench_settings",
                "FLEET": "v1",
                "TENANTS": ",".join(names(TENANTS)),
                "PYTHONPATH": str(ROOT),
            }
            os.environ.update(environment)
            django.setup()
            yield Place(cloud, environment)


def names(number: int) -> list[str]:
    return [f"{PREFIX}_{index}" for index in range(number)]


def run() -> str:
    """All comparisons, in one run on one server."""
    with place() as here:
        rows, notes = one_with_tables(here)
        here.manage("create_tenant_dbs", "--migrate", "--noinput")
        rows += nothing_to_migrate(here)
        rows += one_new_migration(here)
        version = here.cloud.main.major
    head = ["what", "these tools", "beside", "ratio"]
    versions = circumstances(f"PostgreSQL {version}", f"Django {django.__version__}")
    return "\n\n".join(["## Tables and migrations", versions, table(head, rows), notes])


def row(what: str, ours: float, beside: str, theirs: float) -> list[str]:
    return [what, f"{ours:.2f} s", f"{beside}: {theirs:.2f} s", f"{theirs / ours:.1f} times faster"]


def one_with_tables(here: Place) -> tuple[list[list[str]], str]:
    """One tenant with all tables: ours by template; ``migrate``, a process; ``CREATE DATABASE … TEMPLATE`` alone."""
    from deploytools.databases.access import application_login, read_secret
    from deploytools.databases.migrations import read_graph
    from deploytools.databases.server import Login, session
    from deploytools.databases.state import Wanted
    from deploytools.databases.tables import template_name
    from deploytools.databases.tenancy import Tenancy
    from deploytools.databases.tenants import Tenant

    secret = read_secret()
    app = application_login(secret)
    master = Login(app.address, "postgres", type(app.password)(here.cloud.master_password))
    wanted = Wanted(app.user, (), migrate=True)
    wanted = replace(wanted, template=template_name(wanted))
    count = iter(range(10_000))
    graph = read_graph()

    with session(master) as connection:

        def ours() -> None:
            tenancy = Tenancy(
                connection, master, app, replace(wanted, tenants=(Tenant(f"o_{next(count)}"),)), graph=graph
            )
            (outcome,) = tenancy.apply(tenancy.plan(), Silent())
            if outcome.error:
                raise outcome.error

        def bare() -> None:
            text = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(text.format(sql.Identifier(f"b_{next(count)}"), sql.Identifier(wanted.template)))

        def empty(name: str) -> None:
            text = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0")
            connection.execute(text.format(sql.Identifier(name), sql.Identifier(app.user)))

        environment = {
            "DATABASE_USER": app.user,
            "DATABASE_PASSWORD": app.password.reveal(),
            "DATABASE_HOST": app.address.hostaddr,
            "DATABASE_PORT": str(app.address.port),
        }

        def migrate() -> None:
            name = f"m_{next(count)}"
            empty(name)
            here.manage("migrate", "--verbosity", "0", DATABASE_NAME=name, **environment)

        def connect() -> None:
            app.connect("o_0").close()

        ours()
        seconds = by_turns(
            {
                "ours": ours,
                "migrate": migrate,
                "bare": bare,
                "connection": connect,
                "query": lambda: connection.execute("SELECT 1"),
            },
            rounds=ROUNDS,
            middle=mean,
        )
    rows = [
        row("one tenant with its tables", seconds["ours"], "`manage.py migrate`", seconds["migrate"]),
        [
            "the same",
            f"{seconds['ours']:.2f} s",
            f"`CREATE DATABASE … TEMPLATE` alone: {seconds['bare']:.2f} s",
            f"{seconds['ours'] / seconds['bare']:.1f} times as long",
        ],
    ]
    notes = (
        "Ours is everything but the start of the process: catalogue read, plan, copy, shut, handed over, compared, "
        "opened, read back, proved by logging in. The floor here: a connection "
        f"{seconds['connection'] * 1000:.1f} ms, a query {seconds['query'] * 1000:.2f} ms, a bare copy "
        f"{seconds['bare'] * 1000:.0f} ms. The first two rows are means of {ROUNDS - 1} rounds by turns, for what the "
        f"disk takes for a copy varies several times over. A loop is run over {LOOPED} tenants and scaled to {TENANTS}."
    )
    return rows, notes


class Silent:
    """A watcher that says nothing."""

    def step_done(self, step: object) -> None:
        pass

    def tenant_done(self, outcome: object) -> None:
        pass


def loop(here: Place, tenants: list[str], **more: str) -> float:
    """Seconds of a shell's loop of ``migrate``, scaled to all tenants."""
    from deploytools.databases.access import application_login, read_secret

    app = application_login(read_secret())
    environment = {
        "DATABASE_USER": app.user,
        "DATABASE_PASSWORD": app.password.reveal(),
        "DATABASE_HOST": app.address.hostaddr,
        "DATABASE_PORT": str(app.address.port),
    }

    def each() -> None:
        for name in tenants:
            here.manage("migrate", "--verbosity", "0", DATABASE_NAME=name, **environment, **more)

    return timed(each) * TENANTS / len(tenants)


def nothing_to_migrate(here: Place) -> list[list[str]]:
    """All tenants up to date."""
    ours = by_turns({"ours": lambda: here.manage("migrate_tenants", "--noinput")}, rounds=3)["ours"]
    theirs = loop(here, names(TENANTS)[:LOOPED])
    return [row(f"{TENANTS} tenants with nothing to migrate", ours, "a loop of `migrate`", theirs)]


def one_new_migration(here: Place) -> list[list[str]]:
    """All tenants with one migration to apply."""
    theirs = loop(here, names(TENANTS)[:LOOPED], FLEET="v2")
    rest = ",".join(names(TENANTS)[LOOPED:])
    ours = timed(lambda: here.manage("migrate_tenants", "--noinput", FLEET="v2", TENANTS=rest))
    ours *= TENANTS / (TENANTS - LOOPED)
    return [row(f"{TENANTS} tenants with one new migration", ours, "a loop of `migrate`", theirs)]
