"""A fleet in operation: what an operator does, command by command, while the application runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from random import Random

import pytest
from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from tests.fleet.world import Fleet
from tests.forked import manage
from tests.management.runner import Result
from tests.servers import OwnServer
from tests.soak.application import Application
from tests.soak.releases import Releases

#: Share of the commands that are sent a signal and then started again, and when: in parts of the duration that the
#: command had before. So some end before the signal, on any machine.
KILLED, KILLED_AFTER = 0.4, (0.1, 1.2)
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)

CREATE, MIGRATE, ROTATE = "create_tenant_dbs", "migrate_tenants", "rotate_credentials"
#: Seconds of a command that has not run yet.
FIRST_SECONDS = 0.5
COMMENT = "a comment of the previous owner"


class World:
    """The tenants, their application and the present release.

    Attributes:
        names: the tenants.
        own: the tenants with `ISOLATION` ``role-per-tenant``.
        seconds: how long the last run of a command took.
    """

    def __init__(
        self, server: OwnServer, fleet: Fleet, application: Application, releases: Releases, random: Random, size: int
    ) -> None:
        self.server, self.fleet, self.application = server, fleet, application
        self.releases, self.random, self.size = releases, random, size
        self.names: list[str] = []
        self.own: set[str] = set()
        self.seconds: dict[str, float] = {}
        self.number = 0

    # What an operator does

    def create(self) -> None:
        """Create a tenant, at times with its tables."""
        name = self._new_name()
        self._new_tenants([name], is_own=self.random.random() < 0.3)

    def adopt(self) -> None:
        """Adopt a database while its application uses it as another role."""
        name, old = self._new_name(), self._previous_owner()
        self._make_foreign_database(name, old)
        is_own = self.random.random() < 0.5
        self.names.append(name)
        if is_own:
            self.own.add(name)
        (rows,) = self.fleet.query(name, "SELECT count(*) FROM fleet_note")
        self.application.start(name, old, *rows)
        refused = self.command(CREATE, "--check", only=[name], code=1)
        assert f"{name} exists but is not managed" in refused.out
        planned = self.command(CREATE, "--adopt", "--plan", only=[name])
        assert f"--adopt: {old.user} loses the ownership of {name}" in planned.out
        self.command(CREATE, "--adopt", only=[name])
        assert COMMENT in str(self.server.postgres.snapshot([name]))
        self._restart([name])
        self._finish([name])
        with pytest.raises(ConnectionFailed) as refusal:
            old.connect(name)
        assert refusal.value.kind is ConnectionFailure.NO_CONNECT

    def move(self) -> None:
        """Change ISOLATION of some tenants, while the application creates a table."""
        some = self._some()
        self._move(some, is_own=some[0] not in self.own)

    def restore(self) -> None:
        """Restore a dump of a tenant as the master user, while its application is stopped."""
        (name,) = self._some(1)
        with self.application.stopped(name):
            dump = self._dump(name)
            if self.random.random() < 0.5:
                self._recreate(name)
                self._restore(name, self.server.postgres.master, dump)
            else:
                self._restore(name, self.server.postgres.master, dump, "--clean", "--if-exists")
            assert self.command(CREATE, "--check", only=[name], code=1).out.count("create_tenant_dbs --adopt --plan")
            self.command(CREATE, "--adopt", only=[name])

    def release(self) -> None:
        """Release a migration, at times to some tenants first."""
        self.releases.add(self.random)
        self._migrate(self._some() if self.random.random() < 0.5 else [])

    def squash(self) -> None:
        """Release a squash, at times with a migration that is not applied yet; delete the originals later."""
        if self.releases.squash:
            self._migrate([])
            self.releases.delete_replaced()
        else:
            if self.random.random() < 0.5:
                self.releases.add(self.random)
                self._migrate(self._some())
            self.releases.add_squash()
        self._migrate(self._some() if self.random.random() < 0.5 else [])

    def rotate(self) -> None:
        """Rotate the password of the shared login, and close the former one."""
        self._move(sorted(self.own), is_own=False)
        # A rotation that had switched the secret before the signal is complete: the next one is refused until the
        # application no longer uses the former login.
        self.command(ROTATE, "password", refused_if_complete="The former login ")
        self._restart(self.names)
        self.command(ROTATE, "password", "--finish")

    def prune(self) -> None:
        self.command(CREATE, "--prune-templates")

    def verify(self) -> None:
        for names in self._groups(self._some()):
            self.command(CREATE, "--verify", only=names)

    OPERATIONS: tuple[Callable[[World], None], ...] = (
        create, adopt, move, move, restore, release, squash, squash, rotate, prune, verify,
    )  # fmt: skip

    # The beginning and the end

    def begin(self) -> None:
        self._new_tenants([self._name() for _ in range(self.size)], is_own=False)

    def end(self) -> None:
        """Complete what is open; then nothing must be left to do."""
        self._move(sorted(self.own), is_own=False)
        self._migrate([])
        for command, option in ((CREATE, "--check"), (CREATE, "--verify"), (MIGRATE, "--check")):
            self.command(command, option)

    # Parts of them

    def _new_tenants(self, names: list[str], *, is_own: bool) -> None:
        self.names += names
        self.own |= set(names) if is_own else set()
        self.command(CREATE, *(["--migrate"] if self.random.random() < 0.7 else []), only=names)
        self._migrate(names)
        for name in names:
            self.application.start(name, self._login(name))

    def _migrate(self, first: list[str]) -> None:
        """Migrate some tenants first, then all."""
        for names in (*self._groups(first), *self._groups(self.names)):
            self.command(MIGRATE, *(["--canary", names[0]] if self.random.random() < 0.3 else []), only=names)

    def _move(self, names: list[str], *, is_own: bool) -> None:
        for group in [group for group in self._groups(names) if (group[0] in self.own) is not is_own]:
            self.own = self.own.union(group) if is_own else self.own.difference(group)
            self.command(CREATE, only=group)
            table = f"made_{self._next()}"
            with self.application.clients[group[0]].connect() as former:
                former.execute(sql.SQL("CREATE TABLE {} ()").format(sql.Identifier(table)))
            self.command(CREATE, only=group)
            self._restart(group)
            with self.application.clients[group[0]].connect() as new:
                new.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))
            self._finish(group)

    def _finish(self, names: list[str]) -> None:
        self.command(CREATE, "--finish", only=names)
        self.command(CREATE, "--check", only=names)

    def _restart(self, names: Iterable[str]) -> None:
        for name in names:
            self.application.restart(name, self._login(name))

    def _login(self, name: str) -> Login:
        """Return the login in the tenant's secret."""
        secret = f"rds/startupwebapp/tenant/{name}" if name in self.own else self.fleet.deployment.name
        found = json.loads(self.fleet.deployment.client.get_secret_value(SecretId=secret)["SecretString"])
        return Login(self.server.postgres.address, found["username"], Secret(found["password"]))

    def _groups(self, names: Iterable[str]) -> list[list[str]]:
        """Return the tenants of each ISOLATION: a command has one."""
        own = [name for name in names if name in self.own]
        shared = [name for name in names if name not in self.own]
        return [group for group in (own, shared) if group]

    def _some(self, number: int = 0) -> list[str]:
        most = min(len(self.names), max(4, self.size // 4))
        return self.random.sample(self.names, number or self.random.randint(1, most))

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _name(self) -> str:
        return f"{self.fleet.deployment.name}_{self._next():03}"

    def _new_name(self) -> str:
        """Return the name of a new tenant, in the place of another, at times with its name."""
        (name,) = self._some(1)
        self.application.remove(name)
        self.names.remove(name)
        self._drop(name)
        is_same = name not in self.own and self.random.random() < 0.5
        self.own.discard(name)
        return name if is_same else self._name()

    def _drop(self, name: str) -> None:
        with self.server.postgres.admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    # Databases that the commands did not create

    def _previous_owner(self) -> Login:
        role = f"{self.fleet.deployment.name}_old_{self._next():03}"
        login = Login(self.server.postgres.address, role, Secret("password-of-a-previous-owner-012"))
        with self.server.postgres.master.connect("postgres") as master:
            parts = {"role": sql.Identifier(role), "password": sql.Literal(login.password.reveal())}
            master.execute(sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**parts))
            master.execute(sql.SQL("GRANT {role} TO CURRENT_USER").format(**parts))
        return login

    def _make_foreign_database(self, name: str, owner: Login) -> None:
        with self.server.postgres.master.connect("postgres") as master:
            parts = {"name": sql.Identifier(name), "owner": sql.Identifier(owner.user), "text": sql.Literal(COMMENT)}
            master.execute(sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE template0").format(**parts))
            master.execute(sql.SQL("COMMENT ON DATABASE {name} IS {text}").format(**parts))
        self._restore(name, owner, self._dump(self._some(1)[0]))

    def _recreate(self, name: str) -> None:
        self._drop(name)
        with self.server.postgres.master.connect("postgres") as master:
            master.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))

    def _dump(self, name: str) -> bytes:
        return self._client("pg_dump", self.server.postgres.master, name, "--format=custom")

    def _restore(self, name: str, login: Login, dump: bytes, *options: str) -> None:
        self._client("pg_restore", login, name, "--no-owner", "--no-privileges", *options, text=dump)

    def _client(self, program: str, login: Login, database: str, *options: str, text: bytes = b"") -> bytes:
        address = login.address
        target = (
            f"host={address.host} hostaddr={address.hostaddr} port={address.port} user={login.user} dbname={database} "
            f"sslmode={address.sslmode} sslrootcert={address.sslrootcert}"
        )
        done = subprocess.run(
            [self.server.process.binaries.bin_dir / program, *options, f"--dbname={target}"],
            input=text,
            env=os.environ | {"PGPASSWORD": login.password.reveal()},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    # Commands

    def command(
        self, name: str, *arguments: str, only: list[str] | None = None, code: int = 0, refused_if_complete: str = ""
    ) -> Result:
        """Run a command to its end; one that changes something at times after one that was sent a signal.

        Args:
            refused_if_complete: beginning of the error if the first of the two runs had completed its work.
        """
        mode = "role-per-tenant" if only and only[0] in self.own else "shared"
        options = [option for tenant in only or () for option in ("--tenant", tenant)]
        if name == ROTATE:
            options = ["--wait-for-lock", "60"]
        kill: tuple[float, int] | None = None
        if not {"--plan", "--check", "--verify"} & set(arguments):
            options += ["--noinput"]
            if self.random.random() < KILLED:
                seconds = self.seconds.get(name, FIRST_SECONDS) * self.random.uniform(*KILLED_AFTER)
                kill = seconds, self.random.choice(SIGNALS)
                self._run([name, *arguments, *options], mode, kill)
        result = self._run([name, *arguments, *options], mode)
        if kill and refused_if_complete and result.err.startswith(f"Error: {refused_if_complete}"):
            return result
        assert result.code == code, (name, *arguments, only, result)
        return result

    def _run(self, arguments: list[str], mode: str, kill: tuple[float, int] | None = None) -> Result:
        started = time.monotonic()
        environment = self.fleet.environment(
            "",
            TENANTS=",".join(self.names),
            ISOLATION=mode,
            FLEET_MODULE=self.releases.module,
            PYTHONPATH=str(self.releases.directory),
        )
        result = manage(*arguments, environment=environment, timeout=300, kill=kill)
        seconds = time.monotonic() - started
        if not kill:
            self.seconds[arguments[0]] = seconds
        end = f"exit code {result.code}{f', signal {kill[1]:d} after {kill[0]:.1f} s' if kill else ''}, {seconds:.1f} s"
        print(f"  {' '.join(arguments)} ({mode}): {end}", flush=True)  # noqa: T201
        return result
