"""What has to happen on the server: a pure function of the wanted tenants and of the catalogue.

The order of the steps leaves no moment at which PUBLIC may connect to a tenant's open database: create closed,
revoke, mark, hand over, open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploytools.databases.obstacles import (
    FIRST_WITH_GRANT_OPTIONS,
    database_obstacle,
    foreign_role,
    require_able_server,
    require_admin,
    require_inheritance,
    role_obstacle,
    secret_obstacle,
)
from deploytools.databases.state import (
    HALF_MADE_LIMIT,
    ROLE_DEFAULTS,
    DatabaseState,
    RoleState,
    ServerState,
    Wanted,
)
from deploytools.databases.steps import (
    CloneTemplate,
    CompareTables,
    CreateDatabase,
    CreateRole,
    EndHandOver,
    GrantToMaster,
    HandOver,
    HandOverObjects,
    LetFormerRoleStay,
    LetOwnerIn,
    LimitConnections,
    Mark,
    MigrateTables,
    Open,
    RoleStep,
    SetDatabaseDefault,
    SetPassword,
    SetRoleDefaults,
    ShutOutFormerRole,
    ShutOutPublic,
    Step,
    WriteSecret,
)
from deploytools.databases.templates import build_steps, template_owner
from deploytools.databases.tenants import Tenant, milliseconds
from deploytools.errors import DeployError


@dataclass(frozen=True)
class TenantPlan:
    """What one tenant needs.

    Attributes:
        tenant: whose plan it is.
        steps: in order; empty where everything is in place.
        obstacle: why nothing may be done for it, or None.
        remark: what a person should know and the command need not do; empty for most.
    """

    tenant: Tenant
    steps: tuple[Step, ...] = ()
    obstacle: DeployError | None = None
    remark: str = ""


@dataclass(frozen=True)
class DatabasePlan:
    """What the server needs: the shared role's steps first, then those of the template, then each tenant's."""

    role_steps: tuple[RoleStep, ...]
    tenants: tuple[TenantPlan, ...]
    template_steps: tuple[Step, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do (which says nothing of obstacles)."""
        return not self.role_steps and not any(tenant.steps for tenant in self.tenants)

    @property
    def obstacles(self) -> tuple[TenantPlan, ...]:
        """The tenants that something is in the way of."""
        return tuple(tenant for tenant in self.tenants if tenant.obstacle)


def plan_databases(wanted: Wanted, state: ServerState) -> DatabasePlan:
    """The steps from `state` to `wanted`.

    Raises:
        DatabaseError: the master, the shared role or the locale is not what it must be; no tenant can be made.
    """
    require_able_server(wanted, state)
    role_steps: tuple[RoleStep, ...] = ()
    if wanted.is_shared:
        if obstacle := role_obstacle(wanted.app_role, wanted, state):
            raise obstacle
        role_steps = tuple(_role_steps(wanted.app_role, state))
    tenants = tuple(_tenant_plan(tenant, wanted, state) for tenant in wanted.tenants)
    copies = any(isinstance(step, CloneTemplate) for tenant in tenants for step in tenant.steps)
    return DatabasePlan(role_steps, tenants, tuple(build_steps(wanted, state)) if copies else ())


def _role_steps(name: str, state: ServerState) -> Iterator[RoleStep]:
    role = state.roles.get(name)
    if role is None:
        yield CreateRole(name)
        yield GrantToMaster(name)
        yield SetRoleDefaults(name, tuple(ROLE_DEFAULTS.items()))
        return
    if not role.password_works:
        require_admin(role, state, f"set the password of {name}")
        yield SetPassword(name)
    if not role.master_may_set and not state.master.is_superuser:
        require_admin(role, state, f"be granted {name}")
        yield GrantToMaster(name)
    elif _may_inherit_more(role, state):
        yield GrantToMaster(name)
    may_alter = role.master_may_grant or state.master.is_superuser
    if may_alter and (lacking := _lacking_defaults(role)):  # They save queries; nothing depends on them.
        yield SetRoleDefaults(name, lacking)


def _may_inherit_more(role: RoleState, state: ServerState) -> bool:
    """Whether the master may only SET ROLE (``createrole_self_grant = 'set'``), and could have the privileges, too."""
    knows_how = state.version >= FIRST_WITH_GRANT_OPTIONS and role.master_may_grant
    return knows_how and not role.master_inherits and not state.master.is_superuser


def _lacking_defaults(role: RoleState) -> tuple[tuple[str, str], ...]:
    """A setting that somebody gave the role otherwise is theirs, and stays."""
    return tuple((name, value) for name, value in ROLE_DEFAULTS.items() if name not in role.settings)


def _tenant_plan(tenant: Tenant, wanted: Wanted, state: ServerState) -> TenantPlan:
    try:
        return _unhindered_plan(tenant, wanted, state)
    except DeployError as obstacle:
        return TenantPlan(tenant, obstacle=obstacle)


def _unhindered_plan(tenant: Tenant, wanted: Wanted, state: ServerState) -> TenantPlan:
    """Raises what is in the way."""
    database = state.databases.get(tenant.name)
    obstacle = None
    if not wanted.is_shared:
        obstacle = (
            role_obstacle(tenant.name, wanted, state)
            or secret_obstacle(tenant, state)
            or foreign_role(tenant, wanted, state)
        )
    if database is not None:
        obstacle = obstacle or database_obstacle(tenant, database, wanted, state)
    if obstacle:
        raise obstacle
    own = () if wanted.is_shared else tuple(_own_steps(tenant, state))
    if database is None:
        create, made = _creation(tenant, wanted, state)
        return TenantPlan(tenant, (*own, create, *_remaining(tenant, made, wanted, state)))
    steps = (*own, *_remaining(tenant, database, wanted, state))
    return TenantPlan(tenant, steps, remark=transition_remark(tenant, wanted, state))


def _creation(tenant: Tenant, wanted: Wanted, state: ServerState) -> tuple[Step, DatabaseState]:
    """The first step for a database that is not there, and what there is after it."""
    master = state.master.name
    made = DatabaseState(tenant.name, master, allows_connections=False, connection_limit=HALF_MADE_LIMIT)
    if not wanted.template:
        return CreateDatabase(tenant.name, wanted.locale), made
    owner = template_owner(wanted, master)
    return CloneTemplate(tenant.name, wanted.template), replace(made, objects={owner: 0}, is_copy=True)


def _own_steps(tenant: Tenant, state: ServerState) -> Iterator[Step]:
    """The tenant's own secret, then its own role: a role whose password nobody knows would be of no use."""
    need = state.secrets.get(tenant.name)
    if need and need.keys:
        yield WriteSecret(need.secret, tenant.name, need.keys, need.is_new)
    yield from _role_steps(tenant.name, state)


def _remaining(tenant: Tenant, database: DatabaseState, wanted: Wanted, state: ServerState) -> Iterator[Step]:
    """What is left to do for a database that exists, wherever an earlier run was interrupted.

    The mark of one that was open before is its last step, so that an adoption that was interrupted is gone on with.
    """
    name, owner, to = database.name, database.owner, wanted.role_of(tenant)
    former = _former_owners(tenant, database, wanted, state)
    moves = [HandOverObjects(name, role, to, database.objects[role]) for role in former if role in database.objects]
    if moves:
        require_inheritance(to, state)
    if database.public_may_connect:
        yield ShutOutPublic(name, owner)
    if database.is_half_made and not database.is_marked:
        yield Mark(name, owner)
    runs_as_former = wanted.former_role_of(tenant) in former and not wanted.finish
    if runs_as_former and not _may_act_as(wanted.former_role_of(tenant), to, state):
        yield LetFormerRoleStay(to, wanted.former_role_of(tenant))
    is_noted = owner != to and owner in database.objects and not database.is_half_made
    if owner != to:
        yield HandOver(name, owner, to, is_noted)
    if database.is_half_made and not database.allows_connections and (moves or wanted.migrate):
        yield LetOwnerIn(name, to)
    yield from moves
    if not (database.is_half_made or database.is_marked):
        yield Mark(name, to)
    elif is_noted or database.handed_over_from:
        yield EndHandOver(name, to)
    if database.is_half_made and wanted.migrate:
        yield CompareTables(name, to) if database.is_copy else MigrateTables(name, to)
    yield from _option_steps(tenant, database, to)
    if wanted.finish and _may_act_as(wanted.former_role_of(tenant), to, state):
        yield ShutOutFormerRole(to, wanted.former_role_of(tenant))


def _former_owners(tenant: Tenant, database: DatabaseState, wanted: Wanted, state: ServerState) -> tuple[str, ...]:
    """Who owns the database, or something in it, and should not.

    In a database that is being made that is anybody. The master keeps what it needs by itself, and what it has made in
    a tenant that is in place.
    """
    to, master = wanted.role_of(tenant), state.master.name
    concerned = dict.fromkeys([database.owner, wanted.former_role_of(tenant), *database.handed_over_from])
    if database.is_half_made:
        concerned |= dict.fromkeys(database.objects)
    elif not database.is_marked or database.owner == master:
        concerned[master] = None
    owning = [role for role in concerned if role == database.owner or role in database.objects]
    return tuple(role for role in owning if role != to and (role != master or role in database.objects))


def _may_act_as(role: str, other: str, state: ServerState) -> bool:
    return role in state.roles and other in state.roles[role].reaches


def _option_steps(tenant: Tenant, database: DatabaseState, owner: str) -> Iterator[Step]:
    options, name = tenant.options, database.name
    for setting, value in options.database_settings.items():
        if milliseconds(database.settings.get(setting)) != value:
            yield SetDatabaseDefault(name, owner, setting, value)
    if database.connection_limit == HALF_MADE_LIMIT:
        yield Open(name, owner, -1 if options.connection_limit is None else options.connection_limit)
    elif options.connection_limit is not None and options.connection_limit != database.connection_limit:
        yield LimitConnections(name, owner, options.connection_limit)


def transition_remark(tenant: Tenant, wanted: Wanted, state: ServerState) -> str:
    """That the other ISOLATION's owner still has its way in; empty where it has not."""
    former, role = wanted.former_role_of(tenant), wanted.role_of(tenant)
    if wanted.finish or not _may_act_as(former, role, state):
        return ""
    return f"{former} still reaches {tenant.name}: restart what runs as {former}, then create_tenant_dbs --finish"
