"""compose.yaml without a container engine: the commands of its services run on loopback, in the order of the services.

Only the addresses and the directories of the volumes differ.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from deploytools.local.binaries import accessible_copy
from deploytools.local.processes import ServerUser, server_user, spawn
from tests.browser import chromium
from tests.conftest import INSTALLED
from tests.container.dockerfile import parse
from tests.container.http_client import get, wait_for
from tests.servers import accessible_directory
from tests.sockets import free_port

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
IMAGE = parse((ROOT / "Dockerfile").read_text())["runtime"]
VERSION = max(version for version, found in INSTALLED.items() if found.has_tls)
#: Each service has this time: other tests run on the same cores.
SECONDS = 300


@dataclass
class Composition:
    """The services; `start` runs one like ``docker compose up``.

    Attributes:
        replaced: texts of compose.yaml and what they are on this machine.
    """

    directory: Path
    stack: ExitStack
    user: ServerUser | None
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in ("aws", "database", "app")})
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("authority", "server"):
            (self.directory / name).mkdir(mode=0o755)
        self.replaced = {
            "/opt/authority": str(self.directory / "authority"),
            "/opt/server": str(self.directory / "server"),
            "http://aws:5000": f"http://127.0.0.1:{self.ports['aws']}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104  # it is replaced
            "5000": str(self.ports["aws"]),
            "999": str(self.user.uid if self.user else os.getuid()),
        }

    def here(self, text: str) -> str:
        for there, here in self.replaced.items():
            text = text.replace(there, here) if "/" in there else here if text == there else text
        return text

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        given = {name: self.here(str(value)) for name, value in service.get("environment", {}).items()}
        address = {"DB_HOSTADDR": "127.0.0.1", "DB_PORT": str(self.ports["database"]), "PORT": str(self.ports["app"])}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        given["LOG_FORMAT"] = "text"
        return given | address | {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(self.directory)}

    def run(self, command: list[str], environment: dict[str, str]) -> None:
        """Run a service that ends."""
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, done.stdout

    def serve(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.stack.callback(server.wait, SECONDS)
        self.stack.callback(server.terminate)
        self.servers[name] = server

    def start(self, name: str) -> None:
        service = COMPOSE["services"][name]
        if name == "database":
            return self.start_database(service)
        image = "entrypoint" not in service and "command" not in service
        words = IMAGE.command("ENTRYPOINT") + IMAGE.command("CMD") if image else service.get("entrypoint", [])
        command = [*words, *map(self.here, service.get("command", []))]
        command = [sys.executable if word == "python" else word for word in command]
        environment = self.environment(service)
        if command[0] == "moto_server":
            command = [str(Path(sys.executable).with_name("moto_server")), *command[1:]]
        if image:
            settings = {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production"}
            environment |= settings | {"STATIC_ROOT": str(self.directory / "static")}
            address = {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{self.ports['app']}"}
            return self.serve(name, command, environment | address)
        if "healthcheck" in service:
            self.serve(name, command, environment)
            return wait_for(lambda: _is_open(self.ports[name]), SECONDS)
        return self.run(command, environment)

    def start_database(self, service: dict[str, Any]) -> None:
        """Do what the entrypoint of the image postgres does: initdb, the scripts of initdb.d, the server."""
        given, data = service["environment"], self.directory / "data"
        binaries = accessible_copy(INSTALLED[VERSION], self.directory, self.user)
        passwords = self.directory / "password"
        passwords.write_text(given["POSTGRES_PASSWORD"])
        passwords.chmod(0o644)
        data.mkdir()
        if self.user:
            os.chown(data, self.user.uid, self.user.gid)
        with (self.directory / "database.log").open("wb") as log:
            options = [f"--username={given['POSTGRES_USER']}", f"--pwfile={passwords}", given["POSTGRES_INITDB_ARGS"]]
            initdb = [str(binaries.bin_dir / "initdb"), f"--pgdata={data}", "--no-sync", "--encoding=UTF8", *options]
            assert spawn(initdb, log, self.user).wait(SECONDS) == 0
            listen = ["-D", str(data), "-p", str(self.ports["database"]), "-clisten_addresses=127.0.0.1"]
            program, *flags = map(self.here, service["command"])
            server = spawn(
                [str(binaries.bin_dir / program), *flags, *listen, "-cunix_socket_directories=", "-cfsync=off"],
                log, self.user,
            )  # fmt: skip
        self.stack.callback(server.wait, SECONDS)
        self.stack.callback(server.terminate)
        wait_for(lambda: "ready to accept connections" in (self.directory / "database.log").read_text(), SECONDS)
        (alias,) = service["networks"]["inside"]["aliases"]
        parameters: dict[str, Any] = {
            "host": alias, "hostaddr": "127.0.0.1", "port": self.ports["database"], "sslmode": "verify-full",
            "sslrootcert": str(self.directory / "authority/ca.pem"), "dbname": given["POSTGRES_DB"],
            "user": given["POSTGRES_USER"], "password": given["POSTGRES_PASSWORD"],
        }  # fmt: skip
        with psycopg.connect(**parameters, autocommit=True) as session:
            session.execute((ROOT / "deploy/compose/roles.sql").read_bytes())


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def composition() -> Iterator[Composition]:
    with accessible_directory() as directory, ExitStack() as stack:
        yield Composition(directory, stack, server_user())


@pytest.mark.slow
def test_a_browser_opens_the_shop(composition, tmp_path):
    services = COMPOSE["services"]
    static = {"STATIC_ROOT": str(composition.directory / "static"), "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings"}
    composition.run([sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"], os.environ | static)
    for name in TopologicalSorter(
        {name: service.get("depends_on", {}) for name, service in services.items()}
    ).static_order():
        composition.start(name)
    app, port = composition.servers["app"], composition.ports["app"]
    log = composition.directory / "app.log"
    wait_for(lambda: "Booting worker" in log.read_text() or app.poll() is not None, SECONDS)
    assert app.poll() is None, log.read_text()
    assert get(port, "/readyz")[0] == 200
    with chromium(tmp_path / "profile") as browser:
        browser.get(f"http://localhost:{port}/")
        assert browser.current_url == f"http://localhost:{port}/"
        assert browser.find_element("css selector", "h1").text == "Products"
        styles = "return [...document.styleSheets].map(sheet => sheet.cssRules.length > 0)"
        assert browser.execute_script(styles) == [True]
        assert browser.get_log("browser") == []
