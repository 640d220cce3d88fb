"""Checks of the Django project."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from urllib.parse import urlsplit

from deploytools.conf import Settings
from deploytools.verification.connection.database_settings import DatabaseSettings
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.project.facts import ProjectReport, SecretKeyFallbacks
from deploytools.verification.registry import check
from deploytools.verification.secret.facts import SettingsInUse

HTTPS = 443

#: Values of SECURE_PROXY_SSL_HEADER that a load balancer sends for HTTPS. Django compares case-sensitively.
SECURE = {"https", "on", "1"}

#: Headers with the protocol of the request, of load balancers and of CloudFront.
SET_BY_AWS = {"HTTP_X_FORWARDED_PROTO", "HTTP_CLOUDFRONT_FORWARDED_PROTO"}

#: The name of a request's header in ``request.META``.
META_NAME = re.compile("HTTP_[A-Z0-9_]+")

#: Names in ``request.META`` with the protocol, which the WSGI server sets.
SET_BY_SERVER = {"HTTPS", "wsgi.url_scheme"}

#: Domains below which anyone can register a name.
SHARED = re.compile(
    r"\.((co|com|org|net|ac|gov|edu|or|ne)\.[a-z]{2}"
    r"|([\w-]+\.)*(amazonaws\.com(\.cn)?|awsapprunner\.com|elasticbeanstalk\.com)"
    r"|(cloudfront|azurewebsites|fastly|b-cdn)\.net|(herokuapp|onrender|appspot|ngrok)\.com|(github|ngrok|gitlab)\.io"
    r"|(vercel|netlify|web|ngrok-free)\.app|([\w-]+\.)?run\.app|(fly|pages|workers)\.dev|trycloudflare\.com)"
)

startup_check = partial(check, severity=Severity.HIGH, tags=("startup",))


@startup_check(
    "django.check-deploy",
    title="Django's check --deploy reports no issues and silences none, and no setting is meant for development",
    guide="Security Checklist: Django SECRET_KEY is unique for production",
    hint="Run: python manage.py check --deploy",
    references=("Django check --deploy",),
)
def check_deploy(project: ProjectReport, settings: Settings) -> Verdict:
    """Each issue is a known weakness of a production deployment. The settings of this process are checked."""
    host = urlsplit(settings.url).hostname or ""
    weak = [*project.weak, *_rejected_cookies(project.cookie_domains, host)]
    if not project.messages and weak:
        hint = "Run the command with the production settings. If it has, correct these settings"
        return failed(f"with {project.settings_module}: {'; '.join(weak)}", hint=hint)
    if not project.messages and project.silenced:
        hint = "Fix the issue, or replace SILENCED_SYSTEM_CHECKS by a waiver with a reason and an expiry date"
        return warned(f"with {project.settings_module}; silenced: {', '.join(project.silenced)}", hint=hint)
    if not project.messages:
        return passed(f"with {project.settings_module}")
    found = "; ".join([*(f"{id} {text.split('. ')[0].rstrip('.')}" for id, text in project.messages), *weak])
    hint = "Run the command with the production settings. For details, run: python manage.py check --deploy"
    return failed(f"with {project.settings_module}: {found}", hint=hint)


def _rejected_cookies(domains: Iterable[tuple[str, str]], host: str) -> Iterable[str]:
    """Yield the domains of cookies that browsers reject from `host`, or send to hosts of others."""
    for name, domain in domains:
        if is_wide(f".{domain.lstrip('.')}") or (host and not _is_allowed(host, [f".{domain.lstrip('.')}"])):
            yield f"{name} is {domain}"


@startup_check(
    "django.allowed-hosts",
    title="ALLOWED_HOSTS contains only the application's hosts",
    guide="Step 6",
    hint="Set ALLOWED_HOSTS to the host names that the load balancer forwards",
    references=("Django security.W020",),
)
def allowed_hosts(project: ProjectReport, settings: Settings) -> Verdict:
    """With *, an attacker can put any host into password reset links; requests for a host that is missing are"
    " rejected with 400."""
    host = urlsplit(settings.url).hostname or ""
    if "*" in project.allowed_hosts:
        return failed("ALLOWED_HOSTS contains *, which matches every host")
    if not project.allowed_hosts:
        return failed("ALLOWED_HOSTS is empty")
    if wide := [pattern for pattern in project.allowed_hosts if is_wide(pattern)]:
        return failed(f"ALLOWED_HOSTS contains {', '.join(wide)}, which matches hosts of others")
    if host and not _is_allowed(host, project.allowed_hosts):
        return failed(f"ALLOWED_HOSTS does not contain {host}", hint=f"Add {host} to ALLOWED_HOSTS")
    return passed(", ".join(project.allowed_hosts))


@startup_check(
    "django.trusted-origins",
    title="CSRF_TRUSTED_ORIGINS contains the application's address",
    guide="Next Steps: Phase 10",
    hint="Add https:// and the host name to CSRF_TRUSTED_ORIGINS",
)
def trusted_origins(project: ProjectReport, settings: Settings) -> Verdict:
    """Behind a load balancer that changes the Host header, Django otherwise rejects every form with 403."""
    plain = [origin for origin in project.trusted_origins if not origin.startswith("https://")]
    if plain:
        return failed(f"not https: {', '.join(plain)}")
    if wide := [origin for origin in project.trusted_origins if is_wide(_pattern(origin))]:
        return failed(f"{', '.join(wide)} matches hosts of others")
    if not settings.url:
        return not_applicable('DEPLOYTOOLS["URL"] is not set')
    url = urlsplit(settings.url)
    host, port = url.hostname or "", url.port or HTTPS
    same_port = [origin for origin in project.trusted_origins if (urlsplit(origin).port or HTTPS) == port]
    if not any(_is_allowed(host, [_pattern(origin)]) for origin in same_port):
        expected = f"https://{host}" + (f":{port}" if port != HTTPS else "")
        return failed(
            f"CSRF_TRUSTED_ORIGINS does not contain {expected}", hint=f"Add {expected} to CSRF_TRUSTED_ORIGINS"
        )
    return passed(", ".join(project.trusted_origins))


def _is_allowed(host: str, patterns: Iterable[str]) -> bool:
    """Match as ALLOWED_HOSTS does: without case, and a leading dot matches the domain and its subdomains."""
    patterns = [pattern.lower() for pattern in patterns]
    return any(host == pattern.lstrip(".") or (pattern[:1] == "." and host.endswith(pattern)) for pattern in patterns)


def is_wide(pattern: str) -> bool:
    """Return whether a pattern for subdomains matches those of others: ``.com``, ``.co.uk``, ``.amazonaws.com``."""
    return pattern[:1] == "." and ("." not in pattern.strip(".") or SHARED.fullmatch(pattern.lower()) is not None)


def _pattern(origin: str) -> str:
    """The host of an origin in the form of ALLOWED_HOSTS."""
    return origin.removeprefix("https://").removeprefix("*").partition(":")[0]


@startup_check(
    "django.proxy-ssl-header",
    title="SECURE_PROXY_SSL_HEADER is set behind a load balancer",
    guide="Next Steps: Phase 10",
    hint='Set SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")',
)
def proxy_ssl_header(project: ProjectReport, settings: Settings) -> Verdict:
    """If the load balancer terminates TLS, Django otherwise redirects every request to https in a loop."""
    if project.proxy_ssl_header and project.proxy_ssl_header[0] in SET_BY_SERVER:
        hint = "Check that the WSGI server sets it from the load balancer's X-Forwarded-Proto"
        return unknown(f"{project.proxy_ssl_header[0]} is set by the WSGI server", hint=hint)
    if project.proxy_ssl_header and not META_NAME.fullmatch(project.proxy_ssl_header[0]):
        return failed(f"request.META never has {project.proxy_ssl_header[0]}: the name of a header is HTTP_…")
    if project.proxy_ssl_header and project.proxy_ssl_header[1] not in SECURE:
        return failed(f"SECURE_PROXY_SSL_HEADER takes {' = '.join(project.proxy_ssl_header)} for HTTPS")
    if project.proxy_ssl_header and project.proxy_ssl_header[0] not in SET_BY_AWS:
        return warned(f"AWS's load balancers do not set {project.proxy_ssl_header[0]}: any client can")
    if project.proxy_ssl_header:
        return passed(" = ".join(project.proxy_ssl_header))
    if not settings.url and not settings.ecs_service:
        return not_applicable('neither DEPLOYTOOLS["URL"] nor DEPLOYTOOLS["ECS_SERVICE"] is set')
    return failed("SECURE_PROXY_SSL_HEADER is not set")


@startup_check(
    "django.secret-key-fallbacks",
    title="SECRET_KEY_FALLBACKS contains only strong keys",
    guide="Security Checklist: Django SECRET_KEY is unique for production (50+ characters)",
    hint="Remove the key from SECRET_KEY_FALLBACKS; sessions that it signed end and their users must log in again",
    references=("Django security.W025",),
)
def strong_fallbacks(secret_key_fallbacks: SecretKeyFallbacks) -> Iterable[Verdict]:
    """Django accepts signatures of an old key: an attacker who guesses it can log in as any user."""
    if not secret_key_fallbacks.number:
        return [not_applicable("SECRET_KEY_FALLBACKS is empty")]
    found = [failed(problem, f"SECRET_KEY_FALLBACKS[{index}]") for index, problem in secret_key_fallbacks.problems]
    return found or [passed(f"{secret_key_fallbacks.number} beside the key in use")]


@startup_check(
    "django.credentials-match-secret",
    title="Credentials in Django's settings match the secret",
    guide="Security Checklist: All production secrets stored in AWS Secrets Manager (not in code)",
    hint="Use the production settings, and restart processes that started before the secret was changed",
)
def credentials_match_secret(settings_in_use: SettingsInUse, database_settings: DatabaseSettings | None) -> Verdict:
    """A value from the environment or a default overrides the secret's, and stops working at the next rotation."""
    database = database_settings or DatabaseSettings()
    different = [*settings_in_use.different, *([database.sentence] if database.different else [])]
    equal = [
        *settings_in_use.equal,
        *([f"DATABASES['default']: {', '.join(database.equal)}"] if database.equal else []),
    ]
    if different:
        return failed(f"different: {'; '.join(different)}", hint="" if settings_in_use.different else database.hint)
    if not equal:
        return failed("the secret contains none of them")
    return passed(f"same values: {'; '.join(equal)}")
