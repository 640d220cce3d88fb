"""Build a Dockerfile without a container engine: each stage runs in a chroot on an overlay, without a compiler.

``unshare --mount python -m tests.container.builder REQUEST`` builds and runs; the mounts end with the process. The root
file system of this machine, with its Python as ``python``, replaces the base image.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.container.dockerfile import Stage, expand, parse

COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "make", "ld", "rustc", "cargo")
PYTHON = Path(sys.executable).resolve()
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(request: dict[str, Any]) -> int:
    """Build the stages in `request`, then run its command as the user of the image on a read-only root."""
    work = Path(request["directory"])
    _mount("-t", "tmpfs", "none", str(work))
    context = Path(request["context"])
    stages = parse((context / "Dockerfile").read_text())
    built = {name: Image(work / name, stages[name], request["arguments"], context) for name in request["stages"]}
    for image in built.values():
        image.build(built)
    image = built[request["stages"][-1]]
    if "command" not in request:
        return 0
    image.seal()
    return image.run(request["command"], request["environment"])


class Image:
    """A built stage: its root directory, environment and user."""

    def __init__(self, place: Path, stage: Stage, arguments: dict[str, str], context: Path) -> None:
        self.root, self.stage, self.context = place / "root", stage, context
        self.given, self.arguments, self.user, self.workdir = arguments, dict[str, str](), "0:0", "/"
        self.environment = {"PATH": f"{PYTHON.parent}:{SYSTEM_PATH}"}
        for name in ("upper", "work", "root"):
            (place / name).mkdir(parents=True)
        options = f"lowerdir=/,upperdir={place / 'upper'},workdir={place / 'work'}"
        _mount("-t", "overlay", "overlay", "-o", options, str(self.root))
        self._prepare_base_image()

    def _prepare_base_image(self) -> None:
        for parent in PYTHON.parents[:-1]:
            inside = self.root / parent.relative_to("/")
            inside.chmod(inside.stat().st_mode | 0o011)
        link = self.root / PYTHON.relative_to("/").with_name("python")
        if not link.exists():
            link.symlink_to(PYTHON.name)
        for directory in ("usr/bin", "usr/local/bin"):
            for name in COMPILERS:
                (self.root / directory / name).unlink(missing_ok=True)
        for name in ("proc", "dev"):
            _mount("--rbind", f"/{name}", str(self.root / name))

    def build(self, others: dict[str, Image]) -> None:
        """Execute all instructions."""
        for keyword, argument in self.stage.instructions:
            action = getattr(self, f"_{keyword.lower()}", None)
            if action and keyword == "COPY":
                action(argument, others)
            elif action:
                action(argument)

    def _arg(self, argument: str) -> None:
        name, _, default = argument.partition("=")
        self.arguments[name] = self.given.get(name, default)

    def _env(self, argument: str) -> None:
        known = self.environment | self.arguments
        for word in shlex.split(argument):
            name, _, value = word.partition("=")
            self.environment[name] = expand(value, known)

    def _user(self, argument: str) -> None:
        self.user = argument

    def _workdir(self, argument: str) -> None:
        self.workdir = argument
        (self.root / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _copy(self, argument: str, others: dict[str, Image]) -> None:
        words = argument.split()
        source_root = self.context
        if words[0].startswith("--from="):
            source_root = others[words.pop(0).removeprefix("--from=")].root
        source, target = words
        found = source_root / source.lstrip("/")
        place = self.root / self.workdir.lstrip("/") / target if not target.startswith("/") else self.root / target[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(found, place)

    def _run(self, argument: str) -> None:
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        code = self.run(["/bin/sh", "-c", argument], {**pip, **self.arguments, "HOME": "/root"})
        if code:
            sys.exit(code)

    def seal(self) -> None:
        """Make the root file system read-only, except /dev/shm."""
        _mount("-t", "tmpfs", "none", str(self.root / "dev/shm"))
        _mount("-o", "remount,ro", str(self.root))

    def run(self, command: list[str], environment: dict[str, str]) -> int:
        """Run a command in the image with its user and environment. Return the exit code."""
        variables = [f"{name}={value}" for name, value in (self.environment | environment).items()]
        inside = ["/usr/bin/env", "--ignore-environment", f"--chdir={self.workdir}", *variables, *command]
        return subprocess.run(["chroot", f"--userspec={self.user}", self.root, *inside], check=False).returncode


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
