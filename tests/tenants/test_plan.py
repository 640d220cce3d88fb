"""Plans as tables: for a given catalog, the steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.errors import DatabaseError
from deploytools.tenants.database_operations import (
    AllowConnections,
    AllowOwnerConnections,
    ChangeOwner,
    ClearReassignMarker,
    CloneTemplate,
    CreateDatabase,
    ReassignObjects,
    RevokePublicConnect,
    RunMigrations,
    SetTenantComment,
    VerifyMigrations,
)
from deploytools.tenants.operations import (
    CreateRole,
    GrantPreviousOwner,
    GrantToMaster,
    Operation,
    SetPassword,
    SetRoleDefaults,
)
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.plan import plan_databases
from deploytools.tenants.state import (
    INCOMPLETE_LIMIT,
    INVALID_LIMIT,
    TENANT_COMMENT,
    DatabaseState,
    RoleState,
    SecretChange,
    ServerState,
    reassign_marker,
)

MASTER = RoleState(
    "postgres", can_create_databases=True, can_create_roles=True, memberships=frozenset({"rds_superuser"})
)
ROLE_DEFAULTS = DesiredState("app", ()).role_defaults
APP = RoleState("app", settings=ROLE_DEFAULTS, password_works=True, master_can_set_role=True, master_has_admin=True)
DEFAULTS = SetRoleDefaults("app", tuple(ROLE_DEFAULTS.items()))
WANTED = DesiredState("app", (Tenant("shop"),))
FRESH = ServerState(160004, MASTER)
READY = DatabaseState("shop", "app", public_can_connect=False, comment=TENANT_COMMENT)
HALF = DatabaseState("shop", "postgres", allows_connections=False, connection_limit=INCOMPLETE_LIMIT)


def state(*databases: DatabaseState, app: RoleState = APP, master: RoleState = MASTER) -> ServerState:
    """A server on which the role is up to date."""
    return ServerState(160004, master, {"app": app}, {database.name: database for database in databases})


def test_fresh_server():
    plan = plan_databases(WANTED, FRESH)
    assert plan.role_steps == (CreateRole("app"), GrantToMaster("app"), DEFAULTS)
    assert [tenant.steps for tenant in plan.tenants] == [
        (
            CreateDatabase("shop"),
            RevokePublicConnect("shop", "postgres"),
            SetTenantComment("shop", "postgres"),
            ChangeOwner("shop", "postgres", "app"),
            AllowConnections("shop", "app"),
        )
    ]


@pytest.mark.parametrize(
    ("database", "steps"),
    [
        (READY, ()),
        (
            HALF,
            (
                RevokePublicConnect("shop", "postgres"),
                SetTenantComment("shop", "postgres"),
                ChangeOwner("shop", "postgres", "app"),
                AllowConnections("shop", "app"),
            ),
        ),
        (
            replace(HALF, public_can_connect=False),
            (
                SetTenantComment("shop", "postgres"),
                ChangeOwner("shop", "postgres", "app"),
                AllowConnections("shop", "app"),
            ),
        ),
        (
            replace(HALF, public_can_connect=False, comment=TENANT_COMMENT),
            (ChangeOwner("shop", "postgres", "app"), AllowConnections("shop", "app")),
        ),
        (
            replace(HALF, public_can_connect=False, comment=TENANT_COMMENT, owner="app"),
            (AllowConnections("shop", "app"),),
        ),
        (replace(READY, public_can_connect=True), (RevokePublicConnect("shop", "app"),)),
        (replace(READY, owner="other"), (ChangeOwner("shop", "other", "app"),)),
    ],
    ids=["complete", "created", "revoked", "comment set", "transferred", "PUBLIC can connect", "other owner"],
)
def test_remaining_steps_of_an_interrupted_run(database, steps):
    plan = plan_databases(WANTED, state(database))
    assert (plan.role_steps, plan.tenants[0].steps, plan.tenants[0].error) == ((), steps, None)


@pytest.mark.parametrize(
    ("database", "sentence"),
    [
        (
            DatabaseState("shop", "else"),
            "shop exists but is not managed by deploytools (owner else, PUBLIC can connect); it was not changed.",
        ),
        (
            DatabaseState("shop", "app", public_can_connect=False, is_template=True),
            "shop exists but is not managed by deploytools (owner app, PUBLIC cannot connect, a template); "
            "it was not changed.",
        ),
        (
            DatabaseState("shop", "postgres", allows_connections=False),
            "shop exists but is not managed by deploytools (owner postgres, PUBLIC can connect); it was not changed.",
        ),
        (replace(READY, allows_connections=False), "Connections to shop are disabled, but not by this command."),
        (replace(READY, connection_limit=INVALID_LIMIT), "shop is the remainder of an interrupted DROP DATABASE."),
        (
            replace(READY, encoding="LATIN1"),
            "shop has encoding LATIN1, expected UTF8, which cannot be changed in place.",
        ),
    ],
)
def test_databases_that_are_not_changed(database, sentence):
    (tenant,) = plan_databases(WANTED, state(database)).blocked
    assert (str(tenant.error), tenant.steps) == (sentence, ())


def test_error_of_one_tenant_does_not_stop_another():
    desired = replace(WANTED, tenants=(Tenant("shop"), Tenant("other")))
    plan = plan_databases(desired, state(DatabaseState("shop", "else")))
    assert [bool(tenant.steps) for tenant in plan.tenants] == [False, True]
    assert not plan.is_empty


def test_locale_is_set_and_compared():
    desired = replace(WANTED, locale="en_US.UTF-8")
    assert plan_databases(desired, state()).tenants[0].steps[0] == CreateDatabase("shop", "en_US.UTF-8")
    (tenant,) = plan_databases(desired, state(READY)).blocked
    assert str(tenant.error) == (
        "shop has locale C.UTF-8, expected en_US.UTF-8 and LC_CTYPE C.UTF-8, expected en_US.UTF-8, "
        "which cannot be changed in place."
    )


def test_adoption_of_an_unmanaged_database():
    foreign = DatabaseState("shop", "else")
    plan = plan_databases(replace(WANTED, adopt=True), state(foreign))
    assert plan.tenants[0].steps == (
        RevokePublicConnect("shop", "else"),
        ChangeOwner("shop", "else", "app"),
        SetTenantComment("shop", "app"),
    )


def test_interrupted_adoption_still_transfers_the_masters_objects():
    between = DatabaseState("shop", "app", public_can_connect=False, objects={"postgres": 7, "app": 1})
    plan = plan_databases(replace(WANTED, adopt=True), state(between))
    assert plan.tenants[0].steps == (ReassignObjects("shop", "postgres", "app", 7), SetTenantComment("shop", "app"))


@pytest.mark.parametrize(
    ("database", "adopt", "is_moved"),
    [
        (READY, True, False),
        (replace(READY, owner="postgres"), False, False),
        (replace(READY, owner="postgres"), True, True),
        (replace(HALF, public_can_connect=False, comment=TENANT_COMMENT, owner="app"), False, True),
        (replace(HALF, comment=TENANT_COMMENT, owner="app", master_objects_are_copies=False), False, False),
        (replace(HALF, comment=TENANT_COMMENT, owner="app", master_objects_are_copies=False), True, True),
    ],
    ids=["complete", "owned by master", "adopted", "incomplete", "not a copy", "not a copy, adopted"],
)
def test_master_keeps_its_objects_in_a_complete_database(database, adopt, is_moved):
    server = state(replace(database, objects={"postgres": 2, "app": 5}))
    (tenant,) = plan_databases(replace(WANTED, adopt=adopt), server).tenants
    assert (ReassignObjects("shop", "postgres", "app", 2) in tenant.steps) == is_moved
    assert bool(tenant.steps) == is_moved


OWN = replace(APP, name="shop", password_works=False)


@pytest.mark.parametrize(
    ("keys", "adopt", "sentence"),
    [
        (
            ("username", "password"),
            False,
            "Role shop exists but its password is in no secret; it was not created by this command.",
        ),
        (("username", "password"), True, None),
        (("port",), False, None),
    ],
)
def test_unmanaged_login_role_requires_adoption(keys, adopt, sentence):
    desired = replace(WANTED, is_shared=False, adopt=adopt)
    server = ServerState(160004, MASTER, {"shop": OWN}, secrets={"shop": SecretChange("s/shop", keys)})
    (tenant,) = plan_databases(desired, server).tenants
    assert (str(tenant.error) if tenant.error else None) == sentence
    assert (SetPassword("shop") in tenant.steps) == (sentence is None)
    if tenant.error:
        assert tenant.error.hint.endswith("python manage.py create_tenant_dbs --adopt --plan")


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"password_works": False}, (SetPassword("app"),)),
        ({"master_can_set_role": False}, (GrantToMaster("app"),)),
        ({"password_works": False, "master_can_set_role": False}, (SetPassword("app"), GrantToMaster("app"))),
        ({"master_inherits": False}, (GrantToMaster("app"),)),
        ({"master_inherits": False, "master_has_admin": False}, ()),
        ({"master_has_admin": False}, ()),
        ({"settings": {}}, (DEFAULTS,)),
        ({"settings": {}, "master_has_admin": False}, ()),
        (
            {"settings": {"timezone": "Europe/Berlin", "client_encoding": "UTF8"}},
            (SetRoleDefaults("app", (("default_transaction_isolation", "read committed"),)),),
        ),
    ],
)
def test_role_steps(changes, steps):
    assert plan_databases(WANTED, state(READY, app=replace(APP, **changes))).role_steps == steps


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"master": replace(MASTER, can_create_databases=False)},
            "Role postgres does not have CREATEDB: permission denied to create tenants.",
        ),
        (
            {"master": RoleState("django_app")},
            "Role django_app does not have CREATEDB and CREATEROLE: permission denied to create tenants.",
        ),
        ({"master": replace(MASTER, name="app")}, "The application role and the master user are both app."),
        (
            {"app": replace(APP, is_superuser=True)},
            "Role app has SUPERUSER, which an application role must not have; nothing was changed.",
        ),
        (
            {"app": replace(APP, can_create_databases=True, memberships=frozenset({"rds_iam", "friends"}))},
            "Role app has CREATEDB, rds_iam, which an application role must not have; nothing was changed.",
        ),
        (
            {"app": replace(APP, memberships=frozenset({"postgres"}))},
            "Role app has postgres, which an application role must not have; nothing was changed.",
        ),
        ({"app": replace(APP, can_login=False)}, "Role app exists but cannot log in."),
        (
            {"app": replace(APP, master_can_set_role=False, master_has_admin=False)},
            "postgres is not allowed to grant app to itself: another role created that role, or it was created "
            "before an upgrade to PostgreSQL 16.",
        ),
        (
            {"app": replace(APP, password_works=False, master_has_admin=False)},
            "postgres is not allowed to set the password of app: another role created that role, or it was created "
            "before an upgrade to PostgreSQL 16.",
        ),
    ],
)
def test_no_plan_for_an_unsuitable_role(changes, sentence):
    with pytest.raises(DatabaseError) as caught:
        plan_databases(WANTED, state(READY, **changes))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("finish", "app", "action", "fix"),
    [
        (False, APP, "grant shop to app", 'As the role that created it, or a superuser: GRANT "shop" TO "app"'),
        (
            True,
            replace(APP, memberships=frozenset({"shop"})),
            "revoke shop from app",
            'As the role that granted it, or a superuser: REVOKE "shop" FROM "app"',
        ),
    ],
)
def test_change_with_roles_from_before_an_upgrade_is_not_started(finish, app, action, fix):
    """REVOKE and GRANT need ADMIN OPTION from 16 on; no other step is planned either."""
    desired = replace(WANTED, is_shared=False, finish=finish)
    roles = {"app": app, "shop": replace(APP, name="shop", master_has_admin=False)}
    server = ServerState(170000, MASTER, roles, {"shop": replace(READY, owner="shop" if finish else "app")})
    (tenant,) = plan_databases(desired, server).tenants
    assert isinstance(tenant.error, DatabaseError)
    assert (str(tenant.error), tenant.error.hint, tenant.steps) == (
        f"postgres is not allowed to {action}: another role created that role, or it was created before an "
        "upgrade to PostgreSQL 16.",
        fix,
        (),
    )
    may = replace(server, roles=roles | {"shop": replace(APP, name="shop")})
    (tenant,) = plan_databases(desired, may).tenants
    assert (tenant.error, len(tenant.steps)) == (None, 1 if finish else 2)


def apply_step(database: DatabaseState | None, step: Operation, master: str) -> DatabaseState:
    """Return the database after one step on PostgreSQL."""
    if isinstance(step, CreateDatabase | CloneTemplate):
        assert database is None
        return DatabaseState(step.database, master, allows_connections=False, connection_limit=INCOMPLETE_LIMIT)
    assert database is not None
    if isinstance(step, ChangeOwner):
        assert step.owner == database.owner
        return replace(database, owner=step.to)
    assert isinstance(
        step,
        RevokePublicConnect
        | SetTenantComment
        | AllowOwnerConnections
        | RunMigrations
        | VerifyMigrations
        | AllowConnections,
    )
    assert step.owner == database.owner, "only the owner can"
    if isinstance(step, RunMigrations | VerifyMigrations):
        assert database.allows_connections
        return database
    if isinstance(step, AllowOwnerConnections):
        return replace(database, allows_connections=True)
    if isinstance(step, RevokePublicConnect):
        return replace(database, public_can_connect=False)
    if isinstance(step, SetTenantComment):
        return replace(database, comment=TENANT_COMMENT)
    return replace(database, allows_connections=True, connection_limit=-1)


databases = st.none() | st.builds(
    DatabaseState,
    name=st.just("shop"),
    owner=st.sampled_from(["postgres", "app", "else"]),
    allows_connections=st.booleans(),
    connection_limit=st.sampled_from([-1, INCOMPLETE_LIMIT, INVALID_LIMIT, 10]),
    is_template=st.booleans(),
    public_can_connect=st.booleans(),
    comment=st.sampled_from(["", TENANT_COMMENT, "other comment"]),
)


tables = st.sampled_from([{}, {"migrate": True}, {"migrate": True, "template": "deploytools_template_0"}])


@given(database=databases, adopt=st.booleans(), how=tables, crash_after=st.integers(0, 7))
def test_any_state_converges_and_public_can_never_connect(database, adopt, how, crash_after):
    desired = replace(WANTED, adopt=adopt, **how)
    was_open = database is not None and database.allows_connections and database.public_can_connect
    before = database
    for limit in (crash_after, 99):  # A run that is killed after some steps, and the next run.
        (tenant,) = plan_databases(desired, state(*([database] if database else []))).tenants
        for step in tenant.steps[:limit]:
            database = apply_step(database, step, "postgres")
            assert was_open or not (database.allows_connections and database.public_can_connect)
    if tenant.error:
        assert database == before
        return
    assert database is not None
    assert (database.owner, database.allows_connections, database.public_can_connect) == ("app", True, False)
    assert plan_databases(desired, state(database)).is_empty


def test_change_finished_in_one_run_grants_no_membership():
    desired = DesiredState("app", (Tenant("shop"),), is_shared=False, finish=True)
    (tenant,) = plan_databases(desired, state(replace(READY, objects={"app": 3}))).tenants
    assert tenant.steps[-3:] == (
        ChangeOwner("shop", "app", "shop", sets_marker=True),
        ReassignObjects("shop", "app", "shop", 3),
        ClearReassignMarker("shop", "shop"),
    )


@pytest.mark.parametrize(
    ("database", "steps"),
    [
        (
            replace(READY, owner="old", objects={"old": 3, "analyst": 1}),
            (
                ChangeOwner("shop", "old", "app", sets_marker=True),
                ReassignObjects("shop", "old", "app", 3),
                ClearReassignMarker("shop", "app"),
            ),
        ),
        (
            replace(READY, comment=TENANT_COMMENT + reassign_marker('o"ld'), objects={'o"ld': 3, "analyst": 1}),
            (ReassignObjects("shop", 'o"ld', "app", 3), ClearReassignMarker("shop", "app")),
        ),
        (replace(READY, comment=TENANT_COMMENT + reassign_marker("old")), (ClearReassignMarker("shop", "app"),)),
        (
            replace(READY, comment="theirs" + reassign_marker("old"), objects={"old": 3}),
            (ReassignObjects("shop", "old", "app", 3), SetTenantComment("shop", "app", text="theirs")),
        ),
        (
            replace(HALF, owner="app", public_can_connect=False, comment=TENANT_COMMENT, objects={"old": 3}),
            (
                AllowOwnerConnections("shop", "app"),
                ReassignObjects("shop", "old", "app", 3),
                AllowConnections("shop", "app"),
            ),
        ),
        (replace(READY, objects={"analyst": 1}), ()),
    ],
    ids=[
        "other owner",
        "killed after the transfer",
        "killed before the end",
        "adoption killed",
        "incomplete",
        "another role's",
    ],
)
def test_objects_follow_the_owner_of_their_database(database, steps):
    (tenant,) = plan_databases(replace(WANTED, adopt=True), state(database)).tenants
    assert tenant.steps == steps
    assert not any(isinstance(step, GrantPreviousOwner) for step in tenant.steps)


def test_master_with_noinherit_transfers_no_objects_before_16():
    given = replace(READY, owner="postgres", objects={"postgres": 7})
    server = replace(state(given, master=replace(MASTER, inherits=False)), version=150012)
    (tenant,) = plan_databases(replace(WANTED, adopt=True), server).blocked
    assert str(tenant.error) == (
        "postgres does not inherit from app, so it cannot transfer the objects in its database; nothing was changed."
    )
    assert tenant.error is not None
    assert tenant.error.hint == 'ALTER ROLE "postgres" INHERIT'
    assert plan_databases(WANTED, replace(server, databases={"shop": READY})).is_empty
