"""The checks, from one good world: each single fault flips exactly its own check."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploytools.databases.catalogue import ConnectionReport, ServerCatalogue
from deploytools.databases.migrations import MigrationGraph
from deploytools.databases.state import DatabaseState, RoleState
from deploytools.errors import ConnectionFailed, ConnectionFailure, NotFound
from deploytools.secret.document import Document
from deploytools.secret.sync import SecretState
from deploytools.verification.facts import Absent, Fact, Value
from deploytools.verification.findings import Finding, Status
from deploytools.verification.registry import load_registry
from deploytools.verification.runner import judge_all
from deploytools.verification.sources.connection import AppsReport, ConnectionAttempt, Expectation
from deploytools.verification.sources.databases import TenantReport
from deploytools.verification.sources.project import ProjectReport
from deploytools.verification.sources.rds import RdsInstance

DOCUMENT = {
    "engine": "postgres",
    "host": "db.abc.us-east-1.rds.amazonaws.com",
    "port": 5432,
    "username": "django_app",
    "password": "Aq7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU",
    "dbClusterIdentifier": "good",
    "django_secret_key": "kJ8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDxCsVbNm2WqE",
    "stripe_secret_key": "sk_live_51AbCdEfGhIjKlMnOpQrStUv",
    "stripe_publishable_key": "pk_live_51AbCdEfGhIjKlMnOpQrStUv",
    "email_host": "email-smtp.us-east-1.amazonaws.com",
    "email_port": 587,
    "email_user": "AKIAABCDEFGHIJKLMNOP",
    "email_password": "BKq3vTz0AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
}
REPORT = ConnectionReport("shop", "django_app", "16.4", "TLSv1.3 TLS_AES_256_GCM_SHA384", 0.012, 0.0008)
SHOP = DatabaseState("shop", "django_app", public_may_connect=False)
CATALOGUE = ServerCatalogue(RoleState("django_app"), {"shop": SHOP}, ())
FIRST = ("order", "0001_initial")
WORLD: dict[str, Any] = {
    "secret": SecretState("prod", "us-east-1", "v1" * 16, Document(DOCUMENT), {"v1": ("AWSCURRENT",)}),
    "expectation": Expectation(
        "shop", "django.db.backends.postgresql", ("shop",), tuple(DOCUMENT), "launch", "verify-full", "prod"
    ),
    "connection_attempt": ConnectionAttempt(REPORT),
    "connection": REPORT,
    "apps": AppsReport(10, 57, ()),
    "catalogue": CATALOGUE,
    "migration_graph": MigrationGraph({FIRST: frozenset()}),
    "tenant_logins": (TenantReport("shop", frozenset({FIRST})),),
    "project": ProjectReport("prod.settings", ()),
    "rds_instance": RdsInstance("good", "available", "db.abc", True, 14, False, True),
}
OURS = tuple(check for check in load_registry().checks.values() if check.judge.__module__.startswith("deploytools."))


def findings(**changes: Any) -> tuple[Finding, ...]:
    facts: dict[str, Fact] = {name: Value(value) for name, value in (WORLD | changes).items()}
    return judge_all(OURS, facts)


def secret(**changes: Any) -> dict[str, SecretState]:
    values = {key: value for key, value in (DOCUMENT | changes).items() if value is not None}
    return {"secret": replace(WORLD["secret"], document=Document(values))}


def rds(**changes: Any) -> dict[str, RdsInstance]:
    return {"rds_instance": replace(WORLD["rds_instance"], **changes)}


def shop(**changes: Any) -> dict[str, ServerCatalogue]:
    return {"catalogue": replace(CATALOGUE, databases={"shop": replace(SHOP, **changes)})}


def role(**changes: Any) -> dict[str, ServerCatalogue]:
    return {"catalogue": replace(CATALOGUE, app_role=replace(CATALOGUE.app_role, **changes))}


def expect(**changes: Any) -> dict[str, Expectation]:
    return {"expectation": replace(WORLD["expectation"], **changes)}


def tenant(**changes: Any) -> dict[str, tuple[TenantReport, ...]]:
    return {"tenant_logins": (replace(WORLD["tenant_logins"][0], **changes),)}


REFUSED = ConnectionFailed("No connection (refused).", hint="Wait.", kind=ConnectionFailure.REFUSED)
NO_DATABASE = ConnectionFailed("No such database.", hint="Make it.", kind=ConnectionFailure.NO_DATABASE)

PASS, WARN, FAIL, UNKNOWN, NA = Status.PASS, Status.WARN, Status.FAIL, Status.UNKNOWN, Status.NOT_APPLICABLE


def test_the_good_world_passes_every_check():
    assert {finding.check: finding.status for finding in findings()} == {check.id: PASS for check in OURS}
    assert all(not finding.hint for finding in findings())


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (secret(email_user=None), {("secret.complete", FAIL, "missing: email_user")}),
        (
            secret(password="short"),
            {
                ("connection.configuration", FAIL, "password has 5 characters; 32 or more are needed"),
                (
                    "secret.contract",
                    FAIL,
                    "has 5 characters; 32 or more are needed (good: 32 or more random letters and digits)",
                ),
            },
        ),
        (
            secret(engine=None),
            {
                ("secret.complete", FAIL, "missing: engine"),
                ("connection.configuration", FAIL, "engine is missing"),
            },
        ),
        (
            {"secret": replace(WORLD["secret"], labels={"v1": ("AWSCURRENT",), "v2": ("AWSPENDING",)})},
            {("secret.no-rotation-under-way", FAIL, "AWSPENDING is on version v2")},
        ),
        ({"secret": replace(WORLD["secret"], labels={"v1": ("AWSCURRENT", "AWSPENDING")})}, set()),
        (expect(engine="sqlite3"), {("connection.configuration", FAIL, "Django's ENGINE is sqlite3")}),
        (expect(database=""), {("connection.configuration", FAIL, "DATABASE_NAME is not set")}),
        (
            {"connection_attempt": ConnectionAttempt(error=REFUSED)},
            {
                ("connection.connect", FAIL, "No connection (refused)."),
                ("connection.query", NA, "not tried: there is no connection"),
            },
        ),
        (
            {"apps": AppsReport(10, 57, ("user.E1: bad",))},
            {("connection.apps", FAIL, "user.E1: bad")},
        ),
        (
            expect(sslmode="require"),
            {("databases.server-verified", FAIL, "sslmode is require: whoever answers is believed")},
        ),
        (
            {"connection": replace(REPORT, tls="")},
            {("databases.server-verified", FAIL, "the connection is not encrypted")},
        ),
        (
            {"project": ProjectReport("base", (("security.W008", "No redirect. Long."), ("security.W009", "Short.")))},
            {("django.check-deploy", FAIL, "under base: security.W008 No redirect; security.W009 Short")},
        ),
        (
            {"catalogue": replace(CATALOGUE, databases={})},
            {
                ("databases.exists", FAIL, "the database does not exist"),
                ("databases.owner", NA, "the database does not exist (see databases.exists)"),
                ("databases.encoding", NA, "the database does not exist (see databases.exists)"),
                ("databases.public-shut-out", NA, "the database does not exist (see databases.exists)"),
            },
        ),
        (shop(allows_connections=False), {("databases.exists", FAIL, "the database is closed to connections")}),
        (shop(owner="postgres"), {("databases.owner", FAIL, "owned by postgres, not by django_app")}),
        (shop(encoding="LATIN1"), {("databases.encoding", FAIL, "LATIN1, C.UTF-8")}),
        (
            shop(public_may_connect=True),
            {
                (
                    "databases.public-shut-out",
                    FAIL,
                    "every role of the server may connect or create temporary tables",
                )
            },
        ),
        (tenant(applied=frozenset()), {("databases.migrated", FAIL, "1 not applied, first order.0001_initial")}),
        (
            tenant(applied=frozenset({FIRST, ("order", "0099_new")})),
            {("databases.migrated", WARN, "1 applied that this code does not have, first order.0099_new")},
        ),
        (tenant(applied=frozenset({FIRST, ("gone", "0001_initial")})), set()),
        (tenant(error=REFUSED), {("databases.migrated", UNKNOWN, "No connection (refused).")}),
        (
            tenant(error=NO_DATABASE),
            {("databases.migrated", NA, "the database does not exist (see databases.exists)")},
        ),
        (
            role(is_superuser=True, reaches=frozenset({"rds_iam"})),
            {("databases.role-harmless", FAIL, "django_app has SUPERUSER, rds_iam")},
        ),
        (
            {"catalogue": replace(CATALOGUE, test_databases=("test_shop",))},
            {("databases.no-test-databases", WARN, "found: test_shop")},
        ),
        (rds(deletion_protection=False), {("rds.deletion-protection", FAIL, "DeletionProtection is off")}),
        (
            rds(deletion_protection=None),
            {("rds.deletion-protection", UNKNOWN, "AWS's answer does not say (DeletionProtection)")},
        ),
        (rds(backup_days=0), {("rds.automated-backups", FAIL, "there are no automated backups")}),
        (rds(backup_days=6), {("rds.automated-backups", WARN, "kept for 6 days, fewer than 7")}),
        (
            rds(backup_days=None),
            {("rds.automated-backups", UNKNOWN, "AWS's answer does not say (BackupRetentionPeriod)")},
        ),
        (rds(is_public=True), {("rds.not-public", FAIL, "PubliclyAccessible is on")}),
        (rds(is_public=None), {("rds.not-public", UNKNOWN, "AWS's answer does not say (PubliclyAccessible)")}),
        (rds(is_encrypted=False), {("rds.encrypted", FAIL, "StorageEncrypted is off")}),
        (rds(is_encrypted=None), {("rds.encrypted", UNKNOWN, "AWS's answer does not say (StorageEncrypted)")}),
    ],
)
def test_each_fault_flips_its_own_check_and_no_other(changes, found):
    flipped = [finding for finding in findings(**changes) if finding.status is not PASS]
    assert {(finding.check, finding.status, finding.evidence) for finding in flipped} == found
    assert all(finding.hint for finding in flipped if finding.status is not NA)


@pytest.mark.parametrize(("stage", "status"), [("pre-launch", WARN), ("launch", FAIL)])
def test_stripe_stand_ins_are_for_before_the_launch(stage, status):
    keys = {
        f"stripe_{kind}_key": f"{kind[0]}k_test_placeholder_no_stripe_account_yet" for kind in ("secret", "publishable")
    }
    flipped = [f for f in findings(**secret(**keys), **expect(stage=stage)) if f.status is not PASS]
    assert {(f.check, f.resource, f.status) for f in flipped} == {
        ("secret.contract", "stripe_secret_key", status),
        ("secret.contract", "stripe_publishable_key", status),
    }


def test_an_instance_that_does_not_exist_fails_every_check_of_it():
    gone = Absent(NotFound("The RDS instance good in us-east-1 does not exist.", hint="Check the Region."))
    facts: dict[str, Fact] = {name: Value(value) for name, value in WORLD.items()}
    facts["rds_instance"] = gone
    about = [finding for finding in judge_all(OURS, facts) if finding.check.startswith("rds.")]
    assert {finding.status for finding in about} == {FAIL}
    assert {finding.hint for finding in about} == {"Check the Region."}


def test_no_value_of_the_secret_is_in_a_finding():
    bad = secret(password="hunter2hunter2", stripe_secret_key="pk_live_canary", email_password="canary canary")
    text = repr(findings(**bad))
    assert not [word for word in ("hunter2", "canary") if word in text]


def test_squashed_migrations_count_as_applied_when_what_they_replace_is():
    squashed = ("order", "0001_squashed_0002")
    graph = MigrationGraph({squashed: frozenset({FIRST, ("order", "0002_more")})})
    assert graph.missing_from(frozenset({FIRST})) == (squashed,)
    assert graph.missing_from(frozenset({FIRST, ("order", "0002_more")})) == ()
    assert graph.unknown_in(frozenset({FIRST, ("order", "0002_more")})) == ()
