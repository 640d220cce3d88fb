"""A bounded pool of worker processes that migrate tenants.

Processes instead of threads, because Django's default alias, its caches and what migrations do to modules are global to
a process. Each worker has its own pipe, so that the tenant of a worker that dies is known and reported as failed.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import ForkContext, SpawnContext
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import django
from django.db import connections

from deploytools.aws import sharing_clients
from deploytools.conf import read_settings
from deploytools.errors import DatabaseError
from deploytools.postgres.connections import Login
from deploytools.rollout.fleet import Fleet, read_fleet
from deploytools.tenants.lock_warnings import read_lock_warnings
from deploytools.tenants.tenant_migration import (
    MigrationLimits,
    MigrationOutcome,
    MigrationProgress,
    MigrationResult,
    failed_result,
    inspect_tenant,
    load_migrate,
    migrate_tenant,
)
from deploytools.wording import one_line

#: Seconds that a worker may take to exit before it is killed.
EXIT_TIMEOUT = 5

#: Seconds after which the workers are checked although none has sent anything: a process that a migration has started
#: can keep the pipes of a worker that died open.
CHECK_INTERVAL = 0.5

#: Makes a worker stop waiting for another run's lock. A worker that migrates ignores it.
CANCEL_SIGNAL = signal.SIGUSR1


class TaskKind(StrEnum):
    """What a worker does with a tenant."""

    MIGRATE = "migrate"
    WARN = "warn"


class WorkerPool:
    """Worker processes, started when needed; a context manager that ends them.

    Args:
        jobs: number of workers at most.
        on_line: called with each line that a migration prints, after the name of its tenant.
    """

    def __init__(
        self,
        jobs: int,
        limits: MigrationLimits,
        fleet: Fleet,
        on_line: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._jobs, self._limits, self._fleet, self._on_line = jobs, limits, fleet, on_line
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

    def results(
        self, kind: TaskKind, tenants: Sequence[str], may_start: Callable[[], bool]
    ) -> Iterator[MigrationResult]:
        """Run a task for each of `tenants`; yield each result as soon as it is available.

        Args:
            may_start: called before each start. Running tasks finish whatever it returns.
        """
        waiting = deque(tenants)
        while True:
            while waiting and may_start() and (worker := self._idle_worker()):
                worker.start(kind, waiting.popleft())
            busy = [worker for worker in self._workers if worker.tenant]
            if not busy:
                return
            wait([end for worker in busy for end in worker.ends], CHECK_INTERVAL)
            for worker in busy:
                if result := self._result(worker):
                    yield result

    def terminate(self) -> None:
        """End all workers at once; PostgreSQL rolls back their transactions."""
        for worker in self._workers:
            worker.process.terminate()

    def cancel_lock_waits(self) -> None:
        """Cancel the tasks that wait for another run. Running migrations continue."""
        for worker in self._workers:
            if worker.process.pid and worker.process.is_alive():
                os.kill(worker.process.pid, CANCEL_SIGNAL)

    @property
    def running(self) -> tuple[str, ...]:
        """The tenants of the running tasks."""
        return tuple(worker.tenant for worker in self._workers if worker.tenant)

    def _idle_worker(self) -> Worker | None:
        for worker in self._workers:
            if not worker.tenant:
                return worker
        if len(self._workers) == self._jobs:
            return None
        pipes = [pipe for worker in self._workers for pipe in (worker.pipe, worker.output)]
        self._workers.append(Worker(self._limits, self._fleet, pipes))
        return self._workers[-1]

    def _result(self, worker: Worker) -> MigrationResult | None:
        """Return the result of the worker's task, or None if there is none yet; show the output since the last call."""
        tenant, has_died = worker.tenant, not worker.process.is_alive()
        result = None
        try:
            if worker.pipe.poll():
                result, has_died = worker.receive(), False
        except (EOFError, OSError):
            has_died = True
        for line in worker.read_output(is_last=has_died or result is not None):
            self._on_line(f"{tenant}: {line}")
        if has_died:
            self._workers.remove(worker)
            return worker.crash_result()
        return result


class Worker:
    """One worker process, this side of its pipes, the tenant of its task (empty: idle) and the running migration."""

    def __init__(self, limits: MigrationLimits, fleet: Fleet, inherited: list[Pipe]) -> None:
        forks = may_fork()
        context: ForkContext | SpawnContext = get_context("fork") if forks else get_context("spawn")
        self.tenant = self.migration = ""
        self.pipe, theirs = context.Pipe()
        self.output, their_output = context.Pipe(duplex=False)
        os.set_blocking(self.output.fileno(), False)
        self._text = b""
        if forks:
            with suppress(Exception):  # The worker reports it.
                load_migrate()  # Its modules are imported once, not by each worker.
        connections.close_all()  # A forked process would share them.
        inherited_args = (fleet, [*inherited, self.pipe, self.output]) if forks else (None, [])
        self.process = context.Process(target=worker_main, args=(theirs, their_output, limits, *inherited_args))
        gc.freeze()  # The worker's garbage collector then leaves the shared memory pages of loaded objects alone.
        self.process.start()
        gc.unfreeze()
        theirs.close()
        their_output.close()

    @property
    def ends(self) -> tuple[Pipe, ...]:
        """The pipes to wait for."""
        return (self.pipe,) if self.output.closed else (self.pipe, self.output)

    def read_output(self, *, is_last: bool) -> list[str]:
        """Return the lines that the worker has printed, without control characters.

        Args:
            is_last: whether to return a line without an end, too.
        """
        with suppress(BlockingIOError):
            while not self.output.closed:
                read = os.read(self.output.fileno(), 65_536)
                self._text += read
                if not read:  # The migration has closed its stdout and stderr.
                    self.output.close()
        *lines, rest = self._text.split(b"\n")
        self._text = b"" if is_last else rest
        lines += [rest] if is_last else []
        return [text for line in lines if (text := one_line(line.decode(errors="replace")))]

    def start(self, kind: TaskKind, tenant: str) -> None:
        """Send the worker a task."""
        self.tenant, self.migration = tenant, ""
        with suppress(OSError):  # It died while it was idle: `receive` reports that.
            self.pipe.send((kind, tenant))

    def receive(self) -> MigrationResult | None:
        """Return the result of the task, or None after the name of the migration that is started.

        Raises:
            EOFError, OSError: the process died.
        """
        received = self.pipe.recv()
        if not isinstance(received, MigrationResult):
            self.migration = received
            return None
        self.tenant = ""
        return received

    def crash_result(self) -> MigrationResult:
        """Return the result of a tenant whose worker died."""
        is_killed_here, code = self.end(), self.process.exitcode or 0
        names = {number.value: number.name for number in signal.Signals}
        cause = f"was ended by {names.get(-code, f'signal {-code}')}" if code < 0 else f"exited with code {code}"
        memory = ""
        if code == -signal.SIGKILL and not is_killed_here:
            memory = "If no user killed it, the memory was exhausted: reduce --jobs. "
        return MigrationResult(
            self.tenant,
            MigrationOutcome.FAILED,
            error=f"The worker process {cause}{f' during {self.migration}' if self.migration else ''}.",
            hint=f"What was not committed is rolled back. {memory}Run the command again.",
        )

    def end(self) -> bool:
        """Close the pipe, wait until the process has exited, and kill it after `EXIT_TIMEOUT`.

        Returns:
            Whether it had to be killed.
        """
        self.pipe.close()
        if self.process.is_alive():
            self.process.join(EXIT_TIMEOUT)
        if not self.process.is_alive():
            return False
        self.process.kill()
        self.process.join()
        return True


def may_fork() -> bool:
    """Return whether to fork, which shares the loaded Django: safe on Linux in a process with a single thread.

    Otherwise workers are spawned.
    """
    return sys.platform == "linux" and threading.active_count() == 1 and has_single_thread()


def has_single_thread() -> bool:
    """Return whether the kernel, too, counts one thread in this process; wait up to half a second for it.

    A thread that Python no longer counts can still hold a lock of OpenSSL's while it exits. A fork would copy that lock
    in its locked state, and the child's first connection would wait for it forever.
    """
    with suppress(OSError):  # /proc might not be mounted.
        for _ in range(50):
            if len(list(Path("/proc/self/task").iterdir())) == 1:
                return True
            time.sleep(0.01)
    return False


def worker_main(
    pipe: Pipe,
    output: Pipe,
    limits: MigrationLimits,
    fleet: Fleet | None,
    inherited: list[Pipe],
) -> None:
    """Worker main loop: receive tasks, send results, until the pipe closes.

    Args:
        output: where this process, and those that a migration starts, print.
        fleet: what the fork inherited. It is never pickled, because it has the secret: a spawned worker reads it again.
        inherited: ends of other workers' pipes that the fork inherited. They are closed: open, they would hide from
            the other workers that the parent has died.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides; a running task finishes.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(CANCEL_SIGNAL, signal.SIG_IGN)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    raw = io.FileIO(1, "w", closefd=False)
    sys.stdout = sys.stderr = io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", write_through=True)
    for end in (*inherited, output):
        end.close()
    task = TenantTask(limits, fleet, pipe.send)
    with sharing_clients(), suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(task(*pipe.recv()))


class TenantTask:
    """Run tasks for tenants; if the process has not inherited the fleet, it is read with the first task.

    Args:
        on_start: called with the name of each migration before it is applied.
    """

    def __init__(
        self, limits: MigrationLimits, fleet: Fleet | None, on_start: Callable[[str], object] | None = None
    ) -> None:
        self._limits, self._fleet, self._on_start = limits, fleet, on_start

    def __call__(self, kind: TaskKind, tenant: str) -> MigrationResult:
        """Run one task. Never raises `Exception`, and not what a migration raises to exit."""
        try:
            fleet = self._load()
            login, graph = fleet.login(tenant), fleet.graph
        except Exception as error:
            return failed_result(tenant, error)
        if kind is TaskKind.WARN:
            return _with_warnings(inspect_tenant(login, tenant, graph), login)
        waiting, progress = partial(_cancel_on_signal, tenant), MigrationProgress(self._on_start)
        started = time.monotonic()
        try:
            return migrate_tenant(login, tenant, graph, self._limits, progress=progress, while_waiting=waiting)
        except (SystemExit, KeyboardInterrupt) as error:
            return replace(failed_result(tenant, error, progress), seconds=time.monotonic() - started)

    def _load(self) -> Fleet:
        if self._fleet is None:
            django.setup()
            self._fleet = read_fleet(read_settings())
        return self._fleet


def _with_warnings(result: MigrationResult, login: Login) -> MigrationResult:
    """Add the warnings for the tenant's pending migrations."""
    if result.before is None:
        return result
    try:
        return replace(result, warnings=read_lock_warnings(login, result.tenant, result.before.unapplied))
    except Exception as error:
        return failed_result(result.tenant, error)


@contextmanager
def _cancel_on_signal(tenant: str) -> Iterator[None]:
    """Raise `DatabaseError` on `CANCEL_SIGNAL`, which workers ignore otherwise."""

    def cancel(signum: int, frame: FrameType | None) -> None:
        raise DatabaseError(
            f"Canceled while another run was migrating {tenant}.", hint="Run the command again when it has finished."
        )

    previous = signal.signal(CANCEL_SIGNAL, cancel)
    try:
        yield
    finally:
        signal.signal(CANCEL_SIGNAL, previous)
