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
    plain = "CASE WHEN right(comment, length({last})) = {last} THEN left(comment, -length({last})) ELSE comment END"
    text = sql.SQL(plain + " || {last}" if is_unfinished else plain).format(last=sql.Literal(SUFFIX))
    with connection.cursor() as cursor:
        cursor.execute(commented(database, text))


def commented(database: str, comment: sql.Composed) -> sql.Composed:
    """The statement that writes the comment on `database` anew, as its owner: from what it is at that moment, for a
    migration may have begun meanwhile, or a hand-over; by anybody else nothing is done.

    Args:
        comment: an expression; ``comment`` is the one that is there, ``row_version`` the row's ``xmin``.
    """
    body = sql.SQL(
        "DECLARE statement text := (SELECT format('COMMENT ON DATABASE %I IS %L', datname, nullif({comment}, '')) "
        "FROM (SELECT datname, xmin::text AS row_version, coalesce(shobj_description(oid, 'pg_database'), '') AS "
        "comment FROM pg_database WHERE datname = {database} AND pg_has_role(datdba, 'USAGE')) AS found); "
        "BEGIN IF statement IS NOT NULL THEN EXECUTE statement; END IF; END"
    ).format(comment=comment, database=sql.Literal(database))
    return sql.SQL("DO {}").format(sql.Literal(body.as_string(None)))
