"""Carries out a `DatabasePlan`, step by step; each step looks first whether the world is still as planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, get_args

from psycopg import sql
from psycopg.errors import Diagnostic

from deploytools.databases.objects import hand_over_objects
from deploytools.databases.plan import DatabasePlan, TenantPlan
from deploytools.databases.recheck import require_as_planned, require_done
from deploytools.databases.server import Connection, Login, session, translating
from deploytools.databases.statements import no_verifier, statement, verifier
from deploytools.databases.steps import (
    CreateRole,
    HandOverObjects,
    OwnerStep,
    SetPassword,
    Step,
    TablesStep,
    WriteSecret,
)
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError, DeployError


@dataclass(frozen=True)
class Outcome:
    """What became of one tenant.

    Attributes:
        done: the steps that were carried out.
        error: what stopped it, or None: then it has been proved.
        remarks: what the proof showed that a person should know.
    """

    tenant: Tenant
    done: tuple[Step, ...] = ()
    error: DeployError | None = None
    remarks: tuple[str, ...] = ()


class Watcher(Protocol):
    """Who is told how far it is."""

    def step_done(self, step: Step) -> None:
        """One step was carried out."""

    def tenant_done(self, outcome: Outcome) -> None:
        """One tenant is through, proved or not."""


@dataclass(frozen=True)
class Work:
    """What steps are carried out with.

    Attributes:
        connection: the master's session, holding the lock.
        master: to work inside a tenant's database.
        read_login: a role with the password in its secret, as it is at this moment.
        write_secret: writes a tenant's own secret.
        bring_tables: migrates, or compares, the tables of a database that is being made.
        prove: shows that a tenant works and is shut, or raises.
        workers: proofs at the same time.
    """

    connection: Connection
    master: Login
    read_login: Callable[[str], Login]
    write_secret: Callable[[WriteSecret], object]
    bring_tables: Callable[[TablesStep], None]
    prove: Callable[[Tenant], None]
    workers: int = 1


def apply_plan(work: Work, plan: DatabasePlan, watcher: Watcher) -> tuple[Outcome, ...]:
    """Carry out `plan` and prove each tenant, while the next is made. A tenant that fails does not stop the others.

    Raises:
        DatabaseError: a step of the shared role's or of the template's failed; no tenant was touched.
    """
    for step in (*plan.role_steps, *plan.template_steps):
        run_step(work, step)
        watcher.step_done(step)
    with ThreadPoolExecutor(work.workers) as pool:
        proofs = [_begin(work, tenant, watcher, pool) for tenant in plan.tenants]
        return tuple(proof.result() for proof in proofs)


def _begin(work: Work, plan: TenantPlan, watcher: Watcher, pool: ThreadPoolExecutor) -> Future[Outcome]:
    outcome = _apply_tenant(work, plan, watcher)

    def end() -> Outcome:
        proved = outcome if outcome.error else _proved(work, outcome)
        watcher.tenant_done(proved)
        return proved

    return pool.submit(end)


def _proved(work: Work, outcome: Outcome) -> Outcome:
    try:
        work.prove(outcome.tenant)
    except DeployError as error:
        return replace(outcome, error=error)
    return outcome


def _apply_tenant(work: Work, plan: TenantPlan, watcher: Watcher) -> Outcome:
    if plan.obstacle:
        return Outcome(plan.tenant, error=plan.obstacle)
    if work.connection.broken and plan.steps:
        return Outcome(plan.tenant, error=_lost(plan.tenant))
    done: list[Step] = []
    try:
        for step in plan.steps:
            run_step(work, step)
            watcher.step_done(step)
            done.append(step)
    except DeployError as error:
        return Outcome(plan.tenant, tuple(done), error)
    return Outcome(plan.tenant, tuple(done))


def _lost(tenant: Tenant) -> DatabaseError:
    return DatabaseError(
        f"The master's session was lost before {tenant.name} was begun.",
        hint="Run it again: what was done stays, the rest is left.",
    )


def run_step(work: Work, step: Step) -> None:
    """Carry out one step.

    Raises:
        DeployError: it failed, the world is not as it was planned for, or it did nothing.
    """
    if isinstance(step, WriteSecret):
        work.write_secret(step)
        return
    if isinstance(step, get_args(TablesStep)):
        work.bring_tables(step)
        return
    with translating(str(step)):
        require_as_planned(work.connection, step)
        if isinstance(step, HandOverObjects):
            with session(work.master, step.database) as inside:
                hand_over_objects(inside, step.former, step.to)
        else:
            _execute(work, step)
        require_done(work.connection, step)


def _execute(work: Work, step: Step) -> None:
    make_verifier = no_verifier
    if isinstance(step, CreateRole | SetPassword):
        make_verifier = verifier(work.connection, work.read_login(step.role))
    owner = step.owner if isinstance(step, get_args(OwnerStep)) else None
    with _acting_as(work.connection, owner), _no_idle_revoke(work.connection):
        work.connection.execute(statement(step, make_verifier))


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
