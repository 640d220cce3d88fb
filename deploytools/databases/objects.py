"""Hands the objects inside one database over, one by one, while the application works in it.

Never REASSIGN OWNED: it also changes the owner of other databases (FACTS B2.13).
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from deploytools.databases.reading import OWNED_CATALOGUES
from deploytools.databases.server import Connection
from deploytools.errors import DatabaseError

#: Milliseconds that one ALTER waits for its lock: what comes after it in the queue waits as long, too.
LOCK_TIMEOUT = 2_000
ATTEMPTS = 5


def hand_over_objects(connection: Connection, former: str, to: str) -> None:
    """Change the owner of everything that `former` owns in the session's database.

    Each object in a statement of its own, so that each lock is held for a moment only.

    Args:
        connection: the master's session in that database; it inherits from `former` and may SET ROLE to `to`.

    Raises:
        DatabaseError: a long transaction holds one of them; the rest has been handed over.
    """
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
    rows = connection.execute(
        """
        SELECT format('ALTER %%s %%s OWNER TO %%I', upper(o.type), o.identity, %(to)s::text) AS statement, o.identity
        FROM pg_shdepend s, pg_identify_object(s.classid, s.objid, s.objsubid) AS o
        WHERE s.deptype = 'o' AND s.refclassid = 'pg_authid'::regclass
          AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = %(former)s)
          AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND s.classid = ANY(%(catalogues)s::regclass[]::oid[])
          AND NOT EXISTS (  -- A serial's sequence goes with its table.
              SELECT FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
              WHERE s.classid = d.classid AND c.oid = s.objid AND c.relkind = 'S'
                AND d.refclassid = d.classid AND d.deptype IN ('a', 'i'))
        ORDER BY s.classid = 'pg_namespace'::regclass DESC,  -- Who gets a table must own its schema by then.
                 s.classid = 'pg_class'::regclass DESC, s.objid
        """,
        {"former": former, "to": to, "catalogues": list(OWNED_CATALOGUES)},
    ).fetchall()
    for row in rows:
        _alter(connection, row.statement.replace("ALTER STATISTICS OBJECT", "ALTER STATISTICS", 1), row.identity)


def _alter(connection: Connection, statement: str, identity: str) -> None:
    for _ in range(ATTEMPTS):
        try:
            connection.execute(statement.encode())
            return
        except psycopg.errors.LockNotAvailable:
            continue
    raise DatabaseError(
        f"{identity} is held by a long transaction; what came before it has been handed over.",
        hint="Find it: SELECT pid, usename, xact_start, query FROM pg_stat_activity ORDER BY xact_start. "
        "Then run it again.",
        sqlstate="55P03",
    )
