"""Signal handlers of the commands: installed in the main thread only, restored afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from deploytools.signals import exit_on_signals, graceful_shutdown

ROOT = Path(__file__).parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list[object]:
    return [signal.getsignal(signum) for signum in SIGNALS]


def test_graceful_shutdown_calls_first_then_repeat():
    calls: list[str] = []
    before = handlers()
    with graceful_shutdown(lambda: calls.append("first"), lambda: calls.append("repeat")) as shutdown:
        assert (bool(shutdown), shutdown.exit_code) == (False, 0)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(signum)
    assert calls == ["first", "repeat", "repeat"]
    assert (bool(shutdown), shutdown.exit_code) == (True, 143)
    assert handlers() == before


def test_sigterm_exits_with_143_and_runs_finally():
    before = handlers()
    with pytest.raises(SystemExit) as end, exit_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 143
    assert handlers() == before


@pytest.mark.parametrize("is_handled", [False, True])
def test_a_block_that_handles_the_signal_removes_it(is_handled):
    codes = []
    with contextlib.suppress(SystemExit), exit_on_signals() as received:
        try:
            signal.raise_signal(signal.SIGHUP)
        except SystemExit as end:
            codes.append(end.code)
            if is_handled:
                received.clear()
        codes.append(0)
    codes.append(len(received))
    assert codes == [129, 0, 0 if is_handled else 1]


def test_an_ignored_signal_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
    try:
        with exit_on_signals(), graceful_shutdown(lambda: None, lambda: None):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_an_installed_handler_is_kept():
    calls: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    try:
        with exit_on_signals():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert calls == [signal.SIGTERM]


def test_a_signal_is_not_lost_in_code_that_catches_everything():
    with pytest.raises(SystemExit) as end, exit_on_signals(), contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 143


#: Python drops exceptions of a callback of a weak reference: most of the time of this process is spent in one.
DROPPING = """
import os, signal, sys, time, weakref
from deploytools.signals import exit_on_signals

class Thing:
    pass

def callback(reference):
    deadline = time.perf_counter() + 0.002
    while time.perf_counter() < deadline:
        pass

def child():
    with exit_on_signals():
        os.write(1, b".")
        while os.getppid() == parent:
            reference = weakref.ref(Thing(), callback)
            time.sleep(0.0005)

codes, parent = [], os.getpid()
for number in range(300):
    pid = os.fork()
    if not pid:
        try:
            child()
        except SystemExit as end:
            os._exit(end.code)
        os._exit(0)
    os.read(int(sys.argv[1]), 1)
    time.sleep(number % 10 / 1000)
    os.kill(pid, signal.SIGTERM)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sys.stderr.write(repr(sorted(set(codes))))
"""


@pytest.mark.slow
def test_300_signals_end_300_processes():
    reader, writer = os.pipe()
    command = [sys.executable, "-c", DROPPING, str(reader)]
    with os.fdopen(reader), os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            command, cwd=ROOT, pass_fds=[reader], stdout=stdout, stderr=subprocess.PIPE, timeout=120, check=False
        )
    assert (done.stderr.decode(), done.returncode) == ("[143]", 0)


def test_no_handler_is_installed_in_another_thread():
    before = handlers()

    def inside() -> list[object]:
        with exit_on_signals(), graceful_shutdown(lambda: None, lambda: None) as shutdown:
            assert not shutdown
            return handlers()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == before


@pytest.mark.slow
def test_commands_from_another_thread(deployment):
    """No command needs the main thread."""
    before = handlers()

    def call(*arguments: str) -> str:
        out = StringIO()
        call_command(*arguments, stdout=out, stderr=StringIO())
        return out.getvalue()

    with ThreadPoolExecutor(1) as pool:
        created = pool.submit(call, "create_tenant_dbs", "--noinput").result()
        checked = pool.submit(call, "check_rds").result()
    assert f"{len(deployment.tenants)} tenants: {len(deployment.tenants)} verified" in created
    assert "Successfully connected to AWS RDS PostgreSQL" in checked
    assert handlers() == before
