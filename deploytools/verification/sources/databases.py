"""Facts of the tenants' databases, read as the application's role: the master is not needed to verify."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from deploytools.conf import configuration
from deploytools.databases.access import tenant_login
from deploytools.databases.catalogue import (
    ConnectionSlots,
    ServerCatalogue,
    read_catalogue,
    read_slots,
)
from deploytools.databases.history import Migration, MigrationGraph
from deploytools.databases.migrations import read_applied, read_graph
from deploytools.databases.probe import ConnectionReport
from deploytools.databases.server import CONNECT_TIMEOUT
from deploytools.errors import DeployError
from deploytools.secret.document import Document
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation

#: Logins at the same time: enough to hide latency, few enough for a small instance's slots.
CONCURRENT_LOGINS = 8

#: Seconds that all logins may take besides the connections themselves.
LOGINS_BASE = 20.0

#: Seconds more for the fact as a whole, so that the tenants that answered are told.
LOGINS_REST = 10.0

logger = logging.getLogger(__name__)


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


def logins_seconds(tenants: int) -> float:
    """How long to wait for so many logins: by then each has failed that could not connect."""
    return LOGINS_BASE + CONNECT_TIMEOUT * math.ceil(tenants / CONCURRENT_LOGINS)


@fact(
    actions=("secretsmanager:GetSecretValue",),
    deadline=lambda: logins_seconds(len(configuration.tenants)) + LOGINS_REST,
)
def tenant_logins(
    secret: SecretState, expectation: Expectation, connection: ConnectionReport
) -> tuple[TenantReport, ...]:
    """A login as the application to each tenant's database; a tenant that does not answer keeps nobody waiting."""
    names = expectation.tenants
    return look_at_all(names, lambda name: _look(secret.document, name), logins_seconds(len(names)))


def look_at_all(names: Sequence[str], look: Callable[[str], TenantReport], seconds: float) -> tuple[TenantReport, ...]:
    """What `look` says of each name, a few at a time; the error of being too late where it says nothing in `seconds`.

    The threads are daemons: one that hangs keeps neither the report nor the end of the process waiting.
    """
    answers: dict[str, Future[TenantReport]] = {name: Future() for name in names}
    waiting = iter(answers.items())
    until = time.monotonic() + seconds
    taking = threading.Lock()

    def work() -> None:
        while time.monotonic() < until:
            with taking:
                name, answer = next(waiting, ("", None))
            if answer is None:
                return
            answer.set_result(_guarded(look, name))

    for _ in range(min(CONCURRENT_LOGINS, len(answers))):
        threading.Thread(target=work, daemon=True, name="tenant-login").start()
    wait(answers.values(), timeout=seconds)
    return tuple(answer.result() if answer.done() else _too_late(name, seconds) for name, answer in answers.items())


def _guarded(look: Callable[[str], TenantReport], name: str) -> TenantReport:
    """Nothing of an unexpected exception's text: nobody has looked whether it holds a credential."""
    try:
        return look(name)
    except Exception as error:
        logger.debug("Looking at %s raised.", name, exc_info=True)
        said = f"The login to {name} raised {type(error).__name__}."
        return TenantReport(name, error=DeployError(said, hint="Please report it, with what LOG_LEVEL=DEBUG shows."))


def _too_late(name: str, seconds: float) -> TenantReport:
    hint = f"Look at it alone: python manage.py check_rds --tenant {name}"
    return TenantReport(name, error=DeployError(f"The login to {name} had no answer in {seconds:g} s.", hint=hint))


def _look(secret: Document, name: str) -> TenantReport:
    try:
        with tenant_login(secret, name).connect(name) as session:
            return TenantReport(name, read_applied(session))
    except DeployError as error:
        return TenantReport(name, error=error)
