"""The directory of one cloud, and the two locks in it that tell who is alive.

`supervisor.lock` is held by the supervisor for as long as it lives. `owners.lock` is shared by the processes that need
the cloud: a supervisor that has owners waits for it, and stops when it gets it. The kernel releases both when their
holder ends, however it ends, so neither can be stale, and a recycled process id misleads nobody.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

from localcloud.errors import LocalCloudError

VARIABLE = "DEPLOYTOOLS_LOCALCLOUD"
SUPERVISOR_LOCK, OWNERS_LOCK, LOG_FILE, SERVERS = "supervisor.lock", "owners.lock", "supervisor.log", "servers"

Lock = IO[str]


def default_directory() -> Path:
    """`DEPLOYTOOLS_LOCALCLOUD`, or a directory of this user and this checkout under the system's temporary one."""
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    checkout = hashlib.sha256(str(Path(__file__).resolve().parent).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir(), f"deploytools-localcloud-{os.getuid()}-{checkout}")


def prepare(directory: Path) -> None:
    """Make the directory, for us alone but passable for the user that PostgreSQL runs as.

    Raises:
        LocalCloudError: it cannot be written, is somebody else's, or holds things that are not a cloud's.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if directory.stat().st_uid != os.getuid():
            raise PermissionError(f"it belongs to user {directory.stat().st_uid}")
        names = {path.name for path in directory.iterdir()}
        if names and OWNERS_LOCK not in names:
            raise LocalCloudError(
                f"{directory} is not empty and is not a local cloud's.",
                hint=f"Name a new directory: --dir DIR, or {VARIABLE}=DIR.",
            )
        (directory / OWNERS_LOCK).touch(mode=0o600)
        directory.chmod(0o711 if os.getuid() == 0 else 0o700)
    except OSError as exc:
        raise LocalCloudError(
            f"The directory {directory} cannot be used: {exc.strerror or exc}.",
            hint=f"Name one that you can write to: --dir DIR, or {VARIABLE}=DIR.",
        ) from exc


def acquire(directory: Path, name: str, *, shared: bool = False, wait: bool = False) -> Lock | None:
    """Take a lock in the directory. None if somebody else has it, or it went away with its directory."""
    path = directory / name
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        # Only the supervisor's own lock is made here: the other one comes with the directory.
        file = path.open("a" if name == SUPERVISOR_LOCK and not shared else "r+", encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, mode)
    except BlockingIOError:
        file.close()
        return None
    if not is_current(directory, name, file):
        file.close()
        return None
    return file


def is_current(directory: Path, name: str, lock: Lock) -> bool:
    """Whether the lock is still the file of that name, and not one that was removed with a directory before."""
    try:
        return (directory / name).stat().st_ino == os.fstat(lock.fileno()).st_ino
    except FileNotFoundError:
        return False


def is_alive(directory: Path) -> bool:
    """Whether a supervisor has this directory; it may be starting or stopping."""
    if not (directory / SUPERVISOR_LOCK).exists():
        return False
    lock = acquire(directory, SUPERVISOR_LOCK, shared=True)
    if lock is None:
        return (directory / SUPERVISOR_LOCK).exists()
    lock.close()
    return False


def others_hold(directory: Path) -> bool:
    """Whether a process other than this one and the supervisor still needs the cloud."""
    if lock := acquire(directory, OWNERS_LOCK):
        lock.close()
        return False
    if lock := acquire(directory, OWNERS_LOCK, shared=True):
        lock.close()
        return True
    return False


def supervisor_pid(directory: Path) -> int | None:
    """The process that has this directory, as it wrote it into its lock; None if there is none."""
    if not is_alive(directory):
        return None
    text = (directory / SUPERVISOR_LOCK).read_text(encoding="utf-8").strip()
    return int(text) if text.isdigit() else None


def wait_until_gone(directory: Path, seconds: float) -> bool:
    """Wait until no supervisor has this directory."""
    deadline = time.monotonic() + seconds
    while is_alive(directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def clear(directory: Path, keep: frozenset[str] = frozenset()) -> None:
    """Remove what is in the directory but for `keep`, and the servers' data where it had to be elsewhere.

    The locks go last: whoever finds them gone may take everything else for gone, too.
    """
    servers = directory / SERVERS
    if servers.is_symlink():
        shutil.rmtree(servers.readlink(), ignore_errors=True)
        servers.unlink()
    locks = (SUPERVISOR_LOCK, OWNERS_LOCK)
    for path in sorted(directory.iterdir() if directory.is_dir() else (), key=lambda path: path.name in locks):
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not keep and directory.is_dir():
        shutil.rmtree(directory, ignore_errors=True)
