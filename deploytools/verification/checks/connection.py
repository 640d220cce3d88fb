"""The five lines that the guide promises (Step 6), each a real check."""

from __future__ import annotations

from deploytools.databases.chain import QUERY, TCP
from deploytools.errors import ConnectionFailed, DatabaseError
from deploytools.secret.contract import problems
from deploytools.secret.sync import PREVIOUS, SecretState
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import AcceptedPassword, AppsReport, ConnectionAttempt, Expectation
from deploytools.verification.sources.vantage import Vantage
from deploytools.verification.troubleshooting import CANNOT_CONNECT, LOOK_AT_RULES, PASSWORD, advice, forward

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
    """Everything else begins with it: the address, the role, the password."""
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
    """What a connection needs must be there and keep the contract, and Django's side must be PostgreSQL."""
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
def connected(
    connection_attempt: ConnectionAttempt, secret: SecretState, expectation: Expectation, vantage: Vantage | None
) -> Verdict:
    """Nothing else of the database can be looked at without a login; which link broke says what to mend."""
    connection, error = connection_attempt.report, connection_attempt.error
    if accepted := connection_attempt.accepted:
        return failed(
            f"{_sentence(error)} The password of {accepted.label} works.",
            hint=f'{_half_done(accepted, secret)} (guide, Troubleshooting: "{PASSWORD}")',
        )
    if vantage and isinstance(error, ConnectionFailed):
        return _lost(connection_attempt, error, secret, expectation, vantage)
    if connection is None:
        return failed(
            f"{_sentence(error)}{_held(connection_attempt)}",
            hint=advice(error) if error else "",
            measured=_times(connection_attempt),
        )
    seen = f"PostgreSQL {connection.server_version} as {connection.user}, {connection.tls or 'no TLS'}"
    return passed(seen, measured=_times(connection_attempt))


def _lost(
    attempt: ConnectionAttempt, error: ConnectionFailed, secret: SecretState, expectation: Expectation, vantage: Vantage
) -> Verdict:
    """Not found, or no answer: where this process stands says which way leads there."""
    addresses = attempt.addresses
    if vantage.is_outside(addresses):
        hint = forward(vantage.host, vantage.port, bastion=expectation.bastion_instance, region=secret.region)
    else:
        hint = LOOK_AT_RULES if addresses else error.hint
    return failed(
        f"{_sentence(error)}{_held(attempt)} {vantage.said(addresses)}",
        hint=f'{hint} (guide, Troubleshooting: "{CANNOT_CONNECT}")',
        measured=_times(attempt),
    )


def _times(attempt: ConnectionAttempt) -> str:
    return ", ".join(f"{link.name} {link.seconds * 1000:.0f} ms" for link in attempt.links if link.name != QUERY)


def _held(attempt: ConnectionAttempt) -> str:
    """How far it came: what held is not what is to be mended. Which of several addresses answered is chance."""
    held = [link.name if link.name == TCP else f"{link.name} ({link.seen})" for link in attempt.links]
    return f" Broken: {attempt.broken}; held: {', '.join(held)}." if held else ""


def _sentence(error: DatabaseError | None) -> str:
    return str(error).removesuffix(".") + "."


def _half_done(accepted: AcceptedPassword, secret: SecretState) -> str:
    """What to do where the server knows the password of another version than the current one."""
    move = (
        f"aws secretsmanager update-secret-version-stage --secret-id {accepted.secret} --region {secret.region} "
        f"--version-stage AWSCURRENT --move-to-version-id {accepted.version} "
        f"--remove-from-version-id {accepted.current}"
    )
    if accepted.label != PREVIOUS:
        return f"A rotation changed the role and broke off before it changed the secret. End it: {move}"
    back = "python manage.py sync_secrets --rollback" if accepted.secret == secret.name else move
    return (
        "The secret was changed and the role was not. Give the role the new password: python manage.py "
        f"create_tenant_dbs. Or take the old secret back: {back}"
    )


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
    """A pooler or a proxy may take a login and have no server behind it."""
    connection, error = connection_attempt.report, connection_attempt.error
    if connection_attempt.broken == QUERY and error:
        return failed(str(error), hint=advice(error))
    if connection is None:
        return not_applicable("not tried: there is no connection")
    return passed("SELECT 1", measured=f"{connection.query_seconds * 1000:.1f} ms")


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
    """A process that reaches its database and cannot load its apps serves nobody."""
    if apps.errors:
        return failed("; ".join(apps.errors))
    silenced = f"; silenced: {', '.join(apps.silenced)}" if apps.silenced else ""
    return passed(f"{apps.apps} apps, {apps.models} models, no errors{silenced}")
