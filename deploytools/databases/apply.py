"""Carries out a `DatabasePlan`: each step as SQL, with identifiers composed and passwords only as SCRAM verifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch

from psycopg import sql
from psycopg.errors import Diagnostic

from deploytools.databases.catalogue import prove
from deploytools.databases.plan import ENCODING, HALF_MADE_LIMIT, MARK, DatabasePlan, TenantPlan
from deploytools.databases.server import Connection, Login, translating
from deploytools.databases.steps import (
    CreateDatabase,
    CreateRole,
    DatabaseStep,
    GrantToMaster,
    HandOver,
    Mark,
    Open,
    SetPassword,
    ShutOutPublic,
    Step,
)
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError, DeployError

Progress = Callable[[Step], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one tenant.

    Attributes:
        done: the steps that were carried out.
        error: what stopped it, or None: then it has been proved.
    """

    tenant: Tenant
    done: tuple[DatabaseStep, ...] = ()
    error: DeployError | None = None


def apply_plan(connection: Connection, plan: DatabasePlan, app: Login, progress: Progress) -> tuple[Outcome, ...]:
    """Carry out `plan`, then prove each tenant. A tenant that fails does not stop the others.

    Args:
        connection: the master's session, holding the lock.
        app: the application's role, with the password it is to have.
        progress: called with each step once it is done.

    Raises:
        DatabaseError: a step of the role's failed, or the session was lost; tenants after it were not touched.
    """
    for step in plan.role_steps:
        _run(connection, step, app)
        progress(step)
    return tuple(_apply_tenant(connection, tenant_plan, app, progress) for tenant_plan in plan.tenants)


def _apply_tenant(connection: Connection, plan: TenantPlan, app: Login, progress: Progress) -> Outcome:
    if plan.obstacle:
        return Outcome(plan.tenant, error=plan.obstacle)
    done: list[DatabaseStep] = []
    try:
        for step in plan.steps:
            _run(connection, step, app)
            progress(step)
            done.append(step)
        prove(app, plan.tenant.name)
    except DeployError as error:
        if connection.broken:
            raise
        return Outcome(plan.tenant, tuple(done), error)
    return Outcome(plan.tenant, tuple(done))


def _run(connection: Connection, step: Step, app: Login) -> None:
    owner = step.owner if isinstance(step, ShutOutPublic | Mark | HandOver | Open) else None
    with translating(str(step)), _acting_as(connection, owner):
        with _no_idle_revoke(connection):
            connection.execute(statement(step, _verifier(connection, app)))
        if isinstance(step, ShutOutPublic):
            _require_shut(connection, step)


def _verifier(connection: Connection, app: Login) -> Callable[[], str]:
    """The password as PostgreSQL stores it (RFC 5803), made on this side: the server never sees the password."""

    def make() -> str:
        password = app.password.reveal().encode()
        return connection.pgconn.encrypt_password(password, app.user.encode(), b"scram-sha-256").decode()

    return make


@contextmanager
def _acting_as(connection: Connection, owner: str | None) -> Iterator[None]:
    """Act as the owner of a database: from 16 on, a master that does not inherit from it owns nothing of it."""
    if owner is None or owner == connection.info.user:
        yield
        return
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("RESET ROLE")


@contextmanager
def _no_idle_revoke(connection: Connection) -> Iterator[None]:
    """``WARNING: no privileges could be revoked`` (01006) is a failure: PostgreSQL calls it a success (FACTS B2.3)."""
    idle: list[str] = []

    def listen(notice: Diagnostic) -> None:
        if notice.sqlstate == "01006":
            idle.append(notice.message_primary or "no privileges could be revoked")

    connection.add_notice_handler(listen)
    try:
        yield
    finally:
        connection.remove_notice_handler(listen)
    if idle:
        raise DatabaseError(f"PostgreSQL revoked nothing: {idle[0]}.", hint="The master must own the database.")


def _require_shut(connection: Connection, step: ShutOutPublic) -> None:
    row = connection.execute(
        "SELECT has_database_privilege('public', %s, 'CONNECT') AS is_open", [step.database]
    ).fetchone()
    if row is None or row.is_open:
        raise DatabaseError(
            f"PUBLIC may still connect to {step.database}: somebody else granted it, too.",
            hint=f"Look at who granted it, in psql: \\l {step.database}",
        )


@singledispatch
def statement(step: Step, verifier: Callable[[], str]) -> sql.Composed:
    """The SQL of `step`.

    Args:
        verifier: makes the SCRAM verifier of the application's password.
    """
    raise NotImplementedError(type(step))


@statement.register
def _(step: CreateRole, verifier: Callable[[], str]) -> sql.Composed:
    return sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(step.role), sql.Literal(verifier()))


@statement.register
def _(step: SetPassword, verifier: Callable[[], str]) -> sql.Composed:
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(step.role), sql.Literal(verifier()))


@statement.register
def _(step: GrantToMaster, verifier: Callable[[], str]) -> sql.Composed:
    return sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(step.role))


@statement.register
def _(step: CreateDatabase, verifier: Callable[[], str]) -> sql.Composed:
    locale = sql.SQL(" LOCALE {}").format(sql.Literal(step.locale)) if step.locale else sql.SQL("")
    return sql.SQL(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {}{} ALLOW_CONNECTIONS false CONNECTION LIMIT {}"
    ).format(sql.Identifier(step.database), sql.Literal(ENCODING), locale, sql.Literal(HALF_MADE_LIMIT))


@statement.register
def _(step: ShutOutPublic, verifier: Callable[[], str]) -> sql.Composed:
    return sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(step.database))


@statement.register
def _(step: Mark, verifier: Callable[[], str]) -> sql.Composed:
    return sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(step.database), sql.Literal(MARK))


@statement.register
def _(step: HandOver, verifier: Callable[[], str]) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(step.database), sql.Identifier(step.to))


@statement.register
def _(step: Open, verifier: Callable[[], str]) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1").format(
        sql.Identifier(step.database)
    )
