"""One run on one server: read its state, plan, apply, read again, verify."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, pairwise
from typing import Protocol

import psycopg

from deploytools.errors import DatabaseError, DeployError, Refused
from deploytools.postgres.connections import Connection, session, translate_database_errors
from deploytools.tenants.catalog import (
    read_databases,
    read_extensions,
    read_roles,
    read_slots,
    read_state,
    read_templates,
)
from deploytools.tenants.database_operations import ReassignObjects, VerifyMigrations
from deploytools.tenants.isolation import (
    DATABASE_OWNER,
    ConnectPrivileges,
    assert_login_denied,
    evaluate_object_owners,
    other_tenant_logins,
    read_connect_privileges,
    read_databases_with_foreign_objects,
    read_foreign_owned_objects,
    read_schema_problem,
    read_unusable_objects,
    require_no_violation,
    verify_tenant,
)
from deploytools.tenants.logins import TenantLogins
from deploytools.tenants.migration_history import MigrationGraph
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.plan import DatabasePlan, TenantPlan, existing_databases, plan_databases, transition_notes
from deploytools.tenants.state import DatabaseState, RoleState, SecretChange, ServerState, UnusableObjects
from deploytools.tenants.step_execution import StepExecutor, run_step
from deploytools.tenants.superuser import SuperuserAccount, has_superuser, with_superusers
from deploytools.wording import count

#: Concurrent logins: enough to hide latency. Half of the server's free connection slots stay free.
MAX_WORKERS = 8


@dataclass(frozen=True)
class ProvisioningResult:
    """The result for one tenant.

    Attributes:
        error: why it failed, or None if the tenant was verified.
    """

    tenant: Tenant
    done: tuple[Operation, ...] = ()
    error: DeployError | None = None
    notes: tuple[str, ...] = ()


class ProgressListener(Protocol):
    """Receives progress events, from several threads."""

    def step_done(self, step: Operation) -> None:
        """One step was applied."""

    def tenant_done(self, result: ProvisioningResult) -> None:
        """One tenant was applied and verified, or failed."""


@dataclass(frozen=True)
class TenantProvisioner:
    """Plans, applies and verifies the desired tenants on one server.

    Attributes:
        connection: the master user's session; it holds the lock while steps are applied.
        graph: the code's migrations, if new tenants get their tables, or None.
        account: the superuser that each tenant must have, or None.
    """

    connection: Connection
    logins: TenantLogins
    graph: MigrationGraph | None = None
    account: SuperuserAccount | None = None

    @property
    def desired(self) -> DesiredState:
        return self.logins.desired

    @cached_property
    def executor(self) -> StepExecutor:
        return StepExecutor(self.connection, self.logins, self.graph, self.account)

    @cached_property
    def workers(self) -> int:
        return max(1, min(MAX_WORKERS, read_slots(self.connection).free // 2))

    def plan(self) -> DatabasePlan:
        """Return the steps from the state of the server to the desired state.

        Raises:
            DatabaseError: no tenant can be created, or the catalog could not be read.
        """
        changes, logins = self.logins.read()
        tried = [self.logins.app, *logins.values()] if self.desired.is_shared else list(logins.values())
        state = self._with_unusable_objects(
            read_state(self.connection, self.desired, tried, changes, workers=self.workers)
        )
        plan = plan_databases(self.desired, state)
        account = self.account
        if account is None:
            return plan
        return with_superusers(plan, lambda tenant: has_superuser(self.logins.of_tenant(tenant), tenant.name, account))

    def _with_unusable_objects(self, state: ServerState) -> ServerState:
        """Read what the application cannot use: in managed databases as the application, in others as the master."""
        existing = [(tenant, state.databases.get(tenant.name)) for tenant in self.desired.tenants]
        concerned = [
            (tenant, database)
            for tenant, database in existing
            if database
            and database.allows_connections
            and (database.is_managed or self.desired.adopt)
            and not database.is_incomplete
        ]
        with ThreadPoolExecutor(self.workers) as pool:
            found = {
                database.name: database for database in pool.map(lambda pair: self._with_unusable(*pair), concerned)
            }
        return replace(state, databases={**state.databases, **found})

    def _with_unusable(self, tenant: Tenant, database: DatabaseState) -> DatabaseState:
        try:
            if database.is_managed:
                with self.logins.of_tenant(tenant).connect(tenant.name) as inside:
                    extensions = read_extensions(inside) if tenant.options.extensions else None
                    return replace(database, unusable=read_unusable_objects(inside), extensions=extensions)
            with session(self.logins.master, tenant.name) as inside:
                owners = (DATABASE_OWNER, database.owner, self.logins.master.user)
                problem = read_schema_problem(inside, self.desired.role_of(tenant), owners=owners)
                unusable = UnusableObjects(0, "", (), *problem)
                return replace(database, unusable=unusable, extensions=read_extensions(inside))
        except (DeployError, psycopg.Error):
            return database  # The plan or the verification reports why the role cannot log in.

    def apply(self, plan: DatabasePlan, listener: ProgressListener) -> tuple[ProvisioningResult, ...]:
        """Apply `plan`, read the state again, and verify each tenant by logging in.

        A tenant is verified while the next one is created; a copy of the template before its connections are enabled.
        A failed tenant does not stop the others.

        Raises:
            DatabaseError: a step of the shared role or of the template failed; no tenant was changed.
        """
        for step in (*plan.role_steps, *plan.template_steps):
            self._run_step(step, listener)
        with ThreadPoolExecutor(self.workers) as pool:
            results = tuple(result.result() for result in self._apply_tenants(plan.tenants, listener, pool))
        return verify_all(results, lambda: self._verify_isolation(plan, self._read_back(plan, results)))

    def verify(self) -> tuple[ProvisioningResult, ...]:
        """Verify the tenants without changing anything.

        Raises:
            Refused: the shared role is incomplete.
        """
        plan = self.plan()
        if plan.role_steps:
            raise Refused(
                f"The shared role is incomplete. Remaining step: {plan.role_steps[0]}.",
                hint="Run: python manage.py create_tenant_dbs",
            )
        with ThreadPoolExecutor(self.workers) as pool:
            results = tuple(pool.map(self._verify_planned, plan.tenants))
        return verify_all(results, lambda: self._verify_isolation(plan, results))

    def notes(self, *, with_master: bool = False) -> list[tuple[str, str]]:
        """Return what no step changes but a person should know: which other roles can connect, and old templates.

        Each note comes after the name of its tenant, which is empty for a note on the server.

        Args:
            with_master: whether to count the databases that the master user can access.
        """
        with translate_database_errors("read who can connect"):
            databases = read_databases(self.connection, [tenant.name for tenant in self.desired.tenants])
            state = self._read_former_owners(databases)
        targets = existing_databases(self.desired, state)
        transitions = [(target.tenant.name, note) for target in targets for note in transition_notes(target)]
        unknown = self.connect_privileges().unknown
        others = [
            (target.tenant.name, f"Other roles that can connect to {target.tenant.name}: {', '.join(roles)}")
            for target in targets
            if (roles := [role for role in unknown.get(target.tenant.name, ()) if role not in target.previous_members])
        ]
        templates = self.old_templates() if self.desired.template else ()
        old = [("", f"Template {template.name} is outdated; --prune-templates drops it") for template in templates]
        accessible = sum(database.master_owns for database in databases.values())
        whole = count(len(databases), "tenant database")
        master = [("", f"Master user {self.logins.master.user} can access {accessible} of {whole}")]
        return [*transitions, *others, *old, *(master if with_master else [])]

    def _read_former_owners(self, databases: Mapping[str, DatabaseState]) -> ServerState:
        formers = [role for database in databases.values() for role in database.former_owners]
        roles = read_roles(self.connection, [*self.desired.roles, *formers])
        return ServerState(0, RoleState(self.logins.master.user), roles, databases)

    def connect_privileges(self) -> ConnectPrivileges:
        return read_connect_privileges(self.connection, self.desired)

    def old_templates(self) -> tuple[DatabaseState, ...]:
        found = read_templates(self.connection, [self.desired.app_role, self.logins.master.user])
        return tuple(template for template in found if template.name != self.desired.template)

    def prune(self, steps: tuple[Operation, ...], listener: ProgressListener) -> None:
        """Apply the steps that `templates.drop_steps` returned."""
        for step in steps:
            self._run_step(step, listener)

    # One tenant.

    def _apply_tenants(
        self, plans: tuple[TenantPlan, ...], listener: ProgressListener, pool: ThreadPoolExecutor
    ) -> list[Future[ProvisioningResult]]:
        """Apply the tenants' steps in the one session; start the next tenant while a copy is verified."""
        results: dict[str, Future[ProvisioningResult]] = {}
        nothing: Iterator[None] = iter(())
        runs = (self._apply_tenant(plan, listener, pool, results) for plan in plans)
        for previous, run in pairwise(chain([nothing], runs, [nothing])):
            next(run, None)
            next(previous, None)
        return [results[plan.tenant.name] for plan in plans]

    def _apply_tenant(
        self,
        plan: TenantPlan,
        listener: ProgressListener,
        pool: ThreadPoolExecutor,
        results: dict[str, Future[ProvisioningResult]],
    ) -> Iterator[None]:
        """Apply the tenant's steps, and submit its verification to `pool`; yield while its copy is verified there."""
        done: list[Operation] = []
        error = plan.error
        try:
            if self.connection.broken and plan.steps:
                raise DatabaseError(
                    f"The master user's session was lost before {plan.tenant.name} was started.",
                    hint="Run the command again. Completed steps are kept.",
                )
            for step in plan.steps:
                if isinstance(step, VerifyMigrations):
                    running = pool.submit(self._run_step, step, listener)
                    yield
                    running.result()
                else:
                    self._run_step(step, listener)
                done.append(step)
        except DeployError as failure:
            error = failure
        applied = ProvisioningResult(plan.tenant, tuple(done), error)
        results[plan.tenant.name] = pool.submit(self._finish, plan, applied, listener)

    def _finish(self, plan: TenantPlan, result: ProvisioningResult, listener: ProgressListener) -> ProvisioningResult:
        is_verified = any(isinstance(step, VerifyMigrations) for step in result.done)
        verified = result if is_verified else updated(result, partial(self._verify_tenant, plan))
        listener.tenant_done(verified)
        return verified

    def _run_step(self, step: Operation, listener: ProgressListener) -> None:
        run_step(step, self.executor, self.connection)
        listener.step_done(step)

    # Verification.

    def _verify_tenant(self, plan: TenantPlan) -> None:
        tenant, owner = plan.tenant, self.desired.role_of(plan.tenant)
        verify = partial(verify_tenant, database=tenant.name, owner=owner, transferring=plan.transferring)
        self.logins.run_as_tenant(tenant, verify)

    def _verify_planned(self, plan: TenantPlan) -> ProvisioningResult:
        def verify() -> tuple[str, ...]:
            notes = require_complete(plan)
            self._verify_tenant(plan)
            return notes

        return updated(ProvisioningResult(plan.tenant), verify)

    def _read_back(self, plan: DatabasePlan, results: tuple[ProvisioningResult, ...]) -> tuple[ProvisioningResult, ...]:
        """Plan again: the applied steps must have left nothing to do."""
        desired = replace(self.desired, template="")  # A later change of the template does not concern its copies.
        logins = {planned.tenant.name: SecretChange("", login=planned.login) for planned in plan.tenants}
        state = read_state(self.connection, desired, (), logins)
        verified = {name: replace(role, password_works=True) for name, role in state.roles.items()}
        left = plan_databases(desired, replace(state, roles=verified)).tenants
        return tuple(
            updated(result, partial(require_complete, plan)) for result, plan in zip(results, left, strict=True)
        )

    def _verify_isolation(
        self, plan: DatabasePlan, results: tuple[ProvisioningResult, ...]
    ) -> tuple[ProvisioningResult, ...]:
        """Verify that no tenant can access another tenant's database: in the catalog, and by logins that are denied."""
        privileges = self.connect_privileges()
        mixed = read_databases_with_foreign_objects(self.connection, self.desired)
        succeeded = {result.tenant.name for result in results if not result.error}
        changes, readable = self.logins.read()
        logins = {name: login for name, login in readable.items() if name in succeeded}

        transferring = {planned.tenant.name: planned.transferring for planned in plan.tenants}

        def verify(tenant: Tenant) -> tuple[str, ...]:
            name = tenant.name
            require_no_violation(name, privileges)
            if self.logins.secrets and name not in logins:
                raise changes[name].error or _no_password_error(changes[name])
            for login in other_tenant_logins(name, logins) if self.logins.secrets else ():
                assert_login_denied(login, name)
            return self._evaluate_object_owners(tenant, transferring[name]) if name in mixed else ()

        with ThreadPoolExecutor(self.workers) as pool:
            return tuple(pool.map(lambda result: updated(result, partial(verify, result.tenant)), results))

    def _evaluate_object_owners(self, tenant: Tenant, transferring: tuple[str, ...]) -> tuple[str, ...]:
        read = partial(read_foreign_owned_objects, database=tenant.name, master=self.logins.master.user)
        found = self.logins.run_as_tenant(tenant, read)
        return evaluate_object_owners(found, tenant, self.desired, transferring)


def _no_password_error(change: SecretChange) -> DatabaseError:
    return DatabaseError(
        f"Secret {change.secret} has no password any more, so its login was not tried on other tenants' databases.",
        hint="Find out who removed it (CloudTrail), then run: python manage.py create_tenant_dbs",
    )


def updated(result: ProvisioningResult, verify: Callable[[], tuple[str, ...] | None]) -> ProvisioningResult:
    """Return `result` with the notes or the error of `verify`; a failed result is unchanged."""
    if result.error:
        return result
    try:
        return replace(result, notes=(*result.notes, *(verify() or ())))
    except DeployError as error:
        return replace(result, error=error)


def verify_all(
    results: tuple[ProvisioningResult, ...], verify: Callable[[], tuple[ProvisioningResult, ...]]
) -> tuple[ProvisioningResult, ...]:
    """Return the results of `verify`; if it fails, every tenant stays in the report, marked as not verified."""
    try:
        return verify()
    except DeployError as error:
        return tuple(result if result.error else _not_verified(result, error) for result in results)


def _not_verified(result: ProvisioningResult, error: DeployError) -> ProvisioningResult:
    sentence = f"{result.tenant.name} was not verified: {error}"
    hint = "Verify it: python manage.py create_tenant_dbs --verify"
    return replace(result, error=DatabaseError(sentence, hint=hint))


def require_complete(plan: TenantPlan) -> tuple[str, ...]:
    """Return notes on objects that processes of a previous owner have created since the transfer.

    Raises:
        DeployError: any other step is left.
    """
    if plan.error:
        raise plan.error
    created = [step for step in plan.steps if isinstance(step, ReassignObjects) and step.previous in plan.transferring]
    if len(created) < len(plan.steps):
        raise DatabaseError(
            f"{plan.tenant.name} is incomplete. Remaining step: {plan.steps[0]}.",
            hint="Run: python manage.py create_tenant_dbs",
        )
    return tuple(
        f"{step.previous} has created {count(step.count, 'object')} in {step.database} since the transfer; the next "
        f"run transfers {'it' if step.count == 1 else 'them'} to {step.to}"
        for step in created
    )
