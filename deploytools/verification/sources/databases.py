"""Facts of the tenants' databases, read as the application's role: the master is not needed to verify."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploytools.databases.access import tenant_login
from deploytools.databases.catalogue import (
    ConnectionReport,
    ConnectionSlots,
    ServerCatalogue,
    read_catalogue,
    read_slots,
)
from deploytools.databases.migrations import Migration, MigrationGraph, read_applied, read_graph
from deploytools.errors import DeployError
from deploytools.secret.document import Document
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation

#: Logins at the same time: enough to hide latency, few enough for a small instance's slots.
CONCURRENT_LOGINS = 8


@fact()
def catalogue(secret: SecretState, expectation: Expectation, connection: ConnectionReport) -> ServerCatalogue:
    """Roles and databases, from the connection that is known to work."""
    tenants = list(expectation.tenants)
    login = tenant_login(secret.document, connection.database)
    return read_catalogue(login, connection.database, tenants, [login.user] if expectation.is_shared else tenants)


@fact()
def connection_slots(secret: SecretState, connection: ConnectionReport) -> ConnectionSlots:
    """How many connections the server takes, and how many there are."""
    return read_slots(tenant_login(secret.document, connection.database), connection.database)


@fact()
def migration_graph() -> MigrationGraph:
    """The migrations of the code."""
    return read_graph()


@dataclass(frozen=True)
class TenantReport:
    """What a login to one tenant's database saw: the migrations applied, or the error."""

    name: str
    applied: frozenset[Migration] = frozenset()
    error: DeployError | None = None


@fact(actions=("secretsmanager:GetSecretValue",), deadline=60)
def tenant_logins(
    secret: SecretState, expectation: Expectation, connection: ConnectionReport
) -> tuple[TenantReport, ...]:
    """A login as the application to each tenant's database."""
    with ThreadPoolExecutor(CONCURRENT_LOGINS) as pool:
        return tuple(pool.map(lambda name: _look(secret.document, name), expectation.tenants))


def _look(secret: Document, name: str) -> TenantReport:
    try:
        with tenant_login(secret, name).connect(name) as session:
            return TenantReport(name, read_applied(session))
    except DeployError as error:
        return TenantReport(name, error=error)
