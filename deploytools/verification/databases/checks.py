"""Checks of the tenant databases, of the roles that own them, and of the server's connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from deploytools.conf import Settings
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError, DeployError, NotFound, SecretError
from deploytools.postgres.connection_probe import ProbeResult, SessionReport
from deploytools.postgres.failures import BUNDLE_URL, REPLICA_HINT
from deploytools.secrets.plan import SecretState
from deploytools.tenants.credentials import owner_role
from deploytools.tenants.migration_history import MigrationGraph, dotted
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX
from deploytools.tenants.state import ENCODING, ConnectionSlots, DatabaseState, ServerCatalog
from deploytools.verification.connection.facts import LOCAL
from deploytools.verification.databases.facts import TenantReport
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.wording import count, join_names

MISSING = "the database does not exist (see databases.exists)"
CREATE = "Run: python manage.py create_tenant_dbs"
TRANSFER = "Show how to transfer them: python manage.py create_tenant_dbs --plan"
tenant_check = partial(check, guide="Step 5", hint=CREATE, per_tenant=True)

REPAIR = (
    "Run in psql what applies: REINDEX INDEX CONCURRENTLY …; ALTER TABLE … VALIDATE CONSTRAINT …, RESET "
    "(autovacuum_enabled); setval() for the sequence, as python manage.py sqlsequencereset APP prints it. In a "
    "maintenance window, because these block the table: ALTER TABLE … SET LOGGED, ADD PRIMARY KEY (…), ADD UNIQUE (…), "
    "ALTER COLUMN … TYPE …, or DROP CONSTRAINT … and ADD CONSTRAINT … for a disabled foreign key"
)

#: Objects that an evidence names before "and … more".
MAX_OBJECTS = 5

FINISH = "python manage.py create_tenant_dbs --finish"

#: Days in which the expiry of a password (VALID UNTIL) is reported.
EXPIRY_DAYS = 30

#: The share of the connection slots above which the server is nearly full.
FULL = 0.8


def _each(
    server_catalog: ServerCatalog, tenants: Iterable[str], evaluate: Callable[[DatabaseState], Verdict]
) -> Iterable[Verdict]:
    """`evaluate` for each tenant database. `databases.exists` reports those that do not exist."""
    for name in tenants:
        database = server_catalog.databases.get(name)
        yield replace(evaluate(database) if database else not_applicable(MISSING), resource=name)


@tenant_check(
    "databases.exists",
    title="Every tenant has a database that allows connections",
    severity=Severity.CRITICAL,
)
def exists(server_catalog: ServerCatalog, tenants: tuple[str, ...]) -> Iterable[Verdict]:
    """Every request for a tenant without a database fails."""
    for name in tenants:
        database = server_catalog.databases.get(name)
        if database is None:
            yield failed("the database does not exist", name)
        elif not database.allows_connections:
            yield failed("connections to the database are disabled", name)
        else:
            yield passed("the database exists", name)


@tenant_check("databases.owner", title="Tenant databases are owned by the application role", severity=Severity.HIGH)
def owner(
    server_catalog: ServerCatalog, tenants: tuple[str, ...], settings: Settings, secret: SecretState
) -> Iterable[Verdict]:
    """Since PostgreSQL 15 only the owner can create tables in it by default: with another owner, migrations fail."""
    memberships = {role.name: role.memberships for role in server_catalog.roles}

    def evaluate(database: DatabaseState) -> Verdict:
        expected = owner_role(settings, secret.document) if settings.is_shared else database.name
        if database.owner == expected:
            return passed(f"owned by {expected}")
        found = f"owned by {database.owner}, expected {expected}"
        if settings.is_shared and database.owner in memberships.get(expected, ()):
            hint = f"Name the owner: python manage.py sync_secrets --set owner={database.owner}"
            return failed(f"{found}, which is a member of {database.owner}", hint=hint)
        return failed(found)

    return _each(server_catalog, tenants, evaluate)


@tenant_check(
    "databases.encoding",
    title="Tenant databases use UTF-8 and the server's version of their collation",
    severity=Severity.MEDIUM,
    hint="The encoding cannot be changed. Restore a dump into a database of another name",
)
def encoding(server_catalog: ServerCatalog, tenants: tuple[str, ...]) -> Iterable[Verdict]:
    """Other encodings cannot store every character, and the encoding of a database cannot be changed. Indexes that were
    created with another version of the collation miss rows."""

    def evaluate(database: DatabaseState) -> Verdict:
        if database.encoding == ENCODING and database.name in server_catalog.outdated_collations:
            hint = "In psql, as its owner: REINDEX DATABASE CONCURRENTLY …; ALTER DATABASE … REFRESH COLLATION VERSION"
            return warned(f"the version of its collation {database.locale} is outdated", hint=hint)
        verdict = passed if database.encoding == ENCODING else failed
        return verdict(f"encoding {database.encoding}, locale {database.locale}")

    return _each(server_catalog, tenants, evaluate)


@tenant_check(
    "databases.public-connect-revoked",
    title="Only the application role can connect to tenant databases and use what is in them",
    severity=Severity.CRITICAL,
    guide="Security Checklist: access only from the backend application",
)
def public_connect_revoked(
    server_catalog: ServerCatalog,
    tenants: tuple[str, ...],
    settings: Settings,
    tenant_logins: tuple[TenantReport, ...],
) -> Iterable[Verdict]:
    """PostgreSQL grants CONNECT on a new database to every role: the login of one tenant can read the others.

    Superusers and roles with CREATEROLE, such as the master user, are not reported.
    """
    application = {role.name for role in server_catalog.roles} if settings.is_shared else set()
    granted = {tenant.name: tenant.public_grants for tenant in tenant_logins}

    def evaluate(database: DatabaseState) -> Verdict:
        if database.public_can_connect:
            return failed("PUBLIC has CONNECT or TEMPORARY")
        others = [role for role in server_catalog.other_logins.get(database.name, ()) if role not in application]
        if others:
            of_tenants = not settings.is_shared and {name.removesuffix(SECOND_LOGIN_SUFFIX) for name in others} & set(
                tenants
            )
            hint = f"Find the grant in psql (\\l {database.name} and \\drg) and REVOKE it. A previous owner: {FINISH}"
            return (failed if of_tenants else warned)(f"other roles can connect: {join_names(others)}", hint=hint)
        if grants := granted.get(database.name):
            hint = "Run in it, as the role that granted it: REVOKE … ON … FROM PUBLIC (psql: \\dn+, \\dp, \\ddp)"
            return warned(f"only CONNECT protects what PUBLIC has: {join_names(grants, MAX_OBJECTS)}", hint=hint)
        return passed("PUBLIC has neither CONNECT nor TEMPORARY, and no other role can connect")

    return _each(server_catalog, tenants, evaluate)


def _each_login(
    tenant_logins: Iterable[TenantReport], evaluate: Callable[[TenantReport], Verdict]
) -> Iterable[Verdict]:
    """`evaluate` for the login to each tenant database. `databases.exists` reports those that do not exist."""
    for tenant in tenant_logins:
        yield replace(not_applicable(MISSING) if _is_missing(tenant) else evaluate(tenant), resource=tenant.name)


def _is_missing(tenant: TenantReport) -> bool:
    return isinstance(tenant.error, ConnectionFailed) and tenant.error.kind is ConnectionFailure.NO_DATABASE


def _is_logged_in(error: DeployError) -> bool:
    """Whether the login succeeded before the error. `databases.migrated` reports such an error."""
    return isinstance(error, DatabaseError) and not isinstance(error, ConnectionFailed)


@tenant_check(
    "databases.login",
    title="Application can log in to every tenant database, with a strong password",
    severity=Severity.CRITICAL,
)
def login(tenant_logins: tuple[TenantReport, ...]) -> Iterable[Verdict]:
    """If the login to a database fails, no request for its tenant can be served."""

    def evaluate(tenant: TenantReport) -> Verdict:
        if tenant.error and not _is_logged_in(tenant.error):
            verdict = failed if isinstance(tenant.error, ConnectionFailed | SecretError | NotFound) else unknown
            return verdict(str(tenant.error), hint=tenant.error.hint)
        if tenant.weakness:
            hint = f"Run: python manage.py rotate_credentials password --tenant {tenant.name}"
            return failed(f"the login succeeded, but the password of its role {tenant.weakness}", hint=hint)
        if tenant.password_days is not None and tenant.password_days < EXPIRY_DAYS:
            hint = "As the master user, run ALTER ROLE … VALID UNTIL 'infinity'"
            evidence = f"the login succeeded, but the password expires in less than {EXPIRY_DAYS} days"
            return warned(evidence, hint=hint, measured=f"{count(tenant.password_days, 'day')} left")
        return passed("the login succeeded")

    return _each_login(tenant_logins, evaluate)


@tenant_check(
    "databases.table-privileges",
    title="Application role can use the tables of its tenants and create new ones",
    severity=Severity.CRITICAL,
    hint=TRANSFER,
)
def table_privileges(tenant_logins: tuple[TenantReport, ...], server_catalog: ServerCatalog) -> Iterable[Verdict]:
    """After a restore without owners, every table belongs to the master user, and the application can read none. If the
    schema is another role's, migrations cannot create tables."""

    def evaluate(tenant: TenantReport) -> Verdict:
        if tenant.unusable:
            hint = tenant.unusable.hint(tenant.name, TRANSFER)
            return failed(tenant.unusable.describe("the application role", tenant.name), hint=hint)
        if tenant.error and tenant.unusable is None:
            return unknown(str(tenant.error), hint=tenant.error.hint)
        if tenant.is_read_only:
            hint = f"Run in psql: ALTER ROLE … or ALTER DATABASE … RESET default_transaction_read_only. {REPLICA_HINT}"
            return failed("its sessions are read-only", hint=hint)
        if hidden := tenant.hidden_tables:
            hint = "Run in psql as the owner of each table: CREATE POLICY … ON … TO … USING (…) for its rows"
            evidence = f"the row security of {join_names(hidden)} has no policy for the application role"
            return failed(evidence, hint=hint)
        if settings := [*tenant.settings, *_lost_commits(server_catalog, tenant.name)]:
            hint = "Run in psql: ALTER ROLE … or ALTER DATABASE … RESET the setting (\\drds lists them)"
            return warned(f"in its sessions, {', '.join(settings)}", hint=hint)
        if lost := tenant.missing_privileges:
            hint = "If that is not on purpose, run in psql as the owner of each table: GRANT … ON … TO …"
            evidence = f"{count(len(lost), 'privilege')} on tables of the models are missing: {join_names(lost)}"
            return warned(evidence, hint=hint)
        return passed("it can use the tables and sequences in its schemas, and create tables")

    return _each_login(tenant_logins, evaluate)


def _lost_commits(catalog: ServerCatalog, database: str) -> list[str]:
    """Return the setting with which a crash loses the last transactions, if the role or the database has it."""
    name, of_roles = "synchronous_commit", [role.settings for role in catalog.roles]
    of_database = dict(catalog.databases[database].settings) if database in catalog.databases else {}
    is_off = any((of_database | dict(settings)).get(name) == "off" for settings in of_roles)
    return ["synchronous_commit is off"] if is_off else []


@tenant_check(
    "databases.migrated",
    title="Every tenant database records all migrations, has their tables, and has no broken index or sequence",
    severity=Severity.HIGH,
    guide="Step 7",
    hint="Run: python manage.py migrate_tenants",
)
def migrated(tenant_logins: tuple[TenantReport, ...], migration_graph: MigrationGraph) -> Iterable[Verdict]:
    """Queries fail if the tables are older than the code. Like ``migrate --check``, for all tenants. After an
    interrupted CREATE INDEX CONCURRENTLY, or a restore of data only, the tables are not what the migrations create."""

    def evaluate(tenant: TenantReport) -> Verdict:
        if tenant.error:
            return unknown(str(tenant.error), hint=tenant.error.hint)
        history = migration_graph.compare(tenant.applied)
        hint = f"Run: python manage.py migrate_tenants --tenant {tenant.name}"
        if missing := history.unapplied:
            return failed(f"{len(missing)} not applied, first {dotted(missing[0])}", hint=hint)
        if squashed := history.unrecorded:
            return failed(f"{len(squashed)} squashed but not recorded, first {dotted(squashed[0])}", hint=hint)
        if lost := tenant.missing_tables or tenant.missing_columns:
            noun = "table" if tenant.missing_tables else "column"
            hint = "Restore them from a backup. If they were never created: python manage.py makemigrations --check"
            return failed(f"{count(len(lost), noun)} of recorded migrations not found, first {lost[0]}", hint=hint)
        if defects := tenant.defects:
            return warned(join_names(defects, MAX_OBJECTS), hint=REPAIR)
        if ahead := history.unknown:
            hint = "The database is ahead of this code. Deploy the newer release"
            return warned(f"{len(ahead)} applied but not in this code, first {dotted(ahead[0])}", hint=hint)
        return passed(f"all {len(migration_graph.replaces)} applied")

    return _each_login(tenant_logins, evaluate)


@tenant_check(
    "databases.role-privileges",
    title="Application roles have no administrative privileges",
    severity=Severity.CRITICAL,
    guide="Security Checklist: least privilege",
    hint="As the role that granted it: ALTER ROLE … NOSUPERUSER NOCREATEDB NOCREATEROLE; REVOKE … FROM …",
)
def role_privileges(server_catalog: ServerCatalog, tenant_logins: tuple[TenantReport, ...]) -> Iterable[Verdict]:
    """With CREATEROLE or rds_superuser, an attacker in the application controls every database on the server. A
    SECURITY DEFINER function of an administrator can have the same effect."""
    for tenant in tenant_logins:
        hint = f"Check what it does in {tenant.name}. To withdraw it: REVOKE EXECUTE ON FUNCTION … FROM PUBLIC"
        evidence = "the application can execute it with the privileges of its owner"
        yield from (warned(evidence, f"{tenant.name} {function}", hint) for function in tenant.definer_functions)
    for role in server_catalog.roles:
        yield from [failed(f"has {privilege}", f"{role.name} {privilege}") for privilege in role.excess_permissions]
        if not role.excess_permissions:
            yield passed("has LOGIN only", role.name)


@check(
    "databases.no-test-databases",
    title="Server contains no test databases, idle slots or forgotten transactions of the application",
    severity=Severity.MEDIUM,
    guide="Step 10",
    hint="Check that the database is not in use, drop it, and run tests against another server",
)
def no_test_databases(server_catalog: ServerCatalog) -> Iterable[Verdict]:
    """A test run against the production server creates test_* databases, and leaves them if it is interrupted. An idle
    replication slot fills the storage with WAL; an open transaction holds its locks, and stops VACUUM."""
    found = [warned("it exists", name) for name in server_catalog.test_databases]
    found += [warned(sentence, name, hint) for name, sentence, hint in server_catalog.leftovers]
    return found or [passed("no test_* database, no idle slot, and no forgotten transaction of the application")]


@check(
    "databases.tls-verified",
    title="Connections are encrypted and verify the server's certificate",
    severity=Severity.HIGH,
    guide="Step 6",
    hint=f'Download {BUNDLE_URL}, set DEPLOYTOOLS["SSLROOTCERT"] to its path and DEPLOYTOOLS["SSLMODE"] to verify-full',
)
def tls_verified(
    connection: SessionReport,
    django_connection: ProbeResult | None,
    alias_sslmodes: Mapping[str, str],
    settings: Settings,
) -> Verdict:
    """sslmode=require encrypts but does not authenticate the server: an attacker in the network can read the data."""
    if not connection.tls:
        return failed("the connection is not encrypted")
    if settings.sslmode != "verify-full":
        return failed(f"sslmode is {settings.sslmode}: the server's certificate is not verified")
    if django_connection and django_connection.error:
        return failed("Django could not connect (see connection.django)", hint="Run: python manage.py check_rds")
    django = django_connection.report if django_connection else None
    if django and (not django.tls or django.sslmode != "verify-full"):
        tls = "encrypted" if django.tls else "not encrypted"
        return failed(
            f"Django's own connection is {tls}, its sslmode is {django.sslmode}",
            hint="Set DATABASES['default']['OPTIONS']['sslmode'] to verify-full, and sslrootcert to the CA bundle",
        )
    accepted = {"", "verify-full", LOCAL}
    if other := [f"DATABASES['{alias}']: {mode}" for alias, mode in alias_sslmodes.items() if mode not in accepted]:
        hint = "Set OPTIONS['sslmode'] of these aliases to verify-full, and sslrootcert to the CA bundle"
        return failed(f"the sslmode of other aliases is not verify-full: {', '.join(other)}", hint=hint)
    for alias in (alias for alias, mode in alias_sslmodes.items() if not mode):
        hint = "Set OPTIONS['sslmode'] of the alias to verify-full, and sslrootcert to the CA bundle"
        return unknown(f"the sslmode of DATABASES['{alias}'] is not known: its service file can set it", hint=hint)
    if local := [f"DATABASES['{alias}']" for alias, mode in alias_sslmodes.items() if mode == LOCAL]:
        hint = "Check that it is not a value of development, and that its pooler or tunnel verifies the certificate"
        return warned(f"{join_names(local)} is a server on this machine", hint=hint)
    return passed(f"verify-full, {connection.tls}")


@check(
    "databases.connection-budget",
    title="Connection limit of the server covers the processes of all tenants",
    severity=Severity.HIGH,
    guide="Next Steps: Phase 10",
    hint="Reduce CONN_MAX_AGE or the number of workers, or use a larger instance class",
)
def connection_budget(
    connection_slots: ConnectionSlots, server_catalog: ServerCatalog, tenants: tuple[str, ...], settings: Settings
) -> Verdict:
    """Each process keeps a connection to its tenant. Above the limit, new connections of all tenants are rejected."""
    if not settings.processes:
        return not_applicable('DEPLOYTOOLS["PROCESSES"] is not set')
    needed = len(tenants) * settings.processes
    available = connection_slots.available
    if limited := _limits(server_catalog, tenants, settings, needed):
        hint = "As the role that may change it, run ALTER ROLE … or ALTER DATABASE … CONNECTION LIMIT -1"
        return failed(f"tenants × processes: {needed} connections; CONNECTION LIMIT of {', '.join(limited)}", hint=hint)
    evidence = (
        f"tenants × processes: {len(tenants)} × {settings.processes} = {needed} connections, {available} available "
        f"({connection_slots.maximum} minus {connection_slots.reserved} reserved)"
    )
    return (failed if needed > available else passed)(evidence)


def _limits(catalog: ServerCatalog, tenants: Iterable[str], settings: Settings, needed: int) -> list[str]:
    """Return the roles and databases with a lower CONNECTION LIMIT than their processes need."""
    of_role = needed if settings.is_shared else settings.processes
    databases = [catalog.databases[name] for name in tenants if name in catalog.databases]
    return [
        *(f"{role.name} is {role.connection_limit}" for role in catalog.roles if 0 <= role.connection_limit < of_role),
        *(f"{db.name} is {db.connection_limit}" for db in databases if 0 <= db.connection_limit < settings.processes),
    ]


@check(
    "databases.connections-free",
    title=f"At most {FULL:.0%} of the server's connections are in use",
    severity=Severity.HIGH,
    guide="Next Steps: Phase 12",
    hint="List them: SELECT usename, datname, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3",
)
def connections_free(connection_slots: ConnectionSlots) -> Verdict:
    """A deployment starts its new processes before the old ones stop, and needs connections for both."""
    available, used = connection_slots.available, connection_slots.used
    measured = f"{used} of {available} in use"
    if used > FULL * available:
        return warned(f"more than {FULL:.0%} of {available} are in use", measured=measured)
    return passed(f"at most {FULL:.0%} of {available} are in use", measured=measured)


@check(
    "databases.all-listed",
    title="All databases of the application are listed in TENANTS",
    severity=Severity.MEDIUM,
    guide="Step 5",
    hint="Add the database to TENANTS, or dump and drop it",
)
def all_listed(server_catalog: ServerCatalog) -> Iterable[Verdict]:
    """A database that is not listed is neither migrated nor checked, and still contains customer data."""
    owners = ", ".join(role.name for role in server_catalog.roles)
    found = [warned("it is not in TENANTS", name) for name in server_catalog.unlisted]
    return found or [passed(f"no other database is owned by {owners}, or named after a tenant")]
