"""What belongs to whom inside one database, and handing it over, object by object, while the application works in it.

``pg_shdepend`` is the server's own list of what a role owns, complete for every kind of object; the server keeps
subscriptions beside it, for they belong to no one database's catalogue. Never REASSIGN OWNED: it also changes the owner
of other databases (FACTS B2.13).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from deploytools.databases.server import Connection, is_lost
from deploytools.errors import DatabaseError

#: Milliseconds that one ALTER waits for its lock: what comes after it in the queue waits as long, too.
LOCK_TIMEOUT = 2_000
ATTEMPTS = 5

#: Kinds that ``pg_identify_object`` calls otherwise than ALTER does.
ALTER_WORDS = {
    "aggregate": "ROUTINE",  # ALTER AGGREGATE wants other arguments than those in its identity.
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "statistics object": "STATISTICS",
}

#: PostgreSQL has no ALTER EXTENSION … OWNER. Whoever may act as the owner, as the master may, can update it.
KEPT = "extension"

#: Made by the master, these stay the master's: only a superuser's kind may own them, and they work for everybody.
MASTERS_OWN = ("event trigger", "foreign-data wrapper")

#: What each row of ``pg_default_acl`` is about.
DEFAULT_PRIVILEGES = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "FUNCTIONS",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}

#: Everything in the session's database that has an owner: who, what kind, which; ``rank`` is the order to move it in.
#: A sequence that belongs to a column goes with its table. Without parameters, so that it can stand inside any query.
OWNED = """
    SELECT pg_get_userbyid(s.owner)::text AS owner, o.type, coalesce(s.name, p.identity, o.identity) AS identity,
           coalesce(o.schema LIKE 'pg\\_temp\\_%%', false) AS is_temporary,
           CASE s.classid WHEN 'pg_namespace'::regclass THEN 0  -- Who gets a table must own its schema by then.
                          WHEN 'pg_class'::regclass THEN 1 ELSE 2 END AS rank
    FROM (SELECT classid, objid, refobjid AS owner, NULL AS name FROM pg_shdepend
          WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass
            AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          UNION ALL  -- Not everybody may read its oid on every version.
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
        kind: as ``pg_identify_object`` calls it, for example ``materialized view``.
        identity: likewise, quoted as SQL wants it.
        is_temporary: some session's own, and gone with it.
    """

    owner: str
    kind: str
    identity: str
    is_temporary: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def hand_over_objects(connection: Connection, former: str, to: str) -> None:
    """Change the owner of everything that `former` owns in the session's database.

    Each object in a statement of its own, so that each lock is held for a moment only. Extensions stay whose they are.

    Args:
        connection: the master's session in that database; it inherits from `former` and may SET ROLE to `to`.

    Raises:
        DatabaseError: a long transaction holds one of them, or some cannot be handed over; the rest has been.
        psycopg.Error: the session was lost.
    """
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
    kept = (KEPT, *(MASTERS_OWN if former == connection.info.user else ()))
    refused: dict[Owned, str] = {}
    for item in _owned_by(connection, former):
        if item.kind == "default acl" or item.kind in kept:
            continue
        if reason := _hindrance(item, to) or _altered(connection, item, to):
            refused[item] = reason
    there = set(_owned_by(connection, former)) if refused else set()  # What was dropped meanwhile is nobody's.
    left = [f"{item} ({reason})" for item, reason in refused.items() if item in there]
    if reason := _move_default_privileges(connection, former, to):
        left.append(f"default privileges ({reason})")
    if left:
        raise DatabaseError(
            f"The rest has been handed over from {former} to {to}, but not: {'; '.join(left)}.",
            hint="Mend what stands in brackets, or hand it over or drop it as somebody who may; then run it again.",
            sqlstate="42501",
        )


def _owned_by(connection: Connection, role: str) -> list[Owned]:
    rows = connection.execute(
        sql.SQL("SELECT * FROM ({}) AS owned WHERE owner = %s ORDER BY rank, type, identity").format(sql.SQL(OWNED)),
        [role],
    ).fetchall()
    return [Owned(row.owner, row.type, row.identity, row.is_temporary) for row in rows]


def _hindrance(item: Owned, to: str) -> str:
    """Why no statement can move it; empty where one may."""
    if item.is_temporary:
        return "a session's temporary one, gone when that ends"
    if item.kind == "user mapping":
        return f"its password cannot be read: CREATE USER MAPPING FOR {to}, and drop this one when it is not needed"
    return ""


def _altered(connection: Connection, item: Owned, to: str) -> str:
    """Give it to `to`; returns why PostgreSQL refused, or nothing."""
    words = ALTER_WORDS.get(item.kind, item.kind.upper())
    statement = sql.SQL("ALTER {} {} OWNER TO {}").format(
        sql.SQL(words), sql.SQL(item.identity), sql.Identifier(to)  # The identity comes quoted from the server.
    )  # fmt: skip
    for _ in range(ATTEMPTS):
        try:
            connection.execute(statement)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            continue
        except psycopg.Error as error:
            return _refusal(error)
        return ""
    raise DatabaseError(
        f"{item.identity} is held by a long transaction; what came before it has been handed over.",
        hint="Find it: SELECT pid, usename, xact_start, query FROM pg_stat_activity ORDER BY xact_start. "
        "Then run it again.",
        sqlstate="55P03",
    )


def _refusal(error: psycopg.Error) -> str:
    """PostgreSQL's own sentence; the error itself where the session is lost, so that nothing more can be tried."""
    if is_lost(error):
        raise error
    return error.diag.message_primary or type(error).__name__


def _move_default_privileges(connection: Connection, former: str, to: str) -> str:
    """What ALTER DEFAULT PRIVILEGES says of objects that `former` makes holds for those of `to` from now on; returns
    why PostgreSQL refused, or nothing.
    """
    rows = connection.execute(
        """
        SELECT n.nspname::text AS schema, d.defaclobjtype::text AS kind, entry.is_granted, entry.privilege_type,
               CASE WHEN entry.grantee <> 0 THEN pg_get_userbyid(entry.grantee)::text END AS grantee, entry.is_grantable
        FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
        CROSS JOIN LATERAL (  -- Within a schema it adds to what holds anyway, else it stands in its place.
            SELECT CASE WHEN n.oid IS NULL THEN
                acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole)
            END AS acl) AS usual
        CROSS JOIN LATERAL (
            (SELECT true AS is_granted, grantee, privilege_type, is_grantable FROM aclexplode(d.defaclacl)
             EXCEPT SELECT true, grantee, privilege_type, is_grantable FROM aclexplode(usual.acl))
            UNION ALL
            (SELECT false, grantee, privilege_type, is_grantable FROM aclexplode(usual.acl)
             EXCEPT SELECT false, grantee, privilege_type, is_grantable FROM aclexplode(d.defaclacl))) AS entry
        WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = %s)
        """,
        [former],
    ).fetchall()
    given = sorted(rows, key=lambda row: bool(row.is_granted))  # First what is taken away.
    undone = sorted(rows, key=lambda row: not row.is_granted)
    try:
        with connection.transaction():
            for row in given:
                connection.execute(_default_privilege(row, to, former, is_granted=row.is_granted))
            for row in undone:
                connection.execute(_default_privilege(row, former, former, is_granted=not row.is_granted))
    except psycopg.Error as error:
        return _refusal(error)
    return ""


def _default_privilege(row: Any, role: str, former: str, *, is_granted: bool) -> sql.Composed:
    grantee = role if row.grantee == former else row.grantee
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
