"""The role that owns the databases, and roles that log in as members of it, as with AWS's rotation of two users."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import sql

from deploytools.errors import ConnectionFailed, DatabaseError, UnmanagedDatabase
from deploytools.postgres.connections import session
from deploytools.tenants.catalog import password_works
from deploytools.tenants.operations import AssignLogin, CreateOwner, CreateRole, Operation
from deploytools.tenants.options import DesiredState
from deploytools.tenants.plan import DatabasePlan
from deploytools.tenants.provisioning import TenantProvisioner
from deploytools.tenants.sql_script import sql_script
from tests.management.runner import run
from tests.postgres_server import scram
from tests.tenants.sites import PASSWORD, Site, errors, make_separate_site
from tests.tenants.test_sql_script import DONE, psql


def rotate(site: Site) -> str:
    """Create the second user as AWS's function for alternating users does, with the master user."""
    clone = f"{site.app.user}_clone"
    with session(site.master) as master:
        values = {
            "owner": sql.Identifier(site.app.user),
            "clone": sql.Identifier(clone),
            "password": sql.Literal(scram(master, clone, PASSWORD)),
        }
        master.execute(sql.SQL("CREATE ROLE {clone} WITH LOGIN PASSWORD {password}").format(**values))
        master.execute(sql.SQL("GRANT {owner} TO {clone}").format(**values))
    return clone


def with_login(site: Site, login: str, *, is_known: bool = True) -> Site:
    """Return the site whose secret has `login` as ``username`` and, if known, its owner."""
    owner = site.app.user if is_known else login
    desired = replace(site.desired, app_role=owner, login=login)
    return replace(site, app=replace(site.app, user=login), desired=desired)


def owners(site: Site, database: str) -> set[tuple[str, str]]:
    with site.postgres.admin(database) as admin:
        rows = admin.execute(
            "SELECT relname::text AS name, pg_get_userbyid(relowner)::text AS owner FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        return {(row.name, row.owner) for row in rows}


@pytest.mark.slow
def test_second_login_is_never_taken_for_the_owner(site):
    site.run()
    with site.app.connect(site.names[0]) as application:
        application.execute("CREATE TABLE note (id integer)")
    before = site.postgres.snapshot(site.names)
    rotated = with_login(site, rotate(site), is_known=False)
    with pytest.raises(UnmanagedDatabase) as caught:
        rotated.run()
    owner, login = site.app.user, rotated.app.user
    assert str(caught.value) == (
        f"{login} (username in the secret) is a member of {owner}, which owns 2 databases of the tenants. "
        "Nothing was changed."
    )
    assert caught.value.hint == (
        f"If {login} is a second login of {owner}, run: python manage.py sync_secrets --set owner={owner}"
    )
    assert site.postgres.snapshot(site.names) == before


@pytest.mark.slow
def test_objects_of_both_logins_belong_to_the_owner(site):
    site.run()
    one, owner = site.names[0], site.app.user
    rotated = with_login(site, rotate(site))
    with rotated.app.connect(one) as application:  # Before the next run: AWS's function does not set its role.
        application.execute("CREATE TABLE early (id integer)")
    with session(site.master) as connection:
        results = rotated.provisioner(connection).plan()
    assert AssignLogin(owner, rotated.app.user) in results.role_steps
    assert [list(map(str, plan.steps)) for plan in results.tenants] == [
        [f"transfer ownership of 1 object in {one} from {rotated.app.user} to {owner}"],
        [],
    ]
    assert errors(rotated.run()) == [None, None]
    with rotated.app.connect(one) as application:
        application.execute("CREATE TABLE late (id integer); INSERT INTO early VALUES (1)")
    with site.app.connect(one) as application:  # Processes that still run with the other login.
        application.execute("ALTER TABLE late ADD text text; ALTER TABLE early ADD text text")
    assert owners(site, one) == {("early", owner), ("late", owner)}
    assert rotated.plan().is_empty
    for current in (rotated, site):
        with session(current.master) as connection:
            provisioner = current.provisioner(connection)
            assert errors(provisioner.verify()) == [None, None]
            assert not any(rotated.app.user in note for _, note in provisioner.notes())


@pytest.mark.slow
def test_both_roles_are_created_on_an_empty_server(site):
    login = f"{site.app.user}_clone"
    empty = with_login(site, login)
    done: list[Operation] = []
    assert errors(empty.run(done.append)) == [None, None]
    assert [step for step in done if isinstance(step, CreateOwner | CreateRole | AssignLogin)] == [
        CreateOwner(site.app.user),
        CreateRole(login),
        AssignLogin(site.app.user, login),
    ]
    assert empty.plan().is_empty
    assert {row[1] for row in site.postgres.snapshot(site.names)} == {site.app.user}
    with pytest.raises(ConnectionFailed):
        site.app.connect(site.names[0])


@pytest.mark.slow
def test_script_creates_both_roles(one_site):
    rotated = with_login(one_site, f"{one_site.app.user}_clone")
    script = sql_script(rotated.desired, {rotated.app.user: rotated.app})
    for _ in range(2):
        assert psql(one_site.master, script) == DONE
    assert rotated.plan().is_empty
    assert errors(rotated.run()) == [None, None]


@pytest.mark.slow
def test_login_whose_membership_does_not_suffice_is_corrected(site):
    """Without INHERIT it cannot connect; without SET it does not act as the owner, and PostgreSQL reports nothing."""
    if site.postgres.version < 16:
        pytest.skip("A membership has options from 16 on.")
    site.run()
    rotated = with_login(site, rotate(site))
    rotated.run()
    for option in ("INHERIT", "SET"):
        with session(site.master) as master:
            names = map(sql.Identifier, (site.app.user, rotated.app.user))
            master.execute(sql.SQL(f"GRANT {{}} TO {{}} WITH {option} FALSE").format(*names))
        assert rotated.plan().role_steps == (AssignLogin(site.app.user, rotated.app.user),)
        assert errors(rotated.run()) == [None, None]


@pytest.mark.slow
def test_login_that_does_not_act_as_the_owner_fails_the_verification(one_site):
    """As with the minor versions that ignore ALTER ROLE … SET role."""
    site = one_site
    site.run()
    rotated = with_login(site, rotate(site))
    rotated.run()

    def reset(step: object) -> None:
        with session(site.master) as master:
            master.execute(sql.SQL("ALTER ROLE {} RESET role").format(sql.Identifier(rotated.app.user)))

    with session(site.master) as master:
        master.execute(sql.SQL("ALTER ROLE {} RESET role").format(sql.Identifier(rotated.app.user)))
    login, owner = rotated.app.user, site.app.user
    assert (
        errors(rotated.run(reset))
        == [f"{login} acts as {login}, expected {owner}: {login} would own the tables that it creates."] * 2
    )


@pytest.mark.slow
def test_login_with_excess_permissions_is_refused(one_site):
    one_site.run()
    rotated = with_login(one_site, rotate(one_site))
    with one_site.postgres.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(rotated.app.user)))
    with pytest.raises(DatabaseError, match=f"Role {rotated.app.user} has CREATEDB"):
        rotated.run()


@pytest.mark.slow
def test_session_of_the_second_login_keeps_the_access_of_the_previous_owner(one_postgres):
    """The change to a role per tenant, while the application runs as the second login of the shared role."""
    for site in make_separate_site(one_postgres):
        one, _ = site.names
        assert site.run(is_shared=True) == [None, None]
        clone = rotate(Site(one_postgres, one_postgres.master, site.app, site.desired))
        running = replace(site.app, user=clone)
        with running.connect(one) as application:
            assert site.run() == [None, None]
            assert errors(site.verify()) == [None, None]
            first, second = site.run(finish=True)
            assert (first, second) == (f"{site.app.user} still uses {one} (1 session); its access was kept.", None)
            application.execute("CREATE TABLE still_there (id integer)")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["owner", "APP_ROLE"])
def test_rotated_secret(capsys, deployment, settings, key):
    """The commands with the secret that AWS's function for alternating users writes."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    postgres, role = deployment.postgres, deployment.role
    app = replace(deployment.login(), user=role)
    clone = rotate(Site(postgres, postgres.master, app, DesiredState(role, ())))
    deployment.put(username=clone, password=PASSWORD.reveal())
    refused = run(capsys, "create_tenant_dbs", "--plan")
    assert refused.code == 1
    assert f"Hint: If {clone} is a second login of {role}, run: python manage.py sync_secrets --set owner={role}" in (
        refused.err
    )
    checked = run(capsys, "verify_deploy", "--only", "databases.owner")
    assert f"owned by {role}, expected {clone}, which is a member of {role}" in " ".join(checked.out.split())
    assert f"sync_secrets --set owner={role}" in checked.out

    if key == "owner":
        assert run(capsys, "sync_secrets", "--set", f"owner={role}", "--noinput").code == 0
    else:
        settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"APP_ROLE": role}
    applied = run(capsys, "create_tenant_dbs", "--noinput")
    assert (applied.code, "transfer ownership of" in applied.out) == (0, False)
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    assert run(capsys, "create_tenant_dbs", "--verify").code == 0
    assert run(capsys, "check_rds").code == 0
    checked = run(capsys, "verify_deploy", "--only", "databases.owner", "databases.role-privileges")
    assert checked.code == 0, checked.out
    assert password_works(replace(deployment.login(), user=clone))


@pytest.mark.slow
def test_password_of_the_other_login_is_never_set(capsys, deployment, monkeypatch):
    """A rotation between the plan and the run: by then the secret has the password of the other login."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    role = deployment.role
    with session(deployment.postgres.master) as master:
        master.execute(sql.SQL("ALTER ROLE {} PASSWORD 'something else'").format(sql.Identifier(role)))
    plan = TenantProvisioner.plan

    def plan_then_rotate(self: TenantProvisioner) -> DatabasePlan:
        planned = plan(self)
        deployment.put(username=f"{role}_clone", password=PASSWORD.reveal(), owner=role)
        return planned

    monkeypatch.setattr(TenantProvisioner, "plan", plan_then_rotate)
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert f"since the plan was made: username in the secret is {role}_clone, not {role}." in result.err
    assert not password_works(replace(deployment.login(), user=role))
