"""gunicorn with the settings of the container, for one test."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.container.http_client import wait_for
from tests.sockets import free_port

ROOT = Path(__file__).parent.parent.parent


@contextlib.contextmanager
def serving(
    log: Path, application: str = "StartupWebApp.wsgi", **environment: str
) -> Iterator[tuple[int, psutil.Process]]:
    """Run gunicorn; yield its port and the arbiter process."""
    port = free_port()
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    variables = keep | {"PORT": str(port), "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings"} | environment
    command = [
        str(Path(sys.executable).with_name("gunicorn")),
        "--config",
        "python:deploytools.container.gunicorn_config",
        application,
    ]
    with log.open("wb") as file:
        server = subprocess.Popen([*command, "--bind", f"127.0.0.1:{port}"], cwd=ROOT, env=variables, stderr=file)
    try:
        wait_for(lambda: "Booting worker" in log.read_text() or server.poll() is not None)
        yield port, psutil.Process(server.pid)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            arbiter = psutil.Process(server.pid)
            arbiter.suspend()  # It starts no more workers.
            for process in (*arbiter.children(recursive=True), arbiter):
                process.kill()
        server.wait()


def probe(port: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "deploytools.container.probe"],
        cwd=ROOT, env=os.environ | {"PORT": str(port)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr
