"""Change the owner of each object inside one database, while the application is running.

``pg_shdepend`` lists what a role owns, completely and for every kind of object, except subscriptions, which are in a
shared catalog. REASSIGN OWNED is not used: it also changes the owner of other databases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from deploytools.errors import DatabaseError
from deploytools.postgres.connections import Connection, is_connection_lost
from deploytools.postgres.retries import backoff, retry

#: Milliseconds that one ALTER waits for its lock: statements that queue behind it wait as long.
LOCK_TIMEOUT = 2_000

#: Retries for each object, and seconds of the longest first pause.
RETRIES, FIRST_PAUSE = 4, 0.1

#: Kinds that have another name in ``pg_identify_object`` than in ALTER.
ALTER_KEYWORDS = {
    "aggregate": "ROUTINE",  # ALTER AGGREGATE takes other arguments than its identity has.
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "statistics object": "STATISTICS",
}

#: PostgreSQL has no ALTER EXTENSION … OWNER. The master user can still update it, as a member of the owner.
EXTENSION = "extension"

#: Objects that stay the master user's if it created them: only privileged roles can own them, and all roles use them.
MASTER_KINDS = ("event trigger", "foreign-data wrapper")

#: ``defaclobjtype`` of ``pg_default_acl``.
DEFAULT_PRIVILEGES = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "FUNCTIONS",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}

#: All objects in the session's database with their owner; ``rank`` is the order in which to change the owners. A
#: sequence that belongs to a column follows its table. There are no parameters, so that it can be a subquery.
OWNED = """
    SELECT pg_get_userbyid(s.owner)::text AS owner, o.type, coalesce(s.name, p.identity, o.identity) AS identity,
           coalesce(o.schema LIKE 'pg\\_temp\\_%%', false) AS is_temporary,
           CASE s.classid WHEN 'pg_namespace'::regclass THEN 0  -- A table's new owner must own its schema first.
                          WHEN 'pg_class'::regclass THEN 1 ELSE 2 END AS rank
    FROM (SELECT classid, objid, refobjid AS owner, NULL AS name FROM pg_shdepend
          WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass
            AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          UNION ALL  -- Some versions do not allow every role to read its oid.
          SELECT 'pg_subscription'::regclass, 0, subowner, quote_ident(subname) FROM pg_subscription
          WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) AS s
    CROSS JOIN LATERAL (
        SELECT type, schema, identity FROM pg_identify_object(s.classid, s.objid, 0) WHERE s.name IS NULL
        UNION ALL SELECT 'subscription', NULL, s.name WHERE s.name IS NOT NULL) AS o
    LEFT JOIN LATERAL (  -- Without IN, p(integer, integer) is p(OUT integer, integer) as well.
        SELECT quote_ident(n.nspname) || '.' || quote_ident(proname) || '(' || coalesce((
            SELECT string_agg('IN ' || format_type(t.oid, NULL), ', ' ORDER BY t.at)
            FROM unnest(proargtypes) WITH ORDINALITY AS t(oid, at)), '') || ')' AS identity
        FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
        WHERE s.classid = 'pg_proc'::regclass AND pg_proc.oid = s.objid AND prokind = 'p') AS p ON true
    WHERE coalesce(s.name, o.identity) IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
        WHERE s.classid = d.classid AND c.oid = s.objid AND c.relkind = 'S'
          AND d.refclassid = d.classid AND d.deptype IN ('a', 'i'))
"""


@dataclass(frozen=True)
class Owned:
    """One object.

    Attributes:
        kind: type in ``pg_identify_object``, for example ``materialized view``.
        identity: identity in ``pg_identify_object``, quoted for SQL.
        is_temporary: whether it belongs to a session and is dropped with it.
    """

    owner: str
    kind: str
    identity: str
    is_temporary: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def reassign_objects(connection: Connection, previous: str, to: str) -> None:
    """Change the owner of all objects that `previous` owns in the session's database.

    Each object is changed in a separate statement, so that each lock is held only briefly. Extensions keep their owner.

    Args:
        connection: the master user's session in that database; it inherits from `previous` and can SET ROLE to `to`.

    Raises:
        DatabaseError: a long transaction locks an object, or some owners cannot be changed; the others were changed.
        psycopg.Error: the session was lost.
    """
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
    kept = (EXTENSION, *(MASTER_KINDS if previous == connection.info.user else ()))
    refused: dict[Owned, str] = {}
    for item in _owned_by(connection, previous):
        if item.kind == "default acl" or item.kind in kept:
            continue
        if reason := _unchangeable(item, to) or _change_owner(connection, item, to):
            refused[item] = reason
    remaining = set(_owned_by(connection, previous)) if refused else set()  # Some might have been dropped meanwhile.
    left = [f"{item} ({reason})" for item, reason in refused.items() if item in remaining]
    if reason := _transfer_default_privileges(connection, previous, to):
        left.append(f"default privileges ({reason})")
    if left:
        raise DatabaseError(
            f"Cannot transfer ownership from {previous} to {to} of: {'; '.join(left)}. All other objects were "
            "transferred.",
            hint="Fix the reasons in brackets, or change the owner or drop the objects as a privileged role. Then run "
            "the command again.",
            sqlstate="42501",
        )


def _owned_by(connection: Connection, role: str) -> list[Owned]:
    rows = connection.execute(
        sql.SQL("SELECT * FROM ({}) AS owned WHERE owner = %s ORDER BY rank, type, identity").format(sql.SQL(OWNED)),
        [role],
    ).fetchall()
    return [Owned(row.owner, row.type, row.identity, row.is_temporary) for row in rows]


def _unchangeable(item: Owned, to: str) -> str:
    """Return why no statement can change its owner; empty if one can."""
    if item.is_temporary:
        return "temporary; it is dropped when its session ends"
    if item.kind == "user mapping":
        return f"its password cannot be read: run CREATE USER MAPPING FOR {to} and drop this one once it is unused"
    return ""


def _change_owner(connection: Connection, item: Owned, to: str) -> str:
    """Change its owner to `to`; return why PostgreSQL refused, or an empty string."""
    keywords = ALTER_KEYWORDS.get(item.kind, item.kind.upper())
    statement = sql.SQL("ALTER {} {} OWNER TO {}").format(
        sql.SQL(keywords), sql.SQL(item.identity), sql.Identifier(to)  # The identity comes quoted from the server.
    )  # fmt: skip
    try:
        retry(partial(connection.execute, statement), backoff(RETRIES, FIRST_PAUSE))
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseError(
            f"{item.identity} is locked by a long transaction. The owners of earlier objects were changed.",
            hint="Find the transaction: SELECT pid, usename, xact_start, query FROM pg_stat_activity ORDER BY "
            "xact_start. Then run the command again.",
            sqlstate="55P03",
        ) from error
    except psycopg.Error as error:
        return _refusal(error)
    return ""


def _refusal(error: psycopg.Error) -> str:
    """Return PostgreSQL's message; raise the error if the session is lost, so that nothing else is tried."""
    if is_connection_lost(error):
        raise error
    return error.diag.message_primary or type(error).__name__


def _transfer_default_privileges(connection: Connection, previous: str, to: str) -> str:
    """Move the default privileges of objects that `previous` creates to `to`.

    Returns:
        Why PostgreSQL refused, or an empty string.
    """
    rows = connection.execute(
        """
        SELECT n.nspname::text AS schema, d.defaclobjtype::text AS kind, entry.is_granted, entry.privilege_type,
               CASE WHEN entry.grantee <> 0 THEN pg_get_userbyid(entry.grantee)::text END AS grantee, entry.is_grantable
        FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
        CROSS JOIN LATERAL (  -- In a schema it adds to the built-in privileges; otherwise it replaces them.
            SELECT CASE WHEN n.oid IS NULL THEN
                acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole)
            END AS acl) AS builtin
        CROSS JOIN LATERAL (
            (SELECT true AS is_granted, grantee, privilege_type, is_grantable FROM aclexplode(d.defaclacl)
             EXCEPT SELECT true, grantee, privilege_type, is_grantable FROM aclexplode(builtin.acl))
            UNION ALL
            (SELECT false, grantee, privilege_type, is_grantable FROM aclexplode(builtin.acl)
             EXCEPT SELECT false, grantee, privilege_type, is_grantable FROM aclexplode(d.defaclacl))) AS entry
        WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = %s)
        """,
        [previous],
    ).fetchall()
    granted = sorted(rows, key=lambda row: bool(row.is_granted))  # Revoke first.
    undone = sorted(rows, key=lambda row: not row.is_granted)
    try:
        with connection.transaction():
            for row in granted:
                connection.execute(_default_privilege(row, to, previous, is_granted=row.is_granted))
            for row in undone:
                connection.execute(_default_privilege(row, previous, previous, is_granted=not row.is_granted))
    except psycopg.Error as error:
        return _refusal(error)
    return ""


def _default_privilege(row: Any, role: str, previous: str, *, is_granted: bool) -> sql.Composed:
    grantee = role if row.grantee == previous else row.grantee
    return sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} {} {} ON {} {} {}{}").format(
        sql.Identifier(role),
        sql.SQL(" IN SCHEMA {}").format(sql.Identifier(row.schema)) if row.schema else sql.SQL(""),
        sql.SQL("GRANT" if is_granted else "REVOKE"),
        sql.SQL(row.privilege_type),
        sql.SQL(DEFAULT_PRIVILEGES[row.kind]),
        sql.SQL("TO" if is_granted else "FROM"),
        sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"),
        sql.SQL(" WITH GRANT OPTION" if is_granted and row.is_grantable else ""),
    )
