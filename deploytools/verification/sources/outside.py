"""Facts of what a visitor meets: redirect, certificate, headers, health, error page."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from deploytools.conf import configuration
from deploytools.errors import ConfigurationError, DeployError
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation

TIMEOUT = 5

#: A path that no application has, to see its error page.
MISSING_PATH = "/deploytools-asks-for-a-page-that-is-not-there"

#: What Django's page for DEBUG=True says.
DEBUG_PAGE = b"You\xe2\x80\x99re seeing this error because you have"

#: More of a page nobody needs to see.
MOST_BYTES = 500_000


@dataclass(frozen=True)
class Answer:
    """One answer of the application.

    Attributes:
        headers: with lower-case names.
        is_debug_page: whether it is Django's page for ``DEBUG=True``.
    """

    status: int
    headers: dict[str, str]
    is_debug_page: bool = False


@dataclass(frozen=True)
class Outside:
    """What a visitor meets.

    Attributes:
        url: where.
        read_at: when.
        certificate_until: when the certificate ends.
        page, health, missing: the answers to ``/``, to the health path, to a page that is not there.
        plain: the answer without TLS; None: nothing listens there.
    """

    url: str
    read_at: datetime
    certificate_until: datetime
    page: Answer
    health: Answer
    missing: Answer
    plain: Answer | None


@fact(deadline=40)
def outside(expectation: Expectation) -> Outside | None:
    """A visit to ``DEPLOYTOOLS["URL"]``; None where the settings name none."""
    if not expectation.url:
        return None
    parts = urlsplit(expectation.url)
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigurationError(
            f"{expectation.url} is no https address.", hint="For example: URL=https://www.example.com"
        )
    host, port = parts.hostname, parts.port or 443
    page, until = _visit(host, port, parts.path or "/")
    return Outside(
        url=expectation.url,
        read_at=datetime.now(UTC),
        certificate_until=until,
        page=page,
        health=_visit(host, port, configuration.health_path)[0],
        missing=_visit(host, port, MISSING_PATH)[0],
        plain=_visit_plain(host) if port == 443 else None,
    )


def _visit(host: str, port: int, path: str) -> tuple[Answer, datetime]:
    """The answer over TLS, and when the certificate ends."""
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
    try:
        connection.connect()
        certificate = connection.sock.getpeercert() or {}
        until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        return _ask(connection, path), until
    except (OSError, http.client.HTTPException) as error:
        said = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error
        raise DeployError(
            f"https://{host}:{port}{path} gave no answer: {said}.",
            hint="Look at it with: curl -v; check DNS, the load balancer's listener and its certificate.",
        ) from None
    finally:
        connection.close()


def _visit_plain(host: str) -> Answer | None:
    """The answer without TLS; None where nobody listens, or nobody answers."""
    connection = http.client.HTTPConnection(host, 80, timeout=TIMEOUT)
    try:
        return _ask(connection, "/")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, path: str) -> Answer:
    connection.request("GET", path, headers={"Accept": "text/html", "User-Agent": "deploytools"})
    answer = connection.getresponse()
    body = answer.read(MOST_BYTES)
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, headers, DEBUG_PAGE in body)
