"""Checks of the site as a browser reaches it: certificate, redirect, headers, health, error page."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from functools import partial
from operator import attrgetter
from urllib.parse import urljoin, urlsplit

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.project.checks import is_wide
from deploytools.verification.registry import check
from deploytools.verification.web.facts import (
    MISSING_PATH,
    ORIGIN,
    NoResponse,
    Response,
    SiteResponse,
    same_site,
)

GUIDE = "Next Steps: Phase 10"
NO_RESPONSE = "the site does not respond (see web.health)"
NO_URL = 'DEPLOYTOOLS["URL"] is not set'

CERTIFICATE_DAYS = 21

#: Status codes of a missing page. A load balancer or a firewall in front of the application can return others.
MISSING = {404, 410}

#: Half a year, in seconds.
HSTS_SECONDS = 15_768_000

NO_RESPONSE_HINT = (
    "Request it with curl -v, also from another network; check the DNS record and the load balancer's listener and "
    "security group"
)

#: Status codes of a health endpoint that works.
HEALTHY = {200, 204}

#: Values of Referrer-Policy that do not send the path to other sites.
REFERRERS = {
    "no-referrer",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "origin",
    "origin-when-cross-origin",
}

#: Sources of a content security policy that allow the scripts of an attacker.
UNSAFE = {"*", "http:", "https:", "data:", "blob:", "filesystem:", "'unsafe-inline'", "'unsafe-eval'"}

#: Hosts of everyone's scripts. A source with a path allows a part of them.
CDNS = {"cdn.jsdelivr.net", "cdnjs.cloudflare.com", "esm.sh", "raw.githubusercontent.com", "unpkg.com"}

#: A source that stands for every host of a top-level domain.
EVERY_HOST = re.compile(r"(https?://)?\*(\.[a-z]+)?(:(\d+|\*))?/?")

HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options")

site_check = partial(check, guide=GUIDE, not_set=NO_URL, setting="URL", resource_of=attrgetter("url"))


@site_check(
    "web.certificate",
    title=f"TLS certificate is valid for at least {CERTIFICATE_DAYS} days",
    severity=Severity.HIGH,
    hint="Renew it. ACM renews it automatically while its DNS record exists: aws acm describe-certificate "
    "--certificate-arn ARN",
    references=("FSBP ACM.1",),
)
def certificate(site_response: SiteResponse) -> Verdict:
    """Browsers show a warning instead of the site when its certificate has expired."""
    site = site_response
    if site.certificate_error:
        return failed(site.certificate_error, hint=_certificate_hint(site))
    if site.certificate_until is None:
        return not_applicable(NO_RESPONSE)
    days = (site.certificate_until - site.read_at).days
    verdict = passed if days >= CERTIFICATE_DAYS else failed
    return verdict(f"valid until {site.certificate_until:%Y-%m-%d}", measured=f"{days} days left")


def _certificate_hint(site: SiteResponse) -> str:
    host = urlsplit(site.url).hostname
    return (
        "Attach a valid certificate for this name to the load balancer's listener. Run: aws acm request-certificate "
        f"--domain-name {host} --validation-method DNS"
    )


@site_check(
    "web.https-redirect",
    title="Plain HTTP is redirected to HTTPS",
    severity=Severity.HIGH,
    hint="Add a redirect to HTTPS:443 to the load balancer's listener on port 80",
    references=("FSBP ELB.1", "Prowler elbv2_ssl_listeners"),
)
def https_redirect(site_response: SiteResponse) -> Verdict:
    """Without the redirect, cookies and passwords of an http:// address are sent unencrypted."""
    site = site_response
    if urlsplit(site.url).port not in {None, 443}:
        return not_applicable("the URL contains a port; port 80 can belong to another site")
    if site.plain is None and isinstance(site.page, NoResponse):
        return not_applicable(NO_RESPONSE)
    if site.plain is None:
        return passed("port 80 is closed")
    if isinstance(site.plain, NoResponse):
        hint = (
            f"Check from another network: curl -I http://{urlsplit(site.url).hostname}/ (if a firewall drops port "
            "80 on purpose, add --exclude web.https-redirect)"
        )
        reason = f"no response on port 80: {site.plain.reason}; outgoing connections might be blocked here"
        return unknown(reason, hint=hint)
    location, host = site.plain.headers.get("location", ""), urlsplit(site.url).hostname
    target = urlsplit(location)
    is_site = target.scheme == "https" and same_site(target.hostname, host) and target.port in {None, 443}
    if 300 <= site.plain.status < 400 and is_site:
        return passed(f"{site.plain.status} to {location}")
    return failed(f"http:// returns {site.plain.status}" + (f" to {location}" if location else ""))


@site_check(
    "web.hsts",
    title="HTTP Strict Transport Security is enabled for at least half a year",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Set SECURE_HSTS_SECONDS=31536000",
    references=("Django security.W004",),
)
def hsts(site_response: SiteResponse) -> Verdict:
    """Without HSTS, an attacker in the network can intercept the first, unencrypted request of each visit."""
    page = site_response.page
    if isinstance(page, NoResponse):
        return not_applicable(NO_RESPONSE)
    header = page.headers.get("strict-transport-security", "")
    seconds = _max_age(header)
    return (passed if seconds >= HSTS_SECONDS else failed)(header or "the header is missing")


def _max_age(header: str) -> int:
    """Return the seconds of a Strict-Transport-Security header; 0: not valid, so that it has no effect.

    Of several headers, browsers use the first (RFC 6797).
    """
    named = [part.partition("=") for part in header.split(",")[0].split(";") if part.strip()]
    directives = {name.strip().lower(): value.strip().strip('"') for name, _, value in named}
    age = directives.get("max-age", "")
    return int(age) if age.isascii() and age.isdecimal() and len(directives) == len(named) else 0


@site_check(
    "web.security-headers",
    title="Security headers have effective values, and cookies are Secure, those of sessions HttpOnly",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Enable Django's SecurityMiddleware and XFrameOptionsMiddleware, set a content security policy without "
    "'unsafe-inline' and *, and set SESSION_COOKIE_SECURE and CSRF_COOKIE_SECURE",
    references=("Django security.W012", "Django security.W016"),
)
def security_headers(site_response: SiteResponse) -> Verdict:
    """They stop injected scripts, keep other sites from framing a page, and keep cookies out of plain HTTP."""
    page = site_response.page
    if isinstance(page, NoResponse):
        return not_applicable(NO_RESPONSE)
    policy = _directives(page.headers.get("content-security-policy", ""))
    problems = _script_problems(policy)
    if not _is_framing_limited(policy, page.headers):
        problems.append("x-frame-options and frame-ancestors do not limit framing")
    if not _is(page.headers, "x-content-type-options", {"nosniff"}):
        problems.append("x-content-type-options is not nosniff")
    if not _is(page.headers, "referrer-policy", REFERRERS):
        problems.append("referrer-policy has no strict value")
    if page.headers.get("access-control-allow-origin") in {ORIGIN, "null"} and _is(
        page.headers, "access-control-allow-credentials", {"true"}
    ):
        problems.append("access-control-allow-origin allows every site to read pages as the visitor")
    responses = (page, site_response.health, site_response.missing)
    cookies = {cookie: None for response in responses if isinstance(response, Response) for cookie in response.cookies}
    for cookie in cookies:
        name, attributes = cookie.partition(";")[0], _attributes(cookie)
        problems += [f"cookie {name} is not Secure"] if "secure" not in attributes else []
        problems += (
            [f"cookie {name} is not HttpOnly"] if "sess" in name.lower() and "httponly" not in attributes else []
        )
    return warned("; ".join(problems)) if problems else passed(", ".join(HEADERS))


def _directives(header: str) -> dict[str, list[str]]:
    """Return the sources of each directive of a content security policy."""
    words = [part.lower().split() for part in header.replace(",", ";").split(";")]
    return {directive[0]: directive[1:] for directive in reversed(words) if directive}


def _script_problems(policy: dict[str, list[str]]) -> list[str]:
    sources = policy.get("script-src", policy.get("default-src"))
    if sources is None:
        return ["content-security-policy does not limit scripts"]
    has_nonce = any(source.startswith(("'nonce-", "'sha")) or source == "'strict-dynamic'" for source in sources)
    ignored = {"'unsafe-inline'"} if has_nonce else set[str]()
    if "'strict-dynamic'" in sources:
        ignored |= {"*", "http:", "https:", *(source for source in sources if source not in UNSAFE)}
    unsafe = [source for source in sources if source not in ignored and _is_unsafe(source)]
    return [f"content-security-policy allows scripts from {', '.join(unsafe)}"] if unsafe else []


def _is_unsafe(source: str) -> bool:
    host = source.partition("://")[2] or source
    is_shared = host.rstrip("/") in CDNS or (host[:1] == "*" and is_wide(host[1:].rstrip("/")))
    return source in UNSAFE or is_shared or EVERY_HOST.fullmatch(source) is not None


def _is_framing_limited(policy: dict[str, list[str]], headers: Mapping[str, str]) -> bool:
    """Browsers ignore X-Frame-Options if the policy has frame-ancestors."""
    ancestors = policy.get("frame-ancestors")
    if ancestors is not None:
        return not {"*", "http:", "https:"} & set(ancestors)
    return _is(headers, "x-frame-options", {"deny", "sameorigin"})


def _is(headers: Mapping[str, str], name: str, values: Container[str]) -> bool:
    """Return whether the last value of a header is one of `values`."""
    return headers.get(name, "").split(",")[-1].strip().lower() in values


def _attributes(cookie: str) -> set[str]:
    return {attribute.strip().lower() for attribute in cookie.split(";")[1:]}


@site_check(
    "web.health",
    title="Front page and health endpoint respond without an error",
    severity=Severity.CRITICAL,
    hint="Read the application's log and check the load balancer's targets: aws elbv2 describe-target-health "
    "--target-group-arn ARN",
)
def health(site_response: SiteResponse) -> Iterable[Verdict]:
    """The application can be unreachable for users although every part of the deployment is healthy."""
    response, page, missing = site_response.health, site_response.page, site_response.missing
    if isinstance(response, NoResponse):
        return [failed(f"no response: {response.reason}", hint=NO_RESPONSE_HINT)]
    found = []
    if response.status not in HEALTHY:
        found.append(failed(f"the health endpoint returns {response.status}"))
    if response.unhealthy:
        found.append(failed(f"the health endpoint reports that {response.unhealthy} does not work"))
    if response.is_page and isinstance(missing, Response) and missing.is_page and missing.status == response.status:
        found.append(warned("the health endpoint responds as a missing page does", hint="Route it to the application"))
    if not isinstance(page, NoResponse) and page.status >= 400:
        verdict = failed if page.status >= 500 else warned
        found.append(verdict(f"the front page returns {page.status}", f"{site_response.url}/"))
    return found or [passed(f"the health endpoint returns {response.status}")]


@site_check(
    "web.no-debug-page",
    title="Pages show neither debug information, a server's default page nor files of the code",
    severity=Severity.CRITICAL,
    guide="Security Checklist",
    hint="Run the application with DEBUG = False: DJANGO_SETTINGS_MODULE=…settings_production",
    references=("Django security.W018",),
)
def no_debug_page(site_response: SiteResponse) -> Verdict:
    """Django's debug page shows settings, source code and paths to any visitor."""
    site = site_response
    missing, hint = site.missing, f"Check the response: curl -L {urljoin(site.url, MISSING_PATH)}"
    if isinstance(site.page, NoResponse):
        return not_applicable(NO_RESPONSE)
    pages = {"the front page": site.page, "the health endpoint": site.health, "a missing page": missing}
    for name, page in pages.items():
        if isinstance(page, Response) and page.internals:
            return failed(f"{name} shows {page.internals}")
    if site.exposed:
        hint = (
            "Serve no directory of the code. Replace every credential in the file: python manage.py sync_secrets FILE"
        )
        return failed(f"every visitor can read {', '.join(site.exposed)}", hint=hint)
    if isinstance(missing, NoResponse):
        return unknown(f"no response for a missing page: {missing.reason}", hint=hint)
    if missing.status in MISSING:
        return passed(f"a missing page returns {missing.status}")
    location = f" to {missing.headers['location']}" if "location" in missing.headers else ""
    evidence = f"a missing page returns {missing.status}{location}, not an error page of the application"
    return unknown(evidence, hint=hint)
