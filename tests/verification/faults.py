"""Single faults of the secret, the settings and the databases, each with exactly the checks that it flips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from deploytools.errors import (
    AccessDenied,
    ConnectionFailed,
    ConnectionFailure,
    DatabaseError,
    NotFound,
    SecretNotFound,
    Throttled,
)
from deploytools.secret.contract import Problem
from deploytools.verification.findings import Status
from deploytools.verification.sources.connection import AcceptedPassword, AppsReport, ConnectionAttempt
from deploytools.verification.sources.project import OldKeys, ProjectReport
from deploytools.verification.sources.secret import ResourcePolicy, SettingsInUse
from deploytools.verification.sources.stray_values import StrayValues
from deploytools.verification.sources.vantage import TASK, Vantage
from tests.verification.world import (
    CATALOGUE,
    FIRST,
    LINKS,
    NOW,
    REPORT,
    WORLD,
    Changes,
    description,
    expect,
    mail,
    own,
    project,
    role,
    secret,
    ses_account,
    ses_identity,
    shop,
    slots,
    tenant,
)

PASS, WARN, FAIL, UNKNOWN, NA = Status.PASS, Status.WARN, Status.FAIL, Status.UNKNOWN, Status.NOT_APPLICABLE


@dataclass(frozen=True)
class Fault:
    """One thing that is otherwise than in the good world.

    Attributes:
        flips: the checks that do not pass, with what they say; none: a false alarm that must not be raised.
        seen: in what the first of them saw.
    """

    changes: Changes
    flips: dict[str, Status]
    seen: str = ""


REFUSED = ConnectionFailed("No connection (refused).", hint="Wait.", kind=ConnectionFailure.REFUSED)
LOST = ConnectionFailed("No connection (timed out).", hint="Wait.", kind=ConnectionFailure.TIMEOUT)
PASSWORD = ConnectionFailed("No connection (password refused).", hint="Mend it.", kind=ConnectionFailure.PASSWORD)
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
STAND_INS = {
    f"stripe_{kind}_key": f"{kind[0]}k_test_placeholder_no_stripe_account_yet" for kind in ("secret", "publishable")
}
PLACEHOLDER = "sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY"


def attempt(**changes: object) -> Changes:
    return {"connection_attempt": ConnectionAttempt(**changes)}  # type: ignore[arg-type]


def labels(**by_version: tuple[str, ...]) -> Changes:
    return {"secret": replace(WORLD["secret"], labels=by_version)}


def statement(**members: object) -> Changes:
    said = {"Sid": "Open", "Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*", **members}
    return {"secret_policy": ResourcePolicy("123456789012", (said,))}


CONNECTION = [
    Fault(
        secret(engine=None),
        {"connection.configuration": FAIL, "secret.complete": FAIL},
        "engine is missing",
    ),
    Fault(expect(engine="sqlite3"), {"connection.configuration": FAIL}, "Django's ENGINE is sqlite3"),
    Fault(expect(database=""), {"connection.configuration": FAIL}, "DATABASE_NAME is not set"),
    Fault(
        attempt(error=REFUSED, links=LINKS[:1], broken="TCP"),
        {"connection.connect": FAIL, "connection.query": NA},
        "No connection (refused). Broken: TCP; held: name (10.0.1.5); name 1 ms",
    ),
    Fault(
        attempt(error=LOST, links=LINKS[:1], broken="TCP") | {"vantage": Vantage(TASK, ("10.0.1.0/24",))},
        {"connection.connect": FAIL, "connection.query": NA},
        "held: name (10.0.1.5). This process runs in an ECS task (10.0.1.0/24), inside the database's VPC; name 1 ms",
    ),
    Fault(
        attempt(error=PASSWORD, links=LINKS, broken="login", accepted=OLD),
        {"connection.connect": FAIL, "connection.query": NA},
        "The password of AWSPREVIOUS works.",
    ),
    Fault(
        attempt(error=PASSWORD, links=LINKS, broken="login", accepted=PENDING),
        {"connection.connect": FAIL, "connection.query": NA},
        "The password of AWSPENDING works.",
    ),
    Fault(
        attempt(error=CANCELLED, links=LINKS, broken="query"),
        {"connection.connect": FAIL, "connection.query": FAIL},
        "PostgreSQL refused.",
    ),
    Fault({"apps": AppsReport(10, 57, ("user.E1: bad",))}, {"connection.apps": FAIL}, "user.E1: bad"),
]

SECRET = [
    Fault(secret(email_user=None), {"secret.complete": FAIL}, "missing: email_user"),
    Fault(secret(**STAND_INS), {"secret.stripe-live": FAIL}, "is the stand-in for a Stripe account"),
    Fault(
        secret(stripe_secret_key="sk_test_51AbCdEfGhIjKlMnOpQrStUv"),
        {"secret.stripe-live": FAIL, "secret.stripe-form": FAIL},
        "is a test-mode key",
    ),
    Fault(
        secret(stripe_secret_key=PLACEHOLDER),
        {"secret.stripe-live": FAIL, "secret.stripe-form": FAIL},
        "is still a placeholder",
    ),
    Fault(
        secret(stripe_secret_key="pk_live_51AbCdEfGhIjKlMnOpQrStUv"),
        {"secret.stripe-live": FAIL, "secret.stripe-form": FAIL},
        "is not a secret or restricted key of Stripe's",
    ),
    Fault(
        secret(stripe_secret_key=None, stripe_publishable_key=None),
        {"secret.complete": FAIL, "secret.stripe-live": NA, "secret.stripe-form": NA},
        "missing: stripe_secret_key, stripe_publishable_key",
    ),
    Fault(secret(email_host="smtp.example.com"), {"secret.mail": FAIL}, "is still a placeholder"),
    Fault(secret(email_host="smtp.gmail.com"), {"secret.mail": FAIL}, "is not the address of a Google account"),
    Fault(
        secret(email_host=None, email_port=None, email_user=None, email_password=None),
        {"secret.complete": FAIL, "secret.mail": NA},
        "missing: email_host, email_port, email_user, email_password",
    ),
    Fault(
        secret(password="short"),
        {"connection.configuration": FAIL, "secret.database-passwords": FAIL},
        "password has 5 characters; 32 or more are needed",
    ),
    Fault(
        secret(password=None),
        {"connection.configuration": FAIL, "secret.complete": FAIL, "secret.database-passwords": NA},
        "password is missing",
    ),
    Fault(secret(django_secret_key="django-insecure-" + "abcdefghij" * 5), {"secret.django-key": FAIL}, "startproject"),
    Fault(
        secret(django_secret_key=None), {"secret.complete": FAIL, "secret.django-key": NA}, "missing: django_secret_key"
    ),
    Fault(secret(master_username="not a role"), {"secret.other-values": FAIL}, "is not a role name"),
    Fault(secret(somebody_elses="anything"), {}),
    Fault(own(declared=()), {"secret.own-keys": NA}, "none is declared"),
    Fault(own(missing=("sentry_dsn",)), {"secret.own-keys": FAIL}, "is missing"),
    Fault(own(problems=(Problem("sentry_dsn", "is no URL", "https://…"),)), {"secret.own-keys": FAIL}, "is no URL"),
    Fault(
        own(problems=(Problem("sentry_dsn", "stands in", "https://…", True),)), {"secret.own-keys": WARN}, "stands in"
    ),
    Fault(
        secret(master_password=WORLD["secret"].document["password"].reveal()),
        {"secret.distinct": FAIL},
        "password master_password: they have the same value",
    ),
    Fault(labels(v1=("AWSCURRENT",), v2=("AWSPENDING",)), {"secret.no-rotation-under-way": WARN}, "on version v2"),
    Fault(labels(v1=("AWSCURRENT", "AWSPENDING")), {}),
    Fault(description(rotates=False), {"secret.rotated-in-time": NA}, "does not rotate it"),
    Fault(description(next_rotation=NOW - timedelta(days=1)), {"secret.rotated-in-time": FAIL}, "due on 2026-02-28"),
    Fault(description(next_rotation=None), {"secret.rotated-in-time": UNKNOWN}, "NextRotationDate"),
    Fault(statement(Principal="*"), {"secret.not-shared": FAIL}, "statement Open allows *: everybody"),
    Fault(statement(Principal={"AWS": ["*"]}), {"secret.not-shared": FAIL}, "statement Open allows *: everybody"),
    Fault(
        statement(Principal="*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        {"secret.not-shared": WARN},
        "statement Open allows * under a condition (aws:PrincipalOrgID): read it",
    ),
    Fault(
        statement(Principal={"AWS": "*"}, Condition={"StringEquals": {"aws:PrincipalAccount": "123456789012"}}),
        {"secret.not-shared": WARN},
        "under a condition (aws:PrincipalAccount)",
    ),
    *(
        Fault(
            statement(Principal={"AWS": "*"}, Condition=condition),
            {"secret.not-shared": FAIL},
            f"allows *: everybody, for nobody is kept out by {next(iter(next(iter(condition.values()))))}",
        )
        for condition in (
            {"Bool": {"aws:SecureTransport": "true"}},
            {"StringNotEquals": {"aws:PrincipalAccount": "999999999999"}},
            {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}},
            {"StringLike": {"aws:PrincipalArn": "*"}},
        )
    ),
    Fault(
        statement(NotPrincipal={"AWS": "arn:aws:iam::999999999999:root"}),
        {"secret.not-shared": FAIL},
        "allows everybody but those that its NotPrincipal names",
    ),
    Fault(
        statement(Principal={"AWS": "arn:aws:iam::123456789012:role/web"}, NotAction="secretsmanager:DeleteSecret"),
        {"secret.not-shared": WARN},
        "all actions but those that its NotAction names",
    ),
    Fault(
        statement(Principal={"AWS": "arn:aws:iam::999999999999:role/123456789012"}),
        {"secret.not-shared": WARN},
        "another account’s",
    ),
    Fault(statement(Principal={"AWS": "AROAEXAMPLEEXAMPLE"}), {"secret.not-shared": WARN}, "nobody knows who that is"),
    Fault(statement(Principal={"AWS": "123456789012"}), {}),
    Fault(statement(NotPrincipal={"AWS": "arn:aws:iam::123456789012:role/web"}, Effect="Deny"), {}),
    Fault(
        statement(Principal={"AWS": "arn:aws:iam::999999999999:root"}), {"secret.not-shared": WARN}, "another account’s"
    ),
    Fault(statement(Principal={"AWS": "arn:aws:iam::123456789012:role/web"}), {}),
    Fault(statement(Principal={"Service": "lambda.amazonaws.com"}), {}),
    Fault(statement(Effect="Deny", Principal="*"), {}),
    Fault(
        {"stray_values": StrayValues("/srv/shop", 300, True, (("password", "fixtures.json", 12),))},
        {"secret.not-in-code": FAIL},
        "password fixtures.json: in line 12",
    ),
    Fault(
        {"stray_values": StrayValues("/srv/shop", 9, True, (), tuple(f"{n}.py" for n in range(7)))},
        {"secret.not-in-code": UNKNOWN},
        "could not be read: 0.py, 1.py, 2.py, 3.py, 4.py and 2 more",
    ),
    Fault({"stray_values": StrayValues("/srv/shop", 9, True, (), (), ("dump.sql",))}, {}),
    Fault({"stray_values": StrayValues("", 0, True, ())}, {"secret.not-in-code": NA}, "no BASE_DIR"),
    Fault({"stray_values": StrayValues("/", 20_000, False, ())}, {"secret.not-in-code": UNKNOWN}, "first 20,000 files"),
    Fault(
        {"settings_in_use": SettingsInUse(("EMAIL_HOST",), ("SECRET_KEY",))},
        {"settings.from-secret": FAIL},
        "differing: SECRET_KEY",
    ),
    Fault({"settings_in_use": SettingsInUse((), ())}, {"settings.from-secret": FAIL}, "holds none of them"),
]

MAIL = [
    Fault(
        mail(broken="AUTH", said="535 5.7.8 Error", code=535, seconds=(("name", 0.1), ("TCP", 0.1))),
        {"mail.login": FAIL},
        "AUTH failed: 535 (held: name, TCP); 535 5.7.8 Error",
    ),
    Fault(
        mail(server="Gmail", broken="AUTH", said="535 no"),
        {"mail.login": FAIL},
        "Gmail: AUTH failed",
    ),
    *(
        Fault(mail(broken=stage, said="no"), {"mail.login": FAIL}, f"{stage} failed")
        for stage in ("name", "TCP", "EHLO", "STARTTLS")
    ),
    Fault({"ses_account": None}, {"mail.ses-production": NA}, "not SES"),
    Fault(ses_account(is_in_production=False), {"mail.ses-production": FAIL}, "the account is in the sandbox"),
    Fault(ses_account(sends=False), {"mail.ses-production": FAIL}, "sending is switched off"),
    Fault(ses_account(sends=None), {"mail.ses-production": UNKNOWN}, "SendingEnabled"),
    Fault({"ses_identity": None}, {"mail.ses-identity": NA}, "not SES"),
    Fault(ses_identity(is_verified=False), {"mail.ses-identity": FAIL}, "not verified"),
    Fault(ses_identity(dkim="PENDING"), {"mail.ses-identity": WARN}, "DKIM is PENDING"),
    Fault(ses_identity(is_verified=None), {"mail.ses-identity": UNKNOWN}, "VerifiedForSendingStatus"),
]

PROJECT = [
    Fault(
        {
            "project": replace(
                WORLD["project"], messages=(("security.W008", "No redirect. Long."), ("x.W009", "Short."))
            )
        },
        {"django.check-deploy": FAIL},
        "under prod.settings: security.W008 No redirect; x.W009 Short",
    ),
    Fault(project(allowed_hosts=("*",)), {"django.allowed-hosts": FAIL}, "has *, which is every name"),
    Fault(project(allowed_hosts=()), {"django.allowed-hosts": FAIL}, "ALLOWED_HOSTS is empty"),
    Fault(project(allowed_hosts=("shop.net",)), {"django.allowed-hosts": FAIL}, "has no www.shop.net"),
    Fault(project(allowed_hosts=("www.shop.net",)), {}),
    Fault(project(trusted_origins=()), {"django.trusted-origins": FAIL}, "no https://www.shop.net in it"),
    Fault(project(trusted_origins=("http://www.shop.net",)), {"django.trusted-origins": FAIL}, "not https"),
    Fault(project(trusted_origins=("https://www.shop.net:8443", "https://www.shop.net")), {}),
    Fault(project(proxy_header=()), {"django.proxy-header": FAIL}, "is not set"),
    Fault(expect(url=""), {"django.trusted-origins": NA}, "nobody says what its address is"),
    Fault(
        {**expect(url="", ecs_service=""), "project": ProjectReport("prod", (), ("shop.net",))},
        {"django.trusted-origins": NA, "django.proxy-header": NA},
        "nobody says what its address is",
    ),
]

PROJECT += [
    Fault({"old_keys": OldKeys(0, ())}, {"django.old-keys": NA}, "SECRET_KEY_FALLBACKS is empty"),
    Fault(
        {"old_keys": OldKeys(2, ((1, "has 9 characters"),))},
        {"django.old-keys": FAIL},
        "has 9 characters",
    ),
]

MISSING = "the database does not exist (see databases.exists)"
DATABASES = [
    Fault(
        {"catalogue": replace(CATALOGUE, databases={})},
        {"databases.exists": FAIL, "databases.owner": NA, "databases.encoding": NA, "databases.public-shut-out": NA},
        "the database does not exist",
    ),
    Fault(shop(allows_connections=False), {"databases.exists": FAIL}, "closed to connections"),
    Fault(shop(owner="postgres"), {"databases.owner": FAIL}, "owned by postgres, not by django_app"),
    Fault(shop(encoding="LATIN1"), {"databases.encoding": FAIL}, "LATIN1, C.UTF-8"),
    Fault(shop(public_may_connect=True), {"databases.public-shut-out": FAIL}, "every role of the server may connect"),
    Fault(tenant(applied=frozenset()), {"databases.migrated": FAIL}, "1 not applied, first order.0001_initial"),
    Fault(
        tenant(applied=frozenset({FIRST, ("order", "0099_new")})),
        {"databases.migrated": WARN},
        "1 applied that this code does not have, first order.0099_new",
    ),
    Fault(tenant(applied=frozenset({FIRST, ("gone", "0001_initial")})), {}),
    Fault(
        tenant(error=REFUSED),
        {"databases.login": FAIL, "databases.migrated": UNKNOWN},
        "No connection (refused).",
    ),
    Fault(tenant(error=CANCELLED), {"databases.migrated": UNKNOWN}, "PostgreSQL refused."),
    *(
        Fault(tenant(error=error), {"databases.login": said, "databases.migrated": UNKNOWN}, str(error))
        for error, said in NEVER_LOGGED_IN
    ),
    Fault(tenant(error=NO_CONNECT), {"databases.login": FAIL, "databases.migrated": UNKNOWN}, "No CONNECT."),
    Fault(tenant(error=NO_DATABASE), {"databases.login": NA, "databases.migrated": NA}, MISSING),
    Fault(
        role(is_superuser=True, reaches=frozenset({"rds_iam"})),
        {"databases.role-harmless": FAIL},
        "django_app SUPERUSER: has SUPERUSER",
    ),
    Fault(
        {"catalogue": replace(CATALOGUE, test_databases=("test_shop",))},
        {"databases.no-test-databases": WARN},
        "test_shop",
    ),
    Fault({"catalogue": replace(CATALOGUE, unnamed=("old_shop",))}, {"databases.none-forgotten": WARN}, "old_shop"),
    Fault({"connection": replace(REPORT, tls="")}, {"databases.server-verified": FAIL}, "not encrypted"),
    Fault(expect(django_sslmode="require"), {"databases.server-verified": FAIL}, "Django's own connections is require"),
    Fault(expect(django_sslmode=""), {"databases.server-verified": FAIL}, "Django's own connections is not set"),
    Fault(expect(sslmode="require"), {"databases.server-verified": FAIL}, "whoever answers is believed"),
    Fault(
        expect(processes=188),
        {"databases.connection-budget": FAIL},
        "1 tenants × 188 processes = 188 connections of 187 (200 less 13 reserved)",
    ),
    Fault(expect(processes=187), {}),
    Fault(expect(processes=0), {"databases.connection-budget": NA}, "nobody says how many processes"),
    Fault(slots(used=150), {"databases.connections-free": WARN}, "150 of 187 in use"),
]
