"""Checks of the tenants' databases and of the role that owns them: one verdict a tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from deploytools.databases.catalogue import ServerCatalogue
from deploytools.databases.history import MigrationGraph
from deploytools.databases.state import ENCODING, DatabaseState
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError, DeployError, NotFound, SecretError
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.databases import TenantReport
from deploytools.verification.troubleshooting import advice

MISSING = "the database does not exist (see databases.exists)"
CREATE = "Run: python manage.py create_tenant_dbs"


def _each(
    catalogue: ServerCatalogue, expectation: Expectation, judge: Callable[[DatabaseState], Verdict]
) -> Iterable[Verdict]:
    """`judge` of every wanted database; one that does not exist is told by `databases.exists`."""
    for name in expectation.tenants:
        database = catalogue.databases.get(name)
        yield judge(database) if database else not_applicable(MISSING, name)


@check(
    "databases.exists",
    title="Every tenant has its database",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Step 5",
    hint=CREATE,
)
def exists(catalogue: ServerCatalogue, expectation: Expectation) -> Iterable[Verdict]:
    """A tenant that the settings name and the server does not have is a shop that answers with an error."""
    for name in expectation.tenants:
        database = catalogue.databases.get(name)
        if database is None:
            yield failed("the database does not exist", name)
        elif not database.allows_connections:
            yield failed("the database is closed to connections", name)
        else:
            yield passed("exists", name)


@check(
    "databases.owner",
    title="Every tenant's database belongs to the role that works in it",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 5",
    hint=CREATE,
)
def owner(catalogue: ServerCatalogue, expectation: Expectation) -> Iterable[Verdict]:
    """Only its owner may create tables in it (PostgreSQL 15 and newer): with another, the first migration fails."""

    def judge(database: DatabaseState) -> Verdict:
        wanted = catalogue.roles[0].name if expectation.is_shared else database.name
        if database.owner == wanted:
            return passed(f"owned by {wanted}", database.name)
        return failed(f"owned by {database.owner}, not by {wanted}", database.name)

    return _each(catalogue, expectation, judge)


@check(
    "databases.encoding",
    title="Every tenant's database stores UTF-8",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 5",
    hint="It cannot be changed: dump, create anew, restore",
)
def encoding(catalogue: ServerCatalogue, expectation: Expectation) -> Iterable[Verdict]:
    """In any other encoding customers' names are lost, and it cannot be changed later."""
    return _each(
        catalogue,
        expectation,
        lambda database: (passed if database.encoding == ENCODING else failed)(
            f"{database.encoding}, {database.locale}", database.name
        ),
    )


@check(
    "databases.public-shut-out",
    title="PUBLIC may connect to no tenant's database",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: access only from the backend application",
    hint=CREATE,
)
def public_shut_out(catalogue: ServerCatalogue, expectation: Expectation) -> Iterable[Verdict]:
    """PostgreSQL opens every new database to every role: one tenant's stolen login would read the others."""

    def judge(database: DatabaseState) -> Verdict:
        if database.public_may_connect:
            return failed("every role of the server may connect or create temporary tables", database.name)
        return passed("PUBLIC has neither CONNECT nor TEMPORARY", database.name)

    return _each(catalogue, expectation, judge)


@check(
    "databases.login",
    title="The application logs in to every tenant's database",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Step 5",
    hint=CREATE,
)
def login(tenant_logins: tuple[TenantReport, ...]) -> Iterable[Verdict]:
    """The catalogue says what should work; a login shows that it does, for each tenant and not for one."""
    for tenant in tenant_logins:
        if _is_missing(tenant):
            yield not_applicable(MISSING, tenant.name)
        elif tenant.error and not _is_logged_in(tenant.error):
            judge = failed if isinstance(tenant.error, ConnectionFailed | SecretError | NotFound) else unknown
            yield judge(str(tenant.error), tenant.name, advice(tenant.error))
        else:
            yield passed("the application logs in", tenant.name)


def _is_logged_in(error: DeployError) -> bool:
    """What PostgreSQL refuses after the login is another check's."""
    return isinstance(error, DatabaseError) and not isinstance(error, ConnectionFailed)


def _is_missing(tenant: TenantReport) -> bool:
    return isinstance(tenant.error, ConnectionFailed) and tenant.error.kind is ConnectionFailure.NO_DATABASE


@check(
    "databases.migrated",
    title="Every tenant's database has all migrations",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 7",
    hint="Run: python manage.py migrate_tenants",
)
def migrated(tenant_logins: tuple[TenantReport, ...], migration_graph: MigrationGraph) -> Iterable[Verdict]:
    """New code on an old table fails at the first query. It is what ``migrate --check`` asks, for all tenants."""
    for tenant in tenant_logins:
        if _is_missing(tenant):
            yield not_applicable(MISSING, tenant.name)
            continue
        if tenant.error:
            yield unknown(str(tenant.error), tenant.name, tenant.error.hint)
            continue
        missing, ahead = migration_graph.missing_from(tenant.applied), migration_graph.unknown_in(tenant.applied)
        if missing:
            yield failed(
                f"{len(missing)} not applied, first {'.'.join(missing[0])}",
                tenant.name,
                f"Run: python manage.py migrate_tenants --tenant {tenant.name}",
            )
        elif ahead:
            yield warned(
                f"{len(ahead)} applied that this code does not have, first {'.'.join(ahead[0])}",
                tenant.name,
                "The database is ahead of this code: deploy the newer release.",
            )
        else:
            yield passed(f"all {len(migration_graph.replaced_by)} applied", tenant.name)
