"""`rotate_credentials password --tenant`: the two logins of one tenant's own role, in the tenant's own secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from deploytools.tenants.isolation import assert_login_denied
from tests.conftest import versions
from tests.deployment import Deployment
from tests.management.runner import ROTATE, Result, rotate_credentials, run

CHECKS = ("databases.owner", "databases.login", "databases.table-privileges", "databases.role-privileges")

pytestmark = pytest.mark.slow


@pytest.fixture
def made(capsys, deployment: Deployment, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The deployment with a role and a secret for each tenant."""
    isolation = {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": f"{deployment.name}/tenant/"}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | isolation
    for name, value in {**deployment.environment, **isolation}.items():
        monkeypatch.setenv(name, value)  # For the processes of migrate_tenants.
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


def own(made: Deployment, tenant: str) -> dict[str, Any]:
    """Return the tenant's own secret."""
    return made.document(f"{made.name}/tenant/{tenant}")


def login_of(made: Deployment, document: dict[str, Any]) -> Login:
    return Login(made.postgres.address, document["username"], Secret(document["password"]))


def rotate(capsys: pytest.CaptureFixture[str], tenant: str, *options: str) -> Result:
    return rotate_credentials(capsys, "password", "--tenant", tenant, *options)


def failures(capsys: pytest.CaptureFixture[str]) -> list[Result]:
    """Return what the commands find that is not in order."""
    return [
        result for options in (["--check"], ["--verify"]) if (result := run(capsys, "create_tenant_dbs", *options)).code
    ]


@pytest.mark.parametrize("one_postgres", versions({14, 15, 16, 17, 18}), indirect=True)
def test_two_rotations_of_one_tenant(capsys, made: Deployment):
    one, two = made.tenants
    shared, others, first = made.document(), own(made, two), own(made, one)
    for login in (f"{one}_b", one):
        former = own(made, one)
        result = rotate(capsys, one)
        assert result.code == 0, result
        assert f"python manage.py rotate_credentials password --tenant {one} --finish" in result.out
        new = own(made, one)
        assert (new["username"], new["owner"], new["password"] != former["password"]) == (login, one, True)
        assert failures(capsys) == []
        for document in (former, new):
            login_of(made, document).connect(one).close()
            assert_login_denied(login_of(made, document), two)
        assert_login_denied(login_of(made, others), one)
        assert rotate(capsys, one, "--finish").code == 0
        with pytest.raises(ConnectionFailed) as caught:
            login_of(made, former).connect(one)
        assert caught.value.kind is ConnectionFailure.PASSWORD
        assert failures(capsys) == []
        assert run(capsys, "migrate_tenants", "--noinput").code == 0
        assert run(capsys, "verify_deploy", "--only", *CHECKS).code == 0
        with made.postgres.admin(one) as admin:
            owners = admin.execute("SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'public'")
            assert owners.fetchall() == [(one,)]
    assert (made.document(), own(made, two)) == (shared, others)
    assert own(made, one)["password"] != first["password"]


def test_second_login_is_repaired_and_recreated(capsys, made: Deployment):
    """The secret has the second login: create_tenant_dbs restores what it lacks, and both roles on an empty server."""
    one, _ = made.tenants
    assert rotate(capsys, one).code == 0
    assert rotate(capsys, one, "--finish").code == 0
    with made.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {one}_b RESET role; ALTER ROLE {one}_b PASSWORD 'another'".encode())
    plan = run(capsys, "create_tenant_dbs", "--check")
    assert (plan.code, f"set the password of role {one}_b" in plan.out) == (1, True), plan
    assert f"set role of {one}_b to {one}" in plan.out
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    assert failures(capsys) == []
    with made.postgres.admin() as admin:
        admin.execute(f"DROP DATABASE {one} WITH (FORCE)".encode())
        admin.execute(f"DROP ROLE {one}_b".encode())
        admin.execute(f"DROP ROLE {one}".encode())
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert result.code == 0, result
    assert failures(capsys) == []
    login_of(made, own(made, one)).connect(one).close()


def test_connect_of_the_second_login_of_another_tenant_is_found(capsys, made: Deployment):
    one, two = made.tenants
    assert rotate(capsys, two).code == 0
    with made.postgres.admin() as admin:
        admin.execute(f"GRANT CONNECT ON DATABASE {one} TO {two}_b".encode())
    result = run(capsys, "create_tenant_dbs", "--verify")
    assert (result.code, f"{two}_b can connect to {one}" in result.out) == (2, True), result


def test_the_former_login_of_a_tenant_is_open_for_some_days(capsys, made: Deployment, settings: Any):
    """The time of the rotation is in the tenant's own secret."""
    one = made.tenants[0]
    made.database["NAME"] = one
    assert rotate(capsys, one).code == 0
    result = run(capsys, "verify_deploy", "--only", "secret.former-login")
    assert f"{one} is open since the rotation on" in result.out, result
    assert (result.code, f"rotate_credentials password --tenant {one} --finish" in result.out) == (0, True)


def test_a_write_during_a_rotation_names_the_tenant(capsys, made: Deployment, monkeypatch):
    one = made.tenants[1]
    with monkeypatch.context() as patched, pytest.raises(TypeError):
        patched.setattr("deploytools.rotation.rotator.Rotator.test_login", None)
        rotate(capsys, one)
    document = own(made, one) | {"port": 1}
    made.client.put_secret_value(SecretId=f"{made.name}/tenant/{one}", SecretString=json.dumps(document))
    result = run(capsys, "create_tenant_dbs", "--noinput")
    hint = f"or to cancel it with --abort, run: python manage.py rotate_credentials password --tenant {one}"
    assert (result.code, hint in result.out + result.err) == (1, True), result
    assert rotate(capsys, one).code == 0


def test_only_with_a_tenant(capsys, made: Deployment, settings: Any):
    result = run(capsys, "rotate_credentials", "password", *ROTATE)
    assert (result.code, "rotates the login of one tenant." in result.err) == (2, True)
    result = rotate(capsys, "another")
    assert (result.code, 'DEPLOYTOOLS["TENANTS"] has no tenant another.' in result.err) == (2, True)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "shared"}
    result = rotate(capsys, made.tenants[0])
    assert (result.code, "--tenant requires ISOLATION role-per-tenant." in result.err) == (2, True)


def test_script(capsys, made: Deployment):
    """`--sql` of a tenant with a second login can be run on this server, and on an empty one."""
    from tests.tenants.test_sql_script import DONE, psql

    one, two = made.tenants
    assert rotate(capsys, one).code == 0
    assert rotate(capsys, one, "--finish").code == 0
    script = run(capsys, "create_tenant_dbs", "--sql", "-")
    assert script.code == 0, script
    with made.postgres.admin() as admin:
        for database in (one, two):
            admin.execute(f"COMMENT ON ROLE {database} IS 'deploytools: tenant role'".encode())
    assert psql(made.postgres.master, script.out) == DONE
    with made.postgres.admin() as admin:
        admin.execute(f"DROP DATABASE {one} WITH (FORCE)".encode())
        admin.execute(f"DROP ROLE {one}_b, {one}".encode())
    assert psql(made.postgres.master, script.out) == DONE
    assert failures(capsys) == []
