"""Any catalogue + plan + apply = what was wanted, told by a small model of PostgreSQL; killed anywhere in between."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploytools.databases.plan import DatabasePlan, plan_databases
from deploytools.databases.state import (
    HALF_MADE_LIMIT,
    HANDING_OVER,
    INVALID_LIMIT,
    MARK,
    ROLE_DEFAULTS,
    DatabaseState,
    RoleState,
    SecretNeed,
    ServerState,
    Wanted,
    handing_over_note,
)
from deploytools.databases.steps import (
    CloneTemplate,
    CompareTables,
    CreateDatabase,
    CreateRole,
    DropTemplate,
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
    SealTemplate,
    SetDatabaseDefault,
    SetPassword,
    SetRoleDefaults,
    ShutOutFormerRole,
    ShutOutPublic,
    Step,
    UnsealTemplate,
    WriteSecret,
)
from deploytools.databases.templates import PREFIX, READY, is_ours, is_ready, ready_mark
from deploytools.databases.tenants import Tenant, TenantOptions
from deploytools.errors import DeployError

MASTER = RoleState("postgres", can_create_databases=True, can_create_roles=True)
NAMES = ("one", "two")
TEMPLATE = PREFIX + "0"
OwnersStep = (
    ShutOutPublic
    | Mark
    | SetDatabaseDefault
    | LimitConnections
    | LetOwnerIn
    | MigrateTables
    | CompareTables
    | Open
    | SealTemplate
    | UnsealTemplate
    | EndHandOver
)


def carried_out(state: ServerState, step: Step) -> ServerState:
    """What PostgreSQL, or Secrets Manager, makes of one step; asserts what it would refuse."""
    if isinstance(step, WriteSecret):
        return replace(state, secrets={**state.secrets, step.tenant: SecretNeed(step.secret)})
    if isinstance(step, CreateRole | GrantToMaster | SetPassword | SetRoleDefaults):
        return replace(state, roles={**state.roles, step.role: _role(state, step)})
    if isinstance(step, LetFormerRoleStay | ShutOutFormerRole):
        former, role = state.roles[step.former], state.roles[step.role]
        assert step.former not in role.reaches, "0LP01: a circle"
        reaches = former.reaches | {step.role}
        if isinstance(step, ShutOutFormerRole):
            reaches = former.reaches - {step.role}
        return replace(state, roles={**state.roles, step.former: replace(former, reaches=reaches)})
    if isinstance(step, DropTemplate):
        left = dict(state.databases)
        dropped = left.pop(step.database)
        assert is_ours(dropped)
        assert not dropped.comment.startswith(READY), "what is ready is dropped by --prune-templates only"
        assert not dropped.is_template, "55006: a template cannot be dropped"
        return replace(state, databases=left)
    return replace(state, databases={**state.databases, step.database: _database(state, step)})


def _role(state: ServerState, step: CreateRole | GrantToMaster | SetPassword | SetRoleDefaults) -> RoleState:
    if isinstance(step, CreateRole):
        assert step.role not in state.roles
        return RoleState(step.role, password_works=True, master_may_grant=True, master_inherits=False)
    role = state.roles[step.role]
    assert role.master_may_grant
    if isinstance(step, GrantToMaster):
        return replace(role, master_may_set=True, master_inherits=True)
    if isinstance(step, SetPassword):
        return replace(role, password_works=True)
    return replace(role, settings={**role.settings, **dict(step.settings)})


def _database(state: ServerState, step: Step) -> DatabaseState:
    if isinstance(step, CreateDatabase):
        assert step.database not in state.databases
        return DatabaseState(step.database, "postgres", allows_connections=False, connection_limit=HALF_MADE_LIMIT)
    if isinstance(step, CloneTemplate):
        assert step.database not in state.databases
        made = DatabaseState(step.database, "postgres", allows_connections=False, connection_limit=HALF_MADE_LIMIT)
        template = state.databases[step.template]
        assert is_ready(template), "no tenant is copied from half a template"
        return replace(made, objects={template.owner: 57})
    assert not isinstance(step, WriteSecret | CreateRole | GrantToMaster | SetPassword | SetRoleDefaults)
    assert not isinstance(step, LetFormerRoleStay | ShutOutFormerRole | DropTemplate)
    database = state.databases[step.database]
    assert database.connection_limit != INVALID_LIMIT, "FATAL: the session dies"
    if isinstance(step, HandOver):
        assert step.owner == database.owner
        assert step.owner == "postgres" or database.master_owns
        assert state.roles[step.to].master_may_set
        comment = database.comment + handing_over_note(step.owner) * step.is_noted
        return replace(database, owner=step.to, master_owns=True, comment=comment)
    if isinstance(step, HandOverObjects):
        assert database.allows_connections or database.connection_limit != HALF_MADE_LIMIT, "nobody may connect"
        objects = dict(database.objects)
        objects[step.to] = objects.get(step.to, 0) + objects.pop(step.former)
        assert state.roles[step.to].master_inherits, "42501: the master lacks CONNECT"
        assert database.owner == step.to, "42501: who gets a table must be able to create one"
        return replace(database, objects=objects)
    assert isinstance(step, OwnersStep)
    assert step.owner == database.owner
    if isinstance(step, MigrateTables | CompareTables):
        assert database.allows_connections, "nobody may connect"
        return database
    if isinstance(step, SealTemplate):
        sealed = replace(database, allows_connections=False, is_template=True)
        return replace(sealed, connection_limit=-1, comment=ready_mark(sealed.row_version))
    if isinstance(step, UnsealTemplate):
        return replace(database, is_template=False, connection_limit=HALF_MADE_LIMIT, comment="")
    if isinstance(step, LetOwnerIn):
        assert not database.public_may_connect
        return replace(database, allows_connections=True)
    if isinstance(step, ShutOutPublic):
        return replace(database, public_may_connect=False)
    if isinstance(step, Mark):
        return replace(database, comment=MARK)
    if isinstance(step, EndHandOver):
        return replace(database, comment=re.sub(HANDING_OVER, "", database.comment))
    if isinstance(step, SetDatabaseDefault):
        return replace(database, settings={**database.settings, step.setting: f"{step.milliseconds}ms"})
    if isinstance(step, LimitConnections):
        return replace(database, connection_limit=step.limit)
    return replace(database, allows_connections=True, connection_limit=step.limit)


def noted(former: str) -> str:
    return MARK + handing_over_note(former)


@st.composite
def servers(draw: st.DrawFn) -> ServerState:
    """Two tenants' databases and the roles "app", "one" and "two", in any state."""
    roles: dict[str, RoleState] = {}
    for name in ("app", *NAMES):
        if draw(st.booleans()):
            others = st.sampled_from(["one", "two", "app", "rds_iam", "friends"])
            members = {other for other, role in roles.items() if name in role.reaches}  # PostgreSQL has no circles.
            roles[name] = RoleState(
                name,
                can_login=draw(st.integers(0, 9)) > 0,
                reaches=draw(st.frozensets(others, max_size=1)) - {name} - members,
                inherits=draw(st.integers(0, 9)) > 0,
                settings=draw(st.sampled_from([{}, ROLE_DEFAULTS, {"timezone": "Europe/Berlin"}])),
                password_works=draw(st.booleans()),
                master_may_set=draw(st.booleans()),
                master_may_grant=draw(st.integers(0, 9)) > 0,
                master_inherits=draw(st.integers(0, 9)) > 0,
            )
    owners = st.sampled_from(["postgres", "else", *roles])
    databases = {
        name: DatabaseState(
            name,
            owner=draw(owners),
            allows_connections=draw(st.booleans()),
            connection_limit=draw(st.sampled_from([-1, HALF_MADE_LIMIT, HALF_MADE_LIMIT, INVALID_LIMIT, 10])),
            is_template=draw(st.integers(0, 9)) == 0,
            public_may_connect=draw(st.booleans()),
            comment=draw(st.sampled_from(["", MARK, MARK, *map(noted, ['e"l"se', "postgres"]), "somebody's"])),
            objects=draw(st.dictionaries(owners, st.integers(1, 60), max_size=2)),
            sessions=draw(st.dictionaries(owners, st.integers(1, 3), max_size=1)),
            master_owns=draw(st.booleans()),
            masters_are_copied=draw(st.booleans()),
        )
        for name in NAMES
        if draw(st.booleans())
    }
    needs = {name: SecretNeed(f"s/{name}", ("password",) if draw(st.booleans()) else ()) for name in NAMES}
    return ServerState(160004, MASTER, roles, databases, needs)


templates = st.none() | st.builds(
    DatabaseState,
    name=st.just(TEMPLATE),
    owner=st.sampled_from(["postgres", "app"]),
    allows_connections=st.booleans(),
    connection_limit=st.sampled_from([-1, HALF_MADE_LIMIT]),
    is_template=st.booleans(),
    comment=st.sampled_from(["", ready_mark("1"), ready_mark("1"), ready_mark("0"), "somebody's"]),
    row_version=st.just("1"),
)

wishes = st.builds(
    Wanted,
    app_role=st.just("app"),
    tenants=st.just((Tenant("one"), Tenant("two", TenantOptions(20, 30_000)))),
    adopt=st.booleans(),
    is_shared=st.booleans(),
    finish=st.booleans(),
    migrate=st.booleans(),
)


def is_open_to_public(database: DatabaseState | None) -> bool:
    return database is not None and database.allows_connections and database.public_may_connect


def is_reached(role: str, database: DatabaseState, state: ServerState) -> bool:
    """Whether `role` has the rights of an owner, as what runs under it needs."""
    return database.owner == role or (role in state.roles and database.owner in state.roles[role].reaches)


def all_steps(plan: DatabasePlan) -> list[Step]:
    return [*plan.role_steps, *plan.template_steps, *(step for tenant in plan.tenants for step in tenant.steps)]


def require_tables_before_open(plan: DatabasePlan, wanted: Wanted, state: ServerState) -> None:
    """Nobody is let into a database that is being made before it has its tables."""
    for tenant in plan.tenants:
        kinds = [type(step) for step in tenant.steps]
        database = state.databases.get(tenant.tenant.name)
        if Open in kinds and wanted.migrate and (database is None or database.is_half_made):
            is_copy = database is None and wanted.template
            assert kinds.index(CompareTables if is_copy else MigrateTables) < kinds.index(Open)


GIVEN_AWAY = ServerState(
    160004,
    MASTER,
    {"app": RoleState("app", settings=ROLE_DEFAULTS, password_works=True, master_may_set=True, master_may_grant=True)},
    {"one": DatabaseState("one", "else", public_may_connect=False, comment=MARK, objects={"else": 3})},
)


@settings(max_examples=200, deadline=None)
@example(GIVEN_AWAY, Wanted("app", (Tenant("one"),)), None, False, 1)  # Between its hand-over and that of the objects.
@given(state=servers(), wanted=wishes, found=templates, is_copied=st.booleans(), crash_after=st.integers(0, 22))
def test_any_catalogue_converges_and_nobody_is_let_in_or_locked_out_on_the_way(
    state, wanted, found, is_copied, crash_after
):
    if found:
        state = replace(state, databases={**state.databases, TEMPLATE: found})
    before = state
    if wanted.migrate and is_copied:
        wanted = replace(wanted, template=TEMPLATE)
    for limit in (crash_after, 99):  # A run that is killed after some steps, and the next one.
        try:
            plan = plan_databases(wanted, state)
        except DeployError:
            assert (limit, state) == (crash_after, before), "the second run must not be refused what the first was not"
            return
        require_tables_before_open(plan, wanted, state)
        for step in all_steps(plan)[:limit]:
            state = carried_out(state, step)
            for tenant in wanted.tenants:
                database, was = state.databases.get(tenant.name), before.databases.get(tenant.name)
                assert is_open_to_public(was) or not is_open_to_public(database)
                former = wanted.former_role_of(tenant)
                if database and was and was.owner == former and not wanted.finish:
                    assert is_reached(former, database, state), "what runs as the former owner goes on"
    again = plan_databases(wanted, state)
    assert again.is_empty
    for tenant in again.tenants:
        database = state.databases.get(tenant.tenant.name)
        if tenant.obstacle:
            continue
        role = wanted.role_of(tenant.tenant)
        assert database is not None
        assert (database.owner, database.allows_connections, database.public_may_connect) == (role, True, False)
        assert state.roles[role].password_works
        assert not set(database.objects) & {wanted.former_role_of(tenant.tenant)}
        was = before.databases.get(tenant.tenant.name)
        assert was is None or was.owner not in set(database.objects) - {role}, (
            "interrupted between its hand-over and theirs"
        )
        assert not database.handed_over_from
        if wanted.finish and wanted.former_role_of(tenant.tenant) in state.roles:
            assert role not in state.roles[wanted.former_role_of(tenant.tenant)].reaches
