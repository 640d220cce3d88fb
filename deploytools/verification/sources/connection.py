"""Facts of the connection chain: the secret, what the settings expect, one connection, the apps."""

from __future__ import annotations

from dataclasses import dataclass

from django.apps import apps as installed_apps
from django.conf import settings
from django.core.checks import ERROR, run_checks

from deploytools.conf import configuration
from deploytools.databases.access import REQUIRED, application_login, wanted_tenants
from deploytools.databases.catalogue import ConnectionReport, probe
from deploytools.errors import ConfigurationError, DatabaseError
from deploytools.loader import require
from deploytools.secret.store import SecretStore
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact


@dataclass(frozen=True)
class Expectation:
    """What the settings ask for.

    Attributes:
        database: the database of this process (``DATABASE_NAME``).
        engine: Django's database backend.
    """

    database: str
    engine: str
    tenants: tuple[str, ...]
    required_keys: tuple[str, ...]
    stage: str
    sslmode: str
    secret_name: str


@fact()
def expectation() -> Expectation:
    """The settings; everything else is judged by them."""
    default = settings.DATABASES.get("default", {})
    return Expectation(
        database=configuration.database,
        engine=str(default.get("ENGINE", "")),
        tenants=tuple(tenant.name for tenant in wanted_tenants()),
        required_keys=configuration.required_keys,
        stage=configuration.stage,
        sslmode=configuration.sslmode,
        secret_name=configuration.secret_name,
    )


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def secret() -> SecretState:
    """The secret with its labels."""
    return SecretStore.connect(configuration.secret_name, configuration.region).read()


@dataclass(frozen=True)
class ConnectionAttempt:
    """What came of one login: a report, or the error that tells which link of the chain broke."""

    report: ConnectionReport | None = None
    error: DatabaseError | None = None


@fact(deadline=15)
def connection_attempt(secret: SecretState, expectation: Expectation) -> ConnectionAttempt:
    """One login as the application to the database of this process, and one query."""
    require(secret.document, REQUIRED, name=secret.name)
    try:
        return ConnectionAttempt(report=probe(application_login(secret.document), expectation.database))
    except DatabaseError as error:
        return ConnectionAttempt(error=error)


@fact()
def connection(connection_attempt: ConnectionAttempt) -> ConnectionReport:
    """The login that worked; what else is read from the server needs it."""
    if connection_attempt.report is None:
        raise connection_attempt.error or ConfigurationError("There is no connection.", hint="Run: check_rds")
    return connection_attempt.report


@dataclass(frozen=True)
class AppsReport:
    """How Django's start went."""

    apps: int
    models: int
    errors: tuple[str, ...]


@fact(deadline=30)
def apps() -> AppsReport:
    """The installed apps, and the errors that Django's system checks find in them."""
    errors = tuple(f"{message.id}: {message.msg}" for message in run_checks() if message.level >= ERROR)
    return AppsReport(len(list(installed_apps.get_app_configs())), len(installed_apps.get_models()), errors)
