"""One run on one server: look, plan, apply, read back, prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from deploytools.databases.apply import Outcome, Watcher, Work, apply_plan, run_step
from deploytools.databases.catalogue import slots_of
from deploytools.databases.history import MigrationGraph
from deploytools.databases.outcomes import judged, or_unproved, require_nothing_left, unreadable
from deploytools.databases.plan import DatabasePlan, TenantPlan, plan_databases, transition_remark
from deploytools.databases.proof import (
    Reach,
    judge_owned,
    prove,
    read_foreigners,
    read_mixed,
    read_reach,
    require_no_breach,
    require_refused,
    strangers_of,
)
from deploytools.databases.reading import read_databases, read_roles, read_state
from deploytools.databases.server import Connection, Login, translating
from deploytools.databases.state import DatabaseState, RoleState, SecretNeed, ServerState, Wanted
from deploytools.databases.steps import MakeSuperuser, Step, TablesStep, WriteSecret
from deploytools.databases.superuser import Account, has_superuser, make_superuser, with_superusers
from deploytools.databases.tables import bring_tables, read_templates
from deploytools.databases.tenant_secrets import TenantSecrets, settled
from deploytools.databases.tenants import Tenant
from deploytools.errors import ConnectionFailed, ConnectionFailure, DeployError, Refused
from deploytools.secret.store import SecretStore
from deploytools.secret.value import Secret

Result = TypeVar("Result")

#: Logins at the same time: enough to hide latency; half of the server's free slots stay free.
MOST_WORKERS = 8


@dataclass(frozen=True)
class Tenancy:
    """The wanted tenants on one server.

    Attributes:
        connection: the master's session.
        master: who that is.
        app: the shared role, with the password in the shared secret.
        secrets: the tenants' own, or None where they share the role.
        graph: the code's migrations, where new tenants get their tables, or None.
        account: who is to be a superuser in each tenant, or None.
        shared_secret: to look at again before a password is set, or None.
    """

    connection: Connection
    master: Login
    app: Login
    wanted: Wanted
    secrets: TenantSecrets | None = None
    shared_secret: SecretStore | None = None
    graph: MigrationGraph | None = None
    account: Account | None = None

    @property
    def workers(self) -> int:
        """How many logins at the same time."""
        return max(1, min(MOST_WORKERS, slots_of(self.connection).free // 2))

    def plan(self) -> DatabasePlan:
        """What is to be done."""
        needs, logins = self._read_secrets()
        tried = [self.app, *logins.values()] if self.wanted.is_shared else list(logins.values())
        state = read_state(self.connection, self.wanted, tried, needs, workers=self.workers)
        plan = plan_databases(self.wanted, state)
        account = self.account
        if account is None:
            return plan
        return with_superusers(plan, lambda tenant: has_superuser(self._login(tenant), tenant.name, account))

    def apply(self, plan: DatabasePlan, watcher: Watcher) -> tuple[Outcome, ...]:
        """Do it, read back, and prove it by logging in.

        Raises:
            DatabaseError: a step of the shared role's failed; no tenant was touched.
        """
        outcomes = apply_plan(self._work(), plan, watcher)
        return or_unproved(outcomes, lambda: self._proved_apart(self._read_back(outcomes)))

    def _work(self) -> Work:
        return Work(
            connection=self.connection,
            master=self.master,
            read_login=self._read_login,
            write_secret=self._write_secret,
            bring_tables=self._bring_tables,
            prove=self._prove,
            workers=self.workers,
        )

    def verify(self) -> tuple[Outcome, ...]:
        """The proof alone; changes nothing.

        Raises:
            Refused: the shared role is not as it must be.
        """
        plan = self.plan()
        if plan.role_steps:
            raise Refused(
                f"The shared role is not as it must be; left to do: {plan.role_steps[0]}.",
                hint="Run: python manage.py create_tenant_dbs",
            )
        with ThreadPoolExecutor(self.workers) as pool:
            outcomes = tuple(pool.map(self._verified, plan.tenants))
        return or_unproved(outcomes, lambda: self._proved_apart(outcomes))

    def _verified(self, plan: TenantPlan) -> Outcome:
        try:
            require_nothing_left(plan)
            self._prove(plan.tenant)
        except DeployError as error:
            return Outcome(plan.tenant, error=error)
        return Outcome(plan.tenant)

    # Secrets and logins.

    def _read_secrets(self) -> tuple[Mapping[str, SecretNeed], Mapping[str, Login]]:
        return self.secrets.read(self.wanted.tenants) if self.secrets else ({}, {})

    def _login(self, tenant: Tenant) -> Login:
        """Who works in the tenant's database."""
        return self.secrets.login(tenant.name) if self.secrets else self.app

    def _read_login(self, role: str) -> Login:
        """`role` with the password in its secret as it is now: a rotation may have changed it since the plan."""
        if self.secrets:
            return self.secrets.settled_login(role)
        if self.shared_secret is None:
            return self.app
        return replace(self.app, password=Secret(str(settled(self.shared_secret)["password"].reveal())))

    def _write_secret(self, step: WriteSecret) -> object:
        return self.secrets.write(step) if self.secrets else None

    def _bring_tables(self, step: TablesStep) -> None:
        """As who owns what is in the database: the tenant's role, or who makes the template."""
        owners = {tenant.name: tenant for tenant in self.wanted.tenants}
        if step.database in owners:
            login = self._login(owners[step.database])
        else:
            login = self.app if self.wanted.is_shared else self.master
        if not isinstance(step, MakeSuperuser):
            bring_tables(login, step, self.graph or MigrationGraph({}))
        elif self.account:
            make_superuser(login, step.database, self.account)

    # Proof.

    def _prove(self, tenant: Tenant) -> None:
        self._as_tenant(tenant, lambda login: prove(login, tenant.name))

    def _as_tenant(self, tenant: Tenant, deed: Callable[[Login], Result]) -> Result:
        """`deed` as who works in the tenant's database; where the password is refused, once more with the secret's."""
        login = self._login(tenant)
        try:
            return deed(login)
        except ConnectionFailed as refusal:
            if refusal.kind is not ConnectionFailure.PASSWORD:
                raise
            renewed = self._read_login(login.user)
            if renewed == login:
                raise
            return deed(renewed)

    def _read_back(self, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """Look again: what was done must have left nothing to do."""
        wanted = replace(self.wanted, template="")  # What has become of it since is nothing to tenants that are made.
        state = read_state(self.connection, wanted, ())
        proved = {name: replace(role, password_works=True) for name, role in state.roles.items()}
        left = plan_databases(wanted, replace(state, roles=proved)).tenants
        return tuple(
            outcome if outcome.error else judged(outcome, partial(require_nothing_left, plan))
            for outcome, plan in zip(outcomes, left, strict=True)
        )

    def _proved_apart(self, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """Every tenant's database turns the others away and holds nothing of theirs: by the catalogue, and by logins
        that are refused.
        """
        reach, mixed = self.reach(), read_mixed(self.connection, self.wanted)
        sound = {outcome.tenant.name for outcome in outcomes if not outcome.error}
        needs, readable = self._read_secrets()
        logins = {name: login for name, login in readable.items() if name in sound}

        def apart(tenant: Tenant) -> tuple[str, ...]:
            name = tenant.name
            require_no_breach(name, reach)
            if self.secrets and name not in logins:
                raise needs[name].obstacle or unreadable(needs[name])
            for stranger in strangers_of(name, logins) if self.secrets else ():
                require_refused(stranger, name)
            return self._judge_foreigners(tenant) if name in mixed else ()

        with ThreadPoolExecutor(self.workers) as pool:
            return tuple(pool.map(lambda o: o if o.error else judged(o, partial(apart, o.tenant)), outcomes))

    def _judge_foreigners(self, tenant: Tenant) -> tuple[str, ...]:
        found = self._as_tenant(tenant, lambda login: read_foreigners(login, tenant.name, self.master.user))
        return judge_owned(found, tenant, self.wanted)

    def reach(self) -> Reach:
        """Who may connect to the tenants' databases."""
        return read_reach(self.connection, self.wanted)

    def remarks(self) -> list[str]:
        """What a person should know and no step mends: who else gets in."""
        with translating("show who may connect"):
            known = read_databases(self.connection, [tenant.name for tenant in self.wanted.tenants])
            roles = read_roles(self.connection, list(self.wanted.roles))
        state = ServerState(0, RoleState(self.master.user), roles=roles)
        transitions = [transition_remark(t, self.wanted, state) for t in self.wanted.tenants if t.name in known]
        others = [f"{', '.join(roles)} may connect to {name}, too" for name, roles in self.reach().others.items()]
        owned = sum(database.master_owns for database in known.values())
        master = f"the master {self.master.user} may act as the owner of {owned} of {len(known)} databases"
        return [*filter(None, transitions), *others, *self._template_remarks(), master]

    def old_templates(self) -> tuple[DatabaseState, ...]:
        """The templates that new tenants are not copied from any more."""
        found = read_templates(self.connection, [self.wanted.app_role, self.master.user])
        return tuple(template for template in found if template.name != self.wanted.template)

    def prune(self, steps: tuple[Step, ...], watcher: Watcher) -> None:
        """Carry out what `drop_steps` planned."""
        for step in steps:
            run_step(self._work(), step)
            watcher.step_done(step)

    def _template_remarks(self) -> list[str]:
        if not self.wanted.migrate:
            return []
        return [f"{old.name} is an old template; --prune-templates drops it" for old in self.old_templates()]
