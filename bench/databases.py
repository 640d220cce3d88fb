"""What tenants' databases cost: `create_tenant_dbs` beside a psql script of the bare SQL, and the floor of both."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from psycopg import sql

from bench.measure import circumstances, table, timed
from deploytools.databases.server import Login, ServerAddress, locked, server_version
from deploytools.databases.state import Wanted
from deploytools.databases.statements import verifier
from deploytools.databases.steps import Step
from deploytools.databases.tenancy import Tenancy
from deploytools.databases.tenants import Tenant
from deploytools.secret.value import Secret
from localcloud import LocalCloud

TENANTS, ROUNDS = 100, 3

#: What the guide types, without a look before or after: no lock, no proof, and open to PUBLIC until the REVOKE.
BARE = """\
CREATE DATABASE {name} OWNER {role} TEMPLATE template0;
REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;
"""


@dataclass(frozen=True)
class Server:
    """One server for the whole run."""

    master: Login
    superuser: Login

    @contextmanager
    def role(self) -> Iterator[tuple[Login, list[str]]]:
        """A role and the names of its tenants; both are gone afterwards."""
        name = f"b{secrets.token_hex(5)}"
        login = Login(self.master.address, name, Secret(secrets.token_urlsafe(30)))
        names = [f"{name}_{number:03}" for number in range(TENANTS)]
        yield login, names
        with self.superuser.connect("postgres") as admin:
            for database in names:
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


class Silent:
    """A watcher that says nothing."""

    def step_done(self, step: Step) -> None:
        """Nothing."""

    def tenant_done(self, outcome: object) -> None:
        """Nothing."""


def create_by_command(server: Server, login: Login, names: list[str]) -> None:
    """Plan, apply, read back, prove each by logging in; then look again: nothing is left to do."""
    wanted = Wanted(login.user, tuple(Tenant(name) for name in names))
    with locked(server.master, wait=5) as connection:
        tenancy = Tenancy(connection, server.master, login, wanted)
        outcomes = tenancy.apply(tenancy.plan(), Silent())
    if failed := [str(outcome.error) for outcome in outcomes if outcome.error]:
        raise RuntimeError(failed[0])


def create_by_psql(server: Server, login: Login, names: list[str]) -> None:
    """One script of the bare SQL in one psql."""
    with server.master.connect("postgres") as connection:
        hashed = sql.Literal(verifier(connection, login)()).as_string(connection)
    script = f"CREATE ROLE {login.user} LOGIN PASSWORD {hashed};\nGRANT {login.user} TO CURRENT_USER;\n"
    run_psql(server.master, script + "".join(BARE.format(name=name, role=login.user) for name in names))


def create_floor(server: Server, login: Login, names: list[str]) -> None:
    """The floor: CREATE DATABASE and nothing else, one session."""
    with server.master.connect("postgres") as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))


def run_psql(login: Login, script: str) -> None:
    """`script` in one psql."""
    address = login.address
    environment = {
        "PATH": os.environ["PATH"],
        "PGHOST": address.host,
        "PGHOSTADDR": address.hostaddr,
        "PGPORT": str(address.port),
        "PGUSER": login.user,
        "PGPASSWORD": login.password.reveal(),
        "PGDATABASE": "postgres",
        "PGSSLMODE": address.sslmode,
        "PGSSLROOTCERT": address.sslrootcert,
    }
    command = ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
    subprocess.run(command, input=script, env=environment, text=True, check=True)


@contextmanager
def a_server() -> Iterator[Server]:
    """The system's newest PostgreSQL, with TLS, for this run only."""
    with tempfile.TemporaryDirectory() as directory, LocalCloud(Path(directory, "cloud")) as state:
        found = state.postgres[0]
        address = ServerAddress(found.host, found.port, found.hostaddr, "verify-full", found.ca_file)
        yield Server(
            Login(address, "postgres", Secret(state.master_password)),
            Login(address, "rdsadmin", Secret(state.rdsadmin_password)),
        )


def empty_tenants(server: Server) -> str:
    """`TENANTS` empty tenants, by the command, by psql, and the floor."""
    ways = {
        f"`create_tenant_dbs`, {TENANTS} tenants, each proved by a login": create_by_command,
        "one psql script of the bare SQL": create_by_psql,
        "floor: `CREATE DATABASE` alone, one session": create_floor,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            with server.role() as (login, names):
                seconds[name].append(timed(partial(way, server, login, names)))
    medians = {name: median(times) for name, times in seconds.items()}
    reference = medians["one psql script of the bare SQL"]
    rows = [[name, f"{value:.2f} s", f"{value / reference:.2f}"] for name, value in medians.items()]
    return table(["", "median", "ratio"], rows)


def run() -> str:
    """The section for docs/benchmarks.md."""
    with a_server() as server:
        with server.master.connect("postgres") as connection:
            version = server_version(connection)
        return f"## Tenants' databases\n\n{empty_tenants(server)}\n\n{circumstances(f'PostgreSQL {version}')}\n"
