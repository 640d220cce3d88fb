"""Worlds of the area web: faults with the statuses that they change, and good variations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from deploytools.verification.web.facts import NoResponse, Response
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    HEADERS,
    NOW,
    URL,
    Changes,
    site_response,
)

DAY = timedelta(days=1)


WEB_CHECKS = ("certificate", "https-redirect", "hsts", "security-headers", "health", "no-debug-page")
DOWN = NoResponse("Connection refused")
DEBUG = "Django's debug page"


def page(status: int = 200, **changes: Any) -> Changes:
    return site_response(page=Response(status, HEADERS, **changes))


def headers(**changes: str) -> Changes:
    """The front page with other headers; empty: without."""
    named = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    return site_response(page=Response(200, {name: value for name, value in named.items() if value}))


VISIT = [
    Row({"site_response": None}, {f"web.{name}": NA for name in WEB_CHECKS}, 'DEPLOYTOOLS["URL"] is not set'),
    Row(site_response(certificate_until=NOW + 20 * DAY), {"web.certificate": FAIL}, "20 days left"),
    Row(
        site_response(certificate_error="certificate has expired", certificate_until=None),
        {"web.certificate": FAIL},
        "certificate has expired",
    ),
    Row(
        site_response(
            certificate_until=None, page=DOWN, health=DOWN, missing=DOWN, plain=Response(301, {"location": f"{URL}/"})
        ),
        {f"web.{name}": NA for name in WEB_CHECKS if name != "https-redirect"} | {"web.health": FAIL},
        "the site does not respond (see web.health)",
    ),
    Row(
        site_response(certificate_until=None, page=DOWN, health=DOWN, missing=DOWN, plain=None),
        {f"web.{name}": NA for name in WEB_CHECKS} | {"web.health": FAIL},
        "the site does not respond (see web.health)",
    ),
    Row(site_response(health=DOWN), {"web.health": FAIL}, "no response: Connection refused"),
    Row(
        site_response(missing=DOWN),
        {"web.no-debug-page": UNKNOWN},
        "no response for a missing page: Connection refused",
    ),
    *(
        Row(
            site_response(missing=Response(status, {})),
            {"web.no-debug-page": UNKNOWN},
            f"returns {status}, not an error page of the application",
        )
        for status in (200, 400, 403, 503)
    ),
    Row(
        site_response(missing=Response(301, {"location": "https://shop.example/"})),
        {"web.no-debug-page": UNKNOWN},
        "returns 301 to https://shop.example/, not an error page of the application",
    ),
    Row(site_response(missing=Response(200, {}, DEBUG)), {"web.no-debug-page": FAIL}, "shows Django's debug page"),
    Row(site_response(missing=Response(410, {})), {}),
    Row(
        site_response(plain=NoResponse("timed out after 5 s")),
        {"web.https-redirect": UNKNOWN},
        "no response on port 80: timed out after 5 s",
    ),
    Row(site_response(plain=Response(200, {})), {"web.https-redirect": FAIL}, "http:// returns 200"),
    Row(
        site_response(plain=Response(301, {"location": "http://www.shop.net/"})),
        {"web.https-redirect": FAIL},
        "301 to http://",
    ),
    Row(site_response(plain=None), {}),
    Row(site_response(plain=None, url=f"{URL}:8443"), {"web.https-redirect": NA}, "the URL contains a port"),
    Row(site_response(url=f"{URL}:443"), {}),
    Row(
        site_response(page=Response(200, HEADERS | {"strict-transport-security": "max-age=3600"})),
        {"web.hsts": FAIL},
        "max-age=3600",
    ),
    Row(
        site_response(page=Response(200, {k: v for k, v in HEADERS.items() if k != "referrer-policy"})),
        {"web.security-headers": WARN},
        "referrer-policy has no strict value",
    ),
    Row(site_response(health=Response(503, {})), {"web.health": FAIL}, "the health endpoint returns 503"),
    Row(site_response(missing=Response(404, {}, DEBUG)), {"web.no-debug-page": FAIL}, "shows Django's debug page"),
    Row(site_response(url=URL), {}),
    # The front page.
    *(Row(page(status), {"web.health": FAIL}, f"the front page returns {status}") for status in (500, 502, 503)),
    Row(page(404), {"web.health": WARN}, "the front page returns 404"),
    *(
        Row(page(internals=internals), {"web.no-debug-page": FAIL}, f"the front page shows {internals}")
        for internals in (DEBUG, "Werkzeug's debugger")
    ),
    Row(site_response(health=Response(204, {})), {}, good=("web.health",)),
    Row(site_response(health=Response(302, {"location": "https://other.net/"})), {"web.health": FAIL}, "returns 302"),
    Row(
        site_response(health=Response(200, {}, unhealthy="database")),
        {"web.health": FAIL},
        "that database does not work",
    ),
    *(
        Row(
            site_response(plain=Response(301, {"location": location})),
            {"web.https-redirect": FAIL},
            "http:// returns 301",
        )
        for location in ("https://parked.example/", "https://www.shop.net.evil.example/", "/login", "//www.shop.net/")
    ),
    Row(site_response(plain=Response(308, {"location": "https://shop.net/"})), {}, good=("web.https-redirect",)),
    # HSTS by RFC 6797: names know no case, values may be quoted, a directive must not be repeated.
    *(
        Row(headers(strict_transport_security=value), {"web.hsts": FAIL}, value)
        for value in ("max-age=63072000; max-age=1", "max-age=-31536000", "max-age", "x-max-age=31536000", "31536000")
    ),
    *(
        Row(headers(strict_transport_security=value), {}, good=("web.hsts",))
        for value in (
            "Max-Age=31536000",
            'max-age="31536000"; includeSubDomains',
            "preload ; max-age = 31536000;",
            "max-age=31536000, max-age=0",
        )
    ),
    *(
        Row(headers(**changes), {"web.security-headers": WARN}, seen)
        for changes, seen in (
            ({"content_security_policy": ""}, "does not limit scripts"),
            (
                {"content_security_policy": "", "content_security_policy_report_only": "default-src 'none'"},
                "does not limit scripts",
            ),
            ({"content_security_policy": "default-src * 'unsafe-inline'"}, "scripts from *, 'unsafe-inline'"),
            ({"content_security_policy": "script-src 'self' https:"}, "scripts from https:"),
            ({"content_security_policy": "img-src 'self'"}, "does not limit scripts"),
            ({"content_security_policy": "default-src 'none'; frame-ancestors *"}, "do not limit framing"),
            ({"x_frame_options": "ALLOWALL"}, "do not limit framing"),
            ({"x_content_type_options": "no-sniff"}, "is not nosniff"),
            ({"referrer_policy": "unsafe-url"}, "referrer-policy"),
        )
    ),
    *(
        Row(page(cookies=cookies), {"web.security-headers": WARN}, "cookie sessionid is not Secure")
        for cookies in (("sessionid; HttpOnly; Path=/",), ("csrftoken; Secure", "sessionid; Path=/secure"))
    ),
    *(
        Row(changes, {}, good=("web.security-headers",))
        for changes in (
            page(cookies=("sessionid; HttpOnly; secure; Path=/",)),
            headers(x_frame_options="", content_security_policy="default-src 'self'; frame-ancestors 'none'"),
            headers(
                content_security_policy="script-src 'nonce-a' 'strict-dynamic' 'unsafe-inline' https:; default-src *"
            ),
            headers(referrer_policy="no-referrer, strict-origin-when-cross-origin", x_content_type_options="NoSniff"),
        )
    ),
]
