"""Facts of outgoing email: the connection that Django opens to send it, and the state of Amazon SES."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Any

import django
from django.conf import settings as django_settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.smtp import EmailBackend

from deploytools import aws
from deploytools.errors import ConfigurationError, NotFound
from deploytools.secrets.contract import GMAIL_HOST, SES_HOST
from deploytools.secrets.document import value_of
from deploytools.secrets.plan import SecretState
from deploytools.verification.registry import fact

#: Seconds for each stage if the project sets no timeout.
TIMEOUT = 5

#: The reply code with which a server starts a session.
GREETING = 220

STAGES = ("DNS", "TCP", "TLS", "EHLO", "STARTTLS", "AUTH", "MAIL FROM")


@dataclass(frozen=True)
class MailLogin:
    """The result of opening Django's connection to the SMTP server, without a credential.

    Attributes:
        server: ``Gmail``, ``SES in us-east-1`` or ``the SMTP server``.
        failed_stage: one of `STAGES`; empty: none failed.
        code: SMTP reply code, if the server sent one.
        seconds: duration of each completed stage.
        has_login: whether Django logs in; False: the server is a relay.
        backend: the class of the mail backend if it is not Django's for SMTP; nothing else was evaluated then.
        sender: the address of ``DEFAULT_FROM_EMAIL``.
    """

    server: str
    failed_stage: str = ""
    reason: str = ""
    code: int | None = None
    seconds: tuple[tuple[str, float], ...] = ()
    has_login: bool = True
    is_encrypted: bool = True
    backend: str = ""
    sender: str = ""


@fact(deadline=40)
def mail_login() -> MailLogin:
    """Django's own connection to the SMTP server, up to the sender's address. No message is sent."""
    sender = parseaddr(django_settings.DEFAULT_FROM_EMAIL)[1]
    connection = _connection()
    if not isinstance(connection, EmailBackend):
        backend = type(connection)
        return MailLogin("", backend=f"{backend.__module__}.{backend.__qualname__}", sender=sender)
    connection.fail_silently = False
    connection.timeout = connection.timeout or TIMEOUT
    host, has_login = str(connection.host), bool(connection.username and connection.password)
    is_encrypted = bool(connection.use_ssl or connection.use_tls)
    seconds: list[tuple[str, float]] = []
    stage, started = STAGES[0], time.monotonic()

    def advance(following: str) -> None:
        nonlocal stage, started
        seconds.append((stage, time.monotonic() - started))
        stage, started = following, time.monotonic()

    try:
        socket.getaddrinfo(host, int(connection.port), type=socket.SOCK_STREAM)
        advance("TCP")
        _observe(connection, advance)
        connection.open()
        advance("MAIL FROM")
        _offer_sender(connection.connection, sender)
        advance("")
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        code = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else None
        failed = "TLS" if stage == "TCP" and isinstance(error, ssl.SSLError) else stage
        reason = _redacted_reason(error, connection)
        seconds = [(name, value) for name, value in seconds if name != failed]
        return MailLogin(
            _server_name(host), failed, reason, code, tuple(seconds), has_login, is_encrypted, sender=sender
        )
    finally:
        # Django 5.2.0 and older have no partial connection.
        session = connection.connection or getattr(connection, "_partial_connection", None)
        if session is not None:
            session.close()
        connection.connection = connection._partial_connection = None  # type: ignore[attr-defined]
    return MailLogin(_server_name(host), "", "", None, tuple(seconds), has_login, is_encrypted, sender=sender)


def _connection() -> Any:
    """The connection that ``send_mail`` uses. Django 6.1 creates its mailer also from ``EMAIL_…`` settings."""
    try:
        if django.VERSION >= (6, 1):
            mailers: Any = getattr(mail, "mailers")  # noqa: B009
            return mailers["default"]
        return mail.get_connection()
    except (ImproperlyConfigured, ImportError) as error:
        raise ConfigurationError(
            f"Django could not create its mailer: {' '.join(str(error).split())}",
            hint="Correct MAILERS['default'], or EMAIL_BACKEND before Django 6.1",
        ) from None


def _observe(connection: Any, advance: Callable[[str], None]) -> None:
    """Make `connection` report the stages of its SMTP session."""
    session: Any = connection.connection_class

    class Observed(session):  # type: ignore[misc]
        def connect(self, *args: Any, **options: Any) -> Any:
            response = super().connect(*args, **options)
            if response[0] == GREETING:
                advance("EHLO")
            return response

        def starttls(self, **options: Any) -> Any:
            self.ehlo_or_helo_if_needed()
            advance("STARTTLS")
            return super().starttls(**options)

        def login(self, *args: Any, **options: Any) -> Any:
            self.ehlo_or_helo_if_needed()
            advance("AUTH")
            return super().login(*args, **options)

    backend: Any = type(connection)
    connection.__class__ = type(backend.__name__, (backend,), {"connection_class": Observed})


def _offer_sender(session: Any, sender: str) -> None:
    """A server that requires a login, or does not send for the sender's domain, rejects the address."""
    session.ehlo_or_helo_if_needed()  # STARTTLS starts a new session.
    code, response = session.mail(sender)
    if code >= 400:
        raise smtplib.SMTPSenderRefused(code, response, sender)
    session.rset()


def _server_name(host: str) -> str:
    if SES_HOST.fullmatch(host):
        return f"SES in {host.split('.')[1]}"
    return "Gmail" if host == GMAIL_HOST else "the SMTP server"


def _redacted_reason(error: Exception, connection: Any) -> str:
    """The reason in one line, without the login and the host: a server can quote what it received."""
    reason = _reason(error)
    login = [str(value) for value in (connection.username, connection.password) if value]
    forms = ["\0".join(("", *login)), *reversed(login)] if login else []
    encoded = [b64encode(text.encode()).decode() for text in forms]
    for value in (*encoded, *reversed(login), str(connection.host)):
        reason = reason.replace(value, "…")
    return reason


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "the login has characters that SMTP cannot send"
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return f"{error.smtp_code} {' '.join(text.split())}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"timed out after {TIMEOUT} s"
    return " ".join(str(getattr(error, "strerror", None) or error).split())


@dataclass(frozen=True)
class SesAccount:
    """The SES account in the Region of the SMTP server; None: not in the AWS response.

    Attributes:
        sent, quota: messages in 24 hours; a quota of -1: unlimited.
        bounces, complaints: the latest rates in CloudWatch, from 0 to 1; None: no message was sent lately.
    """

    region: str
    has_production_access: bool | None
    can_send: bool | None
    enforcement: str | None = None
    sent: float | None = None
    quota: float | None = None
    bounces: float | None = None
    complaints: float | None = None


@fact(actions=("ses:GetAccount", "cloudwatch:GetMetricStatistics"))
def ses_account(secret: SecretState) -> SesAccount | None:
    """The SES account; None: the SMTP server is not Amazon SES."""
    region = _ses_region(secret)
    if not region:
        return None
    with aws.translate_aws_errors("ses:GetAccount", f"SES in {region}"):
        account = aws.client("sesv2", region).get_account()
    quota = account.get("SendQuota") or {}
    return SesAccount(
        region,
        account.get("ProductionAccessEnabled"),
        account.get("SendingEnabled"),
        account.get("EnforcementStatus"),
        quota.get("SentLast24Hours"),
        quota.get("Max24HourSend"),
        _rate("Reputation.BounceRate", region),
        _rate("Reputation.ComplaintRate", region),
    )


def _rate(metric: str, region: str) -> float | None:
    """Return the latest value of a metric of SES in the last two days; None: there is none."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with aws.translate_aws_errors("cloudwatch:GetMetricStatistics", f"{metric} in {region}"):
        found = aws.client("cloudwatch", region).get_metric_statistics(
            Namespace="AWS/SES",
            MetricName=metric,
            StartTime=now - timedelta(days=2),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Average"],
        )
    latest = max(found["Datapoints"], key=lambda point: point["Timestamp"], default=None)
    return latest["Average"] if latest else None


@dataclass(frozen=True)
class SesIdentity:
    """The sender's domain in SES.

    Attributes:
        domain: the domain of ``DEFAULT_FROM_EMAIL``.
        is_verified: whether SES sends for it; False: it does not exist in SES; None: not in the AWS response.
        dkim: ``SUCCESS``, ``PENDING``, …; None: not in the AWS response.
        is_signing: whether DKIM signing is enabled.
        mail_from: status of the custom MAIL FROM domain; None: there is none.
        mail_from_domain: that domain; empty: SES uses its own.
        key_length: the length of the DKIM key of SES: ``RSA_1024_BIT``; empty: not in the AWS response.
    """

    domain: str
    is_verified: bool | None
    dkim: str | None
    is_signing: bool | None = None
    mail_from: str | None = None
    mail_from_domain: str = ""
    key_length: str = ""


@fact(actions=("ses:GetEmailIdentity",))
def ses_identity(secret: SecretState) -> SesIdentity | None:
    """The sender's domain in SES; None: the SMTP server is not Amazon SES."""
    region, domain = _ses_region(secret), parseaddr(django_settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    if not region:
        return None
    try:
        with aws.translate_aws_errors("ses:GetEmailIdentity", f"the identity {domain} in {region}"):
            identity = aws.client("sesv2", region).get_email_identity(EmailIdentity=domain)
    except NotFound:
        return SesIdentity(domain, False, None)
    dkim, sender = identity.get("DkimAttributes") or {}, identity.get("MailFromAttributes") or {}
    return SesIdentity(
        domain,
        identity.get("VerifiedForSendingStatus"),
        dkim.get("Status"),
        dkim.get("SigningEnabled"),
        sender.get("MailFromDomainStatus"),
        sender.get("MailFromDomain", ""),
        dkim.get("CurrentSigningKeyLength", ""),
    )


def _ses_region(secret: SecretState) -> str:
    host = smtp_host(secret)
    return host.split(".")[1] if SES_HOST.fullmatch(host) else ""


def smtp_host(secret: SecretState) -> str:
    """Return the host of Django's SMTP server; with another backend, the one in the secret."""
    connection = _connection()
    host = connection.host if isinstance(connection, EmailBackend) else value_of(secret.document, "email_host")
    return str(host or "").lower()
