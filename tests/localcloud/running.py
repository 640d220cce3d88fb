"""Starting `python -m localcloud`, and watching processes end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from localcloud import CloudState, attach
from localcloud.errors import LocalCloudError

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def arguments(*words: str) -> list[str]:
    return [sys.executable, "-m", "localcloud", *words]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **more}


def localcloud(*words: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        arguments(*words), env=env or environment(), capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def wait_for(look: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def running_in(directory: Path) -> CloudState | None:
    try:
        return attach(directory)
    except LocalCloudError:
        return None


def processes_of(state: CloudState) -> list[psutil.Process]:
    """The supervisor and all below it."""
    supervisor = psutil.Process(state.supervisor_pid)
    found = [supervisor, *supervisor.children(recursive=True)]
    assert len(found) > len(state.postgres) + 1
    return found


def all_ended(processes: list[psutil.Process]) -> bool:
    """Whether they do within a few seconds. A zombie has ended: only its parent does not know it yet."""
    deadline = time.monotonic() + 10
    while any(is_running(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
