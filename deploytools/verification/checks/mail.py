"""Checks of outgoing mail."""

from __future__ import annotations

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.mail import MailDialogue, SesAccount, SesIdentity

CHECKLIST = "Security Checklist: Email SMTP credentials configured and tested"
NOT_SES = "the mail server is not SES"

HINTS = {
    "name": "Mend email_host in the secret (sync_secrets)",
    "TCP": "Mend email_port (587), or let the security group's egress rules and the NAT gateway pass it",
    "EHLO": "Something else than a mail server listens there: mend email_host and email_port",
    "STARTTLS": "The certificate must be a valid one for email_host, by that very name",
    "AUTH": "Mend email_user and email_password in the secret (sync_secrets)",
}
GMAIL = "Gmail needs an app password: 16 letters, made at myaccount.google.com/apppasswords with 2-step verification on"


@check(
    "mail.login",
    title="The mail server takes the application's login",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Mend email_host, email_port, email_user and email_password in the secret: sync_secrets",
    peers=("django-health-check Mail",),
)
def login(mail_dialogue: MailDialogue) -> Verdict:
    """Orders are confirmed and passwords reset by mail, and a mail that is not sent complains to nobody."""
    if not mail_dialogue.broken:
        times = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in mail_dialogue.seconds)
        return passed(f"{mail_dialogue.server} takes it", measured=times)
    stage = mail_dialogue.broken
    held = ", ".join(name for name, _ in mail_dialogue.seconds)
    said, answer = mail_dialogue.said, ""
    if mail_dialogue.code:  # In a server's own words there may be the number of the session.
        said, answer = str(mail_dialogue.code), mail_dialogue.said
    evidence = f"{mail_dialogue.server}: {stage} failed: {said}" + (f" (held: {held})" if held else "")
    is_gmail = stage == "AUTH" and mail_dialogue.server == "Gmail"
    return failed(evidence, hint=GMAIL if is_gmail else HINTS[stage], measured=answer)


@check(
    "mail.ses-production",
    title="SES sends to every address",
    severity=Severity.HIGH,
    stage=Stage.LAUNCH,
    guide="Next Steps: Migrate to AWS SES",
    hint="Run: aws sesv2 put-account-details --production-access-enabled",
)
def ses_production(ses_account: SesAccount | None) -> Verdict:
    """In the sandbox SES takes the login and sends to verified addresses only: customers get nothing."""
    if ses_account is None:
        return not_applicable(NOT_SES)
    if ses_account.is_in_production is None or ses_account.sends is None:
        return unknown("AWS's answer does not say (ProductionAccessEnabled, SendingEnabled)", ses_account.region)
    if not ses_account.is_in_production:
        return failed("the account is in the sandbox", ses_account.region)
    if not ses_account.sends:
        hint = f"Run: aws sesv2 put-account-sending-attributes --sending-enabled --region {ses_account.region}"
        return failed("sending is switched off", ses_account.region, hint)
    return passed("production access", ses_account.region)


@check(
    "mail.ses-identity",
    title="SES may send for the sender's domain, and signs it",
    severity=Severity.HIGH,
    stage=Stage.LAUNCH,
    guide="Next Steps: Migrate to AWS SES",
    hint="Run: aws sesv2 create-email-identity, and put its records into DNS",
    peers=("Prowler ses_identity_dkim_enabled",),
)
def ses_identity_verified(ses_identity: SesIdentity | None) -> Verdict:
    """Mail from a domain that SES does not know is refused; unsigned, it lands among the spam."""
    if ses_identity is None:
        return not_applicable(NOT_SES)
    if ses_identity.is_verified is None:
        return unknown("AWS's answer does not say (VerifiedForSendingStatus)", ses_identity.domain)
    hint = f"Run: aws sesv2 create-email-identity --email-identity {ses_identity.domain}, and put its records into DNS"
    if not ses_identity.is_verified:
        return failed("SES does not know it, or it is not verified", ses_identity.domain, hint)
    if ses_identity.dkim != "SUCCESS":
        return warned(f"DKIM is {ses_identity.dkim or 'not set up'}", ses_identity.domain, hint)
    return passed("verified, DKIM signs", ses_identity.domain)
