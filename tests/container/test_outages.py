"""The shop under requests without pause while its database fails.

It recovers without a restart, the liveness probe never fails, and readiness is that of the database.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import psutil
import pytest
from psycopg import sql

from deploytools.container.liveness_socket import is_answered
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.secrets.document import Secret
from tests.conftest import INSTALLED
from tests.container.gunicorn_server import serving
from tests.container.http_client import get, wait_for
from tests.container.test_probes import TLS, locked, production
from tests.deployment import Deployment
from tests.postgres_server import Postgres
from tests.servers import OwnServer, own_server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages")]

VERSION = max(version for version, found in INSTALLED.items() if found.has_tls)
CLIENTS = 2
MAX_CONNECTIONS, RESERVED_FOR_SUPERUSERS = 20, 3


@pytest.fixture(scope="module")
def own() -> Iterator[OwnServer]:
    with own_server(INSTALLED[VERSION], f"max_connections = {MAX_CONNECTIONS}\n") as server:
        yield server


@pytest.fixture
def one_postgres(own: OwnServer) -> Postgres:
    return own.postgres


@contextmanager
def restarted(own: OwnServer) -> Iterator[None]:
    own.process.request_stop()
    own.process.stop()
    yield
    start(own)


@contextmanager
def postmaster_killed(own: OwnServer) -> Iterator[None]:
    postmaster, *others = processes(own)
    postmaster.kill()
    assert own.process.process
    own.process.process.wait()
    own.process.process = None
    assert psutil.wait_procs(others, 30)[1] == []
    yield
    start(own)


def start(own: OwnServer) -> None:
    own.process.password_file.touch()  # A server that starts removes it.
    own.process.start()
    own.process.wait_until_ready()


@contextmanager
def without_a_slot(deployment: Deployment) -> Iterator[None]:
    """Take every connection slot with another role, while the shop cannot log in and take one again."""
    other = deployment.postgres.make_role(f"{deployment.name}_other", Secret("x" * 40))
    change_role(deployment, "NOLOGIN")
    deployment.postgres.terminate(deployment.role)
    with ExitStack() as stack:

        def takes_a_slot() -> bool:
            try:
                stack.enter_context(other.connect("postgres"))
            except ConnectionFailed as error:  # Each refused login of the shop takes a slot for a moment.
                assert error.kind is ConnectionFailure.TOO_MANY
                return False
            return True

        for _ in range(MAX_CONNECTIONS - RESERVED_FOR_SUPERUSERS):
            wait_for(takes_a_slot)
        change_role(deployment, "LOGIN")
        yield


def change_role(deployment: Deployment, attribute: str) -> None:
    with deployment.postgres.admin() as admin:
        admin.execute(sql.SQL(f"ALTER ROLE {{}} {attribute}").format(sql.Identifier(deployment.role)))


@contextmanager
def frozen(own: OwnServer) -> Iterator[None]:
    processes(own)[0].suspend()
    all_processes = processes(own)
    for process in all_processes:
        process.suspend()
    try:
        yield
    finally:
        for process in all_processes:
            process.resume()


def processes(own: OwnServer) -> list[psutil.Process]:
    """Return the postmaster and then the processes that it started."""
    assert own.process.process
    postmaster = psutil.Process(own.process.process.pid)
    return [postmaster, *postmaster.children(recursive=True)]


@dataclass
class Traffic:
    """Clients that request a page without pause, and a liveness probe beside them."""

    port: int
    pages: list[list[int]] = field(default_factory=lambda: [[] for _ in range(CLIENTS)])
    failed_probes: list[str] = field(default_factory=list)
    probes: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def request(self, statuses: list[int]) -> None:
        while not self.stopped.is_set():
            statuses.append(get(self.port, "/order/products", **TLS)[0])

    def probe(self) -> None:
        while not self.stopped.wait(0.05):
            self.probes += 1
            try:
                assert is_answered(str(self.port), 3)  # The time limit of the health check of ECS.
            except OSError as error:
                self.failed_probes.append(repr(error))

    def is_ready(self) -> bool:
        return get(self.port, "/readyz", **TLS)[0] == 200

    def get_next(self, status: int, number: int = 3) -> None:
        """Wait until each client got `status` for its last requests, all of which began after this call."""
        before = [len(statuses) + 1 for statuses in self.pages]
        wait_for(
            lambda: all(
                len(statuses) >= start + number and set(statuses[-number:]) == {status}
                for statuses, start in zip(self.pages, before, strict=True)
            ),
            90,
        )

    def endure(self, failure: AbstractContextManager[None], *, is_ready: bool) -> None:
        """Require errors and `is_ready` while the context is active, and a recovery after it."""
        with failure:
            self.get_next(500)
            wait_for(lambda: self.is_ready() == is_ready)
        self.get_next(200)
        wait_for(self.is_ready)


@contextmanager
def traffic(port: int) -> Iterator[Traffic]:
    made = Traffic(port)
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        running = [pool.submit(made.request, statuses) for statuses in made.pages] + [pool.submit(made.probe)]
        try:
            yield made
        finally:
            made.stopped.set()
    for client in running:
        client.result()


def test_the_shop_recovers_without_a_restart(tmp_path, own, migrated):
    # A fast machine would otherwise reach max_requests, after which a worker ends.
    environment = production(migrated, WEB_QUERY_TIMEOUT="2", GUNICORN_CMD_ARGS="--max-requests 0")
    with serving(tmp_path / "log", **environment) as (port, arbiter), traffic(port) as clients:
        clients.get_next(200)
        workers = arbiter.children()
        clients.endure(restarted(own), is_ready=False)
        clients.endure(without_a_slot(migrated), is_ready=False)
        clients.endure(frozen(own), is_ready=False)
        clients.endure(postmaster_killed(own), is_ready=False)
        clients.endure(locked(migrated), is_ready=True)  # Other pages work, and a restart would not help.
        kill_a_backend(own, migrated.role)
        clients.get_next(200)
        wait_for(clients.is_ready)
        assert arbiter.children() == workers
    assert (clients.failed_probes, clients.probes > 20) == ([], True)


def kill_a_backend(own: OwnServer, role: str) -> None:
    """The server ends all its sessions and restarts itself."""
    with own.postgres.admin() as admin:
        query = "SELECT pid FROM pg_stat_activity WHERE usename = %s"
        ((pid,), *_) = admin.execute(query, [role]).fetchall()
    psutil.Process(pid).kill()
    wait_for(lambda: f"(PID {pid}) was terminated by signal 9" in own.postgres.log())
