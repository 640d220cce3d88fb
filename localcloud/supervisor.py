"""The one process that owns a local cloud: PostgreSQL as its children, the other servers in its threads.

`cloud.LocalCloud` starts it as ``python -m localcloud.supervisor REQUEST``. It writes one line of JSON to standard
output when all is ready or nothing will be. It ends at SIGTERM, SIGINT or SIGHUP, and when its last owner has ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from localcloud.directory import LOG_FILE, OWNERS_LOCK, SUPERVISOR_LOCK, Lock, acquire, clear
from localcloud.errors import LocalCloudError
from localcloud.leftovers import end_leftovers
from localcloud.request import Request
from localcloud.state import STATE_FILE


def main(text: str) -> int:
    """Serve until told to stop. Returns the exit code."""
    os.umask(0o077)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line for each request to the AWS emulator
    request = Request.from_json(text)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    lock = _take_directory(request.directory)
    if lock is None:
        _report({"running": True})
        return 0
    if request.has_owners:
        threading.Thread(target=_wait_for_owners, args=(request.directory, stopping), daemon=True).start()
    try:
        with _running(request, stopping):
            _report({"ready": True})
            stopping.wait()
    except LocalCloudError as exc:
        _report({"error": exc.message, "hint": exc.hint})
        return 2
    finally:
        clear(request.directory)
    return 0


@contextlib.contextmanager
def _running(request: Request, stopping: threading.Event) -> Iterator[None]:
    started = time.monotonic()
    from localcloud.parts import Parts  # after the lock: boto3 and moto are slow to import

    with contextlib.ExitStack() as stack:
        state = Parts(request.directory, stopping, stack).start(request)
        state.save()
        stack.callback((request.directory / STATE_FILE).unlink, missing_ok=True)
        print(f"ready in {time.monotonic() - started:.1f} s", file=sys.stderr)
        yield


def _take_directory(directory: Path) -> Lock | None:
    """Take the supervisor's lock and clear away what a killed one left. None if another supervisor has it."""
    for _ in range(20):
        if lock := acquire(directory, SUPERVISOR_LOCK):
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            end_leftovers(directory)
            clear(directory, keep=frozenset({SUPERVISOR_LOCK, OWNERS_LOCK, LOG_FILE}))
            return lock
        time.sleep(0.02)  # somebody may be looking whether we are alive: that takes microseconds
    return None


def _wait_for_owners(directory: Path, stopping: threading.Event) -> None:
    if lock := acquire(directory, OWNERS_LOCK, wait=True):
        os.dup(lock.fileno())  # kept until we end: nobody may become an owner any more
        lock.close()
    stopping.set()


def _report(message: dict[str, str | bool]) -> None:
    """Tell the process that started us, which may be gone by now."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(message) + "\n").encode())
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)  # all is stopped: taking moto's objects apart one by one would take half a second more
