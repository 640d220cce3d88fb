"""The note, in the comment on a database, that a migration has begun there and has not ended.

``django_migrations`` cannot tell: a run that is lost between the last migration and ``post_migrate`` (permissions,
content types) leaves a database that has all migrations and lacks rows.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

#: Put behind whatever the comment says, and taken off again.
SUFFIX = " (deploytools: a migration has not ended)"


def note(connection: BaseDatabaseWrapper, database: str, *, is_unfinished: bool) -> None:
    """Leave the note, or take it off; by a role that does not own `database` nothing is done."""
    comment, is_owner = _read(connection)
    plain = comment.removesuffix(SUFFIX)
    wanted = plain + SUFFIX if is_unfinished else plain
    if is_owner and wanted != comment:
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(
            sql.Identifier(database), sql.Literal(wanted or None)
        )
        with connection.cursor() as cursor:
            cursor.execute(statement)


def _read(connection: BaseDatabaseWrapper) -> tuple[str, bool]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(shobj_description(oid, 'pg_database'), ''), pg_has_role(datdba, 'USAGE') "
            "FROM pg_database WHERE datname = current_database()"
        )
        ((comment, is_owner),) = cursor.fetchall()
    return str(comment), bool(is_owner)
