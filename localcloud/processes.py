"""How server programs are started: as whom, with what environment, and so that they do not outlive their starter."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PR_SET_PDEATHSIG = 1

# Loaded before any fork: the child may do no more than call it.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(frozen=True)
class ServerUser:
    """The unprivileged user that PostgreSQL runs as when we are root: it refuses to run as root."""

    name: str
    uid: int
    gid: int


def server_user() -> ServerUser | None:
    """`postgres`, else `nobody`; None when we are not root, and everything runs as ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name, entry.pw_uid, entry.pw_gid)
    return ServerUser("65534", 65534, 65534)


def give(path: Path, user: ServerUser | None) -> None:
    """Make `user` the owner of `path`."""
    if user:
        os.chown(path, user.uid, user.gid)


def can_reach(path: Path, user: ServerUser | None) -> bool:
    """Whether `user` can enter the directory, or run the program, at `path`."""
    test = ["/bin/sh", "-c", 'test -x "$0"', str(path)]
    return subprocess.run(test, check=False, cwd="/", **_privileges(user)).returncode == 0


def spawn(arguments: list[str], log: IO[bytes], user: ServerUser | None) -> subprocess.Popen[bytes]:
    """Start a server program as `user`, its output to `log`. Call it from the main thread: on Linux it ends with us,
    even when we are killed, and the kernel takes *us* for the thread that started it."""
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        start_new_session=True,
        preexec_fn=dies_with_us(signal.SIGQUIT),
        **_privileges(user),
    )


def dies_with_us(number: signal.Signals) -> Callable[[], None] | None:
    """What a child calls before it starts, so that the kernel sends it `number` when we end. None but on Linux."""
    prctl = _prctl
    if prctl is None:
        return None
    value = int(number)
    return lambda: prctl(PR_SET_PDEATHSIG, value)


def _privileges(user: ServerUser | None) -> dict[str, Any]:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
