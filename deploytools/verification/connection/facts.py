"""Facts of the connection to the database of this process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import load_backend

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError, ConnectionFailed, ConnectionFailure, DatabaseError, DeployError
from deploytools.loader import LOGIN_KEYS, require_keys
from deploytools.postgres.connection_probe import (
    ProbeResult,
    SessionReport,
    leaks_session_state,
    probe,
    read_session_report,
)
from deploytools.postgres.default_connection import ALIAS
from deploytools.postgres.django_connection import (
    POSTGRESQL,
    driver,
    given_parameters,
    login_parameters,
    new_connection,
    probe_django,
    with_defaults,
)
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.secrets.reader import SecretReader
from deploytools.secrets.versions import PENDING, PREVIOUS
from deploytools.tenants.credentials import (
    application_login,
    login_secret_name,
    login_with,
    tenant_login,
)
from deploytools.tenants.options import parse_tenants
from deploytools.verification.connection.database_settings import DatabaseSettings, compare
from deploytools.verification.local_hosts import is_local
from deploytools.verification.registry import fact
from deploytools.wording import join_names


@dataclass(frozen=True)
class DjangoDatabase:
    """The database backend of ``DATABASES["default"]``.

    Attributes:
        vendor: ``vendor`` of the backend; empty: it cannot be loaded.
        problem: why it cannot be loaded.
        driver: the driver that Django uses for PostgreSQL.
    """

    engine: str
    vendor: str
    problem: str = ""
    driver: str = ""
    name: str = ""

    @property
    def is_postgresql(self) -> bool:
        """Whether the backend is one for PostgreSQL."""
        return self.vendor == POSTGRESQL


@fact()
def django_database() -> DjangoDatabase:
    """The database backend of ``DATABASES["default"]``."""
    default = django_settings.DATABASES.get("default", {})
    engine, name = str(default.get("ENGINE", "")), str(default.get("NAME", ""))
    try:
        return DjangoDatabase(engine, new_connection().vendor, driver=driver(), name=name)
    except ImproperlyConfigured as error:
        return DjangoDatabase(engine, "", problem=str(error).splitlines()[0], name=name)


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def connection_attempt(secret: SecretState, settings: Settings, django_database: DjangoDatabase) -> ProbeResult:
    """Probe one connection as the application to the database of this process.

    Empty: it was not tried, because the name of that database is, for example, a file of SQLite. With a role per
    tenant, only a tenant has a login.
    """
    require_keys(secret.document, LOGIN_KEYS, name=secret.name)
    if not django_database.is_postgresql and settings.database == django_database.name:
        return ProbeResult()
    tenants = [tenant.name for tenant in parse_tenants(settings.tenants)]
    if not settings.is_shared and tenants and settings.database not in tenants:
        expected = f"one of {join_names(tenants)}"
        message = f"DATABASES['default']: NAME is {settings.database}, expected {expected} (DEPLOYTOOLS[\"TENANTS\"])."
        return ProbeResult(error=DatabaseError(message, hint=f"In DATABASES['default'], set NAME to {expected}"))
    return probe(tenant_login(settings, secret.document, settings.database), settings.database)


@dataclass(frozen=True)
class AcceptedPassword:
    """A version of a secret, other than the current one, whose password the server accepts.

    Attributes:
        label: staging label of the version.
        secret: name of the secret: the shared one, or the tenant's own.
        current: id of the current version, whose password was rejected.
        user: the user name in the version if it differs from the current one; empty: it is the same.
    """

    label: str
    secret: str
    version: str
    current: str
    user: str = ""


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def accepted_password(
    connection_attempt: ProbeResult, secret: SecretState, settings: Settings
) -> AcceptedPassword | None:
    """The version of the login's secret whose password the server accepts, if it rejects the current one.

    It shows that a rotation is incomplete.
    """
    error = connection_attempt.error
    if not isinstance(error, ConnectionFailed) or error.kind is not ConnectionFailure.PASSWORD:
        return None
    reader = SecretReader.connect(login_secret_name(settings, settings.database), secret.region)
    with suppress(DeployError):  # The rejected login is reported anyway.
        state = reader.read()
        for label, version in ((PREVIOUS, state.previous_version), (PENDING, state.pending_version)):
            if version is None or version == state.version:
                continue
            with suppress(DeployError):  # A version that cannot be used is not the accepted one.
                document = reader.read_stage(label).document
                read_session_report(login_with(settings, secret.document, document), settings.database)
                user = str(document["username"].reveal()) if "username" in document else ""
                is_same = "username" in state.document and user == str(state.document["username"].reveal())
                return AcceptedPassword(label, state.name, version, state.version, "" if is_same else user)
    return None


@fact()
def connection(connection_attempt: ProbeResult) -> SessionReport:
    """The session of the successful connection. Facts that query the server depend on it."""
    if connection_attempt.report is None:
        raise connection_attempt.error or ConfigurationError("There is no connection.", hint="Run: check_rds")
    return connection_attempt.report


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def session_state_leak(connection_attempt: ProbeResult, secret: SecretState, settings: Settings) -> bool | None:
    """Whether the connection pooler, if there is one, passes settings of a session on; None: not determined."""
    report = connection_attempt.report
    if report is None or not report.is_pooled:
        return False
    return leaks_session_state(tenant_login(settings, secret.document, settings.database), settings.database)


@fact()
def django_connection(django_database: DjangoDatabase, connection_attempt: ProbeResult) -> ProbeResult | None:
    """A separate connection with ``DATABASES["default"]``, opened as Django does.

    None: it was not tried, because it is not PostgreSQL or `connection_attempt` failed.
    """
    return probe_django() if django_database.is_postgresql and connection_attempt.report else None


#: Instead of the ``sslmode`` of a server on this machine, such as a pooler: nothing is known of how that one connects.
LOCAL = "on this machine"


@fact()
def alias_sslmodes() -> Mapping[str, str]:
    """The ``sslmode`` of each further alias of ``DATABASES`` for a PostgreSQL server.

    Empty: a service file can set it. `LOCAL`: the server is on this machine.
    """
    return {
        alias: _sslmode(database)
        for alias, database in django_settings.DATABASES.items()
        if alias != ALIAS and _is_postgresql(database["ENGINE"])
    }


def _is_postgresql(engine: str) -> bool:
    """Return whether a backend is one for PostgreSQL; True if it cannot be loaded."""
    with suppress(ImproperlyConfigured):
        return bool(load_backend(engine).DatabaseWrapper.vendor == POSTGRESQL)
    return True


def _sslmode(database: Mapping[str, Any]) -> str:
    """Return the ``sslmode`` of an alias, from its settings and the environment."""
    options = {**database.get("OPTIONS", {}), **({"host": database["HOST"]} if database.get("HOST") else {})}
    given = {key: str(value) for key, value in options.items() if value}
    parameters = with_defaults(given)
    hosts = [host for key in ("host", "hostaddr") for host in parameters.get(key, "").split(",") if host]
    is_service = "service" in given
    if all(map(is_local, hosts)) and (hosts or not is_service):
        return LOCAL
    return given.get("sslmode", "") if is_service else parameters.get("sslmode", "prefer")


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def database_settings(
    secret: SecretState, settings: Settings, django_database: DjangoDatabase
) -> DatabaseSettings | None:
    """``DATABASES["default"]``, compared with the secret and ``DEPLOYTOOLS``. None: it is not PostgreSQL."""
    if not django_database.is_postgresql:
        return None
    require_keys(secret.document, LOGIN_KEYS, name=secret.name)
    try:
        django = new_connection()
        given = given_parameters(django)
    except Exception:  # `django_connection` has the error.
        return DatabaseSettings()
    expected, sources = _expected(settings, secret.document, given)
    if getattr(django, "login_source", None) is None:
        return compare(given, with_defaults(given), with_defaults(expected), sources)
    found, expected, sources = _with_login(django.settings_dict["LOGIN"], given, expected, sources, settings)
    return replace(compare(found, with_defaults(found), with_defaults(expected), sources), recovers=True)


def _with_login(
    login: Mapping[str, object],
    given: Mapping[str, str],
    expected: Mapping[str, str],
    sources: Mapping[str, str],
    settings: Settings,
) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]:
    """Compare where new connections get their login from, not the login that they have at the moment."""
    if login.get("IAM"):
        return given, expected, {key: source for key, source in sources.items() if key != "password"}
    given = {**given, "login_secret": str(login["SECRET"]), "login_region": str(login["REGION"])}
    if "user" in sources:
        secret = login_secret_name(settings, given.get("dbname", ""))
        expected = {**expected, "login_secret": secret, "login_region": settings.region}
        sources = {**sources, "login_secret": "the secret with the login", "login_region": 'DEPLOYTOOLS["REGION"]'}
    return given, expected, {key: source for key, source in sources.items() if key not in ("user", "password")}


def _expected(
    settings: Settings, secret: Document, given: Mapping[str, str]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The expected parameters of Django's connection, and where each of those to compare comes from."""
    name, tenants = given.get("dbname", ""), [tenant.name for tenant in parse_tenants(settings.tenants)]
    is_tenant = name in tenants or not tenants
    sources = {
        "host": "host in the secret",
        "port": 'DEPLOYTOOLS["PORT"]' if settings.port else "port in the secret",
        "dbname": 'DEPLOYTOOLS["TENANTS"]',
        **{key: f'DEPLOYTOOLS["{key.upper()}"]' for key in ("hostaddr", "sslmode", "sslrootcert")},
        "service": "it replaces values of the secret",
    }
    if "password" not in given:
        sources["passfile"] = "it replaces the secret's password"
    login = application_login(settings, secret)
    if is_tenant:
        login = tenant_login(settings, secret, name)
    if is_tenant or settings.is_shared:
        owner = "secret" if settings.is_shared else "tenant's secret"
        sources["user"] = f"username in the {owner}"
        sources["password"] = f"the password in the {owner}"
    return login_parameters(login, name if is_tenant else f"one of {join_names(tenants)}"), sources
