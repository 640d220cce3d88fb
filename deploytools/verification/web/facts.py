"""Facts of the site as a browser reaches it.

A site that is down or has a broken certificate is a value, not an error: the checks report what a visitor gets.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError, DeployError
from deploytools.verification.registry import fact

#: Seconds for a connection, and for each response.
TIMEOUT = 5

#: A path that no application has, to get its error page.
MISSING_PATH = "/deploytools-missing-page"

MAX_REDIRECTS = 3

#: The site that a request claims to come from. No site may allow it to read pages as the visitor.
ORIGIN = "https://deploytools.invalid"

#: Files of the code that a server of a directory shows, and how they begin.
FILES = {
    "/.git/HEAD": re.compile(rb"ref: refs/"),
    "/.env": re.compile(rb"(#[^\n]*\n|\s)*(export )?[A-Z][A-Z0-9_]*\s?="),
}

#: A phrase of Django's debug page.
DEBUG_PAGE = b"You\xe2\x80\x99re seeing this error because you have"

#: What a page shows that is meant for developers, by a phrase in it.
INTERNALS = {
    DEBUG_PAGE: "Django's debug page",
    b"Werkzeug Debugger": "Werkzeug's debugger",
    b"Traceback (most recent call last)": "a Python traceback",
    b"djDebugToolbar": "Django Debug Toolbar",
    b"The install worked successfully!": "Django's page of a new project",
    b"<title>Welcome to nginx!</title>": "nginx's default page",
    b"Default Page: It works</title>": "Apache's default page",
    b"<title>Index of /": "the list of a directory",
}

#: The whole response in plain text of a health endpoint that does not work.
UNHEALTHY_TEXT = re.compile(
    rb"\s*(status:?\s*)?(down|fail(ed|ing|ure)?|error|unhealthy|unavailable|not ok|degraded|out_of_service)[.!]?\s*",
    re.IGNORECASE,
)

#: A member of the JSON response of a health endpoint that says that something does not work: a word, or false if the
#: name is that of a state or a service. ``"maintenance": false`` is good.
UNHEALTHY = re.compile(
    rb'"(?P<by_word>(?!maintenance|log_?level)[\w.: -]+)"\s*:\s*'
    rb'"(?:down|fail(?:ed|ing|ure)?|error|unhealthy|unavailable|not ok|critical'
    rb'|degraded|offline|disconnected|unreachable|time(?:d )?out|outage|out_of_service)(?::[^"]*)?"'
    rb'|"(?P<by_false>(?![\w.:-]*(?:sandbox|debug))'
    rb"(?:ok|healthy|health|status|success|alive|live|ready|up|available|working|connected"
    rb'|[\w.:-]*(?:database|db|postgres|cache|redis|queue|celery|broker|storage|mail|smtp)[\w.:-]*))"\s*:\s*false',
    re.IGNORECASE,
)

#: The part of a page that is read.
MAX_BYTES = 500_000

#: Errors of this machine's network, which say nothing about the site.
LOCAL_ERRORS = {socket.EAI_AGAIN, socket.EAI_FAIL, errno.ENETUNREACH, errno.ENETDOWN}


@dataclass(frozen=True)
class Response:
    """One HTTP response, after redirects within the site.

    Attributes:
        headers: with lower-case names.
        internals: what the page shows that is meant for developers: ``Django's debug page``; empty: nothing.
        cookies: name and attributes of each cookie, without its value: ``sessionid; HttpOnly``.
        unhealthy: the first member of a JSON response that is down, failed or false, or ``the application`` if the
            whole text is such a word; empty: none.
        is_file: whether it is the file of `FILES` that was requested.
    """

    status: int
    headers: dict[str, str]
    internals: str = ""
    cookies: tuple[str, ...] = ()
    unhealthy: str = ""
    is_file: bool = False

    @property
    def is_page(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/html")


@dataclass(frozen=True)
class NoResponse:
    """Why there is no HTTP response."""

    reason: str


@dataclass(frozen=True)
class SiteResponse:
    """The responses of the site.

    Attributes:
        certificate_until: expiry of the certificate; None: there is none, or it is not valid.
        page, health, missing: the responses for ``/``, for the health path, and for a page that does not exist.
        plain: the response on port 80; None: the connection was refused.
        certificate_error: why the certificate is not valid; the other responses were then read without verification.
        exposed: the paths of `FILES` that every visitor can read.
    """

    url: str
    read_at: datetime
    certificate_until: datetime | None
    page: Response | NoResponse
    health: Response | NoResponse
    missing: Response | NoResponse
    plain: Response | NoResponse | None
    certificate_error: str = ""
    exposed: tuple[str, ...] = ()


@fact(deadline=50)
def site_response(settings: Settings) -> SiteResponse | None:
    """The responses of ``DEPLOYTOOLS["URL"]``; None: not set."""
    if not settings.url:
        return None
    parts = urlsplit(settings.url)
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigurationError(
            f"{settings.url} is not an https:// address.", hint="For example: URL=https://www.example.com"
        )
    host, port, certificate_error = parts.hostname, parts.port or 443, ""
    try:
        page, until = _get(host, port, parts.path or "/")
    except ssl.SSLCertVerificationError as error:
        certificate_error = error.verify_message.rstrip(".")
        page, until = _get(host, port, parts.path or "/", verify=False)
    verify = not certificate_error

    def get(path: str, *, is_same_path: bool = False) -> Response | NoResponse:
        if isinstance(page, NoResponse):
            return page
        return follow(_get(host, port, path, verify=verify)[0], path, is_same_path=is_same_path)

    def follow(response: Response | NoResponse, path: str, *, is_same_path: bool = False) -> Response | NoResponse:
        if isinstance(response, NoResponse):
            return response
        return _follow_redirects(response, urljoin(settings.url, path), verify=verify, is_same_path=is_same_path)

    return SiteResponse(
        url=settings.url,
        read_at=datetime.now(UTC),
        certificate_until=until,
        page=follow(page, parts.path or "/"),
        health=get(settings.health_path, is_same_path=True),  # Not the login page, or the front page.
        missing=get(MISSING_PATH),
        plain=_get_plain(host) if port == 443 else None,
        certificate_error=certificate_error,
        exposed=tuple(path for path in FILES if isinstance(found := get(path), Response) and found.is_file),
    )


def _get(host: str, port: int, path: str, *, verify: bool = True) -> tuple[Response | NoResponse, datetime | None]:
    """The response over TLS, and the expiry of the certificate.

    Raises:
        ssl.SSLCertVerificationError: the certificate is not valid.
        DeployError: this machine's network is down.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
    try:
        connection.connect()
        until = _expiry(connection.sock.getpeercert())
        return _request(connection, path), until
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, http.client.HTTPException) as error:
        return _no_response(error, host), None
    finally:
        connection.close()


def _follow_redirects(response: Response, url: str, *, verify: bool, is_same_path: bool = False) -> Response:
    """The response after redirects within the site, with or without ``www``; the last one that can be followed.

    Args:
        is_same_path: whether to follow only redirects to the same path, with or without a slash at its end.
    """
    for _ in range(MAX_REDIRECTS):
        source, target = urlsplit(url), urlsplit(urljoin(url, response.headers.get("location", "")))
        if (
            not 300 <= response.status < 400
            or target.scheme != "https"
            or not same_site(target.hostname, source.hostname)
            or (is_same_path and target.path.rstrip("/") != source.path.rstrip("/"))
        ):
            return response
        url, path = target.geturl(), f"{target.path or '/'}{'?' if target.query else ''}{target.query}"
        try:
            next_response, _until = _get(str(target.hostname), target.port or 443, path, verify=verify)
        except (ssl.SSLCertVerificationError, DeployError):
            return response
        if isinstance(next_response, NoResponse):
            return response
        response = next_response
    return response


def same_site(host: str | None, other: str | None) -> bool:
    """Return whether two hosts are the same, with or without ``www``."""
    return (host or "").removeprefix("www.") == (other or "").removeprefix("www.")


def _expiry(certificate: Mapping[str, Any] | None) -> datetime | None:
    until = (certificate or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(until)), UTC) if until else None


def _no_response(error: Exception, host: str) -> NoResponse:
    if getattr(error, "errno", None) in LOCAL_ERRORS:
        raise DeployError(
            f"Cannot reach {host} from this machine: {getattr(error, 'strerror', error)}.",
            hint="Run the command on a machine with internet access and DNS.",
        ) from None
    if isinstance(error, TimeoutError):
        return NoResponse(f"timed out after {TIMEOUT} s")
    if isinstance(error, socket.gaierror):
        return NoResponse(f"DNS lookup failed: {error.strerror}")
    if isinstance(error, http.client.HTTPException):
        return NoResponse(f"not an HTTP response ({type(error).__name__})")
    return NoResponse(str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error))


def _get_plain(host: str, port: int = 80) -> Response | NoResponse | None:
    """The response without TLS; None if the connection is refused. A timeout is not: a firewall can cause it."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        return _request(connection, "/")
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException) as error:
        return _no_response(error, host)
    finally:
        connection.close()


def _request(connection: http.client.HTTPConnection, path: str) -> Response:
    connection.request("GET", path, headers={"Accept": "text/html", "User-Agent": "deploytools", "Origin": ORIGIN})
    response = connection.getresponse()
    body = response.read(MAX_BYTES)
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers and name != "set-cookie" else value
    found = next((internals for phrase, internals in INTERNALS.items() if phrase in body), "")
    cookies = tuple(sorted(map(_without_value, response.headers.get_all("Set-Cookie") or ())))
    unhealthy = unhealthy_member(body) if "json" in headers.get("content-type", "") else unhealthy_text(body)
    headers.pop("set-cookie", None)
    is_file = response.status == 200 and path in FILES and FILES[path].match(body) is not None
    return Response(response.status, headers, found, cookies, unhealthy, is_file)


def unhealthy_member(body: bytes) -> str:
    """Return the first member of a JSON document that says that something does not work; empty: none."""
    found = UNHEALTHY.search(body)
    return (found["by_word"] or found["by_false"]).decode() if found else ""


def unhealthy_text(body: bytes) -> str:
    """Return ``the application`` if the whole response is a word such as "unhealthy"; empty: it is not."""
    return "the application" if UNHEALTHY_TEXT.fullmatch(body) else ""


def _without_value(cookie: str) -> str:
    first, _, attributes = cookie.partition(";")
    return f"{first.partition('=')[0].strip()};{attributes}"
