"""Start server programs: as which user, in which environment, and so that they end with this process."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from deploytools.local.cloud_error import LocalCloudError
from deploytools.signals import handled

PR_SET_PDEATHSIG = 1

# Loaded before the fork: the child process can only call it.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(frozen=True)
class ServerUser:
    """The unprivileged user that runs PostgreSQL if this process is root: PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


def server_user() -> ServerUser | None:
    """Return the user ``postgres``, else ``nobody``; None if this process is not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name, entry.pw_uid, entry.pw_gid)
    return ServerUser("65534", 65534, 65534)


def chown(path: Path, user: ServerUser | None) -> None:
    """Make `user` the owner of `path`."""
    if user:
        os.chown(path, user.uid, user.gid)


def can_access(path: Path, user: ServerUser | None) -> bool:
    """Return whether `user` can enter the directory, or run the program, at `path`."""
    test = ["/bin/sh", "-c", 'test -x "$0"', str(path)]
    return subprocess.run(test, check=False, cwd="/", **_as_user(user)).returncode == 0


def spawn(arguments: list[str], log: IO[bytes], user: ServerUser | None) -> subprocess.Popen[bytes]:
    """Start a server program as `user`, with its output in `log`.

    Linux stops the program when the calling thread ends, even by SIGKILL: call it from a thread that stays.
    """
    # Python ignores exceptions of the callbacks around a fork: a KeyboardInterrupt there would be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            preexec_fn=partial(_prepare_child, before),
            **_as_user(user),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_child(mask: Iterable[int]) -> None:
    """In the child process: unblock signals, and on Linux request SIGQUIT for the exit of the parent process."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(signal.SIGQUIT))


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` to its end. Ctrl-C is left to the command; any other request to exit terminates it.

    Returns:
        Its exit code, or 128 + n if signal n ended it.
    """
    process: subprocess.Popen[bytes] | None = None
    requests: list[int] = []

    def terminate(signum: int) -> None:
        requests.append(signum)
        if process is not None:
            process.terminate()

    with handled(int, signal.SIGINT), handled(terminate, signal.SIGTERM, signal.SIGHUP):
        try:
            process = subprocess.Popen(command, env=dict(environment))
        except OSError as exc:
            raise LocalCloudError(
                f"Cannot run {command[0]}: {exc.strerror}.", hint="Check the name of the command and PATH."
            ) from exc
        if requests:  # While it was started.
            process.terminate()
        code = process.wait()
    return 128 - code if code < 0 else code


def _as_user(user: ServerUser | None) -> dict[str, Any]:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
