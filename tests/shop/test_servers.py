"""Three servers on three tenants, as in production: real processes, real databases, one code."""

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

from localcloud.ports import reserve
from tests.deployment import Deployment
from tests.shop.markup import Page

ROOT = Path(__file__).parents[2]
TLS = {"X-Forwarded-Proto": "https"}
#: For each tenant: the row of its configuration that makes it another shop, and what it shows then.
SHOPS = {
    "mugs": ("shop_name", "Good Mugs", "$18.00"),
    "euro": ("currency", "EUR", "€16.56"),
    "empty": ("shop_name", "Nothing Yet", None),
}

pytestmark = pytest.mark.slow


class Straight(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer."""

    def redirect_request(self, *_: object) -> None:
        """Follows nothing."""


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Message
    body: str


@dataclass(frozen=True)
class Server:
    """One gunicorn on one tenant."""

    tenant: str
    port: int
    log: Path

    def get(self, path: str, headers: Mapping[str, str] = TLS) -> Answer:
        """Asks for `path`; by default as a load balancer that ended TLS does."""
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", headers=dict(headers))
        try:
            with urllib.request.build_opener(Straight).open(request, timeout=20) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())

    def wait(self) -> None:
        """Until it answers.

        Raises:
            AssertionError: it does not, and this is what it logged.
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


def of_tenant(deployment: Deployment, name: str) -> dict[str, str]:
    """The environment of a process that serves the tenant."""
    return {
        **deployment.environment,
        "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production",
        "DATABASE_NAME": f"{deployment.name}_{name}",
    }


def set_up(deployment: Deployment, name: str) -> None:
    """Tables, samples (in one shop loaded by two processes at once) and the row that makes this shop another."""
    environment, (key, value, price) = of_tenant(deployment, name), SHOPS[name]
    manage(environment, "migrate", "--verbosity", "0")
    if price:
        with ThreadPoolExecutor() as pool:
            said = list(pool.map(lambda _: manage(environment, "load_sample_data"), range(2 if name == "mugs" else 1)))
        assert sorted("nothing to do" in text for text in said) == [False, True][: len(said)]
    with deployment.login().connect(environment["DATABASE_NAME"]) as session:
        session.execute("UPDATE order_configuration SET value = %s WHERE key = %s", [value, key])


@contextlib.contextmanager
def gunicorn(deployment: Deployment, name: str, static: Path) -> Iterator[Server]:
    environment = of_tenant(deployment, name) | {"STATIC_ROOT": str(static), "RELEASE": f"release-{name}"}
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
    """A server for each of `SHOPS`, from databases that the guide's commands made."""
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


def test_three_servers_on_three_tenants_show_three_shops(servers, deployment):
    for name, (key, value, price) in SHOPS.items():
        server, shop = servers[name], value if key == "shop_name" else f"{deployment.name} Euro".capitalize()
        answer = server.get("/")
        page = Page(answer.body)
        footer = [dd.text for dd in page.all("dd")]
        shown = [" ".join(p.text.split()) for p in page.all("p") if p.attributes.get("class") == "price"]
        assert (answer.status, footer) == (200, [f"{deployment.name}_{name}", f"release-{name}"])
        assert page.all("title")[0].text.casefold() == f"Products · {shop}".casefold()
        assert (price in shown, len(shown)) == (price is not None, 12 if price else 0)

        # A load balancer asks by address and over plain HTTP; a browser is sent to HTTPS.
        plain = server.get("/order/products", {"Host": f"10.0.3.7:{server.port}"})
        assert (plain.status, json.loads(plain.body)["tenant"]) == (200, f"{deployment.name}_{name}")
        assert server.get("/healthz", {"Host": "10.0.3.7"}).body == "ok\n"
        redirect = server.get("/", {})
        assert (redirect.status, redirect.headers["Location"]) == (301, f"https://localhost:{server.port}/")

        # Hashed names may be kept for ever.
        (style,) = [e.attributes["href"] for e in page.all("link") if e.attributes["rel"] == "stylesheet"]
        sheet = server.get(style)
        assert (sheet.status, sheet.headers["Cache-Control"]) == (200, "max-age=315360000, public, immutable")
        assert server.get("/admin/login/").status == 200
        assert server.get("/products/none/").status == 404
        assert "Traceback" not in server.log.read_text()
