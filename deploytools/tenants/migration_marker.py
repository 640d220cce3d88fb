"""The marker, in the comment on a database, that a migration is in progress. SQL only; nothing is executed here.

``django_migrations`` cannot show it: a run that is lost between the last migration and ``post_migrate`` (permissions,
content types) leaves a database that has all migrations but lacks rows.
"""

from __future__ import annotations

from psycopg import sql

#: Appended to the comment while a migration is in progress. Part of the database's format: it must not change.
IN_PROGRESS_SUFFIX = " (deploytools: migration in progress)"


def in_progress_statement(database: str, *, is_in_progress: bool) -> sql.Composed:
    """Return the statement that sets or removes the marker; it does nothing if the role does not own `database`."""
    plain = "CASE WHEN right(comment, length({last})) = {last} THEN left(comment, -length({last})) ELSE comment END"
    text = sql.SQL(plain + " || {last}" if is_in_progress else plain).format(last=sql.Literal(IN_PROGRESS_SUFFIX))
    return comment_statement(database, text)


def comment_statement(database: str, comment: sql.Composed) -> sql.Composed:
    """Return the statement that replaces the comment on `database`, computed from the comment at that moment.

    A migration or a change of owner may have started since the comment was last read. The statement does nothing if
    the role does not have the owner's privileges.

    Args:
        comment: an SQL expression; in it ``comment`` is the present comment and ``row_version`` the row's ``xmin``.
    """
    body = sql.SQL(
        "DECLARE statement text := (SELECT format('COMMENT ON DATABASE %I IS %L', datname, nullif({comment}, '')) "
        "FROM (SELECT datname, xmin::text AS row_version, coalesce(shobj_description(oid, 'pg_database'), '') AS "
        "comment FROM pg_database WHERE datname = {database} AND pg_has_role(datdba, 'USAGE')) AS found); "
        "BEGIN IF statement IS NOT NULL THEN EXECUTE statement; END IF; END"
    ).format(comment=comment, database=sql.Literal(database))
    return sql.SQL("DO {}").format(sql.Literal(body.as_string(None)))
