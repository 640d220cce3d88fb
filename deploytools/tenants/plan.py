"""The steps from the state of the server to the desired state: a pure function of both.

The order of the steps leaves no moment at which PUBLIC can connect to a tenant's database: create it with connections
disabled, revoke from PUBLIC, set the comment, change the owner, enable connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploytools.errors import DeployError
from deploytools.tenants.database_operations import (
    AllowConnections,
    AllowOwnerConnections,
    ChangeOwner,
    ClearFormerOwners,
    ClearReassignMarker,
    CloneTemplate,
    CreateDatabase,
    CreateExtension,
    ReassignObjects,
    RevokePublicConnect,
    RunMigrations,
    SetConnectionLimit,
    SetDatabaseParameter,
    SetTenantComment,
    VerifyMigrations,
)
from deploytools.tenants.operations import (
    AssignLogin,
    CreateOwner,
    CreateRole,
    GrantPreviousOwner,
    GrantToMaster,
    Operation,
    RemoveExpiry,
    RevokePreviousOwner,
    SetPassword,
    SetRoleDefaults,
    WriteSecret,
)
from deploytools.tenants.options import DesiredState, Tenant, milliseconds
from deploytools.tenants.preflight import (
    database_error,
    extension_error,
    missing_extensions,
    owner_error,
    require_able_server,
    require_admin,
    require_inheritance,
    secret_error,
    shared_role_error,
)
from deploytools.tenants.state import (
    GRANT_OPTIONS_VERSION,
    INCOMPLETE_LIMIT,
    REASSIGN_MARKER,
    DatabaseState,
    RoleState,
    ServerState,
)
from deploytools.tenants.target import TargetDatabase
from deploytools.tenants.templates import build_steps
from deploytools.wording import count, quote_name


@dataclass(frozen=True)
class TenantPlan:
    """What one tenant needs.

    Attributes:
        error: why nothing can be done for the tenant, or None.
        notes: information that requires no step; none for most tenants.
        transferring: roles whose objects each run transfers, because the application still works with them.
        login: the role in the tenant's own secret that logs in as a member of the tenant's role; empty: that role.
    """

    tenant: Tenant
    steps: tuple[Operation, ...] = ()
    error: DeployError | None = None
    notes: tuple[str, ...] = ()
    transferring: tuple[str, ...] = ()
    login: str = ""


@dataclass(frozen=True)
class DatabasePlan:
    """What the server needs: the steps of the shared role, then those of the template, then those of each tenant."""

    role_steps: tuple[Operation, ...]
    tenants: tuple[TenantPlan, ...]
    template_steps: tuple[Operation, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there are no steps. There might be errors."""
        return not self.role_steps and not any(tenant.steps for tenant in self.tenants)

    @property
    def blocked(self) -> tuple[TenantPlan, ...]:
        return tuple(tenant for tenant in self.tenants if tenant.error)


def plan_databases(desired: DesiredState, state: ServerState) -> DatabasePlan:
    """Return the steps from `state` to `desired`.

    Raises:
        DatabaseError: the master user, the shared role or the locale prevents the creation of any tenant.
    """
    require_able_server(desired, state)
    role_steps: tuple[Operation, ...] = ()
    if desired.is_shared:
        if error := shared_role_error(desired, state):
            raise error
        role_steps = tuple(_owner_steps(desired.app_role, desired.separate_login, desired, state))
    tenants = tuple(_tenant_plan(tenant, desired, state) for tenant in desired.tenants)
    clones = any(CloneTemplate(tenant.tenant.name, desired.template) in tenant.steps for tenant in tenants)
    return DatabasePlan(role_steps, tenants, tuple(build_steps(desired, state)) if clones else ())


def _owner_steps(owner: str, login: str, desired: DesiredState, state: ServerState) -> Iterator[Operation]:
    """Yield the steps of a role that owns databases, then those of the roles that log in as members of it.

    Args:
        login: the one of them that the application uses; empty: the owner itself.
    """
    yield from _role_steps(owner, desired, state, logs_in=not login)
    if login:
        yield from _role_steps(login, desired, state)
    assigned = {found.name: found.can_act and found.sets_role for found in state.logins.get(owner, ())}
    if login:
        assigned.setdefault(login, False)
    for name, is_assigned in assigned.items():
        roles = [state.roles[role] for role in (owner, name) if role in state.roles]
        if is_assigned or (name != login and not all(_can_administer(role, state) for role in roles)):
            continue
        for role in roles:
            require_admin(role, state, f"grant {owner} to {name}")
        yield AssignLogin(owner, name)


def _can_administer(role: RoleState, state: ServerState) -> bool:
    return role.master_has_admin or state.master.is_superuser


def _role_steps(name: str, desired: DesiredState, state: ServerState, *, logs_in: bool = True) -> Iterator[Operation]:
    role = state.roles.get(name)
    if role is None:
        yield CreateRole(name) if logs_in else CreateOwner(name)
        yield GrantToMaster(name)
        yield SetRoleDefaults(name, tuple(desired.role_defaults.items()))
        return
    if logs_in and role.is_expired:
        require_admin(role, state, f"remove the expiry date of {name}")
        yield RemoveExpiry(name)
    if logs_in and not role.password_works:
        require_admin(role, state, f"set the password of {name}")
        yield SetPassword(name)
    if not role.master_can_set_role and not state.master.is_superuser:
        require_admin(role, state, f"grant {name} to itself")
        yield GrantToMaster(name)
    elif _can_inherit_more(role, state):
        yield GrantToMaster(name)
    wanted = desired.role_defaults.items()
    missing = tuple((setting, value) for setting, value in wanted if setting not in role.settings)
    if missing and _can_administer(role, state):  # They save queries; nothing depends on them.
        yield SetRoleDefaults(name, missing)


def _can_inherit_more(role: RoleState, state: ServerState) -> bool:
    """Whether the master user can only SET ROLE (``createrole_self_grant = 'set'``), but could inherit, too."""
    has_options = state.version >= GRANT_OPTIONS_VERSION and role.master_has_admin
    return has_options and not role.master_inherits and not state.master.is_superuser


def _tenant_plan(tenant: Tenant, desired: DesiredState, state: ServerState) -> TenantPlan:
    database = state.databases.get(tenant.name)
    target = TargetDatabase(tenant, database, desired, state) if database else None
    notes = tuple(_notes(target)) if target else ()
    transferring = target.transferring_roles if target else ()
    try:
        if error := _tenant_error(tenant, target, desired, state):
            raise error
        steps = tuple(_tenant_steps(tenant, target, desired, state))
    except DeployError as error:
        return TenantPlan(tenant, error=error, notes=notes)
    return TenantPlan(tenant, steps, notes=notes, transferring=transferring, login=_own_login(tenant, state))


def _tenant_error(
    tenant: Tenant, target: TargetDatabase | None, desired: DesiredState, state: ServerState
) -> DeployError | None:
    own = None if desired.is_shared else _own_role_error(tenant, desired, state)
    other = database_error(target) if target else None
    return own or other or extension_error(tenant, target.database if target else None, state)


def _own_role_error(tenant: Tenant, desired: DesiredState, state: ServerState) -> DeployError | None:
    login = _own_login(tenant, state)
    return owner_error(tenant.name, login, desired, state) or secret_error(tenant, desired, state)


def _own_login(tenant: Tenant, state: ServerState) -> str:
    change = state.secrets.get(tenant.name)
    return change.login if change else ""


def _tenant_steps(
    tenant: Tenant, target: TargetDatabase | None, desired: DesiredState, state: ServerState
) -> Iterator[Operation]:
    if not desired.is_shared:
        change = state.secrets.get(tenant.name)
        if change and change.keys:  # Before the role is created, so that its password is never lost.
            yield WriteSecret(change.secret, tenant.name, change.keys, change.is_new)
        yield from _owner_steps(tenant.name, _own_login(tenant, state), desired, state)
    if target is None:
        create, database = _creation(tenant, desired, state)
        yield create
        target = TargetDatabase(tenant, database, desired, state)
    yield from _remaining(target)


def _creation(tenant: Tenant, desired: DesiredState, state: ServerState) -> tuple[Operation, DatabaseState]:
    master = state.master.name
    created = DatabaseState(tenant.name, master, allows_connections=False, connection_limit=INCOMPLETE_LIMIT)
    if not desired.template:
        return CreateDatabase(tenant.name, desired.locale), created
    owner = desired.template_owner(master)
    copied = dict.fromkeys(desired.template_extensions, "")
    copy = replace(created, objects={owner: 0}, is_copy=True, extensions=copied)
    return CloneTemplate(tenant.name, desired.template), copy


def _remaining(target: TargetDatabase) -> Iterator[Operation]:
    """Yield what is left to do for a database that exists, wherever an earlier run was interrupted.

    An adoption sets the comment last, so that an interrupted adoption is continued.
    """
    database, desired, keeping, owners = target.database, target.desired, target.previous_roles, target.previous_owners
    name, owner, to = database.name, database.owner, target.role
    moves = [ReassignObjects(name, role, to, database.objects[role]) for role in owners if role in database.objects]
    extensions = missing_extensions(target.tenant, database)
    if moves or extensions:
        require_inheritance(to, target.state)
    if database.public_can_connect:
        yield RevokePublicConnect(name, owner)
    if database.is_incomplete and not database.is_managed:
        yield SetTenantComment(name, owner)
    for role in keeping:
        if role in owners and not desired.finish and not target.is_member(role):
            yield GrantPreviousOwner(to, role)
    has_objects = owner in database.objects and not database.is_incomplete
    sets_marker = owner != to and (has_objects or (database.is_unmanaged and owner in keeping))
    if owner != to:
        yield ChangeOwner(name, owner, to, sets_marker)
    if database.is_incomplete and not database.allows_connections and (moves or extensions or desired.migrate):
        yield AllowOwnerConnections(name, to)
    yield from moves
    yield from (CreateExtension(name, extension) for extension in extensions)
    if database.is_unmanaged:
        formers = () if desired.finish else tuple(role for role in keeping if role in database.former_owners)
        yield SetTenantComment(name, to, formers, re.sub(REASSIGN_MARKER, "", database.comment))
    elif sets_marker or database.reassigning_from:
        yield ClearReassignMarker(name, to)
    if database.is_incomplete and desired.migrate:
        yield VerifyMigrations(name, to) if database.is_copy else RunMigrations(name, to)
    yield from _option_steps(target.tenant, database, to)
    if not desired.finish:
        return
    for role in target.previous_members:
        yield RevokePreviousOwner(to, role, name, target.state.logins_of(role)[1:])
    if database.is_managed and database.former_owners:
        yield ClearFormerOwners(name, to)


def _option_steps(tenant: Tenant, database: DatabaseState, owner: str) -> Iterator[Operation]:
    options, name = tenant.options, database.name
    for setting, value in options.database_settings.items():
        if milliseconds(database.settings.get(setting)) != value:
            yield SetDatabaseParameter(name, owner, setting, value)
    if database.connection_limit == INCOMPLETE_LIMIT:
        yield AllowConnections(name, owner, -1 if options.connection_limit is None else options.connection_limit)
    elif options.connection_limit is not None and options.connection_limit != database.connection_limit:
        yield SetConnectionLimit(name, owner, options.connection_limit)


def _notes(target: TargetDatabase) -> Iterator[str]:
    yield from adoption_notes(target) if target.database.is_unmanaged else ()
    yield from transition_notes(target)
    yield from role_notes(target.state.roles.get(target.desired.separate_login or target.role))
    yield from extension_notes(target)


def existing_databases(desired: DesiredState, state: ServerState) -> list[TargetDatabase]:
    """Return the databases of the tenants that exist."""
    return [
        TargetDatabase(tenant, state.databases[tenant.name], desired, state)
        for tenant in desired.tenants
        if tenant.name in state.databases
    ]


def transition_notes(target: TargetDatabase) -> Iterator[str]:
    """Yield a note for each role that still has access until ``--finish``."""
    for role in () if target.desired.finish else target.previous_members:
        yield (
            f"{role} can still connect to {target.tenant.name}. Restart the processes that run as {role}, then run: "
            "python manage.py create_tenant_dbs --finish"
        )


def role_notes(role: RoleState | None) -> Iterator[str]:
    """Yield a note for each limit of the application's login that ends its work one day."""
    if role and role.connection_limit > 0:
        yield f"Role {role.name} has CONNECTION LIMIT {role.connection_limit}, for all its databases together"
    if role and role.valid_until and not role.is_expired:
        yield (
            f"Password of role {role.name} expires at {role.valid_until} UTC. To keep it, run as the master user: "
            f"ALTER ROLE {quote_name(role.name)} VALID UNTIL 'infinity'"
        )


def extension_notes(target: TargetDatabase) -> Iterator[str]:
    """Yield a note for each extension whose version is not the one that the server offers."""
    database = target.database
    for name in target.tenant.options.extensions:
        found, offered = (database.extensions or {}).get(name), target.state.extensions.get(name)
        if found and offered and found != offered.version:
            yield (
                f"Extension {name} in {database.name} has version {found}, the server offers {offered.version}. To "
                f'update it, run in {database.name} as its owner: ALTER EXTENSION "{name}" UPDATE'
            )


def adoption_notes(target: TargetDatabase) -> Iterator[str]:
    """Yield what the adoption of an unmanaged database means for the roles that use it."""
    database, desired, roles = target.database, target.desired, target.state.roles
    name, to = database.name, target.role
    if database.clients:
        sessions = (
            f"{client.role} ({client.application or 'no application_name'}, {count(client.number, 'session')})"
            for client in database.clients
        )
        yield f"Connected to {name}: {', '.join(sessions)}"
    for role in dict.fromkeys([database.owner, *database.reassigning_from]):
        if role in (to, target.master) or (role in roles and roles[role].is_superuser):
            continue
        lost = f"--adopt: {role} loses the ownership of {name} and of its objects in it"
        if role not in target.previous_roles or desired.finish:
            yield f"{lost}, and its access at once"
            continue
        others = f", with access to all databases of {to}" if desired.is_shared else ""
        yield f"{lost}. It keeps access as a member of {to} until --finish{others}"
    if database.public_can_connect:
        affected = dict.fromkeys(client.role for client in database.clients if not client.has_grant)
        concerned = f"{', '.join(affected)} and all other roles" if affected else "Roles"
        yield f"--adopt: {concerned} with CONNECT on {name} only through PUBLIC cannot open new sessions"
