"""Worlds of the connection, the secret, mail, the project and the databases: faults, and good variations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.errors import (
    AccessDenied,
    ConnectionFailed,
    ConnectionFailure,
    DatabaseError,
    NotFound,
    SecretNotFound,
    Throttled,
)
from deploytools.postgres.connection_probe import ProbeResult
from deploytools.secrets.contract import Problem
from deploytools.tenants.migration_history import MigrationGraph
from deploytools.tenants.state import UnusableObjects
from deploytools.verification.connection.database_settings import DatabaseSettings, Difference
from deploytools.verification.connection.facts import AcceptedPassword
from deploytools.verification.findings import Status
from deploytools.verification.mail.sender_domain import DmarcRecord
from deploytools.verification.network.network_location import TASK, NetworkLocation
from deploytools.verification.project.facts import AppsReport, ProjectReport, SecretKeyFallbacks
from deploytools.verification.secret.facts import ResourcePolicy, SettingsInUse
from deploytools.verification.secret.secret_scan import LeakedSecrets
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    CATALOGUE,
    DOCUMENT,
    FIRST,
    NOW,
    REPORT,
    SHOP,
    STAGES,
    WORLD,
    Changes,
    description,
    django_database,
    expect,
    former,
    mail,
    own,
    project,
    role,
    rotated,
    secret,
    ses_account,
    ses_identity,
    shop,
    slots,
    spf,
    tenant,
)

REFUSED = ConnectionFailed("No connection (refused).", hint="Wait.", kind=ConnectionFailure.REFUSED)
LOST = ConnectionFailed("No connection (timed out).", hint="Wait.", kind=ConnectionFailure.TIMEOUT)
PASSWORD = ConnectionFailed(
    "No connection (password authentication failed).", hint="Fix it.", kind=ConnectionFailure.PASSWORD
)
NO_DATABASE = ConnectionFailed("No such database.", hint="Make it.", kind=ConnectionFailure.NO_DATABASE)
NO_CONNECT = ConnectionFailed("No CONNECT.", hint="Grant it.", kind=ConnectionFailure.NO_CONNECT)
CANCELLED = DatabaseError("PostgreSQL refused.", hint="Again.", sqlstate="57014")
NEVER_LOGGED_IN = (
    (SecretNotFound("No secret of the tenant's.", hint="Make it."), Status.FAIL),
    (NotFound("No such thing.", hint="Look."), Status.FAIL),
    (AccessDenied("AWS denied a:B.", hint="Allow a:B.", action="a:B"), Status.UNKNOWN),
    (Throttled("AWS is busy.", hint="Wait."), Status.UNKNOWN),
)
OLD = AcceptedPassword("AWSPREVIOUS", "prod", "old", "v1")
PENDING = AcceptedPassword("AWSPENDING", "prod", "new", "v1")
#: Placeholders without the usual words at their beginning: the checks that they fail, and the values.
STRIPE = ("secret.stripe-live", "secret.stripe-format")
PASSWORDS = ("secret.database-passwords",)
PLACEHOLDERS = (
    (STRIPE, {"stripe_secret_key": "sk_live_" + "X" * 24}),
    (STRIPE, {"stripe_secret_key": "sk_live_REPLACEMEWITHYOURREALKEY00"}),
    (PASSWORDS, {"password": "Password1Password2Password3Password4"}),
    (PASSWORDS, {"password": "TODO_SET_A_REAL_PASSWORD_BEFORE_LAUNCH"}),
    (PASSWORDS, {"password": "<YOUR_PASSWORD_GOES_HERE_32_CHARACTERS>"}),
    (PASSWORDS, {"password": "django_app-2026-shop-prod-with-32-letters"}),
    (PASSWORDS, {"master_username": "dbadmin", "master_password": "S0meDBadmin_of_the_shop_in_2026_x"}),
    (PASSWORDS, {"password": "please-change-this-password-before-launch"}),
    (PASSWORDS, {"master_username": "dbadmin", "master_password": "Winter-2026-" * 2 + "Winter-2026-Winter"}),
    (("secret.django-key",), {"django_secret_key": "Xk9!vQ2zR" * 6}),
    (("secret.database-passwords",), {"master_password": "hunter2"}),
)
GMAIL_LOGIN = {"email_host": "smtp.gmail.com", "email_user": "a@gmail.com"}
STRIPE_PLACEHOLDERS = {
    f"stripe_{kind}_key": f"{kind[0]}k_test_placeholder_no_stripe_account_yet" for kind in ("secret", "publishable")
}
OTHER_PORT = DatabaseSettings("django_app", (), (Difference("PORT", "1", "5432", "port in the secret"),))
PLACEHOLDER = "sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY"


def attempt(**changes: object) -> Changes:
    failed = {"connection_attempt": ProbeResult(**changes)}  # type: ignore[arg-type]
    return failed | {"django_connection": None}


def django_report(**changes: Any) -> Changes:
    return {"django_connection": ProbeResult(replace(REPORT, **changes))}


def labels(**by_version: tuple[str, ...]) -> Changes:
    return {"secret": replace(WORLD["secret"], version="v1", labels=by_version)}


def statement(**members: object) -> Changes:
    policy = {"Sid": "Open", "Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*", **members}
    return {"secret_policy": ResourcePolicy("123456789012", (policy,))}


def dmarc(*records: str, is_inherited: bool = False) -> Changes:
    """The DMARC records of the sender's domain, or of the one above it, without their version."""
    found = tuple(f"v=DMARC1; {record}" for record in records)
    return {"dmarc_record": DmarcRecord("shop.net", found, is_inherited)}


CONNECTION = [
    Row(secret(host=None), {"connection.configuration": FAIL, "secret.complete": FAIL}, "host is missing"),
    Row(secret(engine=None), {}),
    Row(secret(engine="mysql"), {"secret.other-values": FAIL}, 'must be "postgres" or "postgresql"'),
    Row(
        django_database(engine="shop.sqlite", vendor="sqlite") | {"django_connection": None, "database_settings": None},
        {"connection.configuration": FAIL, "connection.django": NA},
        "['ENGINE'] is shop.sqlite, which is not a backend for PostgreSQL",
    ),
    Row(
        django_database(engine="shop.sqlite", vendor="sqlite")
        | {"connection_attempt": ProbeResult(), "django_connection": None, "database_settings": None},
        dict.fromkeys(("connection.connect", "connection.query", "connection.django"), NA)
        | {"connection.configuration": FAIL},
        "['ENGINE'] is shop.sqlite, which is not a backend for PostgreSQL",
    ),
    Row(
        django_database(engine="shop.nothing", vendor="", problem="no module"),
        {"connection.configuration": FAIL},
        "['ENGINE'] is shop.nothing, which is not a backend for PostgreSQL (no module)",
    ),
    Row(django_database(engine="django.contrib.gis.db.backends.postgis"), {}),
    Row(expect(database=""), {"connection.configuration": FAIL}, "DATABASES['default']['NAME'] is not set"),
    Row(
        attempt(error=REFUSED, stages=STAGES[:1], failed_stage="TCP"),
        {"connection.connect": FAIL, "connection.query": NA, "connection.django": NA},
        "No connection (refused). Failed stage: TCP; completed: DNS (10.0.1.5); DNS 1 ms",
    ),
    Row(
        attempt(error=LOST, stages=STAGES[:1], failed_stage="TCP")
        | {"network_location": NetworkLocation(TASK, ("10.0.1.0/24",))},
        {"connection.connect": FAIL, "connection.query": NA, "connection.django": NA},
        "DNS (10.0.1.5). This process runs in an ECS task (10.0.1.0/24), inside the database's VPC; DNS 1 ms",
    ),
    Row(
        attempt(error=PASSWORD, stages=STAGES, failed_stage="login") | {"accepted_password": OLD},
        {"connection.connect": FAIL, "connection.query": NA, "connection.django": NA},
        "The password of AWSPREVIOUS works.",
    ),
    Row(
        attempt(error=PASSWORD, stages=STAGES, failed_stage="login") | {"accepted_password": PENDING},
        {"connection.connect": FAIL, "connection.query": NA, "connection.django": NA},
        "The password of AWSPENDING works.",
    ),
    Row(
        attempt(error=PASSWORD, stages=STAGES, failed_stage="login")
        | {"accepted_password": replace(OLD, user="shop_app")},
        {"connection.connect": FAIL, "connection.query": NA, "connection.django": NA},
        "The login shop_app of AWSPREVIOUS works; the current version has another user name.",
    ),
    Row(
        attempt(error=CANCELLED, stages=STAGES, failed_stage="query"),
        {"connection.connect": FAIL, "connection.query": FAIL, "connection.django": NA},
        "PostgreSQL refused.",
    ),
    Row(
        {"django_connection": ProbeResult(error=REFUSED), "database_settings": OTHER_PORT},
        {"connection.django": FAIL, "django.credentials-match-secret": FAIL, "databases.tls-verified": FAIL},
        "No connection (refused). DATABASES['default']: PORT is 1, expected 5432 (port in the secret)",
    ),
    Row(
        {"database_settings": OTHER_PORT},
        {"django.credentials-match-secret": FAIL},
        "different: DATABASES['default']: PORT is 1, expected 5432 (port in the secret)",
    ),
    Row(
        {"django_connection": ProbeResult(error=CANCELLED)},
        {"connection.django": FAIL, "databases.tls-verified": FAIL},
        "PostgreSQL refused.",
    ),
    Row(
        attempt(error=REFUSED, stages=STAGES[:1], failed_stage="TCP") | {"database_settings": OTHER_PORT},
        {
            "connection.connect": FAIL,
            "connection.query": NA,
            "connection.django": FAIL,
            "django.credentials-match-secret": FAIL,
        },
        "No connection (refused).",
    ),
    Row(
        django_report(server="1767225601.5", address="10.0.1.9:5432"),
        {"connection.django": FAIL},
        "Django is connected to another server: 10.0.1.9:5432, expected 10.0.1.5:5432.",
    ),
    Row(django_report(address="10.0.1.9:5432"), {}),
    Row(django_report(login="owner"), {"connection.django": FAIL}, "Django logs in as owner, expected django_app."),
    Row(django_report(user="owner"), {"connection.django": FAIL}, "Django's role is owner, expected django_app."),
    Row(django_report(user="owner") | {"connection_attempt": ProbeResult(replace(REPORT, user="owner"))}, {}),
    Row(
        django_report(tls="", sslmode="prefer"),
        {"connection.django": FAIL, "databases.tls-verified": FAIL},
        "Django's connection is not encrypted.",
    ),
    Row(
        django_report(sslmode="verify-ca"),
        {"connection.django": FAIL, "databases.tls-verified": FAIL},
        "does not verify the server's host name (sslmode verify-ca).",
    ),
    *(
        Row(
            {"connection_attempt": ProbeResult(replace(REPORT, is_pooled=True)), "session_state_leak": leaks},
            {"connection.query": WARN},
            f"SELECT 1 through a connection pooler{state}",
        )
        for leaks, state in (
            (False, ", which resets each session"),
            (True, ", which passes settings of a session on to other clients"),
            (None, "; it was not determined whether it resets sessions"),
        )
    ),
    Row({"apps": AppsReport(10, 57, ("user.E1: bad",))}, {"connection.apps": FAIL}, "user.E1: bad"),
]

SECRET = [
    *(Row(secret(**values), dict.fromkeys(checks, FAIL)) for checks, values in PLACEHOLDERS),
    *(
        Row(
            secret(**GMAIL_LOGIN, email_password=value),
            {"secret.mail": FAIL},
            "email_password: is a sequence of the alphabet",
        )
        for value in ("abcdefghijklmnop", "ponmlkjihgfedcba", "qwertyuiopasdfgh", "uvwxyzabcdefghij")
    ),
    Row(
        {"connection_attempt": ProbeResult(replace(REPORT, server_version="15.18"), stages=STAGES)},
        {"rds.instance-in-use": FAIL},
        "the connected server is PostgreSQL 15.18, but the instance is 16.10",
    ),
    Row(secret(email_user=None), {"secret.complete": FAIL}, "missing: email_user"),
    Row(
        secret(**STRIPE_PLACEHOLDERS),
        {"secret.stripe-live": FAIL},
        "is the temporary value until there is a Stripe account",
    ),
    Row(
        secret(stripe_secret_key="sk_test_51AbCdEfGhIjKlMnOpQrStUv"),
        {"secret.stripe-live": FAIL, "secret.stripe-format": FAIL},
        "is a test-mode key",
    ),
    Row(
        secret(stripe_secret_key=PLACEHOLDER),
        {"secret.stripe-live": FAIL, "secret.stripe-format": FAIL},
        "is still a placeholder",
    ),
    Row(
        secret(stripe_secret_key="pk_live_51AbCdEfGhIjKlMnOpQrStUv"),
        {"secret.stripe-live": FAIL, "secret.stripe-format": FAIL},
        "is not a Stripe secret key or restricted key",
    ),
    Row(
        secret(stripe_secret_key=None, stripe_publishable_key=None),
        {"secret.complete": FAIL, "secret.stripe-live": NA, "secret.stripe-format": NA},
        "missing: stripe_secret_key, stripe_publishable_key",
    ),
    Row(secret(email_host="smtp.example.com"), {"secret.mail": FAIL}, "is still a placeholder"),
    Row(secret(email_host="smtp.gmail.com"), {"secret.mail": FAIL}, "is not the address of a Google account"),
    Row(
        secret(email_host=None, email_port=None, email_user=None, email_password=None),
        {"secret.complete": FAIL, "secret.mail": NA},
        "missing: email_host, email_port, email_user, email_password",
    ),
    Row(
        secret(password="short"),
        {"connection.configuration": WARN, "secret.database-passwords": FAIL},
        "password has 5 characters, at least 32 are required",
    ),
    *(
        Row(
            secret(password=typed),
            {"connection.configuration": WARN, "secret.database-passwords": FAIL},
            "is a sequence",
        )
        for typed in ("qwertyuiopasdfghjklzxcvbnm1234567890", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p")
    ),
    Row(
        secret(password="Summer2026!" * 3),
        {"connection.configuration": WARN, "secret.database-passwords": FAIL},
        "password repeats its first characters",
    ),
    Row(
        secret(password=None),
        {"connection.configuration": FAIL, "secret.complete": FAIL, "secret.database-passwords": NA},
        "password is missing",
    ),
    Row(secret(django_secret_key="django-insecure-" + "abcdefghij" * 5), {"secret.django-key": FAIL}, "startproject"),
    Row(
        secret(django_secret_key=None), {"secret.complete": FAIL, "secret.django-key": NA}, "missing: django_secret_key"
    ),
    Row(secret(master_username="not a role"), {"secret.other-values": FAIL}, "is not a role name"),
    Row(secret(unknown_key="anything"), {}),
    Row(own(declared=()), {"secret.custom-fields": NA}, 'DEPLOYTOOLS["SECRET_FIELDS"] is not set'),
    Row(own(missing=("sentry_dsn",)), {"secret.custom-fields": FAIL}, "is missing"),
    Row(own(problems=(Problem("sentry_dsn", "is no URL", "https://…"),)), {"secret.custom-fields": FAIL}, "is no URL"),
    Row(
        own(problems=(Problem("sentry_dsn", "stands in", "https://…", True),)),
        {"secret.custom-fields": WARN},
        "stands in",
    ),
    Row(
        secret(master_password=WORLD["secret"].document["password"].reveal()),
        {"secret.distinct": FAIL},
        "password master_password: they have the same value",
    ),
    Row(labels(v1=("AWSCURRENT",), v2=("AWSPENDING",)), {"secret.no-pending-rotation": WARN}, "on version v2"),
    Row(
        labels(v1=("AWSCURRENT",), v2=("AWSPENDING", "deploytools-rotation")),
        {"secret.no-pending-rotation": WARN},
        "an unfinished rotation has AWSPENDING on version v2",
    ),
    Row(labels(v1=("AWSCURRENT", "AWSPENDING")), {}),
    Row(expect(max_age_days=0), {"secret.credential-age": NA}, 'DEPLOYTOOLS["MAX_AGE_DAYS"] is not set'),
    Row(expect(max_age_days=20) | description(rotation_days=20), good=("secret.credential-age",)),
    Row(
        expect(max_age_days=19) | description(rotation_days=19),
        {"secret.credential-age": FAIL},
        "password: rotated more than 19 days ago",
    ),
    Row(
        rotated(password=1, django_secret_key=91),
        {"secret.credential-age": FAIL, "ecs.deployed-since-rotation": WARN},
        "django_secret_key: rotated more than 90 days ago",
    ),
    Row(
        rotated(password=1, django_secret_key=1, master_password=91)
        | secret(master_password=DOCUMENT["password"][::-1]),
        {"secret.credential-age": FAIL, "ecs.deployed-since-rotation": WARN},
        "master_password: rotated more than 90 days ago",
    ),
    Row(
        labels(v1=("AWSCURRENT",), v2=("AWSPENDING", "deploytools-rotation-master")),
        {"secret.no-pending-rotation": WARN},
        "an unfinished rotation has AWSPENDING on version v2",
    ),
    Row(rotated(password=20), {"secret.credential-age": WARN}, "django_secret_key: rotated_at in the secret has no"),
    Row({"former_login": None}, {"secret.former-login": NA}, "the password was never rotated"),
    Row(former(user="django_app"), good=("secret.former-login",)),
    Row(
        {"open_logins": ("clinic",)},
        {"secret.former-login": WARN},
        "clinic: both logins are open",
    ),
    Row(former(is_open=True, valid_until=NOW + timedelta(hours=4)), good=("secret.former-login",)),
    Row(
        former(is_open=True, rotated_at=NOW - timedelta(days=7)),
        {"secret.former-login": WARN},
        "django_app_b is open since the rotation on 2026-02-22",
    ),
    Row(former(is_open=True), {"secret.former-login": FAIL}, "is open, more than 7 days after the rotation"),
    Row(
        former(is_open=True, valid_until=NOW + timedelta(days=3650)),
        {"secret.former-login": FAIL},
        "is open, more than 7 days after the rotation",
    ),
    Row(
        former(is_open=True, is_current=True, user="django_app"),
        {"secret.former-login": FAIL},
        "PostgreSQL accepts the former password of django_app",
    ),
    Row(description(rotates=False), {"secret.rotation-on-schedule": NA}, "rotation is disabled"),
    Row(description(next_rotation=NOW - timedelta(days=1)), {"secret.rotation-on-schedule": FAIL}, "due on 2026-02-28"),
    Row(description(next_rotation=None), {"secret.rotation-on-schedule": UNKNOWN}, "NextRotationDate"),
    Row(  # It is also true for requests without the key.
        statement(Principal="*", Condition={"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        {"secret.not-shared": FAIL},
        "its condition (aws:PrincipalOrgID) does not restrict that",
    ),
    Row(statement(Principal="*"), {"secret.not-shared": FAIL}, "statement Open allows every AWS account (*)"),
    Row(
        statement(Principal={"AWS": ["*"]}), {"secret.not-shared": FAIL}, "statement Open allows every AWS account (*)"
    ),
    Row(
        statement(Principal="*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        {"secret.not-shared": WARN},
        "statement Open allows * under a condition (aws:PrincipalOrgID); review it",
    ),
    Row(
        statement(Principal={"AWS": "*"}, Condition={"StringEquals": {"aws:PrincipalAccount": "123456789012"}}),
        {"secret.not-shared": WARN},
        "under a condition (aws:PrincipalAccount)",
    ),
    *(
        Row(
            statement(Principal={"AWS": "*"}, Condition=condition),
            {"secret.not-shared": FAIL},
            f"account (*); its condition ({next(iter(next(iter(condition.values()))))}) does not restrict that",
        )
        for condition in (
            {"Bool": {"aws:SecureTransport": "true"}},
            {"StringNotEquals": {"aws:PrincipalAccount": "999999999999"}},
            {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}},
            {"StringLike": {"aws:PrincipalArn": "*"}},
        )
    ),
    Row(
        statement(NotPrincipal={"AWS": "arn:aws:iam::999999999999:root"}),
        {"secret.not-shared": FAIL},
        "allows every principal except those in its NotPrincipal",
    ),
    Row(
        statement(Principal={"AWS": "arn:aws:iam::123456789012:role/web"}, NotAction="secretsmanager:DeleteSecret"),
        {"secret.not-shared": WARN},
        "all actions except those in its NotAction",
    ),
    Row(
        statement(Principal={"AWS": "arn:aws:iam::999999999999:role/123456789012"}),
        {"secret.not-shared": WARN},
        "of another account",
    ),
    Row(statement(Principal={"AWS": "AROAEXAMPLEEXAMPLE"}), {"secret.not-shared": WARN}, "an unknown principal"),
    Row(statement(Principal={"AWS": "123456789012"}), {}),
    Row(statement(NotPrincipal={"AWS": "arn:aws:iam::123456789012:role/web"}, Effect="Deny"), {}),
    Row(
        statement(Principal={"AWS": "arn:aws:iam::999999999999:root"}),
        {"secret.not-shared": WARN},
        "of another account",
    ),
    Row(statement(Principal={"AWS": "arn:aws:iam::123456789012:role/web"}), {}),
    Row(statement(Principal={"Service": "lambda.amazonaws.com"}), {}),
    Row(statement(Effect="Deny", Principal="*"), {}),
    Row(
        {"leaked_secrets": LeakedSecrets("/srv/shop", 300, True, (("password", "fixtures.json", 12),))},
        {"secret.not-in-code": FAIL},
        "password fixtures.json: found in line 12",
    ),
    Row(
        {"leaked_secrets": LeakedSecrets("/srv/shop", 9, True, (), tuple(f"{n}.py" for n in range(7)))},
        {"secret.not-in-code": UNKNOWN},
        "could not be read: 0.py, 1.py, 2.py, 3.py, 4.py and 2 more",
    ),
    Row(
        {"leaked_secrets": LeakedSecrets("/srv/shop", 9, True, (), (), ("dump.sql",))},
        {"secret.not-in-code": UNKNOWN},
        "not read because of their size or format: dump.sql",
    ),
    Row(
        {"leaked_secrets": LeakedSecrets("/srv/shop", 9, True, (("password", "old.py@1a2b3c4", 0),), history="")},
        {"secret.not-in-code": FAIL},
        "password old.py@1a2b3c4: found in the Git history",
    ),
    Row(
        {"leaked_secrets": LeakedSecrets("/srv/shop", 9, True, (), history="the clone is shallow")},
        {"secret.not-in-code": UNKNOWN},
        "the clone is shallow",
    ),
    Row({"leaked_secrets": LeakedSecrets("/srv/shop", 9, True, (), history="")}, good=("secret.not-in-code",)),
    Row({"leaked_secrets": LeakedSecrets("", 0, True, ())}, {"secret.not-in-code": NA}, "BASE_DIR is not set"),
    Row(
        {"leaked_secrets": LeakedSecrets("/", 20_000, False, ())}, {"secret.not-in-code": UNKNOWN}, "first 20,000 files"
    ),
    Row(
        {"settings_in_use": SettingsInUse(("EMAIL_HOST",), ("SECRET_KEY",))},
        {"django.credentials-match-secret": FAIL},
        "different: SECRET_KEY",
    ),
    Row(
        {"settings_in_use": SettingsInUse((), ()), "database_settings": DatabaseSettings()},
        {"django.credentials-match-secret": FAIL},
        "contains none of them",
    ),
]

MAIL = [
    Row(
        mail(failed_stage="AUTH", reason="535 5.7.8 Error", code=535, seconds=(("DNS", 0.1), ("TCP", 0.1))),
        {"mail.login": FAIL},
        "AUTH failed: 535 (completed: DNS, TCP); 535 5.7.8 Error",
    ),
    Row(
        mail(server="Gmail", failed_stage="AUTH", reason="535 no"),
        {"mail.login": FAIL},
        "Gmail: AUTH failed",
    ),
    *(
        Row(mail(failed_stage=stage, reason="no"), {"mail.login": FAIL}, f"{stage} failed")
        for stage in ("DNS", "TCP", "TLS", "EHLO", "STARTTLS", "MAIL FROM")
    ),
    *(
        Row(mail(backend=f"django.core.mail.backends.{name}.EmailBackend"), {"mail.login": FAIL}, "sends no email")
        for name in ("console", "dummy", "locmem", "filebased")
    ),
    Row(
        mail(backend="django.core.mail.backends.console.EmailBackend") | expect(stage="pre-launch"),
        {"mail.login": WARN},
        "sends no email",
    ),
    Row(mail(backend="anymail.backends.amazon_ses.EmailBackend"), {"mail.login": UNKNOWN}, "is not Django's backend"),
    *(
        Row(mail(sender=sender), {"mail.login": FAIL}, "DEFAULT_FROM_EMAIL is")
        for sender in ("webmaster@localhost", "shop@example.com", "a@mail.example", "", "shop")
    ),
    Row(mail(is_encrypted=False), {"mail.login": FAIL}, "the login is sent unencrypted"),
    Row(mail(is_encrypted=False, has_login=False), good=("mail.login",)),
    *(
        Row(ses_account(enforcement=status), {"mail.ses-production": FAIL}, f"the enforcement status is {status}")
        for status in ("PROBATION", "SHUTDOWN")
    ),
    Row(ses_account(sent=50_000.0), {"mail.ses-production": FAIL}, "of 50,000 messages a day are used"),
    Row(ses_account(sent=45_000.0), {"mail.ses-production": WARN}, "of 50,000 messages a day are used"),
    *(
        Row(ses_account(**{f"{name}s": rate}), {"mail.ses-production": status}, f"the {name} rate is at least {seen}")
        for name, rate, status, seen in (
            ("bounce", 0.05, WARN, "5.0%; 5.00%"),
            ("bounce", 0.12, FAIL, "5.0%; 12.00%"),
            ("complaint", 0.002, WARN, "0.1%; 0.20%"),
            ("complaint", 0.01, FAIL, "0.1%; 1.00%"),
        )
    ),
    Row(ses_account(bounces=0.02, complaints=0.0005), good=("mail.ses-production",)),
    Row(ses_account(quota=-1.0), good=("mail.ses-production",)),
    Row(ses_identity(is_signing=False), {"mail.ses-identity": WARN}, "DKIM signing is not enabled"),
    *(
        Row(ses_identity(mail_from=status), {"mail.ses-identity": WARN}, f"MAIL FROM domain is {status}")
        for status in ("FAILED", "PENDING")
    ),
    Row(ses_identity(mail_from="SUCCESS"), good=("mail.ses-identity",)),
    Row({"ses_account": None}, {"mail.ses-production": NA}, "not Amazon SES"),
    Row(ses_account(has_production_access=False), {"mail.ses-production": FAIL}, "the account is in the sandbox"),
    Row(ses_account(can_send=False), {"mail.ses-production": FAIL}, "sending is disabled"),
    Row(ses_account(can_send=None), {"mail.ses-production": UNKNOWN}, "SendingEnabled"),
    Row({"ses_identity": None}, {"mail.ses-identity": NA}, "not Amazon SES"),
    Row(ses_identity(is_verified=False), {"mail.ses-identity": FAIL}, "not verified"),
    Row(ses_identity(dkim="PENDING"), {"mail.ses-identity": WARN}, "DKIM is PENDING"),
    Row(ses_identity(is_verified=None), {"mail.ses-identity": UNKNOWN}, "VerifiedForSendingStatus"),
    Row({"spf_record": None}, {"mail.spf": NA}, "receivers check no SPF record of the project"),
    *(
        Row(spf(**changes), {"mail.spf": status}, seen)
        for changes, status, seen in (
            ({"records": ()}, FAIL, "there is no SPF record"),
            ({"records": ("v=spf1 -all", "v=spf1 ~all")}, FAIL, "there are 2 SPF records"),
            ({"included": ("_spf.google.com",)}, FAIL, "it does not include amazonses.com, which sends the messages"),
            ({"lookups": 11}, FAIL, "it needs more than 10 DNS lookups"),
            (
                {"invalid": ("includes:amazonses.com", "ip4:300.1.1.1")},
                FAIL,
                "invalid: includes:amazonses.com, ip4:300",
            ),
            ({"policy": "+"}, FAIL, "+all allows every server to send"),
            ({"policy": "+", "included": (), "provider": "", "allows_servers": False}, FAIL, "+all allows every"),
            ({"policy": "-", "included": (), "provider": "", "allows_servers": False}, FAIL, "it allows no server"),
            ({"policy": "?"}, WARN, "it does not end with ~all or -all"),
            ({"policy": ""}, WARN, "it does not end with ~all or -all"),
        )
    ),
    *(
        Row(spf(**changes), good=("mail.spf",))
        for changes in (
            {"policy": "-", "lookups": 10},
            {"included": ("spf.shop.net", "amazonses.com")},
            {"included": (), "provider": ""},
        )
    ),
    Row({"dmarc_record": None}, {"mail.dmarc": NA}, "DEFAULT_FROM_EMAIL has no domain"),
    *(
        Row(dmarc(*records, is_inherited=is_inherited), {"mail.dmarc": status}, seen)
        for records, is_inherited, status, seen in (
            ((), False, WARN, "there is no DMARC record"),
            (("p=reject", "p=none"), False, FAIL, "_dmarc.shop.net has 2 DMARC records"),
            (("rua=mailto:a@b.net",), False, FAIL, "has no valid policy"),
            (("p=discard",), False, FAIL, "has no valid policy"),
            (("p=none",), False, WARN, "p=none: receivers deliver forged messages"),
            (("p=reject; sp=none",), True, WARN, "sp=none: receivers deliver"),
            (("p=reject; pct=10",), False, WARN, "p=reject, but not for all messages"),
            (("p=reject; t=y",), False, WARN, "p=reject, but not for all messages"),
        )
    ),
    *(
        Row(dmarc(record, is_inherited=is_inherited), good=("mail.dmarc",))
        for record, is_inherited in (
            ("p=reject; sp=quarantine", False),
            (" P = Reject ;pct=100;", False),
            ("p=reject", True),
        )
    ),
]

PROJECT = [
    Row(
        {
            "project": replace(
                WORLD["project"], messages=(("security.W008", "No redirect. Long."), ("x.W009", "Short."))
            )
        },
        {"django.check-deploy": FAIL},
        "with prod.settings: security.W008 No redirect; x.W009 Short",
    ),
    Row(project(allowed_hosts=("*",)), {"django.allowed-hosts": FAIL}, "contains *, which matches every host"),
    Row(project(allowed_hosts=()), {"django.allowed-hosts": FAIL}, "ALLOWED_HOSTS is empty"),
    Row(project(allowed_hosts=("shop.net",)), {"django.allowed-hosts": FAIL}, "does not contain www.shop.net"),
    Row(project(allowed_hosts=("www.shop.net",)), {}),
    Row(project(silenced=("security.W004", "security.W018")), {"django.check-deploy": WARN}, "silenced: security.W004"),
    *(
        Row(project(allowed_hosts=hosts), {"django.allowed-hosts": FAIL}, "hosts of others")
        for hosts in ((".com",), (".shop.net", ".net"))
    ),
    Row(project(allowed_hosts=("WWW.Shop.Net",)), good=("django.allowed-hosts",)),
    Row(project(trusted_origins=("https://*.net",)), {"django.trusted-origins": FAIL}, "hosts of others"),
    Row(
        project(trusted_origins=("https://www.shop.net:8443",)),
        {"django.trusted-origins": FAIL},
        "does not contain https://www.shop.net",
    ),
    Row(project(trusted_origins=()), {"django.trusted-origins": FAIL}, "does not contain https://www.shop.net"),
    Row(project(trusted_origins=("http://www.shop.net",)), {"django.trusted-origins": FAIL}, "not https"),
    Row(project(trusted_origins=("https://www.shop.net:8443", "https://www.shop.net")), {}),
    Row(project(proxy_ssl_header=()), {"django.proxy-ssl-header": FAIL}, "is not set"),
    Row(expect(url=""), {"django.trusted-origins": NA}, 'DEPLOYTOOLS["URL"] is not set'),
    Row(
        {**expect(url="", ecs_service=""), "project": ProjectReport("prod", (), ("shop.net",))},
        {"django.trusted-origins": NA, "django.proxy-ssl-header": NA},
        'DEPLOYTOOLS["URL"] is not set',
    ),
]

PROJECT += [
    Row(
        {"secret_key_fallbacks": SecretKeyFallbacks(0, ())},
        {"django.secret-key-fallbacks": NA},
        "SECRET_KEY_FALLBACKS is empty",
    ),
    Row(
        {"secret_key_fallbacks": SecretKeyFallbacks(2, ((1, "has 9 characters"),))},
        {"django.secret-key-fallbacks": FAIL},
        "has 9 characters",
    ),
]

PER_TENANT = {"isolation": "role-per-tenant", "tenants": ("shop", "clinic")}


def connecting(*roles: str, **settings: Any) -> Changes:
    """Roles that can connect to the tenant's database."""
    tenants = {"tenants": settings["tenants"]} if settings else {}
    owner = replace(SHOP, owner="shop") if settings else SHOP
    databases = {"shop": owner, **{name: replace(owner, name=name, owner=name) for name in settings.get("tenants", ())}}
    catalog = replace(CATALOGUE, databases=databases, other_logins={"shop": roles})
    return {**tenants, **expect(**settings), "server_catalog": catalog}


MISSING = "the database does not exist (see databases.exists)"
DATABASES = [
    Row(
        {"server_catalog": replace(CATALOGUE, databases={})},
        {
            "databases.exists": FAIL,
            "databases.owner": NA,
            "databases.encoding": NA,
            "databases.public-connect-revoked": NA,
        },
        "the database does not exist",
    ),
    Row(shop(allows_connections=False), {"databases.exists": FAIL}, "connections to the database are disabled"),
    Row(tenant(is_read_only=True), {"databases.table-privileges": FAIL}, "its sessions are read-only"),
    Row(  # The role overrides the database: a session shows what applies.
        shop(settings={"default_transaction_read_only": "on"})
        | role(settings={"default_transaction_read_only": "off"}),
        good=("databases.exists", "databases.table-privileges"),
    ),
    *(
        Row(tenant(password_days=days), {"databases.login": WARN}, f"less than 30 days; {left} left")
        for days, left in ((2, "2 days"), (1, "1 day"), (29, "29 days"))
    ),
    Row(tenant(password_days=30), good=("databases.login",)),
    *(
        Row(tenant(missing_tables=tables), {"databases.migrated": FAIL}, f"{number} of recorded migrations not found")
        for tables, number in ((('"order_order"',), "1 table"), (('"order_order"', '"user_member"'), "2 tables"))
    ),
    *(
        Row(tenant(missing_columns=columns), {"databases.migrated": FAIL}, f"{number} of recorded migrations not found")
        for columns, number in ((('"order_order".total',), "1 column"), (('"a".b', '"a".c'), "2 columns"))
    ),
    Row(
        tenant(missing_tables=('"a"',), missing_columns=('"b".c',)),
        {"databases.migrated": FAIL},
        '1 table of recorded migrations not found, first "a"',
    ),
    Row(
        tenant(hidden_tables=('"order_order"',), missing_privileges=('UPDATE on "a"',)),
        {"databases.table-privileges": FAIL},
        'the row security of "order_order" has no policy',
    ),
    *(
        Row(tenant(missing_privileges=privileges), {"databases.table-privileges": WARN}, seen)
        for privileges, seen in (
            (('UPDATE on "order_order"',), 'on tables of the models are missing: UPDATE on "order_order"'),
            (('INSERT on "a"', 'DELETE on "a"'), "2 privileges on tables of the models are missing"),
        )
    ),
    *(
        Row(connecting(*roles, **settings), {"databases.public-connect-revoked": status}, seen)
        for roles, settings, status, seen in (
            (("analyst",), {}, WARN, "shop: other roles can connect: analyst"),
            (("analyst", "backup", "django_app"), {}, WARN, "can connect: analyst, backup"),
            (("analyst",), PER_TENANT, WARN, "shop: other roles can connect: analyst"),
            (("clinic",), PER_TENANT, FAIL, "shop: other roles can connect: clinic"),
            (("clinic_b",), PER_TENANT, FAIL, "shop: other roles can connect: clinic_b"),
        )
    ),
    Row(connecting("django_app"), good=("databases.public-connect-revoked",)),
    *(
        Row(changes, {"databases.connection-budget": FAIL}, f"CONNECTION LIMIT of {what}")
        for changes, what in (
            (role(connection_limit=6), "django_app is 6"),
            (shop(connection_limit=1), "shop is 1"),
        )
    ),
    Row(role(connection_limit=16) | expect(processes=16), good=("databases.connection-budget",)),
    Row(shop(owner="postgres"), {"databases.owner": FAIL}, "owned by postgres, expected django_app"),
    Row(shop(encoding="LATIN1"), {"databases.encoding": FAIL}, "encoding LATIN1, locale C.UTF-8"),
    Row(
        shop(public_can_connect=True),
        {"databases.public-connect-revoked": FAIL},
        "PUBLIC has CONNECT or TEMPORARY",
    ),
    Row(tenant(applied=frozenset()), {"databases.migrated": FAIL}, "1 not applied, first order.0001_initial"),
    Row(
        tenant(applied=frozenset({FIRST, ("order", "0099_new")})),
        {"databases.migrated": WARN},
        "1 applied but not in this code, first order.0099_new",
    ),
    Row(tenant(applied=frozenset({FIRST, ("gone", "0001_initial")})), {}),
    Row(
        tenant(unusable=UnusableObjects(57, "table public.auth_user", ("postgres",)), error=CANCELLED),
        {"databases.table-privileges": FAIL, "databases.migrated": UNKNOWN},
        "the application role has no privilege on 57 objects in shop, for example table public.auth_user "
        "(owner postgres).",
    ),
    Row(
        tenant(unusable=UnusableObjects(schema="schema public does not exist", schema_hint="as the owner: CREATE …")),
        {"databases.table-privileges": FAIL},
        "the application role cannot create tables in shop: schema public does not exist.",
    ),
    Row(
        {"migration_graph": MigrationGraph({("order", "0001_squashed"): frozenset({FIRST})})},
        {"databases.migrated": FAIL},
        "1 squashed but not recorded, first order.0001_squashed",
    ),
    Row(
        tenant(error=REFUSED, unusable=None),
        {"databases.login": FAIL, "databases.migrated": UNKNOWN, "databases.table-privileges": UNKNOWN},
        "No connection (refused).",
    ),
    Row(
        tenant(error=CANCELLED, unusable=None),
        {"databases.migrated": UNKNOWN, "databases.table-privileges": UNKNOWN},
        "PostgreSQL refused.",
    ),
    *(
        Row(
            tenant(error=error, unusable=None),
            {"databases.login": said, "databases.migrated": UNKNOWN, "databases.table-privileges": UNKNOWN},
            str(error),
        )
        for error, said in NEVER_LOGGED_IN
    ),
    Row(
        tenant(error=NO_CONNECT, unusable=None),
        {"databases.login": FAIL, "databases.migrated": UNKNOWN, "databases.table-privileges": UNKNOWN},
        "No CONNECT.",
    ),
    Row(
        tenant(error=NO_DATABASE, unusable=None),
        {"databases.login": NA, "databases.migrated": NA, "databases.table-privileges": NA},
        MISSING,
    ),
    Row(
        role(is_superuser=True, memberships=frozenset({"rds_iam"})),
        {"databases.role-privileges": FAIL},
        "django_app SUPERUSER: has SUPERUSER",
    ),
    Row(
        {"server_catalog": replace(CATALOGUE, test_databases=("test_shop",))},
        {"databases.no-test-databases": WARN},
        "test_shop",
    ),
    Row({"server_catalog": replace(CATALOGUE, unlisted=("old_shop",))}, {"databases.all-listed": WARN}, "old_shop"),
    Row({"connection": replace(REPORT, tls="")}, {"databases.tls-verified": FAIL}, "not encrypted"),
    Row(
        django_report(sslmode="require") | {"connection_attempt": ProbeResult(replace(REPORT, sslmode="require"))},
        {"databases.tls-verified": FAIL},
        "Django's own connection is encrypted, its sslmode is require",
    ),
    Row(
        django_report(tls="", sslmode="prefer")
        | {"connection_attempt": ProbeResult(replace(REPORT, tls="", sslmode="prefer"))},
        {"databases.tls-verified": FAIL},
        "Django's own connection is not encrypted, its sslmode is prefer",
    ),
    *(
        Row(
            {"alias_sslmodes": {"replica": mode, "x": "verify-full"}},
            {"databases.tls-verified": FAIL},
            f"the sslmode of other aliases is not verify-full: DATABASES['replica']: {mode}",
        )
        for mode in ("disable", "prefer", "require")
    ),
    Row({"alias_sslmodes": {"replica": ""}}, {"databases.tls-verified": UNKNOWN}, "DATABASES['replica'] is not known"),
    Row({"alias_sslmodes": {"replica": "verify-full"}}, good=("databases.tls-verified",)),
    Row(expect(sslmode="require"), {"databases.tls-verified": FAIL}, "the server's certificate is not verified"),
    Row(
        expect(processes=188),
        {"databases.connection-budget": FAIL},
        "1 × 188 = 188 connections, 187 available (200 minus 13 reserved)",
    ),
    Row(expect(processes=187), {}),
    Row(expect(processes=0), {"databases.connection-budget": NA}, 'DEPLOYTOOLS["PROCESSES"] is not set'),
    Row(slots(used=150), {"databases.connections-free": WARN}, "150 of 187 in use"),
]
