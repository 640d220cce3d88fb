"""Where the servers' data and programs go, so that the user that PostgreSQL runs as can reach them.

That is inside the cloud's directory, and where the programs are installed, unless we are root and either is below a
directory that only root may enter.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from localcloud.binaries import PostgresBinaries
from localcloud.directory import SERVERS
from localcloud.errors import LocalCloudError
from localcloud.processes import ServerUser, can_reach


def servers_directory(directory: Path, user: ServerUser | None) -> Path:
    """Make the directory for all servers: in `directory`, else in a temporary one that a link there leads to.

    Raises:
        LocalCloudError: no temporary directory is open to `user`.
    """
    servers = directory / SERVERS
    if can_reach(directory, user):
        servers.mkdir(mode=0o711)
        servers.chmod(0o711)
        return servers
    for candidate in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        if can_reach(candidate, user):
            elsewhere = Path(tempfile.mkdtemp(prefix="localcloud-", dir=candidate))
            servers.symlink_to(elsewhere)
            elsewhere.chmod(0o711)
            return elsewhere
    raise LocalCloudError(
        f"The user {user.name if user else 'that PostgreSQL runs as'} can enter no temporary directory.",
        hint="Name a directory that everybody may enter: --dir DIR.",
    )


def reachable(binaries: PostgresBinaries, servers: Path, user: ServerUser | None) -> PostgresBinaries:
    """The same programs, copied into `servers` where `user` cannot run them in their place."""
    if can_reach(binaries.bin_dir / "postgres", user):
        return binaries
    return replace(binaries, bin_dir=_copy(binaries.bin_dir, servers / f"binaries-{binaries.version}"))


def _copy(bin_dir: Path, target: Path) -> Path:
    prefix = bin_dir.parent
    package = prefix.parent
    copied = target / package.name / prefix.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(prefix / part, copied / part, symlinks=True, dirs_exist_ok=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():  # where a wheel keeps its shared libraries; programs find them relative to themselves
        shutil.copytree(libraries, target / libraries.name, dirs_exist_ok=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    return copied / "bin"
