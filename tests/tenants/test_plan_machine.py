"""Any catalog + plan + apply = the desired state, in a small model of PostgreSQL, with a kill after any step."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploytools.errors import DeployError
from deploytools.tenants.database_operations import (
    AllowConnections,
    AllowOwnerConnections,
    ChangeOwner,
    ClearFormerOwners,
    ClearReassignMarker,
    CloneTemplate,
    CreateDatabase,
    DropTemplate,
    FinalizeTemplate,
    OwnerOperation,
    ReassignObjects,
    RevokePublicConnect,
    RunMigrations,
    SetConnectionLimit,
    SetDatabaseParameter,
    SetTenantComment,
    UnmarkTemplate,
    VerifyMigrations,
)
from deploytools.tenants.operations import (
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
from deploytools.tenants.options import DesiredState, Tenant, TenantOptions
from deploytools.tenants.plan import DatabasePlan, plan_databases
from deploytools.tenants.state import (
    FORMER_OWNER_MARKER,
    INCOMPLETE_LIMIT,
    INVALID_LIMIT,
    REASSIGN_MARKER,
    TEMPLATE_COMMENT,
    TEMPLATE_PREFIX,
    TENANT_COMMENT,
    Client,
    DatabaseState,
    RoleState,
    SecretChange,
    ServerState,
    former_owner_marker,
    reassign_marker,
    template_comment,
)

MASTER = RoleState("postgres", can_create_databases=True, can_create_roles=True)
NAMES = ("one", "two")
TEMPLATE = TEMPLATE_PREFIX + "0"
ROLE_DEFAULTS = DesiredState("app", ()).role_defaults
DatabaseStep = OwnerOperation | CreateDatabase | CloneTemplate | ReassignObjects | RunMigrations | VerifyMigrations


def apply_step(state: ServerState, step: Operation) -> ServerState:
    """Return the state after one step; assert what PostgreSQL or Secrets Manager would refuse."""
    if isinstance(step, WriteSecret):
        return replace(state, secrets={**state.secrets, step.tenant: SecretChange(step.secret)})
    if isinstance(step, CreateRole | GrantToMaster | RemoveExpiry | SetPassword | SetRoleDefaults):
        return replace(state, roles={**state.roles, step.role: _role(state, step)})
    if isinstance(step, GrantPreviousOwner | RevokePreviousOwner):
        previous, role = state.roles[step.previous], state.roles[step.role]
        assert step.previous not in role.memberships, "0LP01: circular membership"
        memberships = previous.memberships | {step.role}
        if isinstance(step, RevokePreviousOwner):
            memberships = previous.memberships - {step.role}
        return replace(state, roles={**state.roles, step.previous: replace(previous, memberships=memberships)})
    if isinstance(step, DropTemplate):
        left = dict(state.databases)
        dropped = left.pop(step.database)
        assert dropped.is_own_template
        assert not dropped.comment.startswith(TEMPLATE_COMMENT), "only --prune-templates drops it"
        assert not dropped.is_template, "55006: a template cannot be dropped"
        return replace(state, databases=left)
    assert isinstance(step, DatabaseStep)
    return replace(state, databases={**state.databases, step.database: _database(state, step)})


def _role(
    state: ServerState, step: CreateRole | GrantToMaster | RemoveExpiry | SetPassword | SetRoleDefaults
) -> RoleState:
    if isinstance(step, CreateRole):
        assert step.role not in state.roles
        return RoleState(step.role, password_works=True, master_has_admin=True, master_inherits=False)
    role = state.roles[step.role]
    assert role.master_has_admin
    if isinstance(step, GrantToMaster):
        return replace(role, master_can_set_role=True, master_inherits=True)
    if isinstance(step, RemoveExpiry):
        return replace(role, is_expired=False)
    if isinstance(step, SetPassword):
        return replace(role, password_works=True)
    return replace(role, settings={**role.settings, **dict(step.settings)})


def _database(state: ServerState, step: DatabaseStep) -> DatabaseState:
    if isinstance(step, CreateDatabase):
        assert step.database not in state.databases
        return DatabaseState(step.database, "postgres", allows_connections=False, connection_limit=INCOMPLETE_LIMIT)
    if isinstance(step, CloneTemplate):
        assert step.database not in state.databases
        made = DatabaseState(step.database, "postgres", allows_connections=False, connection_limit=INCOMPLETE_LIMIT)
        template = state.databases[step.template]
        assert template.is_complete_template, "tenants are copied only from complete templates"
        return replace(made, objects={template.owner: 57})
    database = state.databases[step.database]
    assert database.connection_limit != INVALID_LIMIT, "FATAL: the session would end"
    if isinstance(step, ChangeOwner):
        assert step.owner == database.owner
        assert step.owner == "postgres" or database.master_owns
        assert state.roles[step.to].master_can_set_role
        comment = database.comment + reassign_marker(step.owner) * step.sets_marker
        return replace(database, owner=step.to, master_owns=True, comment=comment)
    if isinstance(step, ReassignObjects):
        assert database.allows_connections or database.connection_limit != INCOMPLETE_LIMIT, "connections are disabled"
        objects = dict(database.objects)
        objects[step.to] = objects.get(step.to, 0) + objects.pop(step.previous)
        assert state.roles[step.to].master_inherits, "42501: the master lacks CONNECT"
        assert database.owner == step.to, "42501: the new owner of a table must be able to create one"
        return replace(database, objects=objects)
    assert isinstance(step, OwnerOperation | RunMigrations | VerifyMigrations)
    assert step.owner == database.owner
    if isinstance(step, RunMigrations | VerifyMigrations):
        assert database.allows_connections, "connections are disabled"
        return database
    if isinstance(step, FinalizeTemplate):
        sealed = replace(database, allows_connections=False, is_template=True)
        return replace(sealed, connection_limit=-1, comment=template_comment(sealed.row_version))
    if isinstance(step, UnmarkTemplate):
        return replace(database, is_template=False, connection_limit=INCOMPLETE_LIMIT, comment="")
    if isinstance(step, AllowOwnerConnections):
        assert not database.public_can_connect
        return replace(database, allows_connections=True)
    if isinstance(step, RevokePublicConnect):
        return replace(database, public_can_connect=False)
    if isinstance(step, SetTenantComment):
        formers = "".join(map(former_owner_marker, step.former_owners))
        return replace(database, comment=TENANT_COMMENT + formers + step.text)
    if isinstance(step, ClearFormerOwners):
        return replace(database, comment=re.sub(FORMER_OWNER_MARKER, "", database.comment))
    if isinstance(step, ClearReassignMarker):
        return replace(database, comment=re.sub(REASSIGN_MARKER, "", database.comment))
    if isinstance(step, SetDatabaseParameter):
        return replace(database, settings={**database.settings, step.setting: f"{step.milliseconds}ms"})
    if isinstance(step, SetConnectionLimit):
        return replace(database, connection_limit=step.limit)
    assert isinstance(step, AllowConnections)
    return replace(database, allows_connections=True, connection_limit=step.limit)


def with_marker(previous: str) -> str:
    return TENANT_COMMENT + reassign_marker(previous)


@st.composite
def servers(draw: st.DrawFn) -> ServerState:
    """Two tenants' databases and the roles "app", "one" and "two", in any state."""
    roles: dict[str, RoleState] = {}
    for name in ("app", *NAMES, "else"):
        if draw(st.booleans()):
            others = st.sampled_from(["one", "two", "app", "rds_iam", "friends"])
            members = {other for other, role in roles.items() if name in role.memberships}  # PostgreSQL has no circles.
            roles[name] = RoleState(
                name,
                can_login=draw(st.integers(0, 9)) > 0,
                memberships=draw(st.frozensets(others, max_size=1)) - {name} - members,
                inherits=draw(st.integers(0, 9)) > 0,
                settings=draw(st.sampled_from([{}, ROLE_DEFAULTS, {"timezone": "Europe/Berlin"}])),
                is_expired=draw(st.integers(0, 9)) == 0,
                password_works=draw(st.booleans()),
                master_can_set_role=draw(st.booleans()),
                master_has_admin=draw(st.integers(0, 9)) > 0,
                master_inherits=draw(st.integers(0, 9)) > 0,
            )
    owners = st.sampled_from(["postgres", "else", *roles])
    databases = {
        name: DatabaseState(
            name,
            owner=draw(owners),
            allows_connections=draw(st.booleans()),
            connection_limit=draw(st.sampled_from([-1, INCOMPLETE_LIMIT, INCOMPLETE_LIMIT, INVALID_LIMIT, 10])),
            is_template=draw(st.integers(0, 9)) == 0,
            public_can_connect=draw(st.booleans()),
            comment=draw(
                st.sampled_from(
                    [
                        "",
                        TENANT_COMMENT,
                        TENANT_COMMENT,
                        *map(with_marker, ['e"l"se', "postgres"]),
                        TENANT_COMMENT + former_owner_marker("else"),
                        "other comment",
                    ]
                )
            ),
            objects=draw(st.dictionaries(owners, st.integers(1, 60), max_size=2)),
            clients=tuple(draw(st.lists(st.builds(Client, owners, number=st.integers(1, 3)), max_size=1))),
            master_owns=draw(st.booleans()),
            master_objects_are_copies=draw(st.booleans()),
        )
        for name in NAMES
        if draw(st.booleans())
    }
    needs = {name: SecretChange(f"s/{name}", ("password",) if draw(st.booleans()) else ()) for name in NAMES}
    return ServerState(160004, MASTER, roles, databases, needs)


templates = st.none() | st.builds(
    DatabaseState,
    name=st.just(TEMPLATE),
    owner=st.sampled_from(["postgres", "app"]),
    allows_connections=st.booleans(),
    connection_limit=st.sampled_from([-1, INCOMPLETE_LIMIT]),
    is_template=st.booleans(),
    comment=st.sampled_from(["", template_comment("1"), template_comment("1"), template_comment("0"), "other comment"]),
    row_version=st.just("1"),
)

wishes = st.builds(
    DesiredState,
    app_role=st.just("app"),
    tenants=st.just((Tenant("one"), Tenant("two", TenantOptions(20, 30_000)))),
    adopt=st.booleans(),
    is_shared=st.booleans(),
    finish=st.booleans(),
    migrate=st.booleans(),
)


def is_open_to_public(database: DatabaseState | None) -> bool:
    return database is not None and database.allows_connections and database.public_can_connect


def is_reached(role: str, database: DatabaseState, state: ServerState) -> bool:
    """Whether `role` has the rights of the owner, which running processes need."""
    return database.owner == role or (role in state.roles and database.owner in state.roles[role].memberships)


def all_steps(plan: DatabasePlan) -> list[Operation]:
    return [*plan.role_steps, *plan.template_steps, *(step for tenant in plan.tenants for step in tenant.steps)]


def require_tables_before_open(plan: DatabasePlan, desired: DesiredState, state: ServerState) -> None:
    """No role can connect to an incomplete database before it has its tables."""
    for tenant in plan.tenants:
        kinds = [type(step) for step in tenant.steps]
        database = state.databases.get(tenant.tenant.name)
        if AllowConnections in kinds and desired.migrate and (database is None or database.is_incomplete):
            is_copy = database is None and desired.template
            assert kinds.index(VerifyMigrations if is_copy else RunMigrations) < kinds.index(AllowConnections)


GIVEN_AWAY = ServerState(
    160004,
    MASTER,
    {
        "app": RoleState(
            "app", settings=ROLE_DEFAULTS, password_works=True, master_can_set_role=True, master_has_admin=True
        )
    },
    {"one": DatabaseState("one", "else", public_can_connect=False, comment=TENANT_COMMENT, objects={"else": 3})},
)


@settings(max_examples=200, deadline=None)
@example(
    GIVEN_AWAY, DesiredState("app", (Tenant("one"),)), None, False, 1
)  # Between the transfers of the database and of its objects.
@given(state=servers(), desired=wishes, found=templates, is_copied=st.booleans(), crash_after=st.integers(0, 22))
def test_any_catalog_converges_without_excess_or_lost_access(state, desired, found, is_copied, crash_after):
    if found:
        state = replace(state, databases={**state.databases, TEMPLATE: found})
    before = state
    if desired.migrate and is_copied:
        desired = replace(desired, template=TEMPLATE)
    for limit in (crash_after, 99):  # A run that is killed after some steps, and the next run.
        try:
            plan = plan_databases(desired, state)
        except DeployError:
            assert (limit, state) == (crash_after, before), "the second run must not be refused what the first was not"
            return
        require_tables_before_open(plan, desired, state)
        for step in all_steps(plan)[:limit]:
            state = apply_step(state, step)
            for tenant in desired.tenants:
                database, was = state.databases.get(tenant.name), before.databases.get(tenant.name)
                assert is_open_to_public(was) or not is_open_to_public(database)
                previous = desired.previous_role_of(tenant)
                if database and was and was.owner == previous and not desired.finish:
                    assert is_reached(previous, database, state), "what runs as the previous owner goes on"
                if database and was and was.is_unmanaged and was.owner == "else" and not desired.finish:
                    is_circular = "else" in before.roles.get(database.owner, MASTER).memberships
                    is_existing = "else" in state.roles
                    assert is_reached("else", database, state) or is_circular or not is_existing
    again = plan_databases(desired, state)
    assert again.is_empty
    for tenant in again.tenants:
        database = state.databases.get(tenant.tenant.name)
        if tenant.error:
            continue
        role = desired.role_of(tenant.tenant)
        assert database is not None
        assert (database.owner, database.allows_connections, database.public_can_connect) == (role, True, False)
        assert state.roles[role].password_works
        assert not set(database.objects) & {desired.previous_role_of(tenant.tenant)}
        was = before.databases.get(tenant.tenant.name)
        assert was is None or was.owner not in set(database.objects) - {role}, (
            "interrupted between its hand-over and theirs"
        )
        assert not database.reassigning_from
        if desired.finish and desired.previous_role_of(tenant.tenant) in state.roles:
            assert role not in state.roles[desired.previous_role_of(tenant.tenant)].memberships
