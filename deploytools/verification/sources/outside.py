"""Facts of what a visitor meets: redirect, certificate, headers, health, error page.

An address that is broken was looked at, too: what a visitor would see of it is the fact.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from deploytools.conf import configuration
from deploytools.errors import ConfigurationError, DeployError
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation

TIMEOUT = 5

#: A path that no application has, to see its error page.
MISSING_PATH = "/deploytools-asks-for-a-page-that-is-not-there"

#: More redirects lead nowhere.
MOST_REDIRECTS = 3

#: What Django's page for DEBUG=True says.
DEBUG_PAGE = b"You\xe2\x80\x99re seeing this error because you have"

#: More of a page nobody needs to see.
MOST_BYTES = 500_000

#: What is broken between here and the internet, and says nothing of the address.
OURS = {socket.EAI_AGAIN, socket.EAI_FAIL, errno.ENETUNREACH, errno.ENETDOWN}


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
class NoAnswer:
    """What there is in place of an answer.

    Attributes:
        said: what was seen.
    """

    said: str


@dataclass(frozen=True)
class Outside:
    """What a visitor meets.

    Attributes:
        url: where.
        read_at: when.
        certificate_until: when the certificate ends; None: nobody showed one, or not one to be believed.
        page, health, missing: the answers to ``/``, to the health path, to a page that is not there; to that one after
            the redirects that stay within the site.
        plain: the answer without TLS; None: nothing listens there, for the connection was refused.
        distrust: why the certificate is not to be believed; the rest was then looked at without believing it.
    """

    url: str
    read_at: datetime
    certificate_until: datetime | None
    page: Answer | NoAnswer
    health: Answer | NoAnswer
    missing: Answer | NoAnswer
    plain: Answer | NoAnswer | None
    distrust: str = ""


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
    host, port, distrust = parts.hostname, parts.port or 443, ""
    try:
        page, until = _visit(host, port, parts.path or "/")
    except ssl.SSLCertVerificationError as error:
        distrust = error.verify_message.rstrip(".")
        page, until = _visit(host, port, parts.path or "/", believing=True)

    def look(path: str) -> Answer | NoAnswer:
        return page if isinstance(page, NoAnswer) else _visit(host, port, path, believing=bool(distrust))[0]

    missing = look(MISSING_PATH)
    if isinstance(missing, Answer):
        missing = _led(missing, urljoin(expectation.url, MISSING_PATH), believing=bool(distrust))

    return Outside(
        url=expectation.url,
        read_at=datetime.now(UTC),
        certificate_until=until,
        page=page,
        health=look(configuration.health_path),
        missing=missing,
        plain=_visit_plain(host) if port == 443 else None,
        distrust=distrust,
    )


def _visit(host: str, port: int, path: str, *, believing: bool = False) -> tuple[Answer | NoAnswer, datetime | None]:
    """What comes over TLS, and when the certificate ends.

    Args:
        believing: whatever certificate is shown.

    Raises:
        ssl.SSLCertVerificationError: the certificate is not to be believed.
        DeployError: this machine cannot look.
    """
    context = ssl.create_default_context()
    if believing:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
    try:
        connection.connect()
        until = _end_of(connection.sock.getpeercert())
        return _ask(connection, path), until
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, http.client.HTTPException) as error:
        return _no_answer(error, host), None
    finally:
        connection.close()


def _led(answer: Answer, url: str, *, believing: bool) -> Answer:
    """Where the answer at `url` leads, if that can be looked at and is of the same site, with ``www`` or without."""
    for _ in range(MOST_REDIRECTS):
        to = urlsplit(urljoin(url, answer.headers.get("location", "")))
        if (
            not 300 <= answer.status < 400
            or to.scheme != "https"
            or _site(to.hostname) != _site(urlsplit(url).hostname)
        ):
            return answer
        url, path = to.geturl(), f"{to.path or '/'}{'?' if to.query else ''}{to.query}"
        try:
            next_answer, _until = _visit(str(to.hostname), to.port or 443, path, believing=believing)
        except (ssl.SSLCertVerificationError, DeployError):
            return answer
        if isinstance(next_answer, NoAnswer):
            return answer
        answer = next_answer
    return answer


def _site(host: str | None) -> str:
    return (host or "").removeprefix("www.")


def _end_of(certificate: Mapping[str, Any] | None) -> datetime | None:
    """When a certificate that was verified ends."""
    until = (certificate or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(until)), UTC) if until else None


def _no_answer(error: Exception, host: str) -> NoAnswer:
    if getattr(error, "errno", None) in OURS:
        raise DeployError(
            f"{host} could not be looked at from here: {getattr(error, 'strerror', error)}.",
            hint="Run it where the internet and its names can be reached.",
        ) from None
    if isinstance(error, TimeoutError):
        return NoAnswer(f"nothing said within {TIMEOUT} s")
    if isinstance(error, socket.gaierror):
        return NoAnswer(f"no such name: {error.strerror}")
    if isinstance(error, http.client.HTTPException):
        return NoAnswer(f"it does not speak HTTP ({type(error).__name__})")
    return NoAnswer(str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error))


def _visit_plain(host: str, port: int = 80) -> Answer | NoAnswer | None:
    """The answer without TLS; None where nobody listens. Silence is no proof of that: the way there may be barred."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        return _ask(connection, "/")
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException) as error:
        return _no_answer(error, host)
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, path: str) -> Answer:
    connection.request("GET", path, headers={"Accept": "text/html", "User-Agent": "deploytools"})
    answer = connection.getresponse()
    body = answer.read(MOST_BYTES)
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, headers, DEBUG_PAGE in body)
