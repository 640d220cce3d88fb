"""Errors of requests are sent to Sentry if ``SENTRY_DSN`` is set."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.container.gunicorn_server import serving
from tests.container.http_client import get, wait_for

pytest.importorskip("sentry_sdk")


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """A server that receives events: its DSN and the bodies."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://key@127.0.0.1:{server.server_port}/1", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_an_error_is_sent_without_credentials(tmp_path, created, sentry):
    """The tenant's database has no tables."""
    dsn, received = sentry
    environment = created.environment | {
        "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production", "SENTRY_DSN": dsn, "WEB_CONCURRENCY": "1",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }  # fmt: skip
    with serving(tmp_path / "log", **environment) as (port, _):
        assert get(port, "/order/products", Host="localhost", X_Forwarded_Proto="https", Cookie="a=canary")[0] == 500
        wait_for(lambda: any(b"UndefinedTable" in body for body in received))
    sent = b"".join(received)
    secret = created.document()
    values = [str(secret[key]) for key in ("password", "django_secret_key", "stripe_secret_key", "email_password")]
    assert [value for value in ["canary", *values] if value.encode() in sent] == []
