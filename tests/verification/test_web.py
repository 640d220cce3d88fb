"""Requests to a real HTTPS server: certificate, headers, health, error page."""

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
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import trustme
from django.http import Http404
from django.test import RequestFactory
from django.views.debug import technical_404_response

from deploytools.errors import ConfigurationError, DeployError
from deploytools.verification.findings import Status
from deploytools.verification.web import facts as source
from deploytools.verification.web.facts import (
    DEBUG_PAGE,
    MISSING_PATH,
    NoResponse,
    Response,
    SiteResponse,
    site_response,
)
from tests.sockets import silent_port
from tests.verification.zoo.world import WORLD, findings


class Site(http.server.BaseHTTPRequestHandler):
    """``/`` and ``/readyz`` return 200, ``/round`` redirects to itself, all other paths return Django's debug page."""

    redirects: ClassVar = {"/round": "/round", "/health": "/health/", "/old": "/"}

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        if self.path in self.redirects:
            self.send_response(302)
            self.send_header("Location", self.redirects[self.path])
            self.end_headers()
            return
        known = {"/": b"welcome", "/readyz": b"ok", "/health/": b"ok", **self.files}
        body = known.get(self.path, b"<p>" + DEBUG_PAGE + b" <code>DEBUG = True</code></p>")
        self.send_response(200 if self.path in known else 404)
        self.send_header("Strict-Transport-Security", "max-age=31536000")
        self.send_header("Content-Type", "application/json" if body.startswith(b"{") else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Authority(trustme.CA):
    """A certificate authority.

    Attributes:
        file: path of its own certificate.
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
    """The address of the running site."""
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
    """The address, and the file of its certificate authority."""
    with serving(authority.issue_cert("localhost")) as url:
        yield url, authority.file


def at(url: str, **changes: str) -> Any:
    return replace(WORLD["settings"], url=url, **changes)


def test_responses_of_a_site(site, monkeypatch):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    seen = site_response(at(url, health_path="/readyz"))
    assert seen is not None
    assert isinstance(seen.page, Response) and isinstance(seen.missing, Response) and isinstance(seen.health, Response)
    assert (seen.page.status, seen.health.status, seen.missing.status, seen.plain) == (200, 200, 404, None)
    assert seen.page.headers["strict-transport-security"] == "max-age=31536000"
    assert (seen.page.internals, seen.missing.internals) == ("", "Django's debug page")
    assert seen.certificate_until and seen.certificate_until > seen.read_at
    assert seen.certificate_error == ""


@pytest.mark.parametrize(
    ("path", "content", "is_exposed"),
    [
        ("/.git/HEAD", b"ref: refs/heads/main\n", True),
        ("/.env", b"# production\n\nexport SECRET_KEY = x\n", True),
        ("/.env", b"DEBUG=1", True),
        ("/.env", b"<!doctype html><p>DEBUG=1", False),
        ("/.env", b"\n# A comment\n" * 60 + b"name", False),
        ("/.git/HEAD", b"not found", False),
    ],
)
def test_files_of_the_code(site, monkeypatch, path, content, is_exposed):
    monkeypatch.setenv("SSL_CERT_FILE", site[1])
    monkeypatch.setattr(Site, "files", {path: content})
    assert read(site[0]).exposed == ((path,) if is_exposed else ())


def test_url_is_not_set():
    assert site_response(at("")) is None


def test_url_without_https():
    with pytest.raises(ConfigurationError, match=r"http://www\.shop\.net is not an https:// address\."):
        site_response(at("http://www.shop.net"))


def read(url: str, **changes: str) -> SiteResponse:
    seen = site_response(at(url, **changes))
    assert seen is not None
    return seen


def test_untrusted_certificate_is_reported_with_the_other_responses(site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    seen = read(site[0], health_path="/readyz")
    assert (seen.certificate_error, seen.certificate_until) == ("unable to get local issuer certificate", None)
    assert isinstance(seen.missing, Response) and seen.missing.internals
    assert isinstance(seen.health, Response) and seen.health.status == 200


def test_certificate_of_another_host(site, monkeypatch):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    seen = read(url.replace("localhost", "127.0.0.1"))
    assert seen.certificate_error == "IP address mismatch, certificate is not valid for '127.0.0.1'"


@pytest.mark.slow
def test_expired_certificate(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    ended = datetime.now(UTC) - timedelta(minutes=5)
    with serving(authority.issue_cert("localhost", not_after=ended)) as url:
        seen = read(url)
    assert (seen.certificate_error, seen.certificate_until) == ("certificate has expired", None)
    assert isinstance(seen.page, Response)
    assert {f.check.id: f.status for f in findings(site_response=seen) if f.check.id.startswith("web.c")} == {
        "web.certificate": Status.FAIL
    }


def test_closed_port():
    seen = read("https://localhost:9")
    assert seen.page == seen.health == seen.missing == NoResponse("Connection refused")
    assert (seen.certificate_until, seen.certificate_error, seen.plain) == (None, "", None)


@pytest.mark.slow
def test_server_without_tls():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        seen = read(f"https://localhost:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    assert seen.page in {NoResponse("WRONG_VERSION_NUMBER"), NoResponse("RECORD_LAYER_FAILURE")}


def test_silent_server_times_out(monkeypatch):
    monkeypatch.setattr(source, "TIMEOUT", 0.2)
    with silent_port() as port:
        assert read(f"https://localhost:{port}").page == NoResponse("timed out after 0.2 s")


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
def test_redirects_are_followed_within_the_site(site, monkeypatch, host, to, status):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    port = urlsplit(url).port
    first = Response(301, {"location": to.format(port=port)})
    last = source._follow_redirects(first, f"https://{host}:{port}/a", verify=True)
    assert (last.status, bool(last.internals)) == (status, status == 404)


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/old", 302), ("/round", 302)])
def test_redirect_of_the_health_endpoint_to_another_page_is_not_followed(site, monkeypatch, path, status):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    seen = read(url, health_path=path)
    assert isinstance(seen.health, Response) and seen.health.status == status


@pytest.mark.parametrize(
    ("body", "unhealthy"),
    [(b"unhealthy", "the application"), (b'{"database": "down"}', "database"), (b'{"database": "up"}', "")],
)
def test_health_endpoint_that_reports_a_fault(site, monkeypatch, body, unhealthy):
    url, file = site
    monkeypatch.setenv("SSL_CERT_FILE", file)
    monkeypatch.setattr(Site, "files", {"/health/": body})
    seen = read(url, health_path="/health/")
    assert isinstance(seen.health, Response) and seen.health.unhealthy == unhealthy


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b'{"status": "ok", "maintenance": false, "debug": false, "error": false}', ""),
        (b'{"database": {"ok": true}, "failed": 0}', ""),
        (b'{"maintenance_mode": "offline", "log_level": "error", "mail_sandbox": false}', ""),
        (b'{"checks": {"database": "down"}}', "database"),
        (b'{"status": "FAIL"}', "status"),
        (b'{"databases": [{"default": {"ok": false}}]}', "ok"),
        (b'{"redis_cache":false}', "redis_cache"),
    ],
)
def test_member_of_a_health_endpoint_that_does_not_work(body, member):
    assert source.unhealthy_member(body) == member


def test_redirect_to_an_untrusted_certificate_is_not_followed(site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    first = Response(301, {"location": "/gone"})
    assert source._follow_redirects(first, site[0], verify=True) == first
    assert source._follow_redirects(first, site[0], verify=False).internals


def test_only_a_refused_connection_means_that_port_80_is_closed(monkeypatch):
    monkeypatch.setattr(source, "TIMEOUT", 0.2)
    assert source._get_plain("localhost", 9) is None
    with silent_port() as port:
        assert source._get_plain("127.0.0.1", port) == NoResponse("timed out after 0.2 s")


def test_unknown_host_name(monkeypatch):
    failing(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert read("https://no-such.invalid").page == NoResponse("DNS lookup failed: Name or service not known")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
    ],
)
def test_local_network_error_is_not_a_response_of_the_site(monkeypatch, error):
    failing(monkeypatch, error)
    with pytest.raises(DeployError, match=rf"Cannot reach www\.shop\.net from this machine: {error.strerror}\."):
        read("https://www.shop.net")


def failing(monkeypatch, error: OSError) -> None:
    """Make every connection fail with `error`."""

    def connect(*_: Any, **__: Any) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)


@pytest.mark.slow
def test_debug_page_is_recognized(settings):
    settings.DEBUG = True
    page = technical_404_response(RequestFactory().get(MISSING_PATH), Http404())
    assert DEBUG_PAGE in page.content
