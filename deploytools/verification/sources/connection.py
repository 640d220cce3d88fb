"""Facts of the connection chain: the secret, what the settings expect, one connection, the apps."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from django.apps import apps as installed_apps
from django.conf import settings
from django.core.checks import ERROR, Tags, run_checks

from deploytools.conf import configuration
from deploytools.databases.access import REQUIRED, login_secret_name, login_with, tenant_login, wanted_tenants
from deploytools.databases.chain import NAME, Link, walk
from deploytools.databases.probe import ConnectionReport, probe
from deploytools.errors import ConfigurationError, ConnectionFailed, ConnectionFailure, DatabaseError, DeployError
from deploytools.loader import require
from deploytools.secret.reader import SecretReader
from deploytools.secret.sync import PENDING, PREVIOUS, SecretState
from deploytools.verification.registry import fact


@dataclass(frozen=True)
class Expectation:
    """What the settings ask for.

    Attributes:
        database: the database of this process (``DATABASE_NAME``).
        engine: Django's database backend.
        is_shared: one role owns all tenants' databases; else each tenant has a role and a secret of its own.
        app_groups: ids or names of the application's security groups; empty: nobody says.
        bastion_groups: ids or names of the bastion host's; empty: there is none.
        bastion_instance: the bastion host's id; empty: there is none.
        ecs_service: the service that runs the application; empty: it runs elsewhere.
        task_role: the application's IAM role; empty: nobody says.
        processes: connections that one tenant's processes hold at most; 0: nobody says.
        django_sslmode: that of Django's own connections; empty: not set.
        url: where the application is reached from outside; empty: nobody says.
    """

    database: str
    engine: str
    tenants: tuple[str, ...]
    required_keys: tuple[str, ...]
    stage: str
    sslmode: str
    secret_name: str
    is_shared: bool = True
    app_groups: tuple[str, ...] = ()
    bastion_groups: tuple[str, ...] = ()
    bastion_instance: str = ""
    ecs_service: str = ""
    task_role: str = ""
    processes: int = 0
    url: str = ""
    django_sslmode: str = ""


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
        is_shared=configuration.is_shared,
        app_groups=configuration.app_security_groups,
        bastion_groups=configuration.bastion_security_groups,
        bastion_instance=configuration.bastion_instance,
        ecs_service=configuration.ecs_service,
        task_role=configuration.task_role,
        processes=configuration.processes,
        url=configuration.url,
        django_sslmode=str(default.get("OPTIONS", {}).get("sslmode", "")),
    )


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def secret() -> SecretState:
    """The secret with its labels."""
    return SecretReader.connect(configuration.secret_name, configuration.region).read()


@dataclass(frozen=True)
class AcceptedPassword:
    """A version of a secret, not its current one, whose password the server takes.

    Attributes:
        label: what that version bears.
        secret: name of the secret: the shared one, or the tenant's own.
        version: that version.
        current: the one whose password was refused.
    """

    label: str
    secret: str
    version: str
    current: str


@dataclass(frozen=True)
class ConnectionAttempt:
    """What came of one login.

    Attributes:
        report: what the connection saw; None where there is none.
        error: why there is none.
        links: those that held, in order.
        broken: the link that broke.
        accepted: where the password was refused, another version of the login's secret whose password works.
    """

    report: ConnectionReport | None = None
    error: DatabaseError | None = None
    links: tuple[Link, ...] = ()
    broken: str = ""
    accepted: AcceptedPassword | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the server's name stands for; none where it stands for none."""
        return tuple(address for link in self.links if link.name == NAME for address in link.seen.split(", "))


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def connection_attempt(secret: SecretState, expectation: Expectation) -> ConnectionAttempt:
    """One login as the application to the database of this process, and one query."""
    require(secret.document, REQUIRED, name=secret.name)
    chain = walk(tenant_login(secret.document, expectation.database), expectation.database)
    accepted = _other_password(secret, expectation.database) if _is_refused(chain.error) else None
    return ConnectionAttempt(chain.report, chain.error, chain.links, chain.broken, accepted)


def _is_refused(error: DatabaseError | None) -> bool:
    return isinstance(error, ConnectionFailed) and error.kind is ConnectionFailure.PASSWORD


def _other_password(secret: SecretState, database: str) -> AcceptedPassword | None:
    """Which other version's password the server takes: that tells a half-done rotation from a wrong password."""
    store = SecretReader.connect(login_secret_name(database), secret.region)
    with suppress(DeployError):  # That the login was refused is known; that this is not, is no news.
        state = store.read()
        for label, version in ((PREVIOUS, state.previous_version), (PENDING, state.pending_version)):
            if version is None or version == state.version:
                continue
            with suppress(DeployError):  # Whatever is wrong with that version, its password is not the one.
                probe(login_with(secret.document, store.read_labelled(label)), database)
                return AcceptedPassword(label, state.name, version, state.version)
    return None


@fact()
def connection(connection_attempt: ConnectionAttempt) -> ConnectionReport:
    """The login that worked; what else is read from the server needs it."""
    if connection_attempt.report is None:
        raise connection_attempt.error or ConfigurationError("There is no connection.", hint="Run: check_rds")
    return connection_attempt.report


@dataclass(frozen=True)
class AppsReport:
    """How Django's start went.

    Attributes:
        errors: of Django's system checks of the models.
        silenced: ids of those that ``SILENCED_SYSTEM_CHECKS`` takes out of them.
    """

    apps: int
    models: int
    errors: tuple[str, ...]
    silenced: tuple[str, ...] = ()


@fact(deadline=30)
def apps() -> AppsReport:
    """The installed apps, and the errors that Django's system checks find in their models.

    The other system checks load every view and middleware, which a connection has no use for: `project` runs them.
    """
    found = [message for message in run_checks(tags=[Tags.models]) if message.level >= ERROR]
    return AppsReport(
        len(list(installed_apps.get_app_configs())),
        len(installed_apps.get_models()),
        tuple(f"{message.id}: {message.msg}" for message in found if not message.is_silenced()),
        tuple(sorted({str(message.id) for message in found if message.is_silenced()})),
    )
