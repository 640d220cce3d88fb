"""The five lines that the guide promises (Step 6), each a real check."""

from __future__ import annotations

from deploytools.secret.contract import problems
from deploytools.secret.sync import SecretState
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import AppsReport, ConnectionAttempt, Expectation
from deploytools.verification.troubleshooting import advice

TAGS = ("startup",)
CONNECTION_KEYS = ("engine", "host", "port", "username", "password")


@check(
    "connection.secret",
    title="Successfully retrieved secrets from AWS Secrets Manager",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Run: aws sts get-caller-identity",
    tags=TAGS,
)
def secret_retrieved(secret: SecretState) -> Verdict:
    """It was read."""
    return passed(f"{secret.name} in {secret.region}, {len(secret.document)} keys, version {secret.version[:8]}…")


@check(
    "connection.configuration",
    title="Database configuration validated",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Run: python manage.py sync_secrets FILE",
    tags=TAGS,
)
def configuration_validated(secret: SecretState, expectation: Expectation) -> Verdict:
    """What a connection needs is there and keeps the contract, and Django's side is PostgreSQL."""
    document = {key: secret.document[key] for key in CONNECTION_KEYS if key in secret.document}
    wrong = [f"{key} is missing" for key in CONNECTION_KEYS if key not in document]
    wrong += [f"{item.key} {item.sentence}" for item in problems(document, stage=expectation.stage)]
    if "postgresql" not in expectation.engine:
        wrong.append(f"Django's ENGINE is {expectation.engine or 'not set'}")
    if not expectation.database:
        wrong.append("DATABASE_NAME is not set")
    if wrong:
        return failed("; ".join(wrong))
    return passed(f"database {expectation.database}, sslmode {expectation.sslmode}")


@check(
    "connection.connect",
    title="Successfully connected to AWS RDS PostgreSQL",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Run: python manage.py check_rds",
    tags=TAGS,
)
def connected(connection_attempt: ConnectionAttempt) -> Verdict:
    """The application logged in."""
    connection = connection_attempt.report
    if connection is None:
        error = connection_attempt.error
        return failed(str(error), hint=advice(error) if error else "")
    seen = f"PostgreSQL {connection.server_version} as {connection.user}, {connection.connect_seconds * 1000:.0f} ms"
    return passed(f"{seen}, {connection.tls or 'no TLS'}")


@check(
    "connection.query",
    title="Successfully executed test query",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Run: python manage.py check_rds",
    tags=TAGS,
)
def queried(connection_attempt: ConnectionAttempt) -> Verdict:
    """The server answered a query."""
    connection = connection_attempt.report
    if connection is None:
        return not_applicable("not tried: there is no connection")
    return passed(f"SELECT 1 in {connection.query_seconds * 1000:.1f} ms")


@check(
    "connection.apps",
    title="Django apps configuration loaded successfully",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Run: python manage.py check",
    tags=TAGS,
)
def apps_loaded(apps: AppsReport) -> Verdict:
    """Django's system checks have no error."""
    if apps.errors:
        return failed("; ".join(apps.errors))
    return passed(f"{apps.apps} apps, {apps.models} models, no errors")
