"""Starting, joining and stopping a cloud, for commands and tests. What runs in it is `supervisor`'s."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from localcloud.binaries import PostgresBinaries, default_installation
from localcloud.directory import (
    LOG_FILE,
    OWNERS_LOCK,
    Lock,
    acquire,
    clear,
    is_alive,
    is_current,
    others_hold,
    prepare,
    supervisor_pid,
    wait_until_gone,
)
from localcloud.errors import LocalCloudError, last_lines
from localcloud.leftovers import end_leftovers
from localcloud.request import Request
from localcloud.state import CloudState

START_SECONDS, STOP_SECONDS = 120.0, 20.0
CHECKOUT = Path(__file__).resolve().parent.parent


class LocalCloud:
    """A context manager: the cloud in `directory`, started if none runs there, joined if one does.

    It runs for as long as anybody is inside: processes that use the same directory share one cloud, whoever started it,
    and the last to leave (or to be killed) ends it. One that was started with `detached` runs until `stop`.

    Args:
        directory: new, empty or a cloud's. It is removed when the cloud ends.
        postgres: the servers to start, the main one first; the machine's default alone if none are given. A cloud that
            runs already keeps the servers that it has.
        pg_port: the main server's port; 0 takes a free one.

    Raises:
        LocalCloudError: on entering, when it cannot be started.
    """

    def __init__(
        self,
        directory: Path | str,
        postgres: Sequence[PostgresBinaries] | None = None,
        *,
        pg_port: int = 0,
        detached: bool = False,
    ) -> None:
        self.directory = Path(directory).absolute()
        self.has_started_it = False
        self._postgres = postgres
        self._pg_port = pg_port
        self._detached = detached
        self._has_owners = False
        self._hold: Lock | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> CloudState:
        deadline = time.monotonic() + START_SECONDS
        try:
            while time.monotonic() < deadline:
                if state := self._join_or_start():
                    self._has_owners = state.has_owners
                    return state
                time.sleep(0.02)  # another process is starting it, or ending it
        except BaseException:  # Ctrl-C, too, must leave nothing half started behind
            self._abandon()
            raise
        raise LocalCloudError(
            f"The cloud in {self.directory} has been starting or stopping for {START_SECONDS:.0f} s.",
            hint=f"See {self.directory / LOG_FILE}, or end it: scripts/localcloud down --dir {self.directory}",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()
        deadline = time.monotonic() + STOP_SECONDS
        while self._has_owners and self._is_running() and not others_hold(self.directory):
            if time.monotonic() > deadline:
                self._abandon()
                return
            time.sleep(0.01)
        process, self._process = self._process, None
        if process and process.poll() is None:
            process.returncode = 0  # it goes on, and is not ours to wait for any longer
        elif process and process.returncode:  # it was killed, and could not clear up
            stop(self.directory)

    def _is_running(self) -> bool:
        return self._process.poll() is None if self._process else is_alive(self.directory)

    def _release(self) -> None:
        if self._hold:
            self._hold.close()
            self._hold = None

    def _abandon(self) -> None:
        self._release()
        if process := self._process:
            self._process = None
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _join_or_start(self) -> CloudState | None:
        prepare(self.directory)
        self._hold = self._hold or acquire(self.directory, OWNERS_LOCK, shared=True)
        if self._hold is None:
            return None
        if is_alive(self.directory):
            if state := CloudState.load(self.directory):
                return state
        elif is_current(self.directory, OWNERS_LOCK, self._hold) and self._start():
            self.has_started_it = True
            return CloudState.load(self.directory)
        self._release()
        return None

    def _start(self) -> bool:
        """Start a supervisor and wait for what it reports. False if another one was quicker."""
        postgres = tuple(self._postgres) if self._postgres is not None else (default_installation(),)
        request = Request(self.directory, postgres, self._pg_port, has_owners=not self._detached)
        self._process = _spawn_supervisor(request)
        report = _read_report(self._process, START_SECONDS)
        if report.get("ready"):
            return True
        if report.get("running"):
            self._process.wait()
            self._process = None
            return False
        said = last_lines(self.directory / LOG_FILE) or "nothing"
        raise LocalCloudError(
            report.get("error") or f"The local cloud did not start. Its supervisor said: {said}",
            hint=report.get("hint") or "Run it again; if it stays so, this is a bug in localcloud.",
        )


def attach(directory: Path | str) -> CloudState:
    """What runs in `directory`, without a part in keeping it alive.

    Raises:
        LocalCloudError: nothing runs there.
    """
    path = Path(directory).absolute()
    state = CloudState.load(path) if is_alive(path) else None
    if state is None:
        raise LocalCloudError(f"No local cloud runs in {path}.", hint="Start one: scripts/localcloud up")
    return state


def stop(directory: Path | str) -> bool:
    """End the cloud in `directory` whoever uses it, and remove what a killed one left. False if there was none.

    Raises:
        LocalCloudError: it belongs to another user.
    """
    path = Path(directory).absolute()
    was_running = False
    while pid := supervisor_pid(path):
        was_running = True
        try:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        except PermissionError as exc:
            raise LocalCloudError(
                f"The cloud in {path} is another user's.", hint="Ask them to end it, or name your own: --dir DIR."
            ) from exc
        if not wait_until_gone(path, STOP_SECONDS):
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(path, STOP_SECONDS)
    if (path / OWNERS_LOCK).exists() and not is_alive(path):
        end_leftovers(path)
        clear(path)
    return was_running


def _spawn_supervisor(request: Request) -> subprocess.Popen[bytes]:
    search_path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    log_file = request.directory / LOG_FILE
    log_file.touch(mode=0o600)
    with log_file.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "localcloud.supervisor", request.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": search_path},
            start_new_session=True,
        )


def _read_report(process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
    """The one line of JSON that a supervisor writes; empty when it ended without a word, or took too long."""
    assert process.stdout  # noqa: S101
    with process.stdout as stream, selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        line = stream.readline() if selector.select(seconds) else b""
    try:
        report: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return report
