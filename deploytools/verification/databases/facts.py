"""Facts of the tenant databases, read as the application's role: verification does not need the master user."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from django.apps import apps
from django.db import router
from django.db.models import Model

from deploytools.conf import Settings
from deploytools.errors import DeployError
from deploytools.postgres.connection_probe import SessionReport
from deploytools.postgres.connections import CONNECT_TIMEOUT, TRUSTED_SEARCH_PATH, Login, translate_database_errors
from deploytools.postgres.default_connection import ALIAS
from deploytools.secrets.contract import is_placeholder, password
from deploytools.secrets.plan import SecretState
from deploytools.tenants.catalog import read_server_catalog, read_slots
from deploytools.tenants.credentials import owner_role, tenant_login
from deploytools.tenants.isolation import read_unusable_objects
from deploytools.tenants.migration_graph import read_applied, read_graph
from deploytools.tenants.migration_history import Migration, MigrationGraph
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX, configured_tenants
from deploytools.tenants.state import ConnectionSlots, ServerCatalog, UnusableObjects
from deploytools.verification.registry import fact
from deploytools.verification.unexpected import unexpected_error
from deploytools.wording import join_names

#: Concurrent logins: enough to hide latency, few enough for the connection slots of a small instance.
CONCURRENT_LOGINS = 8

#: Seconds for all logins in addition to the connection timeouts.
LOGINS_BASE = 20.0

#: Seconds between the end of the logins and the deadline of the fact, so that completed logins are reported.
LOGINS_REST = 10.0


@fact()
def tenants(settings: Settings) -> tuple[str, ...]:
    return tuple(tenant.name for tenant in configured_tenants(settings))


@fact()
def server_catalog(
    secret: SecretState, tenants: tuple[str, ...], settings: Settings, connection: SessionReport
) -> ServerCatalog:
    """The server's roles and databases, read with the successful connection."""
    return read_catalog(secret, tenants, settings, connection.database)


def read_catalog(secret: SecretState, tenants: Sequence[str], settings: Settings, database: str) -> ServerCatalog:
    """Return the server's roles and databases, read in `database`."""
    login = tenant_login(settings, secret.document, database)
    owner = owner_role(settings, secret.document)
    owners = (
        [owner, login.user] if settings.is_shared else [*tenants, *(name + SECOND_LOGIN_SUFFIX for name in tenants)]
    )
    roles = list(dict.fromkeys(owners))
    return read_server_catalog(login, database, list(tenants), roles)


@fact()
def connection_slots(secret: SecretState, settings: Settings, connection: SessionReport) -> ConnectionSlots:
    """The server's connection limit, and the connections in use."""
    login = tenant_login(settings, secret.document, connection.database)
    with login.connect(connection.database, settings=TRUSTED_SEARCH_PATH) as session:
        return read_slots(session)


@fact()
def migration_graph() -> MigrationGraph:
    return read_graph()


@dataclass(frozen=True)
class TenantReport:
    """The result of a login to one tenant database: what was read before the error, if any.

    Attributes:
        weakness: why the password of a tenant's own role is weak; empty: it is not, or the tenants share a role.
        is_read_only: whether its sessions are read-only: by a setting, or because the server is a replica.
        password_days: the days until the password expires (VALID UNTIL); None: it does not expire.
        missing_tables: the tables of models that do not exist, although migrations of their apps are recorded.
        missing_columns: columns of models that do not exist in such a table.
        hidden_tables: tables of models without a row that the role can use: their row security has no policy for it.
        missing_privileges: privileges on tables of models that the role does not have: ``UPDATE on "order_order"``.
        settings: settings of its sessions that stop queries or lose data: ``statement_timeout is 50ms``.
        defects: indexes, constraints and sequences that do not work, and columns and unique constraints of models that
            differ: ``index orders_total is not valid``.
        public_grants: what PUBLIC can use in the database: ``SELECT on orders``.
        definer_functions: functions that the role can execute with the privileges of an administrator.
    """

    name: str
    applied: frozenset[Migration] = frozenset()
    unusable: UnusableObjects | None = None
    error: DeployError | None = None
    is_read_only: bool = False
    password_days: int | None = None
    missing_tables: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    missing_privileges: tuple[str, ...] = ()
    hidden_tables: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    public_grants: tuple[str, ...] = ()
    definer_functions: tuple[str, ...] = ()
    weakness: str = ""


#: What Django needs on a table.
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")

#: What is read of each session, with few of PostgreSQL's catalogs: a new session has to load each of them first. The
#: last columns are whether the other queries can find anything. OIDs below 16384 are PostgreSQL's own objects.
SESSION = """
    SELECT current_setting('transaction_read_only')::boolean AS is_read_only,
           (SELECT CASE WHEN isfinite(rolvaliduntil) THEN floor(extract(epoch FROM rolvaliduntil - now()) / 86400)::int
            END FROM pg_catalog.pg_roles WHERE rolname = session_user) AS password_days,
           ARRAY(SELECT name || ' is ' || value FROM (
                     SELECT name, current_setting(name, true) AS value
                     FROM unnest('{statement_timeout,transaction_timeout,idle_in_transaction_session_timeout,
                                    lock_timeout,idle_session_timeout,session_replication_role}'::text[]) AS name
                 ) AS setting
                 WHERE CASE WHEN name LIKE '%timeout' THEN value::interval > '0' AND value::interval < CASE name
                                WHEN 'lock_timeout' THEN '50ms' WHEN 'idle_session_timeout' THEN '10s' ELSE '1s'
                            END::interval
                            ELSE value <> 'origin' END) AS settings,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
           AND has_schema_privilege(current_schema(), 'USAGE') AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_class
               WHERE oid >= 16384 AND relkind IN ('r', 'p', 'S') AND NOT relispartition
                 AND NOT (has_schema_privilege(relnamespace, 'USAGE') AND CASE
                     WHEN relkind = 'S' THEN has_sequence_privilege(oid, 'USAGE')
                     ELSE has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE') END)) AS is_usable,
           to_regclass('django_migrations') IS NOT NULL AS has_history,
           EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384 AND relkind = 'r'
                   AND (reltuples > 0 OR pg_stat_get_tuples_inserted(oid) > 0)) AS has_rows,
           EXISTS (SELECT FROM pg_catalog.pg_index WHERE NOT (indisvalid AND indisready) AND indrelid >= 16384)
           OR EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE NOT convalidated)
           OR EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgenabled = 'D')
           OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384 AND (
               relacl::text ~ '[{,]=' OR relpersistence = 'u' OR reloptions && '{autovacuum_enabled=false}'))
           OR EXISTS (SELECT FROM pg_catalog.pg_default_acl WHERE defaclacl::text ~ '[{,]=')
           OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE has_schema_privilege('public', oid, 'CREATE')
                      AND (oid >= 16384 OR current_setting('server_version_num')::int >= 150000))  -- 14: by default.
           OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE oid >= 16384 AND prosecdef)
           OR EXISTS (SELECT FROM pg_catalog.pg_foreign_server) AS has_details
"""
#: Sequences of columns that have been used less often than rows were inserted: for each, a query that compares it with
#: the column. Tables without rows are not opened.
SEQUENCES = """
    SELECT format('SELECT %L WHERE (SELECT max(%I) FROM %s) > (SELECT last_value - (NOT is_called)::int FROM %s)',
                  'sequence ' || sequence || ' is behind ' || relation, attname, relation, sequence) AS comparison
    FROM (SELECT seqrelid::regclass AS sequence, t.oid::regclass AS relation, attname,
                 greatest(t.reltuples, pg_stat_get_tuples_inserted(t.oid)) AS rows,
                 coalesce(pg_sequence_last_value(seqrelid), 0) AS value
          FROM (SELECT oid, reltuples FROM pg_catalog.pg_class WHERE relkind = 'r'
                  AND (reltuples > 0 OR pg_stat_get_tuples_inserted(oid) > 0) AND has_table_privilege(oid, 'SELECT')
                  AND has_schema_privilege(relnamespace, 'USAGE')  -- Not that of another session's temporary tables.
                OFFSET 0) AS t
          JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
            AND d.refobjsubid > 0 AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
          JOIN pg_catalog.pg_sequence ON seqrelid = d.objid
          JOIN pg_catalog.pg_attribute ON attrelid = t.oid AND attnum = d.refobjsubid
          WHERE has_sequence_privilege(seqrelid, 'SELECT') OFFSET 0) AS owned
    WHERE value < rows
"""
DETAILS = """
    WITH member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
    SELECT
           ARRAY(SELECT 'index ' || indexrelid::regclass || ' is not valid' FROM pg_catalog.pg_index
                 WHERE NOT (indisvalid AND indisready) AND indislive AND indrelid >= 16384
                   AND indexrelid NOT IN (SELECT index_relid FROM pg_catalog.pg_stat_progress_create_index)
                 UNION ALL SELECT 'constraint ' || quote_ident(conname) || ' of ' || conrelid::regclass
                                  || ' is not valid'
                 FROM pg_catalog.pg_constraint c WHERE NOT convalidated AND conrelid >= 16384
                   AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false'  -- A column since PostgreSQL 18.
                 UNION ALL SELECT 'table ' || oid::regclass || CASE relpersistence WHEN 'u'
                     THEN ' is unlogged: a crash empties it' ELSE ' is excluded from autovacuum' END
                 FROM pg_catalog.pg_class WHERE relkind = 'r' AND oid >= 16384
                   AND (relpersistence = 'u' OR reloptions && '{autovacuum_enabled=false}')
                 UNION SELECT 'foreign keys of ' || tgrelid::regclass || ' are disabled'
                 FROM pg_catalog.pg_trigger WHERE tgenabled = 'D' AND tgisinternal ORDER BY 1) AS defects,
           ARRAY(SELECT 'CREATE on schema ' || quote_ident(nspname) FROM pg_catalog.pg_namespace
                 WHERE has_schema_privilege('public', oid, 'CREATE')
                   AND (oid >= 16384 OR current_setting('server_version_num')::int >= 150000)
                 UNION ALL SELECT acl.privilege_type || ' on ' || oid::regclass
                 FROM pg_catalog.pg_class, aclexplode(relacl) AS acl
                 WHERE acl.grantee = 0 AND oid >= 16384
                   AND ('pg_class'::regclass, oid) NOT IN (SELECT classid, objid FROM member)
                 UNION ALL SELECT acl.privilege_type || ' by default privileges of ' || pg_get_userbyid(defaclrole)
                 FROM pg_catalog.pg_default_acl, aclexplode(defaclacl) AS acl
                 WHERE acl.grantee = 0 AND defaclobjtype IN ('r', 'S', 'n')
                 UNION ALL SELECT 'USAGE of the user mapping for server ' || quote_ident(srvname)
                 FROM pg_catalog.pg_user_mappings WHERE umuser = 0 ORDER BY 1) AS public_grants,
           ARRAY(SELECT p.oid::regprocedure || ' (owner ' || quote_ident(rolname) || ')'
                 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = proowner
                 WHERE prosecdef AND p.oid >= 16384 AND (rolsuper OR rolcreaterole OR rolbypassrls)
                   AND pronamespace >= 2200 AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
                   AND has_function_privilege(p.oid, 'EXECUTE')
                   AND ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM member)
                 ORDER BY 1) AS definer_functions
"""
TABLES = """
    SELECT name, relation IS NULL AS is_missing,
           (SELECT relhasindex FROM pg_catalog.pg_class WHERE oid = relation) AS has_index,
           (SELECT relkind = 'r' FROM pg_catalog.pg_class WHERE oid = relation) AS is_ordinary,
           ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
                 WHERE attrelid = relation AND NOT attisdropped) AS columns,
           ARRAY(SELECT attname || ' ' || atttypmod - 4 FROM pg_catalog.pg_attribute
                 WHERE attrelid = relation AND atttypid = 'varchar'::regtype AND atttypmod > 0) AS lengths,
           ARRAY(SELECT (SELECT string_agg(attname, ', ' ORDER BY attname) FROM pg_catalog.pg_attribute
                         WHERE attrelid = relation AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1]))
                 FROM pg_catalog.pg_index WHERE indrelid = relation AND indisunique AND indpred IS NULL) AS uniques,
           ARRAY(SELECT privilege FROM unnest(%s::text[]) AS privilege
                 WHERE NOT has_table_privilege(relation, privilege)) AS privileges,
           relation IS NOT NULL AND row_security_active(relation) AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_policy, unnest(polroles) AS role
               WHERE polrelid = relation AND polpermissive AND polcmd IN ('*', 'r')
                 AND (role = 0 OR pg_has_role(role, 'USAGE'))) AS is_hidden
    FROM (SELECT name, to_regclass(name)::oid AS relation FROM unnest(%s::text[]) AS name OFFSET 0) AS model
"""


@dataclass(frozen=True)
class ModelTable:
    """The table of a model that migrations create in a tenant database.

    Attributes:
        name: quoted.
        lengths: the maximum length of each ``CharField``, by column.
        uniques: the columns that are unique together, sorted: ``app_label, model``.
    """

    name: str
    app: str
    columns: tuple[str, ...]
    lengths: Mapping[str, int] = field(default_factory=dict)
    uniques: tuple[str, ...] = ()

    def defects(self, found: Any) -> Iterator[str]:
        """Yield how the table that was `found` differs: shorter columns, and missing unique constraints."""
        if not found.has_index:
            yield f"table {self.name} has no primary key"
        lengths = dict(text.rsplit(" ", 1) for text in found.lengths)
        for column, length in self.lengths.items():
            if column in lengths and int(lengths[column]) < length:
                yield f'column "{column}" of {self.name} has {lengths[column]} characters, not {length}'
        for columns in self.uniques if found.is_ordinary else ():
            if columns not in found.uniques:
                yield f"table {self.name} has no unique constraint of {columns}"


@cache
def model_tables() -> tuple[ModelTable, ...]:
    return tuple(
        ModelTable(
            table if (table := model._meta.db_table).startswith('"') else f'"{table}"',
            model._meta.app_label,
            tuple(str(one.column) for one in model._meta.local_concrete_fields),
            {
                str(one.column): one.max_length
                for one in model._meta.local_concrete_fields
                if one.max_length and one.get_internal_type() in {"CharField", "SlugField"}
            },
            tuple(_uniques(model)),
        )
        for model in apps.get_models(include_auto_created=True)
        if model._meta.can_migrate(ALIAS) and router.allow_migrate_model(ALIAS, model)
    )


def _uniques(model: type[Model]) -> Iterator[str]:
    """Yield the columns of each unique field and of each unique constraint for all rows."""
    options = model._meta
    yield from (str(one.column) for one in options.local_concrete_fields if one.unique and not one.primary_key)
    constraints = (constraint.fields for constraint in options.total_unique_constraints)
    for fields in (*options.unique_together, *constraints):
        yield ", ".join(sorted(str(options.get_field(name).column) for name in fields))  # type: ignore[union-attr]


def login_timeout(tenants: int) -> float:
    """Return the seconds in which so many logins have succeeded or timed out."""
    return LOGINS_BASE + CONNECT_TIMEOUT * math.ceil(tenants / CONCURRENT_LOGINS)


@fact(
    actions=("secretsmanager:GetSecretValue",),
    deadline=lambda settings: login_timeout(len(settings.tenants)) + LOGINS_REST,
)
def tenant_logins(
    secret: SecretState, tenants: tuple[str, ...], settings: Settings, connection: SessionReport
) -> tuple[TenantReport, ...]:
    """A login as the application to each tenant database. A tenant that does not respond does not delay the others."""
    passwords = dict[str, str]()

    def log_in(name: str) -> TenantReport:
        login = tenant_login(settings, secret.document, name)
        if not settings.is_shared:
            passwords[name] = login.password.reveal()
        return _read(login, name)

    found = log_in_to_all(tenants, log_in, login_timeout(len(tenants)))
    read = dict(passwords)  # A login that timed out can still add its own.
    return tuple(replace(report, weakness=weakness(report.name, read)) for report in found)


def weakness(tenant: str, passwords: Mapping[str, str]) -> str:
    """Return why the password of `tenant` is weak: by the rules of the secret, or because another tenant has it."""
    own = passwords.get(tenant, "")
    if others := [name for name, value in passwords.items() if own == value and name != tenant]:
        return f"is also the password of {join_names(others)}"
    return ("is a placeholder" if is_placeholder(own) else password(own) or "") if own else ""


def log_in_to_all(
    names: Sequence[str], log_in: Callable[[str], TenantReport], seconds: float
) -> tuple[TenantReport, ...]:
    """Call `log_in` for each name, a few at a time. A name without a result after `seconds` gets an error.

    The threads are daemons: one that hangs delays neither the report nor the exit of the process.
    """
    futures: dict[str, Future[TenantReport]] = {name: Future() for name in names}
    remaining = iter(futures.items())
    until = time.monotonic() + seconds
    lock = threading.Lock()

    def work() -> None:
        while time.monotonic() < until:
            with lock:
                name, future = next(remaining, ("", None))
            if future is None:
                return
            future.set_result(_guarded(log_in, name))

    for _ in range(min(CONCURRENT_LOGINS, len(futures))):
        threading.Thread(target=work, daemon=True, name="tenant-login").start()
    wait(futures.values(), timeout=seconds)
    return tuple(future.result() if future.done() else _timed_out(name, seconds) for name, future in futures.items())


def _guarded(log_in: Callable[[str], TenantReport], name: str) -> TenantReport:
    try:
        return log_in(name)
    except DeployError as error:
        return TenantReport(name, error=error)
    except Exception as error:
        return TenantReport(name, error=unexpected_error(f"The login to {name}", error))


def _timed_out(name: str, seconds: float) -> TenantReport:
    hint = f"Check this tenant alone: python manage.py check_rds --tenant {name}"
    return TenantReport(name, error=DeployError(f"The login to {name} timed out after {seconds:g} s.", hint=hint))


def _read(login: Login, name: str) -> TenantReport:
    unusable = None
    try:
        with login.connect(name) as session:
            with translate_database_errors("read the settings of its session"):
                (row,) = session.execute(SESSION).fetchall()
            unusable = UnusableObjects() if row.is_usable else read_unusable_objects(session)
            applied = read_applied(session) if row.has_history else frozenset()
            recorded = {app for app, _ in applied}
            expected = {table.name: table for table in model_tables() if table.app in recorded}
            with translate_database_errors("read its tables"):
                tables = session.execute(TABLES, [list(PRIVILEGES), list(expected)]).fetchall() if expected else []
                details = session.execute(DETAILS).fetchone() if row.has_details else None
                found = session.execute(SEQUENCES).fetchall() if row.has_rows else []
                behind = (
                    session.execute(" UNION ALL ".join(one.comparison for one in found)).fetchall() if found else []
                )
            found = [table for table in tables if not table.is_missing]
            return TenantReport(
                name,
                applied,
                unusable,
                is_read_only=row.is_read_only,
                password_days=row.password_days,
                missing_tables=tuple(table.name for table in tables if table.is_missing),
                missing_columns=tuple(
                    f'{t.name}."{c}"' for t in found for c in expected[t.name].columns if c not in t.columns
                ),
                missing_privileges=tuple(f"{privilege} on {t.name}" for t in found for privilege in t.privileges),
                hidden_tables=tuple(table.name for table in found if table.is_hidden),
                settings=tuple(row.settings),
                defects=(
                    *(defect for table in found for defect in expected[table.name].defects(table)),
                    *(details.defects if details else ()),
                    *(sentence for (sentence,) in behind),
                ),
                public_grants=tuple(details.public_grants) if details else (),
                definer_functions=tuple(details.definer_functions) if details else (),
            )
    except DeployError as error:
        return TenantReport(name, unusable=unusable, error=error)
