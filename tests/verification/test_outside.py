"""A visit from outside to a real server: certificate, headers, health, error page."""

from __future__ import annotations

import errno
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from django.http import Http404
from django.test import RequestFactory
from django.views.debug import technical_404_response

from deploytools.errors import ConfigurationError, DeployError
from deploytools.verification.findings import Status
from deploytools.verification.sources import outside as source
from deploytools.verification.sources.outside import DEBUG_PAGE, MISSING_PATH, Answer, NoAnswer, Outside, outside
from tests.sockets import silent_port
from tests.verification.world import WORLD, findings


class Site(http.server.BaseHTTPRequestHandler):
    """``/`` is a page, ``/readyz`` well, ``/round`` leads to itself, anything else is Django's page for developers."""

    def do_GET(self) -> None:
        if self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
            return
        known = {"/": b"welcome", "/readyz": b"ok"}
        body = known.get(self.path, b"<p>" + DEBUG_PAGE + b" <code>DEBUG = True</code></p>")
        self.send_response(200 if self.path in known else 404)
        self.send_header("Strict-Transport-Security", "max-age=31536000")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Authority(trustme.CA):
    """Vouches for certificates.

    Attributes:
        file: its own certificate.
    """

    file: str


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority()
    made.file = str(tmp_path_factory.mktemp("ca") / "ca.pem")
    made.cert_pem.write_to_path(made.file)
    return made


@contextmanager
def serving(certificate: trustme.LeafCert) -> Iterator[str]:
    """The site, and its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def site(authority: Authority) -> Iterator[tuple[str, str]]:
    """The address, and the file of the authority that vouches for it."""
    with serving(authority.issue_cert("localhost")) as url:
        yield url, authority.file


def at(url: str) -> Any:
    return replace(WORLD["expectation"], url=url)


def test_a_visit(site, monkeypatch, settings):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"HEALTH_PATH": "/readyz"}
    seen = outside(at(url))
    assert seen is not None
    assert isinstance(seen.page, Answer) and isinstance(seen.missing, Answer) and isinstance(seen.health, Answer)
    assert (seen.page.status, seen.health.status, seen.missing.status, seen.plain) == (200, 200, 404, None)
    assert seen.page.headers["strict-transport-security"] == "max-age=31536000"
    assert (seen.page.is_debug_page, seen.missing.is_debug_page) == (False, True)
    assert seen.certificate_until and seen.certificate_until > seen.read_at
    assert seen.distrust == ""


def test_nobody_says_where():
    assert outside(at("")) is None


def test_an_address_without_tls():
    with pytest.raises(ConfigurationError, match=r"http://www\.shop\.net is no https address\."):
        outside(at("http://www.shop.net"))


def look(url: str) -> Outside:
    seen = outside(at(url))
    assert seen is not None
    return seen


def test_a_certificate_that_nobody_vouches_for_is_told_and_the_rest_is_looked_at(site, monkeypatch, settings):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"HEALTH_PATH": "/readyz"}
    seen = look(site[0])
    assert (seen.distrust, seen.certificate_until) == ("unable to get local issuer certificate", None)
    assert isinstance(seen.missing, Answer) and seen.missing.is_debug_page
    assert isinstance(seen.health, Answer) and seen.health.status == 200


def test_a_certificate_of_another_host(site, monkeypatch):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    seen = look(url.replace("localhost", "127.0.0.1"))
    assert seen.distrust == "IP address mismatch, certificate is not valid for '127.0.0.1'"


def test_a_certificate_that_has_expired(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    ended = datetime.now(UTC) - timedelta(minutes=5)
    with serving(authority.issue_cert("localhost", not_after=ended)) as url:
        seen = look(url)
    assert (seen.distrust, seen.certificate_until) == ("certificate has expired", None)
    assert isinstance(seen.page, Answer)
    assert {f.check: f.status for f in findings(outside=seen) if f.check.startswith("outside.c")} == {
        "outside.certificate": Status.FAIL
    }


def test_nobody_there():
    seen = look("https://localhost:9")
    assert seen.page == seen.health == seen.missing == NoAnswer("Connection refused")
    assert (seen.certificate_until, seen.distrust, seen.plain) == (None, "", None)


def test_a_server_without_tls():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        seen = look(f"https://localhost:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    assert seen.page in {NoAnswer("WRONG_VERSION_NUMBER"), NoAnswer("RECORD_LAYER_FAILURE")}


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(source, "TIMEOUT", 0.2)
    with silent_port() as port:
        assert look(f"https://localhost:{port}").page == NoAnswer("nothing said within 0.2 s")


@pytest.mark.parametrize(
    ("host", "to", "status"),
    [
        ("localhost", "/gone", 404),
        ("www.localhost", "https://localhost:{port}/gone?a=b", 404),
        ("localhost", "https://localhost:9/gone", 301),
        ("localhost", "https://127.0.0.1:{port}/gone", 301),
        ("localhost", "http://localhost:{port}/gone", 301),
        ("localhost", "/round", 302),
    ],
)
def test_a_redirect_is_followed_within_the_site(site, monkeypatch, host, to, status):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    port = urlsplit(url).port
    led = source._led(Answer(301, {"location": to.format(port=port)}), f"https://{host}:{port}/a", believing=False)
    assert (led.status, led.is_debug_page) == (status, status == 404)


def test_a_redirect_to_a_certificate_that_nobody_vouches_for_is_not_followed(site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    first = Answer(301, {"location": "/gone"})
    assert source._led(first, site[0], believing=False) == first
    assert source._led(first, site[0], believing=True).is_debug_page


def test_that_nobody_listens_without_tls_is_known_by_a_refusal_alone(monkeypatch):
    monkeypatch.setattr(source, "TIMEOUT", 0.2)
    assert source._visit_plain("localhost", 9) is None
    with silent_port() as port:
        assert source._visit_plain("127.0.0.1", port) == NoAnswer("nothing said within 0.2 s")


def test_a_name_that_does_not_exist_is_seen(monkeypatch):
    failing(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert look("https://no-such.invalid").page == NoAnswer("no such name: Name or service not known")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
    ],
)
def test_what_fails_on_our_side_says_nothing_of_the_address(monkeypatch, error):
    failing(monkeypatch, error)
    with pytest.raises(DeployError, match=rf"www\.shop\.net could not be looked at from here: {error.strerror}\."):
        look("https://www.shop.net")


def failing(monkeypatch, error: OSError) -> None:
    """What no machine can be brought to do at will."""

    def connect(*_: Any, **__: Any) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)


def test_the_page_for_developers_is_known(settings):
    settings.DEBUG = True
    page = technical_404_response(RequestFactory().get(MISSING_PATH), Http404())
    assert DEBUG_PAGE in page.content
