"""Checks of the connection to the database: the lines of ``check_rds``."""

from __future__ import annotations

from functools import partial

from deploytools.conf import Settings
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.loader import LOGIN_KEYS
from deploytools.postgres.connection_probe import QUERY, TCP, ProbeResult, SessionReport
from deploytools.postgres.failures import POOLER_HINT
from deploytools.secrets.contract import find_problems
from deploytools.secrets.plan import SecretState
from deploytools.secrets.versions import PREVIOUS
from deploytools.verification.connection.database_settings import DatabaseSettings
from deploytools.verification.connection.facts import AcceptedPassword, DjangoDatabase
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, warned
from deploytools.verification.network.network_location import NetworkLocation
from deploytools.verification.project.facts import AppsReport
from deploytools.verification.registry import check

startup_check = partial(check, severity=Severity.CRITICAL, guide="Step 6", tags=("startup",))

SILENT_TUNNEL = (
    "The local end of the tunnel is open, but its far end does not respond. Check the host and port that it forwards "
    "to, and that the database's security group allows the bastion host"
)

#: The local end of the tunnel in the hint: not PostgreSQL's own port, which can be in use on this machine.
LOCAL_PORT = 15432

#: What is known of a connection pooler, by whether it passes on the state of sessions.
POOLERS = {
    True: ", which passes settings of a session on to other clients",
    False: ", which resets each session",
    None: "; it was not determined whether it resets sessions",
}

CHECK_RULES = (
    "The database's security group does not allow this one, or a network ACL blocks the connection. Run: python "
    "manage.py verify_deploy --tag network"
)


@startup_check(
    "connection.secret",
    title="Successfully retrieved secrets from AWS Secrets Manager",
    hint="Run: aws sts get-caller-identity",
)
def secret_retrieved(secret: SecretState) -> Verdict:
    """The secret contains the address, the role and the password of every connection."""
    return passed(f"{secret.name} in {secret.region}, {len(secret.document)} keys, version {secret.version[:8]}…")


@startup_check(
    "connection.configuration",
    title="Database configuration validated",
    hint="Run: python manage.py sync_secrets FILE",
)
def configuration_validated(
    secret: SecretState, settings: Settings, django_database: DjangoDatabase, connection_attempt: ProbeResult
) -> Verdict:
    """A connection needs valid values in the secret, and PostgreSQL as Django's database backend."""
    document = {key: secret.document[key] for key in LOGIN_KEYS if key in secret.document}
    if missing := [f"{key} is missing" for key in LOGIN_KEYS if key not in document]:
        return failed("; ".join(missing))
    wrong = [f"{item.key} {item.message}" for item in find_problems(document, stage=settings.stage)]
    if wrong:  # A value that works, for example a short password, prevents no start.
        return (warned if connection_attempt.report else failed)("; ".join(wrong))
    if not django_database.is_postgresql:
        problem = f" ({django_database.problem})" if django_database.problem else ""
        return failed(
            f"DATABASES['default']['ENGINE'] is {django_database.engine or 'not set'}, which is not a backend for "
            f"PostgreSQL{problem}",
            hint="Set it to django.db.backends.postgresql, or run the command with the production settings",
        )
    if not settings.database:
        return failed("DATABASES['default']['NAME'] is not set", hint="Set it to the name of a tenant")
    return passed(f"database {settings.database}, sslmode {settings.sslmode}")


@startup_check(
    "connection.connect",
    title="Successfully connected to AWS RDS PostgreSQL",
    hint="Run: python manage.py check_rds",
    reports="connection",
)
def connected(
    connection_attempt: ProbeResult,
    accepted_password: AcceptedPassword | None,
    secret: SecretState,
    settings: Settings,
    network_location: NetworkLocation | None,
) -> Verdict:
    """Without a connection the application cannot serve requests, and no database can be checked."""
    report, error = connection_attempt.report, connection_attempt.error
    if report is None and error is None:
        return not_applicable("not run: DATABASES['default'] is not PostgreSQL (see connection.configuration)")
    if accepted_password and accepted_password.user:
        return failed(
            f"{_sentence(error)} The login {accepted_password.user} of {accepted_password.label} works; the current "
            "version has another user name.",
            hint="Correct username in the secret. Run: python manage.py sync_secrets --set "
            f"username={accepted_password.user}",
        )
    if accepted_password:
        return failed(
            f"{_sentence(error)} The password of {accepted_password.label} works.",
            hint=_rotation_hint(accepted_password, secret),
        )
    if network_location and isinstance(error, ConnectionFailed):
        return _not_reached(connection_attempt, error, secret, settings, network_location)
    if report is None:
        is_silent = isinstance(error, ConnectionFailed) and error.kind is ConnectionFailure.TIMEOUT
        return failed(
            f"{_sentence(error)}{_stages(connection_attempt)}",
            hint=SILENT_TUNNEL if is_silent and settings.hostaddr else error.hint if error else "",
            measured=_times(connection_attempt),
        )
    evidence = f"PostgreSQL {report.server_version} as {report.user}, {report.tls or 'no TLS'}"
    return passed(evidence, measured=_times(connection_attempt))


def _not_reached(
    attempt: ProbeResult, error: ConnectionFailed, secret: SecretState, settings: Settings, location: NetworkLocation
) -> Verdict:
    """The name was not resolved, or the connection timed out: the network location of this process can explain it."""
    addresses = attempt.addresses
    if location.is_outside(addresses):
        hint = _tunnel_hint(location.host, location.port, bastion=settings.bastion_instance, region=secret.region)
    else:
        hint = CHECK_RULES if addresses else error.hint
    return failed(
        f"{_sentence(error)}{_stages(attempt)} {location.describe(addresses)}", hint=hint, measured=_times(attempt)
    )


def _tunnel_hint(host: str, port: str, *, bastion: str, region: str) -> str:
    return (
        "Forward a port through the bastion host. Run: aws ssm start-session "
        f"--target {bastion or 'INSTANCE_ID'} --region {region} "
        "--document-name AWS-StartPortForwardingSessionToRemoteHost "
        f"--parameters host={host},portNumber={port},localPortNumber={LOCAL_PORT} "
        f'(then set DEPLOYTOOLS["HOSTADDR"] to 127.0.0.1 and DEPLOYTOOLS["PORT"] to {LOCAL_PORT})'
    )


def _times(attempt: ProbeResult) -> str:
    return ", ".join(f"{stage.name} {stage.seconds * 1000:.0f} ms" for stage in attempt.stages if stage.name != QUERY)


def _stages(attempt: ProbeResult) -> str:
    """The failed stage and the completed ones; without the address of TCP, which differs from run to run."""
    done = [stage.name if stage.name == TCP else f"{stage.name} ({stage.detail})" for stage in attempt.stages]
    return f" Failed stage: {attempt.failed_stage}; completed: {', '.join(done)}." if done else ""


def _sentence(error: DatabaseError | None) -> str:
    return str(error).removesuffix(".") + "."


def _rotation_hint(accepted: AcceptedPassword, secret: SecretState) -> str:
    """How to continue if the server accepts the password of another version than the current one."""
    move = (
        f"aws secretsmanager update-secret-version-stage --secret-id {accepted.secret} --region {secret.region} "
        f"--version-stage AWSCURRENT --move-to-version-id {accepted.version} "
        f"--remove-from-version-id {accepted.current}"
    )
    if accepted.label != PREVIOUS:
        return f"A rotation changed the role but not the secret. Complete it: {move}"
    rollback = "python manage.py sync_secrets --rollback --with-login" if accepted.secret == secret.name else move
    return (
        "The secret was changed but not the role. Set the new password for the role: python manage.py "
        f"create_tenant_dbs. Or roll back the secret: {rollback}"
    )


@startup_check("connection.query", title="Successfully executed test query", hint="Run: python manage.py check_rds")
def queried(connection_attempt: ProbeResult, session_state_leak: bool | None) -> Verdict:
    """A connection pooler or proxy can accept a login although its PostgreSQL server is unavailable."""
    report, error = connection_attempt.report, connection_attempt.error
    if connection_attempt.failed_stage == QUERY and error:
        return failed(str(error), hint=error.hint)
    if report is None:
        return not_applicable("not run: there is no connection")
    if report.is_pooled:
        return warned(
            f"SELECT 1 through a connection pooler{POOLERS[session_state_leak]}",
            hint=f"create_tenant_dbs and migrate_tenants refuse a pooler. For these commands: {POOLER_HINT}",
        )
    return passed("SELECT 1", measured=f"{report.query_seconds * 1000:.1f} ms")


@startup_check(
    "connection.django",
    title="Django's own connection uses the same server, role and TLS",
    hint="Set HOST, PORT, NAME, USER, PASSWORD and OPTIONS of DATABASES['default'] from the secret",
)
def django_connected(
    django_connection: ProbeResult | None,
    database_settings: DatabaseSettings | None,
    connection_attempt: ProbeResult,
    django_database: DjangoDatabase,
) -> Verdict:
    """The application connects with DATABASES['default']: if it differs from the secret, requests fail, or read and
    write another database."""
    if database_settings is None:
        return not_applicable("DATABASES['default'] is not PostgreSQL (see connection.configuration)")
    expected = connection_attempt.report
    found, error = (django_connection.report, django_connection.error) if django_connection else (None, None)
    wrong = [_sentence(error)] if error else []
    wrong += _observed(found, expected, database_settings) if found and expected else []
    different = [difference.key for difference in database_settings.different]
    if wrong or "NAME" in different or (different and found is None):
        hint = database_settings.hint or (error.hint if error else "")
        return failed(" ".join([*wrong, database_settings.sentence]).strip(), hint=hint)
    if found is None:
        return not_applicable("not run: there is no connection (see connection.connect)")
    other = f", but not as in the secret: {', '.join(different)}" if different else ""
    evidence = f"{found.user} in {found.database} at {found.address}, {found.sslmode}{other}; {django_database.driver}"
    return passed(evidence, measured=f"login {found.connect_seconds * 1000:.0f} ms")


def _observed(found: SessionReport, expected: SessionReport, settings: DatabaseSettings) -> list[str]:
    """What Django's session has in another way than the session of the probe."""
    wrong, user = [], settings.user
    is_comparable = found.database == expected.database if settings.recovers else user == expected.login
    if found.server != expected.server:
        wrong.append(f"Django is connected to another server: {found.address}, expected {expected.address}.")
    if user and found.login != user:
        wrong.append(f"Django logs in as {found.login}, expected {user}.")
    elif is_comparable and found.user != expected.user:
        wrong.append(f"Django's role is {found.user}, expected {expected.user}.")
    if expected.tls and not found.tls:
        wrong.append("Django's connection is not encrypted.")
    elif expected.sslmode == "verify-full" and found.sslmode != "verify-full":
        wrong.append(f"Django's connection does not verify the server's host name (sslmode {found.sslmode}).")
    return wrong


@startup_check(
    "connection.apps",
    title="Django apps configuration loaded successfully",
    hint="Run: python manage.py check",
)
def apps_loaded(apps: AppsReport) -> Verdict:
    """An application with invalid models fails although its database is available."""
    if apps.errors:
        return failed("; ".join(apps.errors))
    silenced = f"; silenced: {', '.join(apps.silenced)}" if apps.silenced else ""
    return passed(f"{apps.apps} apps, {apps.models} models, no errors{silenced}")
