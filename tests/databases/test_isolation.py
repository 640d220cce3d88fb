"""A role and a secret for each tenant, on real servers: made so, and moved to while the application runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from psycopg import errors as pg
from psycopg import sql

from deploytools.databases import objects
from deploytools.databases.apply import Outcome
from deploytools.databases.plan import DatabasePlan
from deploytools.databases.proof import prove
from deploytools.databases.server import Connection, Login, locked, session
from deploytools.databases.state import MARK, ROLE_DEFAULTS, Wanted
from deploytools.databases.steps import (
    CreateDatabase,
    CreateRole,
    EndHandOver,
    GrantToMaster,
    HandOver,
    HandOverObjects,
    LetFormerRoleStay,
    Mark,
    Open,
    SetPassword,
    SetRoleDefaults,
    ShutOutFormerRole,
    ShutOutPublic,
    Step,
    WriteSecret,
)
from deploytools.databases.tenancy import Tenancy
from deploytools.databases.tenant_secrets import TenantSecrets
from deploytools.databases.tenants import Tenant
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.secret.store import SecretStore
from deploytools.secret.value import Secret
from tests.databases.test_apply import Killed, Told, errors
from tests.fakes.secretsmanager import Fake
from tests.postgres import Postgres, scram

PASSWORD = Secret("correct-horse-battery-staple-0123456789")
PREFIX = "rds/shop/tenant/"
KEYS = ("engine", "host", "port", "username", "dbname", "password")


@dataclass(frozen=True)
class Site:
    """Names of its own on a shared server, and secrets of its own."""

    postgres: Postgres
    app: Login
    wanted: Wanted
    fake: Fake

    @property
    def names(self) -> list[str]:
        return [tenant.name for tenant in self.wanted.tenants]

    @property
    def secrets(self) -> TenantSecrets:
        address = self.postgres.address
        return TenantSecrets(cast(Any, self.fake), "us-east-1", PREFIX, address.host, address.port, address)

    def tenancy(self, connection: Connection, **changes: Any) -> Tenancy:
        wanted = replace(self.wanted, **changes)
        secrets = None if wanted.is_shared else self.secrets
        return Tenancy(connection, self.postgres.master, self.app, wanted, secrets)

    def plan(self, **changes: Any) -> DatabasePlan:
        with session(self.postgres.master) as connection:
            return self.tenancy(connection, **changes).plan()

    def run(self, told: Callable[[Step], object] = lambda step: None, **changes: Any) -> list[str | None]:
        with locked(self.postgres.master, wait=30) as connection:
            tenancy = self.tenancy(connection, **changes)
            return errors(tenancy.apply(tenancy.plan(), Told(told)))

    def verify(self, **changes: Any) -> tuple[Outcome, ...]:
        with session(self.postgres.master) as connection:
            return self.tenancy(connection, **changes).verify()

    def document(self, name: str) -> dict[str, Any]:
        stored = self.fake.secrets[PREFIX + name]
        value = stored.versions[stored.labels["AWSCURRENT"]]
        assert value is not None
        return dict(json.loads(value["SecretString"]))

    def login(self, name: str) -> Login:
        return Login(self.postgres.address, name, Secret(self.document(name)["password"]))


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    yield from a_site(postgres)


@pytest.fixture
def one_site(one_postgres: Postgres) -> Iterator[Site]:
    yield from a_site(one_postgres)


def a_site(postgres: Postgres) -> Iterator[Site]:
    name = postgres.fresh_name()
    app = Login(postgres.address, f"{name}_app", PASSWORD)
    wanted = Wanted(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two")), is_shared=False)
    yield Site(postgres, app, wanted, Fake(PREFIX + f"{name}_one"))
    postgres.sweep(name)


def refused(login: Login, database: str) -> ConnectionFailure:
    with pytest.raises(ConnectionFailed) as caught:
        login.connect(database)
    return caught.value.kind


def test_from_nothing_each_tenant_has_a_role_and_a_secret_of_its_own(site):
    one, two = site.names
    assert [tenant.steps for tenant in site.plan().tenants] == [
        (
            WriteSecret(PREFIX + name, name, KEYS, is_new=True),
            CreateRole(name),
            GrantToMaster(name),
            SetRoleDefaults(name, tuple(ROLE_DEFAULTS.items())),
            CreateDatabase(name),
            ShutOutPublic(name, "postgres"),
            Mark(name, "postgres"),
            HandOver(name, "postgres", name),
            Open(name, name),
        )
        for name in site.names
    ]
    assert site.run() == [None, None]
    assert site.document(one) == {
        "engine": "postgres",
        "host": site.postgres.address.host,
        "port": site.postgres.address.port,
        "username": one,
        "dbname": one,
        "password": site.document(one)["password"],
    }
    assert len(site.document(one)["password"]) == 40
    assert (refused(site.login(one), two), refused(site.login(two), one)) == (ConnectionFailure.NO_CONNECT,) * 2
    before, calls = site.postgres.snapshot(site.names), len(site.fake.secrets[PREFIX + one].versions)
    assert site.plan().is_empty
    assert site.run() == [None, None]
    assert (site.postgres.snapshot(site.names), len(site.fake.secrets[PREFIX + one].versions)) == (before, calls)
    with site.postgres.admin() as admin:
        assert admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [site.app.user]).fetchone() is None


SCHEMA = """
    CREATE TABLE shop (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL);
    CREATE TABLE item (id bigserial PRIMARY KEY, shop_id bigint REFERENCES shop);
    CREATE TABLE log (at date) PARTITION BY RANGE (at);
    CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE VIEW shops AS SELECT name FROM shop;
    CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM shop;
    CREATE SEQUENCE numbers;
    CREATE TYPE size AS ENUM ('s', 'm');
    CREATE TYPE pair AS (a integer, b integer);
    CREATE DOMAIN price AS numeric CHECK (VALUE >= 0);
    CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * $1';
    CREATE SCHEMA "Odd schema";
    CREATE TABLE "Odd schema"."Odd ""table" (a integer);
    CREATE STATISTICS both_of (dependencies) ON id, shop_id FROM item;
    SELECT lo_create(0);
    INSERT INTO shop (name) VALUES ('first');
"""


def work(app: Login, database: str, running: Connection) -> None:
    """What the application does between any two steps, in a session of old and in a new one."""
    running.execute("INSERT INTO shop (name) VALUES ('meanwhile')")
    with app.connect(database) as another, another.transaction(force_rollback=True):
        another.execute("INSERT INTO item (shop_id) SELECT max(id) FROM shop")
        another.execute("CREATE TABLE migration (id bigserial)")
        another.execute("ALTER TABLE shop ADD COLUMN extra integer")


@pytest.mark.slow
def test_moving_from_a_shared_role_while_the_application_runs(site):
    one, two = site.names
    assert site.run(is_shared=True) == [None, None]
    bystander = f"{site.app.user}_bystander"
    with session(site.postgres.master) as master:
        master.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(bystander), sql.Identifier(site.app.user))
        )
    with site.app.connect(one) as running:
        running.execute(SCHEMA)
        running.execute("INSERT INTO shop (name) VALUES ('before')")
        steps = site.plan().tenants[0].steps
        assert steps[4:6] == (LetFormerRoleStay(one, site.app.user), HandOver(one, site.app.user, one, is_noted=True))
        assert isinstance(steps[6], HandOverObjects)
        assert site.run(lambda step: work(site.app, one, running)) == [None, None]
        running.execute("INSERT INTO item (shop_id) SELECT max(id) FROM shop")

        with site.login(one).connect(one) as own:
            assert own.execute("SELECT count(*) FROM shop WHERE name = 'meanwhile'").fetchone()[0] > 10
            own.execute("INSERT INTO shop (name) VALUES ('own')")
            own.execute("REFRESH MATERIALIZED VIEW counts")
            own.execute('DROP SCHEMA "Odd schema" CASCADE; DROP TYPE size, pair; DROP DOMAIN price')
        assert site.plan().is_empty
        (remark, _) = (tenant.remark for tenant in site.plan().tenants)
        assert remark.startswith(f"{site.app.user} still reaches {one}: restart what runs as {site.app.user}")

        first, second = site.run(finish=True)
        assert first == f"{one} is still used by {site.app.user} (1 sessions); it keeps its way in."
        assert second is None
    with site.postgres.admin() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [site.app.user]
        )
    assert site.plan(finish=True).tenants[0].steps == (ShutOutFormerRole(one, site.app.user),)
    assert site.run(finish=True) == [None, None]
    assert [refused(site.app, name) for name in site.names] == [ConnectionFailure.NO_CONNECT] * 2
    with site.postgres.admin(one) as admin:
        owners = admin.execute("SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = "
                               "'public'::regnamespace").fetchall()  # fmt: skip
        assert [row[0] for row in owners] == [one]
    assert [row[1] for row in site.postgres.snapshot([bystander])] == [site.app.user]
    assert errors(site.verify(finish=True)) == [None, None]
    assert (two, site.plan(finish=True).is_empty) == (site.names[1], True)


def test_what_a_long_transaction_holds_is_told_and_the_next_run_goes_on(site, monkeypatch):
    monkeypatch.setattr(objects, "LOCK_TIMEOUT", 30)
    one = site.names[0]
    site.run(is_shared=True)
    with site.app.connect(one) as running:
        running.execute(
            "CREATE TABLE first (a integer); CREATE TABLE second (a integer); CREATE TABLE third (a integer)"
        )
        with running.transaction():
            running.execute("SELECT * FROM second")
            first, second = site.run()
            assert (first, second) == (
                "public.second is held by a long transaction; what came before it has been handed over.",
                None,
            )
            running.execute("SELECT FROM first, third")
    assert site.plan().tenants[0].steps == (HandOverObjects(one, site.app.user, one, 2), EndHandOver(one, one))
    assert site.run() == [None, None]
    assert site.plan().is_empty


@pytest.mark.slow
@pytest.mark.parametrize("survived", range(15))
def test_killed_after_any_step_of_the_move_the_next_run_converges(one_site, survived):
    site = one_site
    site.run(is_shared=True)
    with site.app.connect(site.names[0]) as running:
        running.execute("CREATE TABLE shop (id bigserial)")
    count = iter(range(100))

    def kill(step: Step) -> None:
        if next(count) == survived:
            raise Killed

    if survived < 14:  # 8 steps for the one with a table, 6 for the other.
        with pytest.raises(Killed):
            site.run(kill)
    else:
        assert site.run(kill) == [None, None]
    assert site.run() == [None, None]
    assert site.plan().is_empty
    assert [len(site.fake.secrets[PREFIX + name].versions) for name in site.names] == [1, 1]
    with site.app.connect(site.names[0]) as running:
        running.execute("INSERT INTO shop DEFAULT VALUES")


def test_back_to_a_shared_role_the_same_way(one_site):
    site = one_site
    one = site.names[0]
    site.run()
    with site.login(one).connect(one) as own:
        own.execute("CREATE TABLE shop (id bigserial)")
        assert site.run(is_shared=True) == [None, None]
        own.execute("INSERT INTO shop DEFAULT VALUES")
    prove(site.app, one)
    assert site.run(is_shared=True, finish=True) == [None, None]
    assert refused(site.login(one), one) is ConnectionFailure.NO_CONNECT


def test_a_second_change_before_the_first_is_finished_is_refused(one_site):
    site = one_site
    one = site.names[0]
    site.run(is_shared=True)
    site.run()
    assert site.run(is_shared=True) == [
        f"{site.app.user} still acts as {name} in {name}, from the last change of ISOLATION." for name in site.names
    ]
    (hint,) = {tenant.obstacle.hint for tenant in site.plan(is_shared=True).tenants if tenant.obstacle} - {""}
    assert hint == (
        f"Finish that first: with the ISOLATION of then restart what runs as {site.app.user}, run create_tenant_dbs "
        "--finish, then come back."
    )
    with site.login(one).connect(one) as own:
        own.execute("SELECT 1")
    assert site.run(finish=True) == [None, None]
    assert site.run(is_shared=True) == [None, None]


def test_somebody_elses_role_keeps_its_password(one_site):
    site = one_site
    one = site.names[0]
    theirs = site.postgres.make_role(one, PASSWORD)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT {} TO postgres WITH ADMIN OPTION").format(sql.Identifier(one)))
    first, second = site.run()
    assert (first, second) == (f"The role {one} exists and no secret has its password: somebody else's.", None)
    theirs.connect("postgres").close()
    assert PREFIX + one not in site.fake.secrets
    assert site.run(adopt=True) == [None, None]
    prove(site.login(one), one)


def test_a_password_that_has_drifted_is_set_to_the_secrets(one_site):
    site = one_site
    one = site.names[0]
    site.run()
    with site.postgres.admin() as admin:
        verifier = scram(admin, one, Secret("another-password"))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(one), sql.Literal(verifier)))
    assert [tenant.steps for tenant in site.plan().tenants] == [(SetPassword(one),), ()]
    assert site.run() == [None, None]


def rotate(site: Site, name: str, *, is_finished: bool) -> None:
    document = site.document(name) | {"password": "rotated-password-rotated-password-rotated"}
    stages = ["AWSCURRENT"] if is_finished else ["AWSPENDING"]
    site.fake.put_secret_value(SecretId=PREFIX + name, SecretString=json.dumps(document), VersionStages=stages)
    with site.postgres.admin() as admin:
        verifier = scram(admin, name, Secret(document["password"]))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)))


def test_a_rotation_between_plan_and_apply_keeps_its_password(one_site):
    """The plan is made from the password before it; set is the one that the secret holds when it is set."""
    site = one_site
    one = site.names[0]
    site.run()
    with site.postgres.admin() as admin:
        verifier = scram(admin, one, Secret("drifted-before-the-plan"))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(one), sql.Literal(verifier)))
    with locked(site.postgres.master, wait=30) as connection:
        tenancy = site.tenancy(connection)
        plan = tenancy.plan()
        rotate(site, one, is_finished=True)
        assert errors(tenancy.apply(plan, Told(lambda step: None))) == [None, None]
    prove(site.login(one), one)


SHARED = "rds/shop/shared"


def shared_tenancy(site: Site, connection: Connection) -> Tenancy:
    store = SecretStore(cast(Any, site.fake), SHARED, "us-east-1")
    return replace(site.tenancy(connection, is_shared=True), shared_secret=store)


def rotate_shared(site: Site, *stages: str, password: str = "rotated-password-rotated-password-rotated") -> None:
    """The role's password first, then the secret's, as AWS's rotation does."""
    with site.postgres.admin() as admin:
        verifier = scram(admin, site.app.user, Secret(password))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(site.app.user), sql.Literal(verifier)))
    if stages:
        document = json.dumps({"password": password})
        site.fake.put_secret_value(SecretId=SHARED, SecretString=document, VersionStages=list(stages))


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (("AWSCURRENT",), None),
        (("AWSPENDING",), f"A rotation of {SHARED} is under way: the password was left as it is."),
        ((), "password authentication failed"),
    ],
    ids=["finished", "under way", "only the role's"],
)
def test_a_shared_password_that_is_rotated_between_plan_and_proof_is_read_once_more(one_site, stages, sentence):
    site = one_site
    site.run(is_shared=True)
    site.fake.create_secret(Name=SHARED, SecretString=json.dumps({"password": PASSWORD.reveal()}))
    with locked(site.postgres.master, wait=30) as connection:
        tenancy = shared_tenancy(site, connection)
        plan = tenancy.plan()
        rotate_shared(site, *stages)
        site.fake.calls.clear()
        found = errors(tenancy.apply(plan, Told(lambda step: None)))
    if sentence is None:
        assert found == [None, None]
    else:
        assert [sentence in (error or "") for error in found] == [True, True]
    assert site.fake.calls.count("Describe") == 2, "one look for each tenant, and never another"


def test_while_a_rotation_is_under_way_no_password_is_set(one_site):
    site = one_site
    one = site.names[0]
    site.run()
    rotate(site, one, is_finished=False)
    first, second = site.run()
    assert first == f"A rotation of {PREFIX}{one} is under way: the password was left as it is."
    assert second is None
    pending = Login(site.postgres.address, one, Secret("rotated-password-rotated-password-rotated"))
    pending.connect(one).close()


@pytest.mark.parametrize(
    ("put", "sentence"),
    [
        (
            {"SecretString": '{"username": "else"}'},
            "The secret {secret} has username else, not {name}; it was left alone.",
        ),
        (
            {"SecretString": '{"dbname": "other"}'},
            "The secret {secret} has dbname other, not {name}; it was left alone.",
        ),
        ({"SecretBinary": b"x"}, "The secret {secret} holds binary data (SecretBinary), not text."),
        ({"SecretString": "[]"}, "The secret {secret} is JSON, but not an object."),
    ],
)
def test_a_secret_that_is_not_the_tenants_stops_that_tenant_only(one_site, put, sentence):
    site, name = one_site, one_site.names[0]
    site.fake.create_secret(Name=PREFIX + name, **put)
    first, second = site.run()
    assert (first, second) == (sentence.format(secret=PREFIX + name, name=name), None)
    assert site.postgres.snapshot([name]) == []


def test_a_secret_that_is_scheduled_for_deletion(one_site):
    site, name = one_site, one_site.names[0]
    site.fake.create_secret(Name=PREFIX + name, SecretString="{}")
    site.fake.stored.deleted = True
    first, second = site.run()
    assert (first, second) == (f"The secret {PREFIX}{name} in us-east-1 is scheduled for deletion.", None)


def test_an_empty_secret_gets_its_first_value_and_an_old_one_is_completed(one_site):
    site = one_site
    one, two = site.names
    site.fake.create_secret(Name=PREFIX + one)
    kept = {"password": "kept-password-kept-password-kept-password", "port": 1, "note": {"of": "somebody's"}}
    site.fake.create_secret(Name=PREFIX + two, SecretString=json.dumps(kept))
    assert site.run() == [None, None]
    assert site.document(two) == {
        **kept,
        "engine": "postgres",
        "host": site.postgres.address.host,
        "port": site.postgres.address.port,
        "username": two,
        "dbname": two,
    }


def test_a_role_of_another_tenants_that_gets_in_is_found(site):
    """Membership, and CONNECT granted outright: neither is seen in the owner or in PUBLIC."""
    one, two = site.names
    site.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (one, two))))
    assert errors(site.verify()) == [f"{two} may connect to {one}, directly or as a member of who may.", None]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(*map(sql.Identifier, (one, two))))
        admin.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (one, two))))
    sentence = f"The role {two} exists and has {one}, which an application must not have; nothing was changed."
    assert errors(site.verify())[1] == sentence
    assert site.run()[1] == sentence


def test_the_former_role_with_a_way_in_of_its_own_is_found(site):
    """Until --finish it may come in as a member of the owner, which --finish ends; what is granted outright stays."""
    one = site.names[0]
    site.run(is_shared=True)
    site.run()
    assert errors(site.verify()) == [None, None]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (one, site.app.user))))
    sentence = f"{site.app.user} may connect to {one}, directly or as a member of who may."
    assert errors(site.verify()) == [sentence, None]


def test_a_former_role_that_came_back_since_the_plan_keeps_its_way_in(one_site):
    site = one_site
    one, _ = site.names
    site.run(is_shared=True)
    site.run()
    with locked(site.postgres.master, wait=30) as connection:
        tenancy = site.tenancy(connection, finish=True)
        plan = tenancy.plan()
        assert plan.tenants[0].steps == (ShutOutFormerRole(one, site.app.user),)
        with site.app.connect(one) as running:
            first, second = errors(tenancy.apply(plan, Told(lambda step: None)))
            running.execute("CREATE TABLE still_there (id integer)")
    assert (first, second) == (
        f"Somebody else changed the server meanwhile: {site.app.user} works in a database of {one} again; it keeps its "
        "way in.",
        None,
    )
    site.app.connect(one).close()


def test_a_role_at_its_connection_limit_is_in_nobody_elses_way(site):
    one, two = site.names
    site.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(one)))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(two)))
    first, second = site.plan().tenants
    assert (first.steps, second.steps) == ((), (ShutOutPublic(two, two),))
    assert f'too many connections for role "{one}"' in str(first.obstacle)
    first_error, second_error = site.run()
    assert (first_error, second_error) == (str(first.obstacle), None)


def test_a_login_that_could_not_be_tried_is_no_proof(site):
    one, two = site.names
    site.run()
    document = {key: value for key, value in site.document(one).items() if key != "password"}
    site.fake.put_secret_value(SecretId=PREFIX + one, SecretString=json.dumps(document))
    outcomes = tuple(Outcome(tenant) for tenant in site.wanted.tenants)
    with session(site.postgres.master) as connection:
        first, second = errors(site.tenancy(connection)._proved_apart(outcomes))
    assert first == (
        f"The secret {PREFIX}{one} has no password any more, so its login was not tried at other tenants' databases."
    )
    assert (second, two) == (None, site.names[1])


def test_a_role_that_reaches_rds_iam_is_refused_and_the_other_tenant_is_made(site):
    one = site.names[0]
    site.postgres.make_role(one, PASSWORD)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT rds_iam TO {}").format(sql.Identifier(one)))
    first, second = site.run()
    assert first == f"The role {one} exists and has rds_iam, which an application must not have; nothing was changed."
    assert (second, site.postgres.snapshot([one])) == (None, [])


def test_a_tenant_added_later_is_as_far_apart(site):
    first = site.wanted.tenants[:1]
    assert site.run(tenants=first) == [None]
    assert site.run() == [None, None]
    one, two = site.names
    assert (refused(site.login(one), two), refused(site.login(two), one)) == (ConnectionFailure.NO_CONNECT,) * 2
    assert {row[4] for row in site.postgres.snapshot(site.names)} == {MARK}


def test_a_master_that_lost_its_admin_option(site):
    """As of a role that was made before an upgrade to 16: it may be neither granted nor given a password."""
    if site.postgres.version < 16:
        pytest.skip("before 16 CREATEROLE is enough")
    one = site.names[0]
    site.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("REVOKE {} FROM postgres CASCADE").format(sql.Identifier(one)))
        verifier = scram(admin, one, Secret("drifted"))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(one), sql.Literal(verifier)))
    before = site.postgres.snapshot(site.names)
    first, second = site.run()
    assert first == (
        f"postgres may not set the password of {one}: somebody else made that role, or it was made before an upgrade "
        "to PostgreSQL 16."
    )
    assert (second, site.postgres.snapshot(site.names)) == (None, before)


def membership(site: Site, role: str) -> list[tuple[Any, ...]]:
    """Whether a grant of `role` to the master inherits, and lets it SET ROLE; that of CREATE ROLE aside."""
    with site.postgres.admin() as admin:
        rows = admin.execute(
            "SELECT inherit_option, set_option FROM pg_auth_members WHERE roleid = %s::regrole "
            "AND member = 'postgres'::regrole AND NOT admin_option",
            [role],
        ).fetchall()
    return [tuple(row) for row in rows]


def test_a_master_that_may_set_a_role_and_does_not_inherit_it_moves_all_the_same(site):
    """As with createrole_self_grant = 'set': a plain GRANT would leave that grant as it is."""
    if site.postgres.version < 16:
        pytest.skip("before 16 a membership has no options")
    one = site.names[0]
    site.run(is_shared=True)
    with site.app.connect(one) as running:
        running.execute("CREATE TABLE shop (id bigserial)")
    with session(site.postgres.master) as master:
        master.execute("SET createrole_self_grant = 'set'")
        master.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(one)))
    assert membership(site, one) == [(False, True)]
    assert GrantToMaster(one) in site.plan(adopt=True).tenants[0].steps
    assert site.run(adopt=True) == [None, None]
    assert (membership(site, one), site.plan().is_empty) == ([(True, True)], True)


def test_a_master_that_can_never_inherit_a_role_does_not_begin_to_move(site):
    if site.postgres.version < 16:
        pytest.skip("before 16 a membership has no options")
    one = site.names[0]
    login = site.secrets.write(WriteSecret(PREFIX + one, one, KEYS, is_new=True))
    site.postgres.make_role(one, login.password)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT {} TO postgres WITH INHERIT FALSE, SET TRUE").format(sql.Identifier(one)))
    with session(site.postgres.master) as master:
        master.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    with site.postgres.master.connect(one) as inside:
        inside.execute("CREATE TABLE shop (id bigserial)")
    before = site.postgres.snapshot([one])
    assert site.run(adopt=True) == [
        f"postgres does not inherit from {one}: what is in its database could not be handed over; nothing was changed.",
        None,
    ]
    (hint,) = [tenant.obstacle.hint for tenant in site.plan(adopt=True).tenants if tenant.obstacle]
    assert (hint, site.postgres.snapshot([one])) == (
        f"As whoever made {one}: GRANT {one} TO postgres WITH INHERIT TRUE",
        before,
    )
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT {} TO postgres WITH INHERIT TRUE").format(sql.Identifier(one)))
    assert site.run(adopt=True) == [None, None]


def test_no_password_reaches_a_table_that_a_tenant_may_read(one_site):
    site = one_site
    one = site.names[0]
    site.run()
    password = site.document(one)["password"]
    assert password not in site.postgres.log()
    with site.login(one).connect(one) as own, pytest.raises(pg.InsufficientPrivilege):
        own.execute("SELECT rolpassword FROM pg_authid")
