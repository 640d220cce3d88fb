"""Facts of outgoing mail: a real dialogue with the server up to the login, and SES's word where the host is SES."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from base64 import b64encode
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage

from django.conf import settings

from deploytools import aws
from deploytools.errors import ConfigurationError, NotFound
from deploytools.loader import require
from deploytools.secret.pairs import GMAIL_HOST, SES_HOST
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact

#: Seconds for each step of the dialogue.
TIMEOUT = 5

REQUIRED = ("email_host", "email_port", "email_user", "email_password")

#: The port on which TLS comes first and SMTP after it.
IMPLICIT_TLS = 465

STAGES = ("name", "TCP", "EHLO", "STARTTLS", "AUTH")


@dataclass(frozen=True)
class MailDialogue:
    """How far a dialogue with the mail server came; no value of the secret is in it.

    Attributes:
        server: whose it is.
        broken: the stage that failed, one of `STAGES`; empty: none.
        said: why it failed.
        code: SMTP's reply code, where the server gave one.
        seconds: how long each stage took that held.
    """

    server: str
    broken: str = ""
    said: str = ""
    code: int | None = None
    seconds: tuple[tuple[str, float], ...] = ()


@fact(deadline=30)
def mail_dialogue(secret: SecretState) -> MailDialogue:
    """One login to the mail server of the secret. No message is sent."""
    with ExitStack() as stack:
        return _dialogue(secret, stack)[0]


def send_test_mail(secret: SecretState, to: str, *, sender: str = "") -> MailDialogue:
    """Log in to the mail server of the secret and send one message.

    Args:
        to: whom to.
        sender: whom from; empty: the user that logs in, which must then be an address.

    Raises:
        ConfigurationError: the dialogue broke off, or the server refused the message; says at which stage and why.
    """
    with ExitStack() as stack:
        dialogue, session = _dialogue(secret, stack)
        if session is None:
            raise ConfigurationError(
                f"No mail was sent: {dialogue.server}: {dialogue.broken} failed: {dialogue.said}.",
                hint="Put the right values into the secret: python manage.py sync_secrets FILE",
            )
        message = EmailMessage()
        message["From"], message["To"] = sender or str(secret.document["email_user"].reveal()), to
        message["Subject"] = "Test of the deployment's mail"
        message.set_content("If you read this, the deployment can send mail.\n")
        try:
            session.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            raise ConfigurationError(
                f"The login was taken and the message refused by {dialogue.server}: {_said(error, secret)}.",
                hint="Is the sender an address that it may send from?",
            ) from None
        return dialogue


def _dialogue(secret: SecretState, stack: ExitStack) -> tuple[MailDialogue, smtplib.SMTP | None]:
    """The dialogue up to the login, and the session, which `stack` ends."""
    require(secret.document, REQUIRED, name=secret.name)
    host, user = str(secret.document["email_host"].reveal()), str(secret.document["email_user"].reveal())
    port = int(secret.document["email_port"].reveal())
    seconds: list[tuple[str, float]] = []
    stage, started = STAGES[0], time.monotonic()

    def held(following: str) -> None:
        nonlocal stage, started
        seconds.append((stage, time.monotonic() - started))
        stage, started = following, time.monotonic()

    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        held("TCP")
        session = _connect(host, port)
        stack.callback(session.close)
        held("EHLO")
        session.ehlo_or_helo_if_needed()
        held("STARTTLS")
        if port != IMPLICIT_TLS:
            session.starttls(context=ssl.create_default_context())
        held("AUTH")
        session.login(user, str(secret.document["email_password"].reveal()))
        held("")
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        code = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else None
        return MailDialogue(_whose(host), stage, _said(error, secret), code, tuple(seconds)), None
    return MailDialogue(_whose(host), seconds=tuple(seconds)), session


def _whose(host: str) -> str:
    if SES_HOST.fullmatch(host):
        return f"SES in {host.split('.')[1]}"
    return "Gmail" if host == GMAIL_HOST else "the mail server"


def _connect(host: str, port: int) -> smtplib.SMTP:
    if port == IMPLICIT_TLS:
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=TIMEOUT)


def _said(error: Exception, secret: SecretState) -> str:
    """What went wrong, in one line; a server may quote what it was sent, and that is taken out."""
    said = _words(error)
    user, password = (str(secret.document[key].reveal()) for key in ("email_user", "email_password"))
    encoded = [b64encode(text.encode()).decode() for text in (f"\0{user}\0{password}", password, user)]
    for value in (*encoded, password, user, str(secret.document["email_host"].reveal())):
        said = said.replace(value, "…")
    return said


def _words(error: Exception) -> str:
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
    """What SES says of the account in the host's Region; None where it says nothing."""

    region: str
    is_in_production: bool | None
    sends: bool | None


@fact(actions=("ses:GetAccount",))
def ses_account(secret: SecretState) -> SesAccount | None:
    """SES's account; None where the mail server is another."""
    region = _ses_region(secret)
    if not region:
        return None
    with aws.calling("ses:GetAccount", f"SES in {region}"):
        said = aws.client("sesv2", region).get_account()
    return SesAccount(region, said.get("ProductionAccessEnabled"), said.get("SendingEnabled"))


@dataclass(frozen=True)
class SesIdentity:
    """What SES says of the domain that mail is sent from; None where it says nothing.

    Attributes:
        domain: of ``DEFAULT_FROM_EMAIL``.
        is_verified: whether SES may send for it; False where SES does not know it.
        dkim: ``SUCCESS``, ``PENDING``, …
    """

    domain: str
    is_verified: bool | None
    dkim: str | None


@fact(actions=("ses:GetEmailIdentity",))
def ses_identity(secret: SecretState) -> SesIdentity | None:
    """The sender's domain in SES; None where the mail server is another."""
    region, domain = _ses_region(secret), settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip("> ")
    if not region:
        return None
    try:
        with aws.calling("ses:GetEmailIdentity", f"the identity {domain} in {region}"):
            said = aws.client("sesv2", region).get_email_identity(EmailIdentity=domain)
    except NotFound:
        return SesIdentity(domain, False, None)
    return SesIdentity(domain, said.get("VerifiedForSendingStatus"), said.get("DkimAttributes", {}).get("Status"))


def _ses_region(secret: SecretState) -> str:
    stored = secret.document.get("email_host")
    host = str(stored.reveal()) if stored else ""
    return host.split(".")[1] if SES_HOST.fullmatch(host) else ""
