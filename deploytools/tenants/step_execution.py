"""Execute the steps of a plan: each between its checks, in the master user's session or as its operation requires."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg.sql import Composed

from deploytools.postgres.connections import (
    Connection,
    Login,
    fail_if_nothing_revoked,
    scram_verifier,
    session,
    set_role,
    translate_database_errors,
)
from deploytools.postgres.retries import RETRIES, backoff, retry
from deploytools.tenants.database_operations import superuser_extension_error
from deploytools.tenants.isolation import verify_session
from deploytools.tenants.logins import TenantLogins
from deploytools.tenants.migration_history import MigrationGraph
from deploytools.tenants.operations import CatalogCheck, Operation, WriteSecret, changed
from deploytools.tenants.ownership import reassign_objects
from deploytools.tenants.superuser import SuperuserAccount, create_superuser
from deploytools.tenants.tables import run_migrations, verify_migrations

logger = logging.getLogger(__name__)

#: Seconds of the longest first pause before a step is repeated.
FIRST_PAUSE = 0.2

#: Seconds between two attempts of a check that may take a moment to succeed.
CHECK_PAUSE = 0.1


@dataclass(frozen=True)
class StepExecutor:
    """Executes the steps of create_tenant_dbs; each method is called by one kind of operation.

    Attributes:
        connection: the master user's session; it holds the lock.
        graph: the code's migrations, if new tenants get their tables, or None.
        account: the superuser that each tenant must have, or None.
    """

    connection: Connection
    logins: TenantLogins
    graph: MigrationGraph | None = None
    account: SuperuserAccount | None = None

    def execute_sql(self, operation: Operation) -> None:
        """Execute the statement in the master user's session, as the operation's role."""
        statement = operation.sql(self._verifier(operation.password_role))
        with set_role(self.connection, operation.acting_role), fail_if_nothing_revoked(self.connection):
            self.connection.execute(statement)

    def _verifier(self, role: str) -> str:
        """Return the verifier of the password of `role`; empty for no role."""
        if not role:
            return ""
        login = self.logins.current(role)
        if login.user != role:
            raise changed(f"username in the secret is {login.user}, not {role}")
        return scram_verifier(login)

    def reassign_objects(self, database: str, previous: str, to: str) -> None:
        """Change the owner of the objects in a session inside the database."""
        with session(self.logins.master, database) as inside:
            reassign_objects(inside, previous, to)

    def create_extension(self, database: str, extension: str, statement: Composed) -> None:
        """Create the extension in a session inside the database, in its first schema: public."""
        with session(self.logins.master, database) as inside:
            try:
                inside.execute("SET search_path = public")
                inside.execute(statement)
            except psycopg.errors.InsufficientPrivilege as error:
                reason = error.diag.message_primary or ""
                raise superuser_extension_error(database, extension, self.logins.master.user, reason) from error

    def write_secret(self, operation: WriteSecret) -> None:
        if self.logins.secrets:
            self.logins.secrets.write(operation)

    def run_migrations(self, database: str) -> None:
        run_migrations(self.logins.of_tables(database), database, self._graph)

    def verify_migrations(self, database: str) -> None:
        """Verify a copy before its connections are enabled: its migrations, and what `verify_tenant` verifies."""
        (tenant,) = (tenant for tenant in self.logins.desired.tenants if tenant.name == database)

        def verify(login: Login) -> None:
            with login.connect(database) as connection:
                verify_migrations(connection, database, self._graph)
                verify_session(connection, database, self.logins.desired.role_of(tenant))

        self.logins.run_as_tenant(tenant, verify)

    def create_superuser(self, database: str) -> None:
        if self.account:
            create_superuser(self.logins.of_tables(database), database, self.account)

    @property
    def _graph(self) -> MigrationGraph:
        return self.graph or MigrationGraph({})


def run_step(step: Operation, executor: Any, connection: Connection) -> None:
    """Let `executor` execute one step between its checks, again after an error that another session caused.

    Raises:
        DeployError: it failed, the server has changed since the plan was made, or it had no effect.
    """

    def warn(pause: float, error: psycopg.Error) -> None:
        logger.warning("Trying again in %.1f s: %s (%s)", pause, step, error.diag.message_primary)

    with translate_database_errors(step.describe()):
        require_checks(step.precondition(), connection)
        retry(partial(step.execute, executor), backoff(RETRIES, FIRST_PAUSE), on_retry=warn)
        require_checks(step.verify(), connection)


def require_checks(checks: tuple[CatalogCheck, ...], connection: Connection) -> None:
    """Raise the error of the first check whose condition is not met."""
    for check in checks:
        deadline = time.monotonic() + check.wait
        while error := check.find_error(connection.execute(check.query, list(check.parameters)).fetchall()):
            if time.monotonic() >= deadline:
                raise error
            time.sleep(CHECK_PAUSE)
