"""Run ``manage.py localcloud``, and wait for processes to end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent


def arguments(*words: str) -> list[str]:
    return [sys.executable, "manage.py", "localcloud", *words]


def environment(directory: Path, **more: str) -> dict[str, str]:
    """The environment of a cloud whose directory is in `directory`."""
    return {**os.environ, "TMPDIR": str(directory), **more}


def localcloud(*words: str, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    done = subprocess.run(arguments(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.02)
    return found


def processes_below(pid: int) -> list[psutil.Process]:
    """The process and all its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def all_ended(processes: list[psutil.Process]) -> bool:
    """Whether they end within ten seconds. A zombie has ended; only its parent has not waited for it yet."""
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
