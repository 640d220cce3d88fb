"""Checks of the Django project."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.project import OldKeys, ProjectReport
from deploytools.verification.sources.secret import SettingsInUse


@check(
    "django.check-deploy",
    title="Django's check --deploy finds nothing",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Django SECRET_KEY is unique for production",
    hint="Run: python manage.py check --deploy",
    tags=("startup",),
    peers=("Django check --deploy",),
)
def check_deploy(project: ProjectReport) -> Verdict:
    """Each message is a door that Django knows how to shut. The settings that are judged are those of this run."""
    if not project.messages:
        silenced = f"; silenced: {', '.join(project.silenced)}" if project.silenced else ""
        return passed(f"under {project.settings}{silenced}")
    found = "; ".join(f"{identifier} {text.split('. ')[0].rstrip('.')}" for identifier, text in project.messages)
    hint = "Run it under the production settings; more of each: python manage.py check --deploy"
    return failed(f"under {project.settings}: {found}", hint=hint)


@check(
    "django.allowed-hosts",
    title="Django answers to the names that it has, and to no others",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Set ALLOWED_HOSTS to the names that the load balancer passes on",
    tags=("startup",),
    peers=("Django security.W020",),
)
def allowed_hosts(project: ProjectReport, expectation: Expectation) -> Verdict:
    """With * anybody's name gets into password-reset links; without its own, every request is answered with 400."""
    host = urlsplit(expectation.url).hostname or ""
    if "*" in project.allowed_hosts:
        return failed("ALLOWED_HOSTS has *, which is every name")
    if not project.allowed_hosts:
        return failed("ALLOWED_HOSTS is empty")
    if host and not _is_allowed(host, project.allowed_hosts):
        return failed(f"ALLOWED_HOSTS has no {host}", hint=f"Put {host} into ALLOWED_HOSTS")
    return passed(", ".join(project.allowed_hosts))


@check(
    "django.trusted-origins",
    title="Django trusts the forms of its own address",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Next Steps: Phase 10",
    hint="Put https:// and the name into CSRF_TRUSTED_ORIGINS",
    tags=("startup",),
)
def trusted_origins(project: ProjectReport, expectation: Expectation) -> Verdict:
    """Behind a load balancer that changes the host, every form is answered with 403, the admin's login first."""
    foreign = [origin for origin in project.trusted_origins if not origin.startswith("https://")]
    if foreign:
        return failed(f"not https: {', '.join(foreign)}")
    if not expectation.url:
        return not_applicable('nobody says what its address is (DEPLOYTOOLS["URL"])')
    host = urlsplit(expectation.url).hostname or ""
    if not any(_is_allowed(host, [_pattern(origin)]) for origin in project.trusted_origins):
        return failed(f"no https://{host} in it", hint=f"Put https://{host} into CSRF_TRUSTED_ORIGINS")
    return passed(", ".join(project.trusted_origins))


def _is_allowed(host: str, patterns: Iterable[str]) -> bool:
    """As Django reads ALLOWED_HOSTS: a leading dot stands for the name itself and all below it."""
    return any(host == pattern.lstrip(".") or (pattern[:1] == "." and host.endswith(pattern)) for pattern in patterns)


def _pattern(origin: str) -> str:
    """The host of an origin as ALLOWED_HOSTS would write it."""
    return origin.removeprefix("https://").removeprefix("*").partition(":")[0]


@check(
    "django.proxy-header",
    title="Django knows from the load balancer that a request came by TLS",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Next Steps: Phase 10",
    hint='Set SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")',
    tags=("startup",),
)
def proxy_header(project: ProjectReport, expectation: Expectation) -> Verdict:
    """Where the load balancer ends TLS, Django without it redirects every request to https again and again."""
    if project.proxy_header:
        return passed(" = ".join(project.proxy_header))
    if not expectation.url and not expectation.ecs_service:
        return not_applicable("nobody says that a load balancer is before it (URL, ECS_SERVICE)")
    return failed("SECURE_PROXY_SSL_HEADER is not set")


@check(
    "django.old-keys",
    title="The old keys that Django still accepts are strong ones",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Django SECRET_KEY is unique for production (50+ characters)",
    hint="Take it out of SECRET_KEY_FALLBACKS: who has a session from before it was changed logs in again",
    tags=("startup",),
    peers=("Django security.W025",),
)
def old_keys_strong(old_keys: OldKeys) -> Iterable[Verdict]:
    """What an old key signed is still believed: whoever guesses it is any user."""
    if not old_keys.number:
        return [not_applicable("SECRET_KEY_FALLBACKS is empty")]
    found = [failed(problem, f"SECRET_KEY_FALLBACKS[{index}]") for index, problem in old_keys.problems]
    return found or [passed(f"{old_keys.number} beside the one in use")]


@check(
    "settings.from-secret",
    title="Django's credentials are the secret's",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: All production secrets stored in AWS Secrets Manager (not in code)",
    hint="Run it under the production settings; restart processes that began before the secret was changed",
    tags=("startup",),
)
def credentials(settings_in_use: SettingsInUse) -> Verdict:
    """A value of the environment or of a default that wins over the secret's is found when the secret is rotated."""
    if settings_in_use.differing:
        return failed(f"differing: {', '.join(settings_in_use.differing)}")
    if not settings_in_use.agreeing:
        return failed("the secret holds none of them")
    return passed(f"equal: {', '.join(settings_in_use.agreeing)}")
