"""Plans as tables: given a catalogue, the steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.databases.plan import plan_databases
from deploytools.databases.state import (
    HALF_MADE_LIMIT,
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
    EndHandOver,
    GrantToMaster,
    HandOver,
    HandOverObjects,
    LetFormerRoleStay,
    LetOwnerIn,
    Mark,
    MigrateTables,
    Open,
    SetPassword,
    SetRoleDefaults,
    ShutOutPublic,
    Step,
)
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError

MASTER = RoleState("postgres", can_create_databases=True, can_create_roles=True, reaches=frozenset({"rds_superuser"}))
APP = RoleState("app", settings=ROLE_DEFAULTS, password_works=True, master_may_set=True, master_may_grant=True)
DEFAULTS = SetRoleDefaults("app", tuple(ROLE_DEFAULTS.items()))
WANTED = Wanted("app", (Tenant("shop"),))
FRESH = ServerState(160004, MASTER)
READY = DatabaseState("shop", "app", public_may_connect=False, comment=MARK)
HALF = DatabaseState("shop", "postgres", allows_connections=False, connection_limit=HALF_MADE_LIMIT)


def state(*databases: DatabaseState, app: RoleState = APP, master: RoleState = MASTER) -> ServerState:
    """A server on which the role is in place."""
    return ServerState(160004, master, {"app": app}, {database.name: database for database in databases})


def test_fresh_server():
    plan = plan_databases(WANTED, FRESH)
    assert plan.role_steps == (CreateRole("app"), GrantToMaster("app"), DEFAULTS)
    assert [tenant.steps for tenant in plan.tenants] == [
        (
            CreateDatabase("shop"),
            ShutOutPublic("shop", "postgres"),
            Mark("shop", "postgres"),
            HandOver("shop", "postgres", "app"),
            Open("shop", "app"),
        )
    ]


@pytest.mark.parametrize(
    ("database", "steps"),
    [
        (READY, ()),
        (
            HALF,
            (
                ShutOutPublic("shop", "postgres"),
                Mark("shop", "postgres"),
                HandOver("shop", "postgres", "app"),
                Open("shop", "app"),
            ),
        ),
        (
            replace(HALF, public_may_connect=False),
            (Mark("shop", "postgres"), HandOver("shop", "postgres", "app"), Open("shop", "app")),
        ),
        (
            replace(HALF, public_may_connect=False, comment=MARK),
            (HandOver("shop", "postgres", "app"), Open("shop", "app")),
        ),
        (replace(HALF, public_may_connect=False, comment=MARK, owner="app"), (Open("shop", "app"),)),
        (replace(READY, public_may_connect=True), (ShutOutPublic("shop", "app"),)),
        (replace(READY, owner="other"), (HandOver("shop", "other", "app"),)),
    ],
    ids=["ready", "created", "revoked", "marked", "handed over", "opened again to PUBLIC", "given away"],
)
def test_converges_from_wherever_it_stopped(database, steps):
    plan = plan_databases(WANTED, state(database))
    assert (plan.role_steps, plan.tenants[0].steps, plan.tenants[0].obstacle) == ((), steps, None)


@pytest.mark.parametrize(
    ("database", "sentence"),
    [
        (
            DatabaseState("shop", "else"),
            "shop exists and was not made by these commands (owner else, PUBLIC may connect); it was left alone.",
        ),
        (
            DatabaseState("shop", "app", public_may_connect=False, is_template=True),
            "shop exists and was not made by these commands (owner app, PUBLIC may not connect, a template); "
            "it was left alone.",
        ),
        (
            DatabaseState("shop", "postgres", allows_connections=False),
            "shop exists and was not made by these commands (owner postgres, PUBLIC may connect); it was left alone.",
        ),
        (replace(READY, allows_connections=False), "shop is closed to connections, and not by these commands."),
        (replace(READY, connection_limit=INVALID_LIMIT), "shop is what an interrupted DROP DATABASE left behind."),
        (replace(READY, encoding="LATIN1"), "shop has encoding LATIN1 instead of UTF8, which cannot be changed."),
    ],
)
def test_obstacles(database, sentence):
    (tenant,) = plan_databases(WANTED, state(database)).obstacles
    assert (str(tenant.obstacle), tenant.steps) == (sentence, ())


def test_an_obstacle_of_one_tenant_does_not_stop_another():
    wanted = replace(WANTED, tenants=(Tenant("shop"), Tenant("other")))
    plan = plan_databases(wanted, state(DatabaseState("shop", "else")))
    assert [bool(tenant.steps) for tenant in plan.tenants] == [False, True]
    assert not plan.is_empty


def test_locale_is_set_where_asked_for_and_compared_afterwards():
    wanted = replace(WANTED, locale="en_US.UTF-8")
    assert plan_databases(wanted, state()).tenants[0].steps[0] == CreateDatabase("shop", "en_US.UTF-8")
    (tenant,) = plan_databases(wanted, state(READY)).obstacles
    assert str(tenant.obstacle) == (
        "shop has locale C.UTF-8 instead of en_US.UTF-8 and LC_CTYPE C.UTF-8 instead of en_US.UTF-8, "
        "which cannot be changed."
    )


def test_adoption_takes_over_what_somebody_else_made():
    foreign = DatabaseState("shop", "else")
    plan = plan_databases(replace(WANTED, adopt=True), state(foreign))
    assert plan.tenants[0].steps == (
        ShutOutPublic("shop", "else"),
        HandOver("shop", "else", "app"),
        Mark("shop", "app"),
    )


def test_an_adoption_that_was_killed_still_hands_the_masters_tables_over():
    between = DatabaseState("shop", "app", public_may_connect=False, objects={"postgres": 7, "app": 1})
    plan = plan_databases(replace(WANTED, adopt=True), state(between))
    assert plan.tenants[0].steps == (HandOverObjects("shop", "postgres", "app", 7), Mark("shop", "app"))


@pytest.mark.parametrize(
    ("database", "adopt", "is_moved"),
    [
        (READY, True, False),
        (replace(READY, owner="postgres"), False, False),
        (replace(READY, owner="postgres"), True, True),
        (replace(HALF, public_may_connect=False, comment=MARK, owner="app"), False, True),
        (replace(HALF, comment=MARK, owner="app", masters_are_copied=False), False, False),
        (replace(HALF, comment=MARK, owner="app", masters_are_copied=False), True, True),
    ],
    ids=["in place", "the master's", "the master's, asked for", "half made", "no copy", "no copy, asked for"],
)
def test_what_the_master_made_in_a_tenant_that_is_in_place_stays_the_masters(database, adopt, is_moved):
    server = state(replace(database, objects={"postgres": 2, "app": 5}))
    (tenant,) = plan_databases(replace(WANTED, adopt=adopt), server).tenants
    assert (HandOverObjects("shop", "postgres", "app", 2) in tenant.steps) == is_moved
    assert bool(tenant.steps) == is_moved


OWN = replace(APP, name="shop", password_works=False)


@pytest.mark.parametrize(
    ("keys", "adopt", "sentence"),
    [
        (("username", "password"), False, "The role shop exists and no secret has its password: somebody else's."),
        (("username", "password"), True, None),
        (("port",), False, None),
    ],
)
def test_somebody_elses_login_role_is_taken_over_by_adoption_only(keys, adopt, sentence):
    wanted = replace(WANTED, is_shared=False, adopt=adopt)
    server = ServerState(160004, MASTER, {"shop": OWN}, secrets={"shop": SecretNeed("s/shop", keys)})
    (tenant,) = plan_databases(wanted, server).tenants
    assert (str(tenant.obstacle) if tenant.obstacle else None) == sentence
    assert (SetPassword("shop") in tenant.steps) == (sentence is None)
    if tenant.obstacle:
        assert tenant.obstacle.hint.endswith("python manage.py create_tenant_dbs --adopt --plan")


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"password_works": False}, (SetPassword("app"),)),
        ({"master_may_set": False}, (GrantToMaster("app"),)),
        ({"password_works": False, "master_may_set": False}, (SetPassword("app"), GrantToMaster("app"))),
        ({"master_inherits": False}, (GrantToMaster("app"),)),
        ({"master_inherits": False, "master_may_grant": False}, ()),
        ({"master_may_grant": False}, ()),
        ({"settings": {}}, (DEFAULTS,)),
        ({"settings": {}, "master_may_grant": False}, ()),
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
            "The role postgres lacks CREATEDB: permission denied to create what is wanted.",
        ),
        (
            {"master": RoleState("django_app")},
            "The role django_app lacks CREATEDB and CREATEROLE: permission denied to create what is wanted.",
        ),
        ({"master": replace(MASTER, name="app")}, "The application's role and the master are both app."),
        (
            {"app": replace(APP, is_superuser=True)},
            "The role app exists and has SUPERUSER, which an application must not have; nothing was changed.",
        ),
        (
            {"app": replace(APP, can_create_databases=True, reaches=frozenset({"rds_iam", "friends"}))},
            "The role app exists and has CREATEDB, rds_iam, which an application must not have; nothing was changed.",
        ),
        (
            {"app": replace(APP, reaches=frozenset({"postgres"}))},
            "The role app exists and has postgres, which an application must not have; nothing was changed.",
        ),
        ({"app": replace(APP, can_login=False)}, "The role app exists and may not log in."),
        (
            {"app": replace(APP, master_may_set=False, master_may_grant=False)},
            "postgres may not be granted app: somebody else made that role, or it was made before an upgrade to "
            "PostgreSQL 16.",
        ),
        (
            {"app": replace(APP, password_works=False, master_may_grant=False)},
            "postgres may not set the password of app: somebody else made that role, or it was made before an upgrade "
            "to PostgreSQL 16.",
        ),
    ],
)
def test_nothing_is_planned_for_a_role_that_is_not_what_it_must_be(changes, sentence):
    with pytest.raises(DatabaseError) as caught:
        plan_databases(WANTED, state(READY, **changes))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("finish", "app", "deed", "mend"),
    [
        (False, APP, "grant shop to app", "As whoever made it, or a superuser: GRANT shop TO app"),
        (
            True,
            replace(APP, reaches=frozenset({"shop"})),
            "take shop from app",
            "As whoever granted it, or a superuser: REVOKE shop FROM app",
        ),
    ],
)
def test_a_move_with_roles_that_were_made_before_an_upgrade_is_not_begun(finish, app, deed, mend):
    """REVOKE and GRANT need ADMIN from 16 on; what else the plan would do is not done either."""
    wanted = replace(WANTED, is_shared=False, finish=finish)
    roles = {"app": app, "shop": replace(APP, name="shop", master_may_grant=False)}
    server = ServerState(170000, MASTER, roles, {"shop": replace(READY, owner="shop" if finish else "app")})
    (tenant,) = plan_databases(wanted, server).tenants
    assert isinstance(tenant.obstacle, DatabaseError)
    assert (str(tenant.obstacle), tenant.obstacle.hint, tenant.steps) == (
        f"postgres may not {deed}: somebody else made that role, or it was made before an upgrade to PostgreSQL 16.",
        mend,
        (),
    )
    may = replace(server, roles=roles | {"shop": replace(APP, name="shop")})
    (tenant,) = plan_databases(wanted, may).tenants
    assert (tenant.obstacle, len(tenant.steps)) == (None, 1 if finish else 2)


def carried_out(database: DatabaseState | None, step: Step, master: str) -> DatabaseState:
    """What PostgreSQL makes of one step."""
    if isinstance(step, CreateDatabase | CloneTemplate):
        assert database is None
        return DatabaseState(step.database, master, allows_connections=False, connection_limit=HALF_MADE_LIMIT)
    assert database is not None
    if isinstance(step, HandOver):
        assert step.owner == database.owner
        return replace(database, owner=step.to)
    assert isinstance(step, ShutOutPublic | Mark | LetOwnerIn | MigrateTables | CompareTables | Open)
    assert step.owner == database.owner, "only the owner may"
    if isinstance(step, MigrateTables | CompareTables):
        assert database.allows_connections
        return database
    if isinstance(step, LetOwnerIn):
        return replace(database, allows_connections=True)
    if isinstance(step, ShutOutPublic):
        return replace(database, public_may_connect=False)
    if isinstance(step, Mark):
        return replace(database, comment=MARK)
    return replace(database, allows_connections=True, connection_limit=-1)


databases = st.none() | st.builds(
    DatabaseState,
    name=st.just("shop"),
    owner=st.sampled_from(["postgres", "app", "else"]),
    allows_connections=st.booleans(),
    connection_limit=st.sampled_from([-1, HALF_MADE_LIMIT, INVALID_LIMIT, 10]),
    is_template=st.booleans(),
    public_may_connect=st.booleans(),
    comment=st.sampled_from(["", MARK, "somebody's"]),
)


tables = st.sampled_from([{}, {"migrate": True}, {"migrate": True, "template": "deploytools_template_0"}])


@given(database=databases, adopt=st.booleans(), how=tables, crash_after=st.integers(0, 7))
def test_any_state_converges_and_public_is_never_let_into_an_open_database(database, adopt, how, crash_after):
    wanted = replace(WANTED, adopt=adopt, **how)
    was_open = database is not None and database.allows_connections and database.public_may_connect
    before = database
    for limit in (crash_after, 99):  # A run that is killed after some steps, and the next one.
        (tenant,) = plan_databases(wanted, state(*([database] if database else []))).tenants
        for step in tenant.steps[:limit]:
            database = carried_out(database, step, "postgres")
            assert was_open or not (database.allows_connections and database.public_may_connect)
    if tenant.obstacle:
        assert database == before
        return
    assert database is not None
    assert (database.owner, database.allows_connections, database.public_may_connect) == ("app", True, False)
    assert plan_databases(wanted, state(database)).is_empty


def test_a_move_that_is_finished_in_one_run_lets_nobody_stay():
    wanted = Wanted("app", (Tenant("shop"),), is_shared=False, finish=True)
    (tenant,) = plan_databases(wanted, state(replace(READY, objects={"app": 3}))).tenants
    assert tenant.steps[-3:] == (
        HandOver("shop", "app", "shop", is_noted=True),
        HandOverObjects("shop", "app", "shop", 3),
        EndHandOver("shop", "shop"),
    )


@pytest.mark.parametrize(
    ("database", "steps"),
    [
        (
            replace(READY, owner="old", objects={"old": 3, "analyst": 1}),
            (
                HandOver("shop", "old", "app", is_noted=True),
                HandOverObjects("shop", "old", "app", 3),
                EndHandOver("shop", "app"),
            ),
        ),
        (
            replace(READY, comment=MARK + handing_over_note('o"ld'), objects={'o"ld': 3, "analyst": 1}),
            (HandOverObjects("shop", 'o"ld', "app", 3), EndHandOver("shop", "app")),
        ),
        (replace(READY, comment=MARK + handing_over_note("old")), (EndHandOver("shop", "app"),)),
        (
            replace(READY, comment="theirs" + handing_over_note("old"), objects={"old": 3}),
            (HandOverObjects("shop", "old", "app", 3), Mark("shop", "app")),
        ),
        (
            replace(HALF, owner="app", public_may_connect=False, comment=MARK, objects={"old": 3}),
            (LetOwnerIn("shop", "app"), HandOverObjects("shop", "old", "app", 3), Open("shop", "app")),
        ),
        (replace(READY, objects={"analyst": 1}), ()),
    ],
    ids=["given away", "killed after it", "killed before the end", "adopted, killed", "half made", "a stranger's"],
)
def test_whose_objects_follow_a_database_that_changed_hands_is_not_forgotten(database, steps):
    (tenant,) = plan_databases(replace(WANTED, adopt=True), state(database)).tenants
    assert tenant.steps == steps
    assert not any(isinstance(step, LetFormerRoleStay) for step in tenant.steps)


def test_before_16_a_master_without_inherit_hands_no_objects_over():
    given = replace(READY, owner="postgres", objects={"postgres": 7})
    server = replace(state(given, master=replace(MASTER, inherits=False)), version=150012)
    (tenant,) = plan_databases(replace(WANTED, adopt=True), server).obstacles
    assert str(tenant.obstacle) == (
        "postgres does not inherit from app: what is in its database could not be handed over; nothing was changed."
    )
    assert tenant.obstacle is not None
    assert tenant.obstacle.hint == "ALTER ROLE postgres INHERIT"
    assert plan_databases(WANTED, replace(server, databases={"shop": READY})).is_empty
