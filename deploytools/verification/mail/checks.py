"""Checks of outgoing email."""

from __future__ import annotations

import re
from functools import partial
from operator import attrgetter

from deploytools.conf import Settings
from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed, unknown, warned
from deploytools.verification.mail.facts import MailLogin, SesAccount, SesIdentity
from deploytools.verification.mail.sender_domain import MAX_LOOKUPS, NO_DOMAIN, DmarcRecord, SpfRecord
from deploytools.verification.registry import check

CHECKLIST = "Security Checklist: Email SMTP credentials configured and tested"
NOT_SES = "the SMTP server is not Amazon SES"

HINTS = {
    "DNS": "Correct email_host in the secret: python manage.py sync_secrets FILE",
    "TCP": "Set email_port to 587, or allow the port in the security group's egress rules and the NAT gateway. A "
    "server is also silent without EMAIL_USE_SSL on port 465",
    "TLS": "EMAIL_USE_SSL is for port 465, EMAIL_USE_TLS for 587. The server's certificate must be valid for its name",
    "EHLO": "The server is not an SMTP server. Correct email_host and email_port: python manage.py sync_secrets FILE",
    "STARTTLS": "The server's certificate must be valid for the name in email_host",
    "MAIL FROM": "If the server requires a login, set email_user and email_password in the secret: python manage.py "
    "sync_secrets FILE. Otherwise allow this network and the address of DEFAULT_FROM_EMAIL on the server",
    "AUTH": "Correct email_user and email_password in the secret: python manage.py sync_secrets FILE",
}
GMAIL = "Gmail requires an app password of 16 letters; create it at myaccount.google.com/apppasswords"

#: Backends of Django that send no email.
NOT_SENDING = re.compile(r"django\.core\.mail\.backends\.(console|dummy|filebased|locmem)\.")


@check(
    "mail.login",
    title="Django can log in to its SMTP server, which accepts the sender",
    severity=Severity.HIGH,
    guide=CHECKLIST,
    hint="Correct the email_* keys in the secret: python manage.py sync_secrets FILE",
    references=("django-health-check Mail",),
    preset="email",
)
def login(mail_login: MailLogin, settings: Settings) -> Verdict:
    """If the server rejects the application, no email is sent, and no user can reset a password."""
    domain, stage = mail_login.sender.rpartition("@")[2], mail_login.failed_stage
    if mail_login.backend:
        if NOT_SENDING.match(mail_login.backend):
            verdict = failed if settings.stage == Stage.LAUNCH else warned
            hint = "Run the command with the production settings, or set EMAIL_BACKEND to Django's backend for SMTP"
            return verdict(f"{mail_login.backend} sends no email", hint=hint)
        return unknown(f"{mail_login.backend} is not Django's backend for SMTP", hint="Send a message with it")
    if not stage and NO_DOMAIN.fullmatch(domain):
        hint = "Set DEFAULT_FROM_EMAIL to an address of your domain"
        return failed(f"DEFAULT_FROM_EMAIL is {mail_login.sender or 'not an address'}", hint=hint)
    if not stage and mail_login.has_login and not mail_login.is_encrypted:
        hint = "Set EMAIL_USE_TLS, or EMAIL_USE_SSL for port 465"
        return failed(f"{mail_login.server}: the login is sent unencrypted", hint=hint)
    if not stage:
        times = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in mail_login.seconds)
        accepted = "the login and" if mail_login.has_login else "without a login"
        evidence = f"{mail_login.server} accepts {accepted} the sender {mail_login.sender}; no message was sent"
        return passed(evidence, measured=times)
    done = ", ".join(name for name, _ in mail_login.seconds)
    reason, response = mail_login.reason, ""
    if mail_login.code:  # The text of a response can contain a session id, which differs in each run.
        reason, response = str(mail_login.code), mail_login.reason
    evidence = f"{mail_login.server}: {stage} failed: {reason}" + (f" (completed: {done})" if done else "")
    is_gmail = stage == "AUTH" and mail_login.server == "Gmail"
    return failed(evidence, hint=GMAIL if is_gmail else HINTS[stage], measured=response)


#: The share of the daily quota above which mail is about to be rejected.
QUOTA = 0.8

#: Rates from which SES reviews an account, and those from which it can pause sending (SES, "Reputation metrics").
BOUNCES, COMPLAINTS = (0.05, 0.1), (0.001, 0.005)

ses_check = partial(
    check,
    severity=Severity.HIGH,
    stage=Stage.LAUNCH,
    guide="Next Steps: Migrate to AWS SES",
    not_set=NOT_SES,
    preset="email",
)


@ses_check(
    "mail.ses-production",
    resource_of=attrgetter("region"),
    title="SES account has production access, is in good standing, and has quota left",
    hint="Run: aws sesv2 put-account-details --production-access-enabled",
)
def ses_production(ses_account: SesAccount) -> Verdict:
    """In the sandbox SES accepts the login but sends to verified addresses only: customers receive nothing."""
    if ses_account.has_production_access is None or ses_account.can_send is None:
        return unknown("the AWS response has no ProductionAccessEnabled or no SendingEnabled")
    if not ses_account.has_production_access:
        return failed("the account is in the sandbox")
    if not ses_account.can_send:
        hint = f"Run: aws sesv2 put-account-sending-attributes --sending-enabled --region {ses_account.region}"
        return failed("sending is disabled", hint=hint)
    if ses_account.enforcement not in {None, "HEALTHY"}:
        hint = f"Read the reason and request a review. Run: aws sesv2 get-account --region {ses_account.region}"
        return failed(f"the enforcement status is {ses_account.enforcement}", hint=hint)
    sent, quota = ses_account.sent, ses_account.quota
    if sent is not None and quota is not None and 0 <= quota * QUOTA < sent:
        verdict = failed if sent >= quota else warned
        return verdict(f"more than {QUOTA:.0%} of {quota:,.0f} messages a day are used", measured=f"{sent:,.0f} sent")
    rates = ((ses_account.bounces, BOUNCES, "bounce"), (ses_account.complaints, COMPLAINTS, "complaint"))
    for rate, (review, pause), name in rates:
        if rate is not None and rate >= review:
            hint = "Remove addresses that bounce or complain. SES can pause sending"
            verdict = failed if rate >= pause else warned
            return verdict(f"the {name} rate is at least {review:.1%}", hint=hint, measured=f"{rate:.2%}")
    return passed("production access")


@ses_check(
    "mail.ses-identity",
    resource_of=attrgetter("domain"),
    title="Sender domain is verified in SES, and DKIM signs its messages",
    hint="Run: aws sesv2 create-email-identity --email-identity DOMAIN, and add its DNS records",
    references=("Prowler ses_identity_dkim_enabled",),
)
def ses_identity_verified(ses_identity: SesIdentity) -> Verdict:
    """SES rejects email from a domain that is not verified, and receivers treat unsigned email as spam."""
    if ses_identity.is_verified is None:
        return unknown("the AWS response has no VerifiedForSendingStatus")
    hint = f"Run: aws sesv2 create-email-identity --email-identity {ses_identity.domain}, and add its DNS records"
    if not ses_identity.is_verified:
        return failed("it does not exist in SES or is not verified", hint=hint)
    if ses_identity.dkim != "SUCCESS":
        return warned(f"DKIM is {ses_identity.dkim or 'not set up'}", hint=hint)
    if ses_identity.key_length == "RSA_1024_BIT":
        command = (
            f"aws sesv2 put-email-identity-dkim-signing-attributes --email-identity {ses_identity.domain} "
            "--signing-attributes-origin AWS_SES --signing-attributes NextSigningKeyLength=RSA_2048_BIT"
        )
        return warned("the DKIM key has 1024 bits", hint=f"Run: {command}")
    if ses_identity.is_signing is not True:
        command = (
            f"aws sesv2 put-email-identity-dkim-attributes --email-identity {ses_identity.domain} --signing-enabled"
        )
        return warned("DKIM signing is not enabled", hint=f"Run: {command}")
    if ses_identity.mail_from not in {None, "SUCCESS"}:
        hint = f"Correct the MX record. Run: aws sesv2 get-email-identity --email-identity {ses_identity.domain}"
        return warned(f"the custom MAIL FROM domain is {ses_identity.mail_from}", hint=hint)
    return passed("verified, signed with DKIM")


dns_check = partial(
    check,
    stage=Stage.LAUNCH,
    resource_of=attrgetter("domain"),
    guide="Next Steps: Migrate to AWS SES",
    preset="email",
)


@dns_check(
    "mail.spf",
    title="SPF record of the sender's domain is valid and includes Amazon SES or Gmail, if used",
    severity=Severity.HIGH,
    hint="Add one TXT record to the domain: v=spf1 include:SERVICE ~all",
    not_set="receivers check no SPF record of the project: SES uses its own domain, and a local server needs none",
)
def spf(spf_record: SpfRecord) -> Verdict:
    """Receivers reject messages, or treat them as spam, if the record does not list the server that sends them."""
    record, provider = spf_record, spf_record.provider
    if not record.records:
        hint = f"Add one TXT record to {record.domain}: v=spf1 include:{provider or 'SERVICE'} ~all"
        return failed("there is no SPF record", hint=hint)
    if len(record.records) > 1:
        hint = f"Merge the SPF records of {record.domain} into one"
        return failed(f"there are {len(record.records)} SPF records, of which receivers use none", hint=hint)
    if record.lookups > MAX_LOOKUPS:
        hint = "Remove includes that are not needed, or replace them by addresses (ip4, ip6)"
        return failed(f"it needs more than {MAX_LOOKUPS} DNS lookups: receivers stop there", hint=hint)
    if record.invalid:
        hint = "Correct the terms. An included domain must have exactly one SPF record"
        return failed(f"invalid: {', '.join(record.invalid)}", hint=hint)
    if record.policy == "+":
        hint = "Replace +all by ~all or -all. If an included record has it, remove the include"
        return failed("+all allows every server to send", hint=hint)
    if not record.allows_servers:
        hint = f"Correct the SPF record of {record.domain}: v=spf1 include:{provider or 'SERVICE'} ~all"
        return failed("it allows no server to send", hint=hint)
    if provider and provider not in record.included:
        return failed(f"it does not include {provider}, which sends the messages", hint=f"Add include:{provider}")
    if record.wide:
        hint = "Replace them by the addresses of the servers that send"
        return failed(f"it allows a large part of the internet to send: {', '.join(record.wide)}", hint=hint)
    if record.deprecated:
        return warned(f"receivers are advised to ignore {', '.join(record.deprecated)}", hint="Use ip4, ip6 or include")
    if record.policy not in {"~", "-"}:
        return warned("it does not end with ~all or -all: all servers can send", hint="Add ~all at its end")
    included = f", includes {provider}" if provider else "; which servers send the messages is not known"
    return passed(f"{record.policy}all{included}")


@dns_check(
    "mail.dmarc",
    title="DMARC record of the sender's domain rejects or quarantines forged messages",
    severity=Severity.MEDIUM,
    hint="Add the TXT record _dmarc.DOMAIN: v=DMARC1; p=quarantine; rua=mailto:ADDRESS",
    not_set="DEFAULT_FROM_EMAIL has no domain of the project, or the SMTP server is on this machine (see mail.login)",
)
def dmarc(dmarc_record: DmarcRecord) -> Verdict:
    """Without it, receivers deliver forged messages of the domain, and large providers reject bulk mail."""
    record, tags = dmarc_record, dmarc_record.tags
    own = f"_dmarc.{record.domain}"
    tag = "sp" if record.is_inherited and "sp" in tags else "p"
    policy = tags.get(tag, "")
    evidence = f"{own}: {tag}={policy}"
    if not record.records:
        value = "v=DMARC1; p=quarantine; rua=mailto:ADDRESS"
        hint = f"Add one TXT record {own}: {value} (read the reports with p=none first)"
        return warned("there is no DMARC record", hint=hint)
    if len(record.records) > 1:
        hint = f"Remove all DMARC records of {own} except one"
        return failed(f"{own} has {len(record.records)} DMARC records, of which receivers use none", hint=hint)
    if policy not in {"none", "quarantine", "reject"}:
        hint = f"Correct {tag} in the record {own}: quarantine or reject"
        return failed(f"{own} has no valid policy: receivers ignore it", hint=hint)
    if policy == "none":
        hint = f"Set {tag}=quarantine or {tag}=reject in the record {own}"
        return warned(f"{evidence}: receivers deliver forged messages", hint=hint)
    if not record.is_inherited and tags.get("sp", policy) == "none":
        return warned(
            f"{evidence}, but sp=none: receivers deliver forged messages of subdomains", hint=f"Set sp={policy}"
        )
    if tags.get("t") == "y" or tags.get("pct", "100") != "100":
        return warned(f"{evidence}, but not for all messages", hint="Remove pct and t from the record")
    return passed(evidence)
