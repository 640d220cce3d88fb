"""The oldest and newest supported versions, and a virtual environment of each with the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
UV = Path(sys.executable).with_name("uv")
MINORS = range(11, 15)
#: pyenv's interpreters are not on the PATH.
PATH = os.pathsep.join([os.environ["PATH"], *map(str, Path.home().glob(".pyenv/versions/*/bin"))])


class Versions(NamedTuple):
    """A choice of versions. uv's resolution ``lowest-direct`` takes the lower bounds in pyproject.toml."""

    name: str
    resolution: str


OLDEST, NEWEST = Versions("oldest", "lowest-direct"), Versions("newest", "highest")


@cache
def interpreters() -> list[Path]:
    """Return the supported Python interpreters of this machine, the oldest first. None is downloaded."""
    found = []
    for minor in MINORS:
        command = [str(UV), "python", "find", "--no-python-downloads", "--no-project", f"3.{minor}"]
        done = subprocess.run(command, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=False)
        found += [Path(done.stdout.strip())] * (done.returncode == 0)
    return found


class Environment:
    """A virtual environment, empty at first, and a `curl` that needs no internet.

    Args:
        directory: where it is created.
        wheel: the built package.
    """

    def __init__(self, directory: Path, versions: Versions, wheel: Path) -> None:
        self.directory, self.versions, self.wheel = directory, versions, wheel
        self.interpreter = interpreters()[0 if versions == OLDEST else -1]
        self.constraints = directory / "constraints.txt"
        directory.mkdir()
        uv("venv", "--python", str(self.interpreter), str(directory / "venv"))
        uv(
            "pip", "compile", str(ROOT / "pyproject.toml"), "--all-extras",
            f"--resolution={versions.resolution}", f"--python-version={self._python_version()}",
            "--no-header", f"--output-file={self.constraints}",
        )  # fmt: skip
        curl = directory / "bin/curl"
        curl.parent.mkdir()
        curl.write_text(CURL, encoding="utf-8")
        curl.chmod(0o755)

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.directory / "venv/bin/python"

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables of a shell in which it is active, and nothing of this process."""
        path = [self.directory / "bin", self.python.parent, "/usr/local/bin", "/usr/bin", "/bin"]
        return {"PATH": os.pathsep.join(map(str, path)), "AWS_EC2_METADATA_DISABLED": "true"}

    def install(self, *names: str) -> None:
        """Install as pip does. The package is not on the index: it is the wheel."""
        found = [name.replace("django-deploytools", str(self.wheel)) for name in names]
        uv("pip", "install", f"--python={self.python}", f"--constraint={self.constraints}", *found)

    def describe(self) -> str:
        """Return the versions in one line."""
        lines = run(UV, "pip", "freeze", "--quiet", f"--python={self.python}").splitlines()
        found = dict(line.split("==") for line in lines if "==" in line)
        names = [name for name in ("django", "boto3", "psycopg", "gunicorn") if name in found]
        return ", ".join([f"Python {self._python_version()}", *(f"{name} {found[name]}" for name in names)])

    def _python_version(self) -> str:
        return run(self.python, "-c", "import platform; print(platform.python_version())").strip()


#: The bundle of the local cloud's CA instead of AWS's.
CURL = """#!/bin/sh
while [ "$1" != --output ]; do shift; done
mkdir -p "$(dirname "$2")" && cp "$LOCAL_CA" "$2"
"""


def uv(*arguments: str) -> None:
    """Run uv."""
    subprocess.run([UV, *arguments, "--quiet"], check=True)


def run(*command: str | Path) -> str:
    """Return the output of a command."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
