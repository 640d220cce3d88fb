"""Three gunicorn servers with three tenants and the production settings."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from deploytools.local.ports import reserve
from tests.deployment import Deployment
from tests.shop.markup import Page

ROOT = Path(__file__).parents[2]
TLS = {"X-Forwarded-Proto": "https"}
#: For each tenant: a configuration row (key, value) and a price that its page shows.
SHOPS = {
    "mugs": ("shop_name", "Good Mugs", "$18.00"),
    "euro": ("currency", "EUR", "€16.56"),
    "empty": ("shop_name", "Nothing Yet", None),
}

pytestmark = pytest.mark.slow


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Returns redirects as responses."""

    def redirect_request(self, *_: object) -> None:
        """Do not follow the redirect."""


@dataclass(frozen=True)
class Response:
    """A response."""

    status: int
    headers: Message
    body: str


@dataclass(frozen=True)
class Server:
    """A gunicorn server for one tenant."""

    tenant: str
    port: int
    log: Path

    def get(self, path: str, headers: Mapping[str, str] = TLS) -> Response:
        """Request `path`, by default as a load balancer that terminates TLS."""
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", headers=dict(headers))
        try:
            with urllib.request.build_opener(NoRedirects).open(request, timeout=20) as response:
                return Response(response.status, response.headers, response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, error.headers, error.read().decode())

    def wait(self) -> None:
        """Wait until the server is ready.

        Raises:
            AssertionError: it is not ready in time; the message is its log.
        """
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError):
                if self.get("/readyz").status == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())


def manage(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tenant_environment(deployment: Deployment, name: str) -> dict[str, str]:
    """Return the environment of a process that serves the tenant."""
    return {
        **deployment.environment,
        "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production",
        "DATABASE_NAME": f"{deployment.name}_{name}",
    }


def set_up(deployment: Deployment, name: str) -> None:
    """Create tables, sample data (in one shop by two concurrent processes) and the configuration row."""
    environment, (key, value, price) = tenant_environment(deployment, name), SHOPS[name]
    manage(environment, "migrate", "--verbosity", "0")
    if price:
        with ThreadPoolExecutor() as pool:
            outputs = list(
                pool.map(lambda _: manage(environment, "load_sample_data"), range(2 if name == "mugs" else 1))
            )
        assert sorted("No changes." in text for text in outputs) == [False, True][: len(outputs)]
    with deployment.login().connect(environment["DATABASE_NAME"]) as session:
        session.execute("UPDATE order_configuration SET value = %s WHERE key = %s", [value, key])


@contextlib.contextmanager
def gunicorn(deployment: Deployment, name: str, static: Path) -> Iterator[Server]:
    environment = tenant_environment(deployment, name) | {"STATIC_ROOT": str(static), "RELEASE": f"release-{name}"}
    log = static.parent / f"{name}.log"
    with reserve() as port, log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "StartupWebApp.wsgi", "--bind", f"fd://{port.fileno()}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **environment},
            pass_fds=[port.fileno()],
            stdout=output,
            stderr=output,
        )
        server = Server(environment["DATABASE_NAME"], port.getsockname()[1], log)
    try:
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def servers(deployment: Deployment, tmp_path: Path) -> Iterator[dict[str, Server]]:
    """Start a server for each of `SHOPS`."""
    environment = {**deployment.environment, "TENANTS": ",".join(f"{deployment.name}_{name}" for name in SHOPS)}
    manage(environment, "create_tenant_dbs", "--noinput")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: set_up(deployment, name), SHOPS))
    static = tmp_path / "static"
    manage(environment | {"STATIC_ROOT": str(static)}, "collectstatic", "--noinput", "--verbosity", "0")
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(gunicorn(deployment, name, static)) for name in SHOPS}
        for server in running.values():
            server.wait()
        yield running


def test_each_server_shows_the_shop_of_its_tenant(servers, deployment):
    for name, (key, value, price) in SHOPS.items():
        server, shop = servers[name], value if key == "shop_name" else f"{deployment.name} Euro".capitalize()
        response = server.get("/")
        page = Page(response.body)
        footer = [dd.text for dd in page.all("dd")]
        shown = [" ".join(p.text.split()) for p in page.all("p") if p.attributes.get("class") == "price"]
        assert (response.status, footer) == (200, [f"release-{name}"])
        assert page.all("title")[0].text.casefold() == f"Products · {shop}".casefold()
        assert (price in shown, len(shown)) == (price is not None, 12 if price else 0)

        # Health checks use an IP address and plain HTTP; other requests are redirected to HTTPS.
        plain = server.get("/order/products", {"Host": f"10.0.3.7:{server.port}"})
        assert (plain.status, json.loads(plain.body)["tenant"]) == (200, f"{deployment.name}_{name}")
        assert server.get("/healthz", {"Host": "10.0.3.7"}).body == "ok\n"
        redirect = server.get("/", {})
        assert (redirect.status, redirect.headers["Location"]) == (301, f"https://localhost:{server.port}/")

        # Files with hashed names are cached permanently.
        (style,) = [e.attributes["href"] for e in page.all("link") if e.attributes["rel"] == "stylesheet"]
        sheet = server.get(style)
        assert (sheet.status, sheet.headers["Cache-Control"]) == (200, "max-age=315360000, public, immutable")
        assert server.get("/admin/login/").status == 200
        assert server.get("/products/none/").status == 404
        assert "Traceback" not in server.log.read_text()
