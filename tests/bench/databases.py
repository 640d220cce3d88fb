"""Create tenant databases: `create_tenant_dbs` compared with a psql script of the bare SQL and with the minimum."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from psycopg import sql

from deploytools.postgres.connections import Login, ServerAddress, locked_session, scram_verifier, server_version
from deploytools.secrets.document import Secret
from deploytools.tenants.logins import TenantLogins
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.provisioning import TenantProvisioner
from tests.bench.measure import environment_line, table, timed
from tests.local_cloud import separate_cloud

TENANTS, ROUNDS = 100, 3

#: The SQL of the guide: no lock, no verification, and PUBLIC can connect until the REVOKE.
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
        """A role and the names of its tenants; both are dropped on exit."""
        name = f"b{secrets.token_hex(5)}"
        login = Login(self.master.address, name, Secret(secrets.token_urlsafe(30)))
        names = [f"{name}_{number:03}" for number in range(TENANTS)]
        yield login, names
        with self.superuser.connect("postgres") as admin:
            for database in names:
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


class Silent:
    """A listener that prints nothing."""

    def step_done(self, step: Operation) -> None:
        """Do nothing."""

    def tenant_done(self, outcome: object) -> None:
        """Do nothing."""


def create_by_command(server: Server, login: Login, names: list[str]) -> None:
    """Plan, apply, read back, verify each by logging in."""
    desired = DesiredState(login.user, tuple(Tenant(name) for name in names))
    with locked_session(server.master, wait=5) as connection:
        provisioner = TenantProvisioner(connection, TenantLogins(server.master, login, desired))
        outcomes = provisioner.apply(provisioner.plan(), Silent())
    if failed := [str(outcome.error) for outcome in outcomes if outcome.error]:
        raise RuntimeError(failed[0])


def create_by_psql(server: Server, login: Login, names: list[str]) -> None:
    """One script of the bare SQL in one psql."""
    with server.master.connect("postgres") as connection:
        hashed = sql.Literal(scram_verifier(login)).as_string(connection)
    script = f"CREATE ROLE {login.user} LOGIN PASSWORD {hashed};\nGRANT {login.user} TO CURRENT_USER;\n"
    run_psql(server.master, script + "".join(BARE.format(name=name, role=login.user) for name in names))


def create_floor(server: Server, login: Login, names: list[str]) -> None:
    """The minimum: only CREATE DATABASE, in one session."""
    with server.master.connect("postgres") as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))


def run_psql(login: Login, script: str) -> None:
    """Run `script` in one psql."""
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
    """Run the newest installed PostgreSQL, with TLS, for this run."""
    with separate_cloud() as state:
        found = state.postgres[0]
        address = ServerAddress(found.host, found.port, found.hostaddr, "verify-full", found.ca_file)
        yield Server(
            Login(address, "postgres", Secret(state.master_password)),
            Login(address, "rdsadmin", Secret(state.rdsadmin_password)),
        )


def empty_tenants(server: Server) -> str:
    """Create `TENANTS` empty tenants: by the command, by psql, and the minimum."""
    methods = {
        f"`create_tenant_dbs`, {TENANTS} tenants, each verified by a login": create_by_command,
        "one psql script of the bare SQL": create_by_psql,
        "minimum: only `CREATE DATABASE`, one session": create_floor,
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(ROUNDS):
        for name, method in methods.items():
            with server.role() as (login, names):
                seconds[name].append(timed(partial(method, server, login, names)))
    medians = {name: median(times) for name, times in seconds.items()}
    reference = medians["one psql script of the bare SQL"]
    rows = [[name, f"{value:.2f} s", f"{value / reference:.2f}"] for name, value in medians.items()]
    return table(["", "median", "ratio"], rows)


def run() -> str:
    """Return the section for docs/benchmarks.md."""
    with a_server() as server:
        with server.master.connect("postgres") as connection:
            version = server_version(connection)
        return f"## Tenant databases\n\n{empty_tenants(server)}\n\n{environment_line(f'PostgreSQL {version}')}\n"
