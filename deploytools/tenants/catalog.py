"""Read roles and databases from PostgreSQL's catalog, with a constant number of queries for any number of tenants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

import psycopg
from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.postgres.connections import (
    MAINTENANCE_DATABASE,
    TRUSTED_SEARCH_PATH,
    Connection,
    Login,
    translate_database_errors,
)
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX, DesiredState
from deploytools.tenants.state import (
    CLONE_SUFFIX,
    GRANT_OPTIONS_VERSION,
    INCOMPLETE_LIMIT,
    TEMPLATE_PREFIX,
    Client,
    ConnectionSlots,
    DatabaseState,
    Extension,
    Membership,
    OwnerLogin,
    RoleState,
    SecretChange,
    ServerCatalog,
    ServerState,
)


def read_state(
    connection: Connection,
    desired: DesiredState,
    logins: Iterable[Login],
    secrets: Mapping[str, SecretChange] | None = None,
    *,
    workers: int = 1,
) -> ServerState:
    """Return the catalog as far as a plan for `desired` needs it.

    Args:
        logins: the application roles with the passwords in their secrets. They are tried by logging in, because only
            a superuser can read password hashes; the queries are executed meanwhile.
        secrets: the changes that the tenants' own secrets need.
    """
    user = connection.info.user
    separate = [desired.login, *(change.login for change in (secrets or {}).values())]
    with ThreadPoolExecutor(workers) as pool, translate_database_errors("read the catalog"):
        roles = read_roles(connection, [user, *desired.roles, *separate])
        if user not in roles:
            raise DatabaseError(f"Role {user} does not exist.", hint="Run the command again.")
        master = roles[user]
        if user not in (desired.app_role, desired.login):
            del roles[user]
        tried = [login for login in logins if login.user in roles and roles[login.user].can_login]
        attempts = pool.map(_try_login, [roles[login.user] for login in tried], tried)
        names = [tenant.name for tenant in desired.all_tenants]
        databases = read_databases(connection, [*names, *filter(None, [desired.template])])
        former = {role for database in databases.values() for role in database.former_owners} - {user, *roles}
        others = read_roles(connection, sorted(former)) if former else {}
        owner_logins = read_logins(connection, desired)
        has_locale, locales = read_locales(connection, desired.locale)
        needs_extensions = any(tenant.options.extensions for tenant in desired.all_tenants)
        extensions = read_available_extensions(connection) if needs_extensions else {}
        roles |= others | {role.name: role for role in attempts}
    return ServerState(
        version=connection.info.server_version,
        master=master,
        roles=roles,
        logins=owner_logins,
        extensions=extensions,
        databases=databases,
        secrets=secrets or {},
        has_locale=has_locale,
        locales=locales,
    )


def _try_login(role: RoleState, login: Login) -> RoleState:
    try:
        return replace(role, password_works=password_works(login))
    except ConnectionFailed as error:
        return replace(role, login_error=error)


def password_works(login: Login) -> bool:
    """Return whether the server accepts the password of `login`.

    Raises:
        ConnectionFailed: for any reason other than the password; whether it works is then unknown.
    """
    try:
        login.connect(MAINTENANCE_DATABASE).close()
    except ConnectionFailed as error:
        if error.kind is ConnectionFailure.PASSWORD:
            return False
        if error.kind is not ConnectionFailure.NO_CONNECT:
            raise
    return True


def read_expiry(login: Login) -> str:
    """Return when the password of `login` expires, in ISO 8601; empty: never, or its role cannot read it."""
    try:
        session = login.connect(MAINTENANCE_DATABASE, settings=TRUSTED_SEARCH_PATH)
    except ConnectionFailed:
        return ""
    with session, translate_database_errors("read the expiry date of a password"):
        (row,) = session.execute(
            "SELECT rolvaliduntil AS until FROM pg_roles "
            "WHERE rolname = session_user AND rolvaliduntil BETWEEN '1970-01-01' AND '9999-01-01'",
            binary=True,  # For any DateStyle.
        ).fetchall() or [None]
    return row.until.isoformat(timespec="seconds") if row else ""


ROLES_QUERY = """
    WITH RECURSIVE membership(root, oid, via, grantor) AS (
        SELECT m.member, m.roleid, m.roleid, m.grantor FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
        WHERE r.rolname = ANY(%(names)s)
        UNION SELECT root, m.roleid, via, membership.grantor
        FROM pg_auth_members m JOIN membership ON m.member = membership.oid
    ), memberships AS (
        SELECT root, array_agg(DISTINCT ARRAY[a.rolname::text, pg_get_userbyid(via)::text,
                                              pg_get_userbyid(grantor)::text]) AS grants,
               array_agg(DISTINCT a.rolname::text) FILTER (
                   WHERE a.rolsuper OR a.rolcreaterole OR a.rolcreatedb OR a.rolreplication OR a.rolbypassrls
               ) AS admins
        FROM membership JOIN pg_roles a USING (oid) WHERE oid <> root GROUP BY root
    )
    SELECT r.rolname AS name, r.rolcanlogin AS can_login, r.rolsuper AS is_superuser,
           r.rolcreatedb AS can_create_databases, r.rolcreaterole AS can_create_roles, r.rolinherit AS inherits,
           r.rolreplication AS can_replicate, r.rolbypassrls AS bypasses_row_security,
           r.rolconnlimit AS connection_limit, coalesce(r.rolvaliduntil < now(), false) AS is_expired,
           CASE WHEN isfinite(r.rolvaliduntil) THEN (r.rolvaliduntil AT TIME ZONE 'UTC')::timestamp(0)::text
                ELSE '' END AS valid_until,
           coalesce(memberships.grants, '{}') AS memberships,
           coalesce(memberships.admins, '{}') AS admin_memberships, coalesce(s.setconfig, '{}') AS settings,
           pg_has_role(current_user, r.oid, 'USAGE') AS master_inherits,
           pg_has_role(current_user, r.oid, %(set)s) AS master_can_set_role,
           CASE WHEN current_setting('server_version_num')::integer >= 160000
                THEN pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION')
                ELSE (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user) END AS master_has_admin
    FROM pg_roles r
    LEFT JOIN memberships ON memberships.root = r.oid
    LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
    WHERE r.rolname = ANY(%(names)s)
"""


def read_roles(connection: Connection, names: list[str]) -> dict[str, RoleState]:
    """Return the existing ones of the roles `names`, with what the session's role can do with them."""
    rows = connection.execute(ROLES_QUERY, {"names": names, "set": _set_privilege(connection)}).fetchall()
    return {
        row.name: RoleState(
            **row._asdict()
            | {
                "memberships": frozenset(name for name, _, _ in row.memberships),
                "grants": tuple(Membership(*grant) for grant in row.memberships),
                "admin_memberships": frozenset(row.admin_memberships),
                "settings": _settings(row.settings),
            }
        )
        for row in rows
    }


def _set_privilege(connection: Connection) -> str:
    return "SET" if connection.info.server_version >= GRANT_OPTIONS_VERSION else "MEMBER"


def read_logins(connection: Connection, desired: DesiredState) -> dict[str, tuple[OwnerLogin, ...]]:
    """Return the separate logins of each application role that has some, by that role.

    These are direct members of it: the secret's ``username``, roles that act as it from their login on, its second
    login (``…_b``), and the second user of AWS's rotation for alternating users (``…_clone``). The role of another
    tenant is never one.
    """
    rows = connection.execute(
        """
        SELECT * FROM (
            SELECT DISTINCT o.rolname AS owner, r.rolname AS login,
                   pg_has_role(r.oid, o.oid, 'USAGE') AND pg_has_role(r.oid, o.oid, %(set)s) AS can_act,
                   coalesce('role=' || o.rolname = ANY(s.setconfig), false) AS sets_role
            FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
            LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
            WHERE o.rolname = ANY(%(roles)s) AND r.rolname <> ALL(%(roles)s) AND r.rolname <> current_user) AS member
        WHERE sets_role OR login = ANY(ARRAY[owner || %(second)s, owner || %(clone)s])
           OR (login = %(login)s AND owner = %(app_role)s)
        ORDER BY owner, login
        """,
        {
            "set": _set_privilege(connection),
            "roles": list(desired.roles),
            "login": desired.login,
            "app_role": desired.app_role,
            "second": SECOND_LOGIN_SUFFIX,
            "clone": CLONE_SUFFIX,
        },
    ).fetchall()
    return {
        owner: tuple(OwnerLogin(row.login, row.can_act, row.sets_role) for row in group)
        for owner, group in groupby(rows, attrgetter("owner"))
    }


def _settings(entries: list[str]) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in entries)
    return {name.lower(): value for name, _, value in pairs}


DATABASES_QUERY = """
    WITH listed AS (SELECT oid FROM pg_database WHERE datname = ANY(%(names)s)),
    owned AS (
        SELECT dbid, jsonb_object_agg(pg_get_userbyid(owner), count) AS counts FROM (
            SELECT dbid, owner, count(*) FROM (
                SELECT dbid, refobjid AS owner FROM pg_shdepend
                WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass
                  AND dbid IN (SELECT oid FROM listed) AND classid <> 'pg_extension'::regclass  -- Owner is fixed.
                UNION ALL SELECT subdbid, subowner FROM pg_subscription WHERE subdbid IN (SELECT oid FROM listed)) AS o
            GROUP BY 1, 2) AS counted GROUP BY 1
    ), used AS (
        SELECT datid, jsonb_agg(jsonb_build_object(
            'role', usename, 'application', application, 'number', count, 'has_grant', EXISTS (
                SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
                WHERE d.oid = datid AND acl.grantee <> 0 AND acl.privilege_type = 'CONNECT'
                  AND pg_has_role(usesysid, acl.grantee, 'USAGE'))
            ) ORDER BY usename, application) AS clients
        FROM (SELECT datid, usesysid, usename::text, coalesce(application_name, '') AS application, count(*)
              FROM pg_stat_activity
              WHERE datid IN (SELECT oid FROM listed) AND usename IS NOT NULL GROUP BY 1, 2, 3, 4) AS counted
        GROUP BY 1
    )
    SELECT d.datname AS name, pg_get_userbyid(d.datdba)::text AS owner, pg_encoding_to_char(d.encoding) AS encoding,
           d.datcollate AS locale, d.datctype AS character_type, d.datallowconn AS allows_connections,
           d.datconnlimit AS connection_limit, d.datistemplate AS is_template,
           has_database_privilege('public', d.oid, 'CONNECT, TEMPORARY') AS public_can_connect,
           coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment,
           coalesce(s.setconfig, '{}') AS settings,
           coalesce(owned.counts, '{}') AS objects, coalesce(used.clients, '[]') AS clients,
           pg_has_role(current_user, d.datdba, 'USAGE') AS master_owns,
           EXISTS (SELECT FROM pg_roles r WHERE r.rolsuper AND pg_has_role(d.datdba, r.oid, 'MEMBER'))
               AS owner_is_superuser, d.xmin::text AS row_version,
           d.datconnlimit <> %(incomplete_limit)s OR NOT EXISTS (  -- A copy's objects have the template's OIDs.
               SELECT FROM pg_shdepend o JOIN pg_roles master ON master.oid = o.refobjid
               WHERE o.dbid = d.oid AND o.deptype = 'o' AND o.refclassid = 'pg_authid'::regclass
                 AND master.rolname = current_user AND NOT EXISTS (
                     SELECT FROM pg_shdepend t JOIN pg_database source ON source.oid = t.dbid
                     WHERE source.datistemplate AND source.datdba = master.oid
                       AND (t.classid, t.objid, t.deptype) = (o.classid, o.objid, 'o') AND t.refobjid = master.oid)
           ) AS master_objects_are_copies
    FROM pg_database d
    LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
    LEFT JOIN owned ON owned.dbid = d.oid
    LEFT JOIN used ON used.datid = d.oid
    WHERE d.datname = ANY(%(names)s)
"""


def read_databases(connection: Connection, names: list[str]) -> dict[str, DatabaseState]:
    """Return the existing ones of the databases `names`, by name."""
    rows = connection.execute(DATABASES_QUERY, {"names": names, "incomplete_limit": INCOMPLETE_LIMIT}).fetchall()
    return {
        row.name: DatabaseState(
            **row._asdict()
            | {"settings": _settings(row.settings), "clients": tuple(Client(**client) for client in row.clients)}
        )
        for row in rows
    }


def read_locales(connection: Connection, desired: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether the server has the locale `desired` (empty: not checked) and, if not, the locales it has.

    A locale that was installed after initdb is not in the catalog, so it is tried: as a collation that is rolled back.
    """
    if not desired:
        return True, ()
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                sql.SQL("CREATE COLLATION pg_temp.deploytools (LOCALE = {})").format(sql.Literal(desired))
            )
        return True, ()
    except psycopg.errors.InsufficientPrivilege:
        return True, ()  # CREATE DATABASE will report a missing locale.
    except psycopg.Error:
        rows = connection.execute(
            "SELECT DISTINCT collcollate FROM pg_collation WHERE collprovider = 'c' AND collcollate <> '' ORDER BY 1"
        ).fetchall()
        return False, tuple(row.collcollate for row in rows)


def read_available_extensions(connection: Connection) -> dict[str, Extension]:
    """Return the extensions that the server offers, by name."""
    rows = connection.execute(
        "SELECT e.name::text, e.default_version AS version, v.superuser AND NOT v.trusted AS needs_superuser "
        "FROM pg_available_extensions e JOIN pg_available_extension_versions v ON v.name = e.name "
        "AND v.version = e.default_version ORDER BY 1"
    ).fetchall()
    return {row.name: Extension(row.version, row.needs_superuser) for row in rows}


def read_extensions(connection: Connection) -> dict[str, str]:
    """Return the version of each extension in the session's database."""
    with translate_database_errors("read the extensions"):
        rows = connection.execute("SELECT extname::text, extversion FROM pg_catalog.pg_extension").fetchall()
    return {row.extname: row.extversion for row in rows}


def read_templates(connection: Connection, owners: list[str]) -> tuple[DatabaseState, ...]:
    """Return the templates that deploytools created and one of `owners` owns, by name."""
    with translate_database_errors("read its templates"):
        rows = connection.execute(
            "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, %s) "
            "AND pg_get_userbyid(datdba) = ANY(%s) ORDER BY 1",
            [TEMPLATE_PREFIX, owners],
        ).fetchall()
        found = read_databases(connection, [row.datname for row in rows])
    return tuple(found[row.datname] for row in rows if found[row.datname].is_own_template)


#: Who has CONNECT on the databases of the parameter, and through which role; 0: PUBLIC.
CONNECT_HOLDERS = """WITH RECURSIVE holder(database, role, via) AS (
                SELECT d.datname, acl.grantee, acl.grantee FROM pg_database d,
                       aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
                WHERE d.datname = ANY(%s) AND acl.privilege_type = 'CONNECT'
                UNION SELECT holder.database, m.member, holder.via
                FROM holder JOIN pg_auth_members m ON m.roleid = holder.role
            )"""


def _read_other_logins(connection: Connection, names: list[str]) -> dict[str, tuple[str, ...]]:
    """Return, by database, the login roles with CONNECT that are neither administrators nor logins of its owner."""
    rows = connection.execute(
        f"""
            {CONNECT_HOLDERS}
            SELECT DISTINCT d.datname::text AS name, r.rolname::text AS role
            FROM holder JOIN pg_database d ON d.datname = holder.database
            JOIN pg_roles o ON o.oid = d.datdba JOIN pg_roles r ON r.oid = holder.role
            LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
            WHERE r.rolcanlogin AND NOT r.rolsuper AND NOT r.rolcreaterole AND r.oid <> o.oid
              AND r.rolname NOT IN (o.rolname || %s, o.rolname || %s)
              AND NOT coalesce('role=' || o.rolname = ANY(s.setconfig), false)
            ORDER BY 1, 2
        """,  # noqa: S608 - a constant
        [names, CLONE_SUFFIX, SECOND_LOGIN_SUFFIX],
    ).fetchall()
    return {name: tuple(row.role for row in group) for name, group in groupby(rows, attrgetter("name"))}


#: The first version with ``datcollversion``.
COLLATION_VERSION = 150_000

#: RDS creates the slots of its read replicas itself, and drops them. Only WAL beyond max_wal_size counts for those.
LEFTOVERS = """
    SELECT slot_name::text AS name, 'the replication slot has no client, and keeps WAL' AS problem,
           'If its client no longer exists, as the master user: SELECT pg_drop_replication_slot(' ||
           quote_literal(slot_name) || ')' AS hint
    FROM pg_replication_slots
    WHERE NOT active AND NOT temporary AND (NOT starts_with(slot_name::text, 'rds_') OR wal_status <> 'reserved')
    UNION ALL SELECT gid, 'the prepared transaction is open for more than an hour',
           'As its owner, in ' || quote_ident(database) || ': ROLLBACK PREPARED ' || quote_literal(gid)
    FROM pg_prepared_xacts WHERE prepared < now() - interval '1 hour'
    UNION ALL SELECT datname::text || ' ' || usename, 'a session is idle in a transaction for more than an hour',
           'Check what it does. To end it: SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ' ||
           quote_literal(datname) || ' AND usename = ' || quote_literal(usename) ||
           ' AND state LIKE ''idle in transaction%'' AND state_change < now() - interval ''1 hour'''
    FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND state_change < now() - interval '1 hour'
    GROUP BY datname, usename ORDER BY 1
"""


def read_server_catalog(login: Login, database: str, names: list[str], roles: list[str]) -> ServerCatalog:
    """Return the catalog as one of the application roles sees it.

    Args:
        database: a database that the role can connect to.
        names: the tenant databases.
    """
    with (
        login.connect(database, settings=TRUSTED_SEARCH_PATH) as connection,
        translate_database_errors("read the catalog"),
    ):
        found = read_roles(connection, roles)
        rows = connection.execute(
            """
            SELECT datname, datname LIKE 'test\\_%%' AS is_test FROM pg_database
            WHERE datname LIKE 'test\\_%%'
               OR (datname <> ALL(%s) AND NOT datistemplate AND (
                   pg_get_userbyid(datdba) = ANY(%s)
                   OR EXISTS (SELECT FROM unnest(%s::text[]) AS name
                              WHERE left(datname, length(name) + 1) IN (name || '_', name || '-'))))
            ORDER BY 1
            """,
            [names, roles, names],
        ).fetchall()
        databases = read_databases(connection, names)
        other_logins = _read_other_logins(connection, names)
        leftovers = tuple(tuple(row) for row in connection.execute(LEFTOVERS).fetchall())
        outdated = _read_outdated_collations(connection, names)
    tests = tuple(row.datname for row in rows if row.is_test)
    unlisted = tuple(row.datname for row in rows if not row.is_test)
    existing = tuple(found[name] for name in roles if name in found)
    return ServerCatalog(existing, databases, tests, unlisted, other_logins, leftovers, outdated)


def _read_outdated_collations(connection: Connection, names: list[str]) -> frozenset[str]:
    """Return the databases whose collation had another version when they were created. PostgreSQL 14 does not know."""
    if connection.info.server_version < COLLATION_VERSION:
        return frozenset()
    rows = connection.execute(
        "SELECT datname::text FROM pg_database "
        "WHERE datname = ANY(%s) AND datcollversion <> pg_database_collation_actual_version(oid)",
        [names],
    ).fetchall()
    return frozenset(row.datname for row in rows)


def read_slots(connection: Connection) -> ConnectionSlots:
    """Return the server's connection slots.

    They are counted in a view that any role can read; ``pg_stat_activity`` hides other roles' sessions from most roles.
    """
    with translate_database_errors("read its connection slots"):
        (row,) = connection.execute(
            """
            SELECT (SELECT sum(current_setting(name, true)::int)
                    FROM unnest('{superuser_reserved_connections, reserved_connections,
                                  rds.rds_superuser_reserved_connections}'::text[]) AS name) AS reserved,
                   current_setting('max_connections')::int AS maximum,
                   (SELECT sum(numbackends) FROM pg_stat_database)::int AS used
            """
        ).fetchall()
    return ConnectionSlots(row.maximum, row.reserved or 0, row.used)
