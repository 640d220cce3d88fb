"""Reads what PostgreSQL's catalogue says of roles and databases, in a few queries however many tenants there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
from psycopg import sql

from deploytools.databases.server import MAINTENANCE_DATABASE, Connection, Login, translating
from deploytools.databases.state import HALF_MADE_LIMIT, DatabaseState, RoleState, SecretNeed, ServerState, Wanted
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError


def read_state(
    connection: Connection,
    wanted: Wanted,
    logins: Iterable[Login],
    secrets: Mapping[str, SecretNeed] | None = None,
    *,
    workers: int = 1,
) -> ServerState:
    """The catalogue, as far as a plan for `wanted` needs it.

    Args:
        connection: the master's session.
        logins: the applications' roles with their secrets' passwords, to try them: nobody but a superuser may read
            what password a role has.
        secrets: what the tenants' own secrets need.
        workers: logins at the same time.
    """
    user = connection.info.user
    with translating("show its catalogue"):
        roles = read_roles(connection, [user, *wanted.roles])
        names = [tenant.name for tenant in wanted.tenants]
        databases = read_databases(connection, [*names, *filter(None, [wanted.template])])
        has_locale, locales = read_locales(connection, wanted.locale)
    if user not in roles:
        raise DatabaseError(f"There is no role {user}.", hint="Run it again.")
    master = roles[user]
    if wanted.app_role != user:
        del roles[user]
    return ServerState(
        version=connection.info.server_version,
        master=master,
        roles=roles | _tried(roles, logins, workers),
        databases=databases,
        secrets=secrets or {},
        has_locale=has_locale,
        locales=locales,
    )


def _tried(roles: Mapping[str, RoleState], logins: Iterable[Login], workers: int) -> dict[str, RoleState]:
    """The roles that may log in and have a password to try, with the result."""
    tried = [login for login in logins if login.user in roles and roles[login.user].can_login]

    def one(login: Login) -> RoleState:
        try:
            return replace(roles[login.user], password_works=password_works(login))
        except ConnectionFailed as error:
            return replace(roles[login.user], login_error=error)

    with ThreadPoolExecutor(workers) as pool:
        return {role.name: role for role in pool.map(one, tried)}


def password_works(login: Login) -> bool:
    """Whether the server takes `login`'s password.

    Raises:
        ConnectionFailed: for any reason but the password: then it is not known.
    """
    try:
        login.connect(MAINTENANCE_DATABASE).close()
    except ConnectionFailed as error:
        if error.kind is ConnectionFailure.PASSWORD:
            return False
        if error.kind is not ConnectionFailure.NO_CONNECT:
            raise
    return True


def read_roles(connection: Connection, names: list[str]) -> dict[str, RoleState]:
    """Those of the roles `names` that exist, and what the session's role may do with them (FACTS B2.8, B2.12)."""
    if connection.info.server_version < 160000:
        powers = """pg_has_role(current_user, r.oid, 'MEMBER') AS may_set,
                    (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user) AS may_grant"""
    else:
        powers = """pg_has_role(current_user, r.oid, 'SET') AS may_set,
                    pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION') AS may_grant"""
    query = f"""
        WITH RECURSIVE reach(root, oid) AS (
            SELECT oid, oid FROM pg_roles WHERE rolname = ANY(%(names)s)
            UNION SELECT reach.root, m.roleid FROM pg_auth_members m JOIN reach ON m.member = reach.oid
        ), reaches AS (
            SELECT root, array_agg(pg_get_userbyid(oid)::text) AS names FROM reach WHERE oid <> root GROUP BY root
        )
        SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolinherit,
               coalesce(reaches.names, '{{}}') AS reaches, coalesce(s.setconfig, '{{}}') AS settings,
               pg_has_role(current_user, r.oid, 'USAGE') AS inherits, {powers}
        FROM pg_roles r
        LEFT JOIN reaches ON reaches.root = r.oid
        LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
        WHERE r.rolname = ANY(%(names)s)
    """  # noqa: S608 - one of two constants
    return {
        row.rolname: RoleState(
            name=row.rolname,
            can_login=row.rolcanlogin,
            is_superuser=row.rolsuper,
            can_create_databases=row.rolcreatedb,
            can_create_roles=row.rolcreaterole,
            reaches=frozenset(row.reaches),
            inherits=row.rolinherit,
            settings=_settings(row.settings),
            master_may_set=row.may_set,
            master_may_grant=row.may_grant,
            master_inherits=row.inherits,
        )
        for row in connection.execute(sql.SQL(query), {"names": names}).fetchall()
    }


def _settings(entries: list[str]) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in entries)
    return {name.lower(): value for name, _, value in pairs}


DATABASES_QUERY = """
    WITH wanted AS (SELECT oid FROM pg_database WHERE datname = ANY(%(names)s)),
    owned AS (
        SELECT dbid, jsonb_object_agg(pg_get_userbyid(owner), count) AS counts FROM (
            SELECT dbid, owner, count(*) FROM (
                SELECT dbid, refobjid AS owner FROM pg_shdepend
                WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass
                  AND dbid IN (SELECT oid FROM wanted) AND classid <> 'pg_extension'::regclass  -- They stay.
                UNION ALL SELECT subdbid, subowner FROM pg_subscription WHERE subdbid IN (SELECT oid FROM wanted)) AS o
            GROUP BY 1, 2) AS counted GROUP BY 1
    ), used AS (
        SELECT datid, jsonb_object_agg(usename, count) AS counts FROM (
            SELECT datid, usename::text, count(*) FROM pg_stat_activity
            WHERE datid IN (SELECT oid FROM wanted) AND usename IS NOT NULL GROUP BY 1, 2) AS counted GROUP BY 1
    )
    SELECT d.datname, pg_get_userbyid(d.datdba)::text AS owner, pg_encoding_to_char(d.encoding) AS encoding,
           d.datcollate, d.datctype, d.datallowconn, d.datconnlimit, d.datistemplate,
           has_database_privilege('public', d.oid, 'CONNECT, TEMPORARY') AS public_may_connect,
           coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment,
           coalesce(s.setconfig, '{}') AS settings,
           coalesce(owned.counts, '{}') AS objects, coalesce(used.counts, '{}') AS sessions,
           pg_has_role(current_user, d.datdba, 'USAGE') AS master_owns, d.xmin::text AS row_version,
           d.datconnlimit <> %(half_made)s OR NOT EXISTS (  -- A copy's objects have the numbers of the template's.
               SELECT FROM pg_shdepend o JOIN pg_roles master ON master.oid = o.refobjid
               WHERE o.dbid = d.oid AND o.deptype = 'o' AND o.refclassid = 'pg_authid'::regclass
                 AND master.rolname = current_user AND NOT EXISTS (
                     SELECT FROM pg_shdepend t JOIN pg_database source ON source.oid = t.dbid
                     WHERE source.datistemplate AND source.datdba = master.oid
                       AND (t.classid, t.objid, t.deptype) = (o.classid, o.objid, 'o') AND t.refobjid = master.oid)
           ) AS masters_are_copied
    FROM pg_database d
    LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
    LEFT JOIN owned ON owned.dbid = d.oid
    LEFT JOIN used ON used.datid = d.oid
    WHERE d.datname = ANY(%(names)s)
"""


def read_databases(connection: Connection, names: list[str]) -> dict[str, DatabaseState]:
    """Those of the databases `names` that exist."""
    rows = connection.execute(DATABASES_QUERY, {"names": names, "half_made": HALF_MADE_LIMIT}).fetchall()
    return {
        row.datname: DatabaseState(
            name=row.datname,
            owner=row.owner,
            encoding=row.encoding,
            locale=row.datcollate,
            character_type=row.datctype,
            allows_connections=row.datallowconn,
            connection_limit=row.datconnlimit,
            is_template=row.datistemplate,
            public_may_connect=row.public_may_connect,
            comment=row.comment,
            settings=_settings(row.settings),
            objects=row.objects,
            sessions=row.sessions,
            master_owns=row.master_owns,
            row_version=row.row_version,
            masters_are_copied=row.masters_are_copied,
        )
        for row in rows
    }


def read_locales(connection: Connection, wanted: str) -> tuple[bool, tuple[str, ...]]:
    """Whether the server's system has the locale `wanted` (empty: not asked), and the locales known to it.

    A locale that was installed after initdb is in no catalogue: so it is tried, as a collation that is rolled back.
    """
    if not wanted:
        return True, ()
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                sql.SQL("CREATE COLLATION pg_temp.deploytools (LOCALE = {})").format(sql.Literal(wanted))
            )
        return True, ()
    except psycopg.errors.InsufficientPrivilege:
        return True, ()  # CREATE DATABASE will tell.
    except psycopg.Error:
        rows = connection.execute(
            "SELECT DISTINCT collcollate FROM pg_collation WHERE collprovider = 'c' AND collcollate <> '' ORDER BY 1"
        ).fetchall()
        return False, tuple(row.collcollate for row in rows)
