"""A role and a secret per tenant on real servers: created, and changed to while the application is running."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from psycopg import errors as pg
from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connections import Connection, Login, locked_session, session
from deploytools.secrets.document import Secret
from deploytools.secrets.store import SecretStore
from deploytools.tenants import ownership as objects
from deploytools.tenants import provisioning
from deploytools.tenants.credentials import TenantSecrets
from deploytools.tenants.database_operations import (
    AllowConnections,
    ChangeOwner,
    ClearReassignMarker,
    CreateDatabase,
    ReassignObjects,
    RevokePublicConnect,
    SetTenantComment,
)
from deploytools.tenants.isolation import ConnectPrivileges, verify_tenant
from deploytools.tenants.operations import (
    CreateRole,
    GrantPreviousOwner,
    GrantToMaster,
    Operation,
    RevokePreviousOwner,
    SetPassword,
    SetRoleDefaults,
    WriteSecret,
)
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.plan import DatabasePlan
from deploytools.tenants.provisioning import ProvisioningResult, TenantProvisioner
from deploytools.tenants.state import TENANT_COMMENT
from tests.fakes.secretsmanager import Fake
from tests.postgres_server import Postgres, scram
from tests.tenants.test_apply import Killed, Listener, errors

PASSWORD = Secret("correct-horse-battery-staple-0123456789")
PREFIX = "rds/shop/tenant/"
KEYS = ("engine", "host", "port", "username", "dbname", "password")


@dataclass(frozen=True)
class Site:
    """Separate names on a shared server, with separate secrets."""

    postgres: Postgres
    app: Login
    desired: DesiredState
    fake: Fake

    @property
    def names(self) -> list[str]:
        return [tenant.name for tenant in self.desired.tenants]

    @property
    def secrets(self) -> TenantSecrets:
        address = self.postgres.address
        return TenantSecrets(cast(Any, self.fake), "us-east-1", PREFIX, address.host, address.port, address)

    def provisioner(self, connection: Connection, **changes: Any) -> TenantProvisioner:
        desired = replace(self.desired, **changes)
        secrets = None if desired.is_shared else self.secrets
        return TenantProvisioner(connection, self.postgres.master, self.app, desired, secrets)

    def plan(self, **changes: Any) -> DatabasePlan:
        with session(self.postgres.master) as connection:
            return self.provisioner(connection, **changes).plan()

    def run(self, on_step: Callable[[Operation], object] = lambda step: None, **changes: Any) -> list[str | None]:
        with locked_session(self.postgres.master, wait=30) as connection:
            provisioner = self.provisioner(connection, **changes)
            return errors(provisioner.apply(provisioner.plan(), Listener(on_step)))

    def verify(self, **changes: Any) -> tuple[ProvisioningResult, ...]:
        with session(self.postgres.master) as connection:
            return self.provisioner(connection, **changes).verify()

    def document(self, name: str) -> dict[str, Any]:
        stored = self.fake.secrets[PREFIX + name]
        value = stored.versions[stored.labels["AWSCURRENT"]]
        assert value is not None
        return dict(json.loads(value["SecretString"]))

    def login(self, name: str) -> Login:
        return Login(self.postgres.address, name, Secret(self.document(name)["password"]))


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    yield from make_site(postgres)


@pytest.fixture
def one_site(one_postgres: Postgres) -> Iterator[Site]:
    yield from make_site(one_postgres)


def make_site(postgres: Postgres) -> Iterator[Site]:
    name = postgres.fresh_name()
    app = Login(postgres.address, f"{name}_app", PASSWORD)
    desired = DesiredState(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two")), is_shared=False)
    yield Site(postgres, app, desired, Fake(PREFIX + f"{name}_one"))
    postgres.sweep(name)


def refused(login: Login, database: str) -> ConnectionFailure:
    with pytest.raises(ConnectionFailed) as caught:
        login.connect(database)
    return caught.value.kind


def test_each_tenant_gets_its_own_role_and_secret(site):
    one, two = site.names
    assert [tenant.steps for tenant in site.plan().tenants] == [
        (
            WriteSecret(PREFIX + name, name, KEYS, is_new=True),
            CreateRole(name),
            GrantToMaster(name),
            SetRoleDefaults(name, tuple(DesiredState("app", ()).role_defaults.items())),
            CreateDatabase(name),
            RevokePublicConnect(name, "postgres"),
            SetTenantComment(name, "postgres"),
            ChangeOwner(name, "postgres", name),
            AllowConnections(name, name),
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
    """Work as the application between two steps, in an existing session and in a new one."""
    running.execute("INSERT INTO shop (name) VALUES ('meanwhile')")
    with app.connect(database) as another, another.transaction(force_rollback=True):
        another.execute("INSERT INTO item (shop_id) SELECT max(id) FROM shop")
        another.execute("CREATE TABLE migration (id bigserial)")
        another.execute("ALTER TABLE shop ADD COLUMN extra integer")


@pytest.mark.slow
def test_change_from_a_shared_role_while_the_application_runs(site):
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
        assert steps[4:6] == (
            GrantPreviousOwner(one, site.app.user),
            ChangeOwner(one, site.app.user, one, sets_marker=True),
        )
        assert isinstance(steps[6], ReassignObjects)
        assert site.run(lambda step: work(site.app, one, running)) == [None, None]
        running.execute("INSERT INTO item (shop_id) SELECT max(id) FROM shop")

        with site.login(one).connect(one) as own:
            assert own.execute("SELECT count(*) FROM shop WHERE name = 'meanwhile'").fetchone()[0] > 10
            own.execute("INSERT INTO shop (name) VALUES ('own')")
            own.execute("REFRESH MATERIALIZED VIEW counts")
            own.execute('DROP SCHEMA "Odd schema" CASCADE; DROP TYPE size, pair; DROP DOMAIN price')
        assert site.plan().is_empty
        ((note,), _) = (tenant.notes for tenant in site.plan().tenants)
        assert note.startswith(
            f"{site.app.user} can still connect to {one}. Restart the processes that run as {site.app.user}"
        )

        first, second = site.run(finish=True)
        assert first == f"{site.app.user} still uses {one} (1 session); its access was kept."
        assert second is None
    with site.postgres.admin() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [site.app.user]
        )
    assert site.plan(finish=True).tenants[0].steps == (RevokePreviousOwner(one, site.app.user, one),)
    assert site.run(finish=True) == [None, None]
    assert [refused(site.app, name) for name in site.names] == [ConnectionFailure.NO_CONNECT] * 2
    with site.postgres.admin(one) as admin:
        owners = admin.execute("SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = "
                               "'public'::regnamespace").fetchall()  # fmt: skip
        assert [row[0] for row in owners] == [one]
    assert [row[1] for row in site.postgres.snapshot([bystander])] == [site.app.user]
    assert errors(site.verify(finish=True)) == [None, None]
    assert (two, site.plan(finish=True).is_empty) == (site.names[1], True)


@pytest.mark.slow
def test_object_locked_by_a_long_transaction_is_reported_and_the_next_run_continues(site, monkeypatch):
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
                "public.second is locked by a long transaction. The owners of earlier objects were changed.",
                None,
            )
            running.execute("SELECT FROM first, third")
    assert site.plan().tenants[0].steps == (ReassignObjects(one, site.app.user, one, 2), ClearReassignMarker(one, one))
    assert site.run() == [None, None]
    assert site.plan().is_empty


@pytest.mark.slow
@pytest.mark.parametrize("survived", range(15))
def test_next_run_converges_after_a_kill_at_any_step_of_the_change(one_site, survived):
    site = one_site
    site.run(is_shared=True)
    with site.app.connect(site.names[0]) as running:
        running.execute("CREATE TABLE shop (id bigserial)")
    count = iter(range(100))

    def kill(step: Operation) -> None:
        if next(count) == survived:
            raise Killed

    if survived < 14:  # 8 steps for the tenant with a table, 6 for the other.
        with pytest.raises(Killed):
            site.run(kill)
    else:
        assert site.run(kill) == [None, None]
    assert site.run() == [None, None]
    assert site.plan().is_empty
    assert [len(site.fake.secrets[PREFIX + name].versions) for name in site.names] == [1, 1]
    with site.app.connect(site.names[0]) as running:
        running.execute("INSERT INTO shop DEFAULT VALUES")


@pytest.mark.slow
def test_change_back_to_a_shared_role(one_site):
    site = one_site
    one = site.names[0]
    site.run()
    with site.login(one).connect(one) as own:
        own.execute("CREATE TABLE shop (id bigserial)")
        assert site.run(is_shared=True) == [None, None]
        own.execute("INSERT INTO shop DEFAULT VALUES")
    verify_tenant(site.app, one)
    assert site.run(is_shared=True, finish=True) == [None, None]
    assert refused(site.login(one), one) is ConnectionFailure.NO_CONNECT


@pytest.mark.slow
def test_second_change_before_finish_is_refused(one_site):
    site = one_site
    one = site.names[0]
    site.run(is_shared=True)
    site.run()
    assert site.run(is_shared=True) == [
        f"{site.app.user} still has the privileges of {name} in {name}, from the last change of ISOLATION."
        for name in site.names
    ]
    (hint,) = {tenant.error.hint for tenant in site.plan(is_shared=True).tenants if tenant.error} - {""}
    assert hint == (
        'Set DEPLOYTOOLS["ISOLATION"] to "role-per-tenant", restart the application, run: python manage.py '
        "create_tenant_dbs --finish. Then retry."
    )
    with site.login(one).connect(one) as own:
        own.execute("SELECT 1")
    assert site.run(finish=True) == [None, None]
    assert site.run(is_shared=True) == [None, None]


@pytest.mark.slow
def test_unmanaged_role_keeps_its_password(one_site):
    site = one_site
    one = site.names[0]
    role = site.postgres.make_role(one, PASSWORD)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT {} TO postgres WITH ADMIN OPTION").format(sql.Identifier(one)))
    first, second = site.run()
    assert (first, second) == (
        f"Role {one} exists but its password is in no secret; it was not created by this command.",
        None,
    )
    role.connect("postgres").close()
    assert PREFIX + one not in site.fake.secrets
    assert site.run(adopt=True) == [None, None]
    verify_tenant(site.login(one), one)


@pytest.mark.slow
def test_changed_password_is_set_to_the_one_in_the_secret(one_site):
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


@pytest.mark.slow
def test_password_rotated_between_plan_and_apply_is_kept(one_site):
    """The plan is based on the old password; the password in the secret at the time of the step is set."""
    site = one_site
    one = site.names[0]
    site.run()
    with site.postgres.admin() as admin:
        verifier = scram(admin, one, Secret("drifted-before-the-plan"))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(one), sql.Literal(verifier)))
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = site.provisioner(connection)
        plan = provisioner.plan()
        rotate(site, one, is_finished=True)
        assert errors(provisioner.apply(plan, Listener(lambda step: None))) == [None, None]
    verify_tenant(site.login(one), one)


SHARED = "rds/shop/shared"


def shared_tenancy(site: Site, connection: Connection) -> TenantProvisioner:
    store = SecretStore(cast(Any, site.fake), SHARED, "us-east-1")
    return replace(site.provisioner(connection, is_shared=True), shared_secret=store)


def rotate_shared(site: Site, *stages: str, password: str = "rotated-password-rotated-password-rotated") -> None:
    """Change the role's password, then the secret's, as AWS's rotation does."""
    with site.postgres.admin() as admin:
        verifier = scram(admin, site.app.user, Secret(password))
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(site.app.user), sql.Literal(verifier)))
    if stages:
        document = json.dumps({"username": site.app.user, "password": password})
        site.fake.put_secret_value(SecretId=SHARED, SecretString=document, VersionStages=list(stages))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (("AWSCURRENT",), None),
        (("AWSPENDING",), f"A rotation of {SHARED} is in progress; its password was not used."),
        ((), "password authentication failed"),
    ],
    ids=["finished", "in progress", "only the role"],
)
def test_shared_password_rotated_between_plan_and_verification_is_read_again(one_site, stages, sentence):
    site = one_site
    site.run(is_shared=True)
    site.fake.create_secret(
        Name=SHARED, SecretString=json.dumps({"username": site.app.user, "password": PASSWORD.reveal()})
    )
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = shared_tenancy(site, connection)
        plan = provisioner.plan()
        rotate_shared(site, *stages)
        site.fake.calls.clear()
        found = errors(provisioner.apply(plan, Listener(lambda step: None)))
    if sentence is None:
        assert found == [None, None]
    else:
        assert [sentence in (error or "") for error in found] == [True, True]
    assert site.fake.calls.count("Describe") == 2, "one look for each tenant, and never another"


@pytest.mark.slow
def test_no_password_is_set_during_a_rotation(one_site):
    site = one_site
    one = site.names[0]
    site.run()
    rotate(site, one, is_finished=False)
    first, second = site.run()
    assert first == f"A rotation of {PREFIX}{one} is in progress; its password was not used."
    assert second is None
    pending = Login(site.postgres.address, one, Secret("rotated-password-rotated-password-rotated"))
    pending.connect(one).close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("put", "sentence"),
    [
        (
            {"SecretString": '{"username": "else"}'},
            "Secret {secret} has username else, expected {name}; it was not changed.",
        ),
        (
            {"SecretString": '{"dbname": "other"}'},
            "Secret {secret} has dbname other, expected {name}; it was not changed.",
        ),
        ({"SecretBinary": b"x"}, "The secret {secret} contains binary data (SecretBinary), not text."),
        ({"SecretString": "[]"}, "The secret {secret} is JSON, but not an object."),
    ],
)
def test_invalid_secret_stops_only_its_tenant(one_site, put, sentence):
    site, name = one_site, one_site.names[0]
    site.fake.create_secret(Name=PREFIX + name, **put)
    first, second = site.run()
    assert (first, second) == (sentence.format(secret=PREFIX + name, name=name), None)
    assert site.postgres.snapshot([name]) == []


def test_secret_scheduled_for_deletion(one_site):
    site, name = one_site, one_site.names[0]
    site.fake.create_secret(Name=PREFIX + name, SecretString="{}")
    site.fake.stored.deleted = True
    first, second = site.run()
    assert (first, second) == (f"The secret {PREFIX}{name} in us-east-1 is scheduled for deletion.", None)


@pytest.mark.slow
def test_empty_and_incomplete_secrets_are_completed(one_site):
    site = one_site
    one, two = site.names
    site.fake.create_secret(Name=PREFIX + one)
    kept = {"password": "kept-password-kept-password-kept-password", "port": 1, "note": {"of": "other comment"}}
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


@pytest.mark.slow
def test_connect_of_another_tenants_role_is_found(site):
    """By a membership and by CONNECT: neither is visible in the owner or in PUBLIC's privileges."""
    one, two = site.names
    site.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (one, two))))
    assert errors(site.verify()) == [f"{two} can connect to {one}, directly or through a membership.", None]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(*map(sql.Identifier, (one, two))))
        admin.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (one, two))))
    sentence = f"Role {two} has {one}, which an application role must not have; nothing was changed."
    assert errors(site.verify())[1] == sentence
    assert site.run()[1] == sentence


@pytest.mark.slow
def test_login_of_another_tenant_is_tried_on_the_server(site, monkeypatch):
    """The logins find an access path that the check of the catalog does not know."""
    one, two = site.names
    site.run()
    monkeypatch.setattr(provisioning, "read_connect_privileges", lambda *_: ConnectPrivileges({}, {}))
    assert errors(site.verify()) == [None, None]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (one, two))))
    assert errors(site.verify()) == [f"{two} can log in to {one}.", None]
    assert site.run() == [f"{two} can log in to {one}.", None]


@pytest.mark.slow
def test_connect_of_the_previous_owner_by_a_separate_grant_is_found(site):
    """Until --finish it can connect as a member of the owner. --finish does not revoke a separate grant."""
    one = site.names[0]
    site.run(is_shared=True)
    site.run()
    assert errors(site.verify()) == [None, None]
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (one, site.app.user))))
    sentence = f"{site.app.user} can connect to {one}, directly or through a membership."
    assert errors(site.verify()) == [sentence, None]


@pytest.mark.slow
def test_previous_owner_that_connected_after_the_plan_keeps_access(one_site):
    site = one_site
    one, _ = site.names
    site.run(is_shared=True)
    site.run()
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = site.provisioner(connection, finish=True)
        plan = provisioner.plan()
        assert plan.tenants[0].steps == (RevokePreviousOwner(one, site.app.user, one),)
        with site.app.connect(one) as running:
            first, second = errors(provisioner.apply(plan, Listener(lambda step: None)))
            running.execute("CREATE TABLE still_there (id integer)")
    assert (first, second) == (
        f"The server has changed since the plan was made: {site.app.user} is connected to a "
        f"database of {one} again; its access was kept.",
        None,
    )
    site.app.connect(one).close()


@pytest.mark.slow
def test_role_at_its_connection_limit_stops_only_its_tenant(site):
    one, two = site.names
    site.run()
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(one)))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(two)))
    password = Secret(str(site.document(one)["password"]))
    with Login(site.postgres.address, one, password).connect(one):
        first, second = site.plan().tenants
        assert (first.steps, second.steps) == ((), (RevokePublicConnect(two, two),))
        assert f'too many connections for role "{one}"' in str(first.error)
        first_error, second_error = site.run()
        assert (first_error, second_error) == (str(first.error), None)


@pytest.mark.slow
def test_login_that_could_not_be_tried_is_an_error(site):
    one, two = site.names
    site.run()
    document = {key: value for key, value in site.document(one).items() if key != "password"}
    site.fake.put_secret_value(SecretId=PREFIX + one, SecretString=json.dumps(document))
    results = tuple(ProvisioningResult(tenant) for tenant in site.desired.tenants)
    with session(site.postgres.master) as connection:
        provisioner = site.provisioner(connection)
        first, second = errors(provisioner._verify_isolation(provisioner.plan(), results))
    assert first == (
        f"Secret {PREFIX}{one} has no password any more, so its login was not tried on other tenants' databases."
    )
    assert (second, two) == (None, site.names[1])


def test_member_of_rds_iam_is_refused_and_the_other_tenant_is_created(site):
    one = site.names[0]
    site.postgres.make_role(one, PASSWORD)
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT rds_iam TO {}").format(sql.Identifier(one)))
    first, second = site.run()
    assert first == f"Role {one} has rds_iam, which an application role must not have; nothing was changed."
    assert (second, site.postgres.snapshot([one])) == (None, [])


@pytest.mark.slow
def test_tenant_added_later_is_isolated(site):
    first = site.desired.tenants[:1]
    assert site.run(tenants=first) == [None]
    assert site.run() == [None, None]
    one, two = site.names
    assert (refused(site.login(one), two), refused(site.login(two), one)) == (ConnectionFailure.NO_CONNECT,) * 2
    assert {row[4] for row in site.postgres.snapshot(site.names)} == {TENANT_COMMENT}


@pytest.mark.slow
def test_master_without_admin_option(site):
    """Like a role created before an upgrade to 16: the master cannot grant it or set its password."""
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
        f"postgres is not allowed to set the password of {one}: another role created that role, or it was created "
        "before an upgrade to PostgreSQL 16."
    )
    assert (second, site.postgres.snapshot(site.names)) == (None, before)


def membership(site: Site, role: str) -> list[tuple[Any, ...]]:
    """Whether a grant of `role` to the master has INHERIT and SET, other than the one of CREATE ROLE."""
    with site.postgres.admin() as admin:
        rows = admin.execute(
            "SELECT inherit_option, set_option FROM pg_auth_members WHERE roleid = %s::regrole "
            "AND member = 'postgres'::regrole AND NOT admin_option",
            [role],
        ).fetchall()
    return [tuple(row) for row in rows]


@pytest.mark.slow
def test_master_with_set_but_without_inherit_changes_owners(site):
    """As with createrole_self_grant = 'set': a GRANT without options would not change that grant."""
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


@pytest.mark.slow
def test_master_that_cannot_inherit_changes_nothing(site):
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
        f"postgres does not inherit from {one}, so it cannot transfer the objects in its database; nothing was "
        "changed.",
        None,
    ]
    (hint,) = [tenant.error.hint for tenant in site.plan(adopt=True).tenants if tenant.error]
    assert (hint, site.postgres.snapshot([one])) == (
        f'As the role that created {one}: GRANT "{one}" TO "postgres" WITH INHERIT TRUE',
        before,
    )
    with site.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT {} TO postgres WITH INHERIT TRUE").format(sql.Identifier(one)))
    assert site.run(adopt=True) == [None, None]


@pytest.mark.slow
def test_no_password_in_tables_that_tenants_can_read(one_site):
    site = one_site
    one = site.names[0]
    site.run()
    password = site.document(one)["password"]
    assert password not in site.postgres.log()
    with site.login(one).connect(one) as own, pytest.raises(pg.InsufficientPrivilege):
        own.execute("SELECT rolpassword FROM pg_authid")
