"""Checks of the tenants' databases and of the role that owns them: one verdict a tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from deploytools.databases.catalogue import ConnectionReport, ServerCatalogue
from deploytools.databases.migrations import MigrationGraph
from deploytools.databases.state import ENCODING, DatabaseState
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.databases import TenantReport

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
    """Named in the settings, there on the server, open to connections."""
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
    title="Every tenant's database belongs to the application's role",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 5",
    hint=CREATE,
)
def owner(catalogue: ServerCatalogue, expectation: Expectation) -> Iterable[Verdict]:
    """Only its owner may create tables in it (PostgreSQL 15 and newer)."""
    wanted = catalogue.app_role.name

    def judge(database: DatabaseState) -> Verdict:
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
    """Anything else loses customers' names."""
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
    """PostgreSQL opens every new database to every role."""

    def judge(database: DatabaseState) -> Verdict:
        if database.public_may_connect:
            return failed("every role of the server may connect or create temporary tables", database.name)
        return passed("PUBLIC has neither CONNECT nor TEMPORARY", database.name)

    return _each(catalogue, expectation, judge)


@check(
    "databases.migrated",
    title="Every tenant's database has all migrations",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 7",
    hint="Run: DATABASE_NAME=… python manage.py migrate",
)
def migrated(tenant_logins: tuple[TenantReport, ...], migration_graph: MigrationGraph) -> Iterable[Verdict]:
    """What ``migrate --check`` asks, for all tenants."""
    for tenant in tenant_logins:
        if isinstance(tenant.error, ConnectionFailed) and tenant.error.kind is ConnectionFailure.NO_DATABASE:
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
                f"Run: DATABASE_NAME={tenant.name} python manage.py migrate",
            )
        elif ahead:
            yield warned(
                f"{len(ahead)} applied that this code does not have, first {'.'.join(ahead[0])}",
                tenant.name,
                "The database is ahead of this code: deploy the newer release.",
            )
        else:
            yield passed(f"all {len(migration_graph.replaced_by)} applied", tenant.name)


@check(
    "databases.role-harmless",
    title="The application's role may do nothing but its work",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: least privilege",
    hint="As whoever gave it: ALTER ROLE … NOSUPERUSER NOCREATEDB NOCREATEROLE; REVOKE … FROM …",
)
def role_harmless(catalogue: ServerCatalogue) -> Verdict:
    """No SUPERUSER, CREATEDB, CREATEROLE, and no way to RDS's or PostgreSQL's powerful roles."""
    role = catalogue.app_role
    if role.powers:
        return failed(f"{role.name} has {', '.join(role.powers)}")
    return passed(f"{role.name} has LOGIN only")


@check(
    "databases.no-test-databases",
    title="No test run left a database on the server",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 10",
    hint="Look at them, drop them, and run tests with scripts/test",
)
def no_test_databases(catalogue: ServerCatalogue) -> Verdict:
    """Step 10 as written makes test_* databases on the production instance."""
    names = catalogue.test_databases
    return warned(f"found: {', '.join(names)}") if names else passed("no database is named test_*")


@check(
    "databases.server-verified",
    title="The connection is encrypted and the server's name is verified",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Download AWS's CA bundle and set DB_SSLROOTCERT=/path/to/global-bundle.pem: sslmode becomes verify-full",
)
def server_verified(connection: ConnectionReport, expectation: Expectation) -> Verdict:
    """``require`` encrypts and authenticates nobody."""
    if not connection.tls:
        return failed("the connection is not encrypted")
    if expectation.sslmode != "verify-full":
        return failed(f"sslmode is {expectation.sslmode}: whoever answers is believed")
    return passed(f"verify-full, {connection.tls}")
