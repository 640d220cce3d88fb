"""Checks of what a visitor meets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.outside import MISSING_PATH, Answer, NoAnswer, Outside

GUIDE = "Next Steps: Phase 10"
MOOT = "nobody answers (see outside.health)"
UNDECLARED = 'nobody says what its address is (DEPLOYTOOLS["URL"])'

CERTIFICATE_DAYS = 21

#: What a page that is not there answers: others may be of the load balancer or of a firewall before the application.
MISSING = {404, 410}

#: Half a year, in seconds: less does not outlast a holiday.
HSTS_SECONDS = 15_768_000

NO_ANSWER_HINT = (
    "Look at it with curl -v, from elsewhere too; check the DNS record, the load balancer's listener and security group"
)

HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options")


def _seen(outside: Outside | None, judge: Callable[[Outside], Verdict]) -> Verdict:
    return not_applicable(UNDECLARED) if outside is None else judge(outside)


def _answered(outside: Outside | None, judge: Callable[[Answer], Verdict]) -> Verdict:
    """The verdict on the page, where there is one."""
    if outside is None:
        return not_applicable(UNDECLARED)
    if isinstance(outside.page, NoAnswer):
        return not_applicable(MOOT, outside.url)
    return replace(judge(outside.page), resource=outside.url)


@check(
    "outside.certificate",
    title="The address's certificate is valid for a while",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Renew it; ACM does so by itself while its DNS record is there: aws acm describe-certificate",
    peers=("FSBP ACM.1",),
)
def certificate(outside: Outside | None) -> Verdict:
    """On the day on which it ends every visitor is warned away."""

    def judge(seen: Outside) -> Verdict:
        if seen.distrust:
            return failed(seen.distrust, seen.url, _certificate_hint(seen))
        if seen.certificate_until is None:
            return not_applicable(MOOT, seen.url)
        days = (seen.certificate_until - seen.read_at).days
        judge = passed if days >= CERTIFICATE_DAYS else failed
        return judge(f"valid until {seen.certificate_until:%Y-%m-%d}", seen.url, measured=f"{days} days left")

    return _seen(outside, judge)


def _certificate_hint(seen: Outside) -> str:
    host = urlsplit(seen.url).hostname
    return (
        "Give the load balancer's listener a valid certificate of that name. Run: aws acm request-certificate "
        f"--domain-name {host} --validation-method DNS"
    )


@check(
    "outside.redirect",
    title="Who comes without TLS is led to https",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Give the load balancer's listener on port 80 a redirect to HTTPS:443",
    peers=("FSBP ELB.1", "Prowler elbv2_ssl_listeners"),
)
def redirect(outside: Outside | None) -> Verdict:
    """What is typed into a browser without https goes over the wire in clear, cookies and passwords too."""

    def judge(seen: Outside) -> Verdict:
        if urlsplit(seen.url).port not in {None, 443}:
            return not_applicable("the address names a port: what answers on port 80 is another's", seen.url)
        if seen.plain is None and isinstance(seen.page, NoAnswer):
            return not_applicable(MOOT, seen.url)
        if seen.plain is None:
            return passed("nothing listens there without TLS", seen.url)
        if isinstance(seen.plain, NoAnswer):
            hint = (
                f"Look from elsewhere: curl -I http://{urlsplit(seen.url).hostname}/ (if a firewall is to drop it, "
                "leave the check out: --exclude outside.redirect)"
            )
            return unknown(f"no answer on port 80: {seen.plain.said}; it may be barred from here", seen.url, hint)
        to = seen.plain.headers.get("location", "")
        if 300 <= seen.plain.status < 400 and to.startswith("https://"):
            return passed(f"{seen.plain.status} to {to}", seen.url)
        return failed(f"http answers {seen.plain.status}" + (f" to {to}" if to else ""), seen.url)

    return _seen(outside, judge)


@check(
    "outside.hsts",
    title="Browsers are told to come by https only",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=GUIDE,
    hint="Set SECURE_HSTS_SECONDS=31536000",
    peers=("Django security.W004",),
)
def hsts(outside: Outside | None) -> Verdict:
    """Without it the first request of every visit can be caught and kept from being redirected."""

    def judge(page: Answer) -> Verdict:
        said = page.headers.get("strict-transport-security", "")
        age = next((part.partition("=")[2] for part in said.replace(" ", "").split(";") if "max-age=" in part), "0")
        seconds = int(age) if age.isdecimal() else 0
        return (passed if seconds >= HSTS_SECONDS else failed)(said or "the header is not there")

    return _answered(outside, judge)


@check(
    "outside.headers",
    title="Pages bear the headers that protect their visitors",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=GUIDE,
    hint="Switch on Django's SecurityMiddleware, XFrameOptionsMiddleware and a content security policy",
)
def headers(outside: Outside | None) -> Verdict:
    """They keep a foreign script from running, and the page out of a foreign frame."""

    def judge(page: Answer) -> Verdict:
        missing = [name for name in HEADERS if name not in page.headers]
        return warned(f"missing: {', '.join(missing)}") if missing else passed(", ".join(HEADERS))

    return _answered(outside, judge)


@check(
    "outside.health",
    title="The application says from outside that it can serve",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Read the application's log; look at the load balancer's targets: aws elbv2 describe-target-health",
)
def health(outside: Outside | None) -> Verdict:
    """Everything inside may be in order and no visitor get through."""

    def judge(seen: Outside) -> Verdict:
        if isinstance(seen.health, NoAnswer):
            return failed(f"no answer: {seen.health.said}", seen.url, NO_ANSWER_HINT)
        return (passed if seen.health.status == 200 else failed)(f"it answers {seen.health.status}", seen.url)

    return _seen(outside, judge)


@check(
    "outside.no-debug-page",
    title="An error shows visitors nothing of the inside",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist",
    hint="Run it with DEBUG off: DJANGO_SETTINGS_MODULE=…settings_production",
    peers=("Django security.W018",),
)
def no_debug_page(outside: Outside | None) -> Verdict:
    """Django's page for developers shows settings, code and paths to whoever makes an error happen."""

    def judge(seen: Outside) -> Verdict:
        missing, hint = seen.missing, f"Look at it: curl -L {urljoin(seen.url, MISSING_PATH)}"
        if isinstance(seen.page, NoAnswer):
            return not_applicable(MOOT, seen.url)
        if isinstance(missing, NoAnswer):
            return unknown(f"a page that is not there gives no answer: {missing.said}", seen.url, hint)
        if missing.is_debug_page:
            return failed("a page that is not there shows Django's debug page", seen.url)
        if missing.status in MISSING:
            return passed(f"a page that is not there answers {missing.status}", seen.url)
        to = f" to {missing.headers['location']}" if "location" in missing.headers else ""
        return unknown(f"a page that is not there answers {missing.status}{to}: no error page was seen", seen.url, hint)

    return _seen(outside, judge)
