"""Looks before and after each step: is the world still as planned, and did the step take effect?"""

from __future__ import annotations

import time

from deploytools.databases.obstacles import FIRST_WITH_GRANT_OPTIONS
from deploytools.databases.reading import read_databases
from deploytools.databases.server import Connection
from deploytools.databases.state import INVALID_LIMIT
from deploytools.databases.steps import (
    CloneTemplate,
    CreateDatabase,
    CreateRole,
    DropTemplate,
    EndHandOver,
    GrantToMaster,
    HandOver,
    HandOverObjects,
    LetOwnerIn,
    LimitConnections,
    Mark,
    Open,
    SealTemplate,
    SetDatabaseDefault,
    ShutOutFormerRole,
    ShutOutPublic,
    Step,
    UnsealTemplate,
)
from deploytools.databases.templates import is_ours, ready_mark
from deploytools.errors import DatabaseError

OWNERS = (
    ShutOutPublic, Mark, HandOver, EndHandOver, SetDatabaseDefault, LimitConnections, SealTemplate, UnsealTemplate,
)  # fmt: skip

#: How often, and with how many seconds between, it is looked whether a template is empty; PostgreSQL waits as long.
LOOKS, PAUSE = 50, 0.1

AGAIN = "Look at the plan again: python manage.py create_tenant_dbs --plan"


def require_as_planned(connection: Connection, step: Step) -> None:
    """Raises DatabaseError where somebody changed what `step` was planned for, since it was planned."""
    if isinstance(step, CreateRole):
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [step.role]).fetchone():
            raise _changed(f"the role {step.role} has come into being")
    elif isinstance(step, CreateDatabase | CloneTemplate):
        _require_absent(connection, step)
    elif isinstance(step, LetOwnerIn | Open):
        _require_owner(connection, step.database, step.owner, is_opened=True)
    elif isinstance(step, OWNERS):
        _require_owner(connection, step.database, step.owner)
        if isinstance(step, SealTemplate):
            _require_nobody_in(connection, step.database)
    elif isinstance(step, HandOverObjects):
        _require_owner(connection, step.database, step.to)
    elif isinstance(step, ShutOutFormerRole):
        _require_unused(connection, step)
    elif isinstance(step, DropTemplate):
        _require_template(connection, step.database)


def _require_absent(connection: Connection, step: CreateDatabase | CloneTemplate) -> None:
    template = step.template if isinstance(step, CloneTemplate) else None
    found = {
        row.datname: row.is_as_closed
        for row in connection.execute(
            """
            SELECT datname, shobj_description(oid, 'pg_database') = replace(%s, '#', xmin::text) AS is_as_closed
            FROM pg_database WHERE datname IN (%s, %s)
            """,
            [ready_mark("#"), step.database, template],
        ).fetchall()
    }
    if step.database in found:
        raise _changed(f"the database {step.database} has come into being")
    if template and not found.get(template):
        raise _changed(f"the template {template} is not as it was closed")


def _require_nobody_in(connection: Connection, template: str) -> None:
    """Who is in it when it is closed can go on changing it. A session that has just ended takes a moment to go."""
    for _ in range(LOOKS):
        found = connection.execute(
            "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE datname = %s AND usename IS NOT NULL", [template]
        ).fetchall()
        if not found:
            return
        time.sleep(PAUSE)
    raise DatabaseError(
        f"{', '.join(row.usename for row in found)} works in the template {template}, which was to be closed.",
        hint="End that session, and run it again: the template is made anew.",
        sqlstate="55006",
    )


def _require_owner(connection: Connection, database: str, owner: str, *, is_opened: bool = False) -> None:
    row = connection.execute(
        """
        SELECT pg_get_userbyid(datdba)::text AS owner, datconnlimit,
               has_database_privilege('public', oid, 'CONNECT, TEMPORARY') AS is_public
        FROM pg_database WHERE datname = %s
        """,
        [database],
    ).fetchone()
    if row is None:
        raise _changed(f"{database} has gone")
    if row.datconnlimit == INVALID_LIMIT:  # ALTER DATABASE would be FATAL to the session.
        raise _changed(f"somebody has begun to drop {database}")
    if row.owner != owner:
        raise _changed(f"{database} belongs to {row.owner}, not to {owner}")
    if is_opened and row.is_public:
        raise _changed(f"PUBLIC may connect to {database}, so that it stays closed")


def _require_unused(connection: Connection, step: ShutOutFormerRole) -> None:
    """What runs as the former role may have come back since the plan; without the role it would fail."""
    row = connection.execute(
        "SELECT count(*) AS sessions FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid "
        "WHERE a.usename = %s AND pg_get_userbyid(d.datdba) = %s",
        [step.former, step.role],
    ).fetchone()
    if row is None or row.sessions:
        raise _changed(f"{step.former} works in a database of {step.role} again; it keeps its way in")


def _require_template(connection: Connection, database: str) -> None:
    found = read_databases(connection, [database]).get(database)
    if found is None:
        raise _changed(f"{database} has gone")
    if not is_ours(found):
        raise _changed(f"{database} is no template of these commands' making any more")


def _changed(what: str) -> DatabaseError:
    return DatabaseError(f"Somebody else changed the server meanwhile: {what}.", hint=AGAIN)


def require_done(connection: Connection, step: Step) -> None:
    """Raises DatabaseError where PostgreSQL said yes and nothing changed."""
    if isinstance(step, ShutOutPublic):
        query = "SELECT has_database_privilege('public', %s, 'CONNECT, TEMPORARY') AS remains"
        if _remains(connection, query, step.database):
            raise DatabaseError(
                f"PUBLIC may still connect to {step.database}: somebody else granted it, too.",
                hint=f"Look at who granted it, in psql: \\l {step.database}",
            )
    elif isinstance(step, GrantToMaster):
        powers = ("USAGE", "SET") if connection.info.server_version >= FIRST_WITH_GRANT_OPTIONS else ("MEMBER",)
        query = "SELECT NOT pg_has_role(%s, %s) AS remains"
        if any(_remains(connection, query, step.role, power) for power in powers):
            raise DatabaseError(
                f"{connection.info.user} was granted {step.role}, and still has not its privileges.",
                hint=f"Look at who granted it, in psql: \\drg {connection.info.user}",
            )
    elif isinstance(step, ShutOutFormerRole):
        query = "SELECT pg_has_role(%s, %s, 'MEMBER') AS remains"
        if _remains(connection, query, step.former, step.role):
            raise DatabaseError(
                f"{step.former} is still a member of {step.role}: somebody else granted it, too.",
                hint=f"Look at who granted it, in psql: \\drg {step.former}",
            )


def _remains(connection: Connection, query: str, *names: str) -> bool:
    row = connection.execute(query.encode(), list(names)).fetchone()
    return row is None or bool(row.remains)
