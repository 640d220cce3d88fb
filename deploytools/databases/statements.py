"""The SQL of each step, with identifiers composed and passwords only as SCRAM verifiers."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

from psycopg import sql

from deploytools.databases.server import Connection, Login
from deploytools.databases.state import ENCODING, HALF_MADE_LIMIT, HANDING_OVER, MARK, handing_over_note
from deploytools.databases.steps import (
    CloneTemplate,
    CreateDatabase,
    CreateRole,
    DropTemplate,
    EndHandOver,
    GrantToMaster,
    HandOver,
    LetFormerRoleStay,
    LetOwnerIn,
    LimitConnections,
    Mark,
    Open,
    SealTemplate,
    SetDatabaseDefault,
    SetPassword,
    SetRoleDefaults,
    ShutOutFormerRole,
    ShutOutPublic,
    Step,
    UnsealTemplate,
)
from deploytools.databases.templates import ready_mark
from deploytools.databases.unfinished import SUFFIX, commented

Verifier = Callable[[], str]


def verifier(connection: Connection, login: Login) -> Verifier:
    """The password as PostgreSQL stores it (RFC 5803), made on this side: the server never sees the password."""

    def make() -> str:
        password = login.password.reveal().encode()
        return connection.pgconn.encrypt_password(password, login.user.encode(), b"scram-sha-256").decode()

    return make


def no_verifier() -> str:
    """For steps that need none."""
    raise NotImplementedError("This step sets no password.")


@singledispatch
def statement(step: Step, make_verifier: Verifier = no_verifier) -> sql.Composed:
    """The SQL of `step`.

    Args:
        make_verifier: makes the SCRAM verifier of the role's password.
    """
    raise NotImplementedError(type(step))


def _named(text: str, *names: str, **literals: object) -> sql.Composed:
    """`text` with ``{}`` for identifiers and ``{name}`` for literals."""
    parts = {key: sql.Literal(value) for key, value in literals.items()}
    return sql.SQL(text).format(*map(sql.Identifier, names), **parts)


@statement.register
def _(step: CreateRole, make_verifier: Verifier) -> sql.Composed:
    return _named("CREATE ROLE {} LOGIN PASSWORD {verifier}", step.role, verifier=make_verifier())


@statement.register
def _(step: SetPassword, make_verifier: Verifier) -> sql.Composed:
    return _named("ALTER ROLE {} PASSWORD {verifier}", step.role, verifier=make_verifier())


@statement.register
def _(step: GrantToMaster, make_verifier: Verifier = no_verifier) -> sql.Composed:
    """One text for every version: from 16 on a plain GRANT leaves the options of an earlier one as they are."""
    grant = _named("GRANT {} TO CURRENT_USER", step.role).as_string(None)
    body = _named(
        "BEGIN EXECUTE {grant} || CASE WHEN current_setting('server_version_num')::integer >= 160000 "
        "THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END; END",
        grant=grant,
    )
    return _named("DO {body}", body=body.as_string(None))


@statement.register
def _(step: SetRoleDefaults, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return sql.SQL("; ").join(
        _named("ALTER ROLE {} SET {} TO {value}", step.role, name, value=value) for name, value in step.settings
    )


@statement.register
def _(step: LetFormerRoleStay, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named("GRANT {} TO {}", step.role, step.former)


@statement.register
def _(step: ShutOutFormerRole, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named("REVOKE {} FROM {}", step.role, step.former)


@statement.register
def _(step: CreateDatabase, make_verifier: Verifier = no_verifier) -> sql.Composed:
    locale = _named(" LOCALE {locale}", locale=step.locale) if step.locale else sql.SQL("")
    return (
        _named("CREATE DATABASE {} TEMPLATE template0 ENCODING {encoding}", step.database, encoding=ENCODING)
        + locale
        + _named(" ALLOW_CONNECTIONS false CONNECTION LIMIT {limit}", limit=HALF_MADE_LIMIT)
    )


@statement.register
def _(step: ShutOutPublic, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", step.database)


@statement.register
def _(step: Mark, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named("COMMENT ON DATABASE {} IS {mark}", step.database, mark=MARK)


@statement.register
def _(step: HandOver, make_verifier: Verifier = no_verifier) -> sql.Composed:
    """In one transaction with its note: psycopg sends it as one simple query."""
    hand_over = _named("ALTER DATABASE {} OWNER TO {}", step.database, step.to)
    return _noted(step.database, step.owner) + sql.SQL("; ") + hand_over if step.is_noted else hand_over


def _noted(database: str, former: str) -> sql.Composed:
    """Put the note into the comment, before the one on a migration, which must come last."""
    note = handing_over_note(former)
    text = (
        "CASE WHEN position({note} IN comment) > 0 THEN comment WHEN right(comment, length({last})) = {last} "
        "THEN left(comment, -length({last})) || {note} || {last} ELSE comment || {note} END"
    )
    return commented(database, _named(text, note=note, last=SUFFIX))


@statement.register
def _(step: EndHandOver, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return commented(step.database, _named("regexp_replace(comment, {note}, '', 'g')", note=HANDING_OVER))


@statement.register
def _(step: SetDatabaseDefault, make_verifier: Verifier = no_verifier) -> sql.Composed:
    value = f"{step.milliseconds}ms"
    return _named("ALTER DATABASE {} SET {} TO {value}", step.database, step.setting, value=value)


@statement.register
def _(step: LimitConnections, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named("ALTER DATABASE {} CONNECTION LIMIT {limit}", step.database, limit=step.limit)


@statement.register
def _(step: Open, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named(
        "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true CONNECTION LIMIT {limit}", step.database, limit=step.limit
    )


@statement.register
def _(step: CloneTemplate, make_verifier: Verifier = no_verifier) -> sql.Composed:
    text = "CREATE DATABASE {} TEMPLATE {} ALLOW_CONNECTIONS false CONNECTION LIMIT {limit}"
    return _named(text, step.database, step.template, limit=HALF_MADE_LIMIT)


@statement.register
def _(step: LetOwnerIn, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", step.database)


@statement.register
def _(step: SealTemplate, make_verifier: Verifier = no_verifier) -> sql.Composed:
    """In one transaction: psycopg sends it as one simple query."""
    text = "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true CONNECTION LIMIT -1; "
    mark = _named("replace({mark}, '#', row_version)", mark=ready_mark("#"))
    return _named(text, step.database) + commented(step.database, mark)


@statement.register
def _(step: UnsealTemplate, make_verifier: Verifier = no_verifier) -> sql.Composed:
    text = "ALTER DATABASE {} WITH IS_TEMPLATE false CONNECTION LIMIT {limit}; "
    return _named(text, step.database, limit=HALF_MADE_LIMIT) + _named("COMMENT ON DATABASE {} IS NULL", step.database)


@statement.register
def _(step: DropTemplate, make_verifier: Verifier = no_verifier) -> sql.Composed:
    return _named("DROP DATABASE {}", step.database)
