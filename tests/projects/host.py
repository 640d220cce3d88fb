"""A host project in its own directory: its files, its commands, its local cloud."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.container.http_client import get, wait_for
from tests.projects.versions import Environment
from tests.sockets import free_port

HERE = Path(__file__).parent
#: The lines after it are what the project writes for deploytools.
MARKER = "# For deploytools:"
TIMEOUT = 120


class Host:
    """A project that `startproject` created, with the files of a directory of this package.

    Args:
        name: the package of the project.
        files: directory with files that are added; a file that exists is extended.
    """

    def __init__(self, directory: Path, environment: Environment, name: str, files: str = "") -> None:
        self.directory, self.environment, self.name = directory, environment, name
        self.files = HERE / (files or "none")
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.variables = environment.variables | {"HOME": str(self.home)}
        self.commands, self.lines, self.secrets, self.started = list[str](), 0, 0, time.monotonic()

    def start(self) -> None:
        """Run startproject, and add the files that are not for a later step."""
        self.run(f"python -m django startproject {self.name} .", count=False)
        for file in sorted(self.files.rglob("*.txt")):
            if "production" not in file.name:
                self.add(file)

    def replace(self, name: str) -> None:
        """Replace a file of the project with that of the directory."""
        (self.directory / name).unlink(missing_ok=True)
        self.add(self.files / f"{name}.txt")

    def add(self, file: Path) -> None:
        """Add one file of the directory."""
        self.append(str(file.relative_to(self.files).with_suffix("")), file.read_text(encoding="utf-8"))

    def secret(self, values: Mapping[str, object]) -> None:
        """Write values to the secret from a file, and delete the file."""
        file = self.directory / "values.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(values), encoding="utf-8")
        self.manage("sync_secrets values.json --delete-file" + " --create --generate" * (self.secrets == 0))
        self.secrets += 1

    def row(self, project: str) -> str:
        """Return its row in the table."""
        seconds = time.monotonic() - self.started
        versions = self.environment.describe()
        return f"{project}|{versions}|{len(self.commands)}|{self.lines}|{seconds:.0f}"

    def append(self, name: str, text: str) -> None:
        """Append to a file of the project, and count the lines for deploytools."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
        written = text.partition(MARKER)[2].splitlines()
        self.lines += len([line for line in written if line and not line.startswith("#")])

    def run(self, command: str, *, code: int = 0, count: bool = True, with_: Mapping[str, str] | None = None) -> str:
        """Run a command in a shell, answer yes, and return its output. It must end with `code`.

        Args:
            with_: more environment variables.
        """
        if command.startswith("pip install "):
            self.environment.install(*shlex.split(command)[2:])
            self.commands.append(command)
            return ""
        ours, theirs = pty.openpty()
        os.write(ours, b"y\n")
        try:
            done = subprocess.run(
                ["sh", "-c", command], cwd=self.directory, env=self.variables | dict(with_ or {}), stdin=theirs,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, check=False,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(ours)
            os.close(theirs)
        assert done.returncode == code, f"$ {command}\n{done.stdout}\nexit code {done.returncode}, expected {code}"
        self.commands += [command] * count
        return done.stdout

    def manage(self, command: str, *, code: int = 0, with_: Mapping[str, str] | None = None) -> str:
        """Run a management command."""
        return self.run(f"python manage.py {command}", code=code, with_=with_)

    def production(self, command: str) -> str:
        """Run a management command under the production settings."""
        return self.manage(command, with_={"DJANGO_SETTINGS_MODULE": f"{self.name}.settings_production"})

    @contextmanager
    def cloud(self) -> Iterator[None]:
        """Run `localcloud up`, with its variables in `variables` meanwhile."""
        before = dict(self.variables)
        log = self.directory / "localcloud.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [self.environment.python, "manage.py", "localcloud", "up"], cwd=self.directory, env=self.variables,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            wait_for(lambda: process.poll() is not None or "Quit with" in log.read_text(encoding="utf-8"), TIMEOUT)
            printed = re.search(r"^    (\. .+)$", log.read_text(encoding="utf-8"), re.MULTILINE)
            assert printed, log.read_text(encoding="utf-8")
            self.commands.append("python manage.py localcloud up")
            text = self.run(f"{printed[1]}; env -0")
            self.variables |= dict(line.partition("=")[::2] for line in text.split("\0") if line)
            self.variables["LOCAL_CA"] = self.variables["PGSSLROOTCERT"]
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT)
            self.variables = before

    @property
    def aws(self) -> dict[str, Any]:
        """The options of a client of the local cloud."""
        return {
            "region_name": self.variables["AWS_REGION"],
            "endpoint_url": self.variables["AWS_ENDPOINT_URL"],
            "aws_access_key_id": self.variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.variables["AWS_SECRET_ACCESS_KEY"],
        }

    def serve(self, *paths: str) -> list[int]:
        """Start the container with gunicorn, return the statuses of `paths`, and stop it: it must exit with 0."""
        port = free_port()
        command = [
            str(self.environment.python), "-m", "deploytools.container", "gunicorn", "--bind", f"127.0.0.1:{port}",
            "--config", "python:deploytools.container.gunicorn_config", f"{self.name}.wsgi",
        ]  # fmt: skip
        settings = {"DJANGO_SETTINGS_MODULE": f"{self.name}.settings_production", "WEB_CONCURRENCY": "1"}
        log = self.directory / "container.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command, cwd=self.directory, env=self.variables | settings, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_for(lambda: process.poll() is not None or "Listening at" in log.read_text(encoding="utf-8"), TIMEOUT)
            assert process.poll() is None, log.read_text(encoding="utf-8")
            statuses = [get(port, path)[0] for path in paths]
        finally:
            process.terminate()
            code = process.wait(TIMEOUT)
        assert code == 0, log.read_text(encoding="utf-8")
        self.commands.append("python -m deploytools.container gunicorn")
        return statuses
