"""A bounded pool of processes that look at tenants and migrate them: started once, with Django loaded.

Processes, and not threads, because Django's alias, its caches and what migrations do to modules are a process's. Only
they speak to PostgreSQL: a process that has used libpq in threads cannot be forked safely, not even when they have been
joined (a thread that ends holds a lock of OpenSSL's, and the child waits for it for ever). What died is known: each
process has one pipe, and the tenant that it was at has failed.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import ForkContext, SpawnContext
from pathlib import Path
from types import TracebackType
from typing import Self

import django
from django.db import connections

from deploytools.databases.access import read_secret, tenant_login
from deploytools.databases.fleet import Limits, Outcome, TenantResult
from deploytools.databases.history import MigrationGraph
from deploytools.databases.migrating import GIVE_UP, Journal, failure, look_at, migrate_tenant
from deploytools.databases.migrations import read_graph
from deploytools.secret.document import Document

#: Seconds that a process which was told to end may take before it is killed.
GRACE = 5


class Deed(StrEnum):
    """What a process is asked to do with a tenant."""

    LOOK = "look"
    MIGRATE = "migrate"


class Pool:
    """Processes that look and migrate.

    Args:
        jobs: how many at once.
        limits: what each migration keeps to.
        secret: who the application is.
    """

    def __init__(self, jobs: int, limits: Limits, secret: Document) -> None:
        self._limits = limits
        self._jobs = jobs
        self._secret = secret
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.terminate()
        for worker in self._workers:
            worker.end()

    def results(self, deed: Deed, tenants: Sequence[str], may_start: Callable[[], bool]) -> Iterator[TenantResult]:
        """Do `deed` with `tenants`; each result as soon as it is there.

        Args:
            may_start: asked before each start. Those that run finish all the same.
        """
        waiting = deque(tenants)
        while True:
            while waiting and may_start() and (worker := self._idle()):
                worker.start(deed, waiting.popleft())
            busy = {worker.pipe: worker for worker in self._workers if worker.tenant}
            if not busy:
                return
            for ready in wait(list(busy)):
                yield self._finish(busy[ready])  # type: ignore[index]

    def terminate(self) -> None:
        """End what runs, now: PostgreSQL rolls it back."""
        for worker in self._workers:
            worker.process.terminate()

    def give_up_waiting(self) -> None:
        """End those that wait for another run. Those that migrate go on."""
        for worker in self._workers:
            if worker.process.pid and worker.process.is_alive():
                os.kill(worker.process.pid, GIVE_UP)

    @property
    def running(self) -> tuple[str, ...]:
        """The tenants that are being migrated."""
        return tuple(worker.tenant for worker in self._workers if worker.tenant)

    def _idle(self) -> Worker | None:
        for worker in self._workers:
            if not worker.tenant:
                return worker
        if len(self._workers) == self._jobs:
            return None
        self._workers.append(Worker(self._limits, self._secret, [worker.pipe for worker in self._workers]))
        return self._workers[-1]

    def _finish(self, worker: Worker) -> TenantResult:
        result = worker.finish()
        if result is None:
            self._workers.remove(worker)
            return worker.obituary()
        return result


class Worker:
    """One process, our end of its pipe, and the tenant that it is at."""

    def __init__(self, limits: Limits, secret: Document, inherited: list[Pipe]) -> None:
        forks = may_fork()
        context: ForkContext | SpawnContext = get_context("fork") if forks else get_context("spawn")
        self.tenant = ""
        self.pipe, theirs = context.Pipe()
        connections.close_all()  # A forked process would share them.
        came_along = (secret, [*inherited, self.pipe]) if forks else (None, [])
        self.process = context.Process(target=work, args=(theirs, limits, *came_along), daemon=True)
        gc.freeze()  # A forked process's collector need not look at what is loaded, and so touches no shared page.
        self.process.start()
        gc.unfreeze()
        theirs.close()

    def start(self, deed: Deed, tenant: str) -> None:
        """Give it a tenant."""
        self.tenant = tenant
        with suppress(OSError):  # It died while it was idle: then `finish` says so.
            self.pipe.send((deed, tenant))

    def finish(self) -> TenantResult | None:
        """What became of its tenant; None where the process died."""
        try:
            result = self.pipe.recv()
        except (EOFError, OSError):
            return None
        self.tenant = ""
        return result if isinstance(result, TenantResult) else None

    def obituary(self) -> TenantResult:
        """The result of a tenant whose process died."""
        self.end()
        return TenantResult(
            self.tenant,
            Outcome.FAILED,
            error=f"The process that migrated it ended with code {self.process.exitcode}.",
            hint="What was not committed is rolled back. If nobody ended it: is there memory for so many --jobs? Run "
            "it again.",
        )

    def end(self) -> None:
        """Let it end, and see to it that it does."""
        self.pipe.close()
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def may_fork() -> bool:
    """A fork shares the loaded Django. It is safe on Linux, in a process without other threads; else we spawn."""
    return sys.platform == "linux" and threading.active_count() == 1 and is_alone()


def is_alone() -> bool:
    """Whether this process has one thread for the kernel, too; waits a moment for it.

    A thread that Python has let go of may be on its way out, inside a lock of OpenSSL's: copied by a fork, that lock is
    never released, and the child's first connection waits for it for ever.
    """
    for _ in range(50):
        if len(list(Path("/proc/self/task").iterdir())) == 1:
            return True
        time.sleep(0.01)
    return False


def work(pipe: Pipe, limits: Limits, secret: Document | None, inherited: list[Pipe]) -> None:
    """The life of a process: tenants come in by name, results go out, until the pipe is closed.

    Args:
        secret: who the application is, where it came along with the fork; it is not pickled, so others read it anew.
        inherited: ends of others' pipes that came along with the fork; open, they would hide that the parent is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides: what runs finishes.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(GIVE_UP, signal.SIG_IGN)
    os.dup2(2, 1)  # A migration that prints must not write into the report.
    for end in inherited:
        end.close()
    craft = Craft(limits, secret)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(craft(*pipe.recv()))


class Craft:
    """Does deeds with tenants by name. Settings, graph and secret are read once, with the first tenant."""

    def __init__(self, limits: Limits, secret: Document | None) -> None:
        self._limits, self._secret = limits, secret
        self._graph: MigrationGraph | None = None

    def __call__(self, deed: Deed, tenant: str) -> TenantResult:
        """Never raises `Exception`."""
        try:
            graph, secret = self._load()
            login = tenant_login(secret, tenant)
        except Exception as error:
            return failure(tenant, error, Journal(), None)
        if deed is Deed.LOOK:
            return look_at(login, tenant, graph)
        return migrate_tenant(login, tenant, graph, self._limits)

    def _load(self) -> tuple[MigrationGraph, Document]:
        if self._graph is None:
            django.setup()
            self._graph = read_graph()
        self._secret = self._secret or read_secret()
        return self._graph, self._secret
