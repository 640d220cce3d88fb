"""A visit from outside to a real server: certificate, headers, health, error page."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import trustme
from django.http import Http404
from django.test import RequestFactory
from django.views.debug import technical_404_response

from deploytools.errors import ConfigurationError, DeployError
from deploytools.verification.sources import outside as source
from deploytools.verification.sources.outside import DEBUG_PAGE, MISSING_PATH, outside
from tests.sockets import silent_port
from tests.verification.world import WORLD


class Site(http.server.BaseHTTPRequestHandler):
    """``/`` is a page, ``/readyz`` is well, anything else is Django's page for developers."""

    def do_GET(self) -> None:
        known = {"/": b"welcome", "/readyz": b"ok"}
        body = known.get(self.path, b"<p>" + DEBUG_PAGE + b" <code>DEBUG = True</code></p>")
        self.send_response(200 if self.path in known else 404)
        self.send_header("Strict-Transport-Security", "max-age=31536000")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address, and the file of the authority that vouches for it."""
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_address[1]}", str(file)
    server.shutdown()
    server.server_close()
    thread.join()


def at(url: str) -> Any:
    return replace(WORLD["expectation"], url=url)


def test_a_visit(site, monkeypatch, settings):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"HEALTH_PATH": "/readyz"}
    seen = outside(at(url))
    assert seen is not None
    assert (seen.page.status, seen.health.status, seen.missing.status, seen.plain) == (200, 200, 404, None)
    assert seen.page.headers["strict-transport-security"] == "max-age=31536000"
    assert (seen.page.is_debug_page, seen.missing.is_debug_page) == (False, True)
    assert seen.certificate_until > seen.read_at


def test_nobody_says_where():
    assert outside(at("")) is None


def test_an_address_without_tls():
    with pytest.raises(ConfigurationError, match=r"http://www\.shop\.net is no https address\."):
        outside(at("http://www.shop.net"))


def test_a_certificate_that_nobody_vouches_for(site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(DeployError, match=r"gave no answer: unable to get local issuer certificate\."):
        outside(at(site[0]))


@pytest.mark.parametrize("host", ["localhost:9", "no-such.invalid"])
def test_nobody_there(host):
    with pytest.raises(DeployError, match=rf"https://{host}.* gave no answer: "):
        outside(at(f"https://{host}"))


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(source, "TIMEOUT", 0.2)
    with silent_port() as port, pytest.raises(DeployError, match="timed out"):
        outside(at(f"https://localhost:{port}"))


def test_the_page_for_developers_is_known(settings):
    settings.DEBUG = True
    page = technical_404_response(RequestFactory().get(MISSING_PATH), Http404())
    assert DEBUG_PAGE in page.content
