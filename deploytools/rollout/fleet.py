"""What a run needs to know about all tenants, and the inspection that finds those to migrate.

Tenants are inspected by threads, because most need nothing else. A process with threads that use libpq cannot be forked
safely: a thread can hold a lock of OpenSSL's at that moment, and the child would wait for it forever. Workers are
forked only when the kernel has no such thread any more (`deploytools.rollout.workers.may_fork`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

from deploytools.aws import sharing_clients
from deploytools.conf import Settings
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Document
from deploytools.tenants.credentials import read_secret, tenant_login
from deploytools.tenants.migration_graph import read_graph
from deploytools.tenants.migration_history import MigrationGraph
from deploytools.tenants.tenant_migration import MigrationResult, failed_result, inspect_tenant


@dataclass(frozen=True)
class Fleet:
    """What all tasks need: the settings, the shared secret and the code's migrations."""

    settings: Settings
    secret: Document
    graph: MigrationGraph

    def login(self, tenant: str) -> Login:
        return tenant_login(self.settings, self.secret, tenant)


def read_fleet(settings: Settings) -> Fleet:
    """Read the code's migrations and the shared secret.

    Raises:
        ConfigurationError: the migrations cannot be loaded.
        SecretError, AwsError: the secret cannot be read.
    """
    graph = read_graph()
    return Fleet(settings, read_secret(settings), graph)


def inspect_tenants(fleet: Fleet, tenants: Sequence[str], jobs: int) -> tuple[MigrationResult, ...]:
    """Compare each tenant with the code; return the results in the order of `tenants`.

    An exception, for example of a signal, does not wait for a thread whose server does not respond: a `ThreadPool` has
    daemon threads, which end with the process.

    Args:
        jobs: number of connections at most.
    """

    def inspect(tenant: str) -> MigrationResult:
        try:
            return inspect_tenant(fleet.login(tenant), tenant, fleet.graph)
        except Exception as error:
            return failed_result(tenant, error)

    with sharing_clients(), ThreadPool(jobs) as threads:
        results = tuple(threads.map(inspect, tenants, chunksize=1))
        threads.close()
        threads.join()
    return results
