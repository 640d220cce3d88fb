"""The rotation function of AWS's contract: four steps, each twice, out of order, and what it refuses."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import permutations
from typing import Any

import pytest

from deploytools.errors import ConfigurationError, ConnectionFailed, DeployError, Refused
from deploytools.postgres.connections import Login, ServerAddress
from deploytools.rotation.lambda_handler import STEPS, handler
from deploytools.secrets.document import Secret
from deploytools.secrets.versions import ROTATING
from tests.deployment import Deployment
from tests.fakes.errors import Crash
from tests.fakes.secretsmanager import CURRENT, PENDING
from tests.management.runner import ROTATE, run
from tests.rotation.aws_rotation import TOKEN, begin_rotation, function_environment
from tests.rotation.world import FIRST, NAME, Poller, World

OTHER_TOKEN = "o" * 32


def set_environment(monkeypatch: pytest.MonkeyPatch, address: ServerAddress) -> None:
    for name, value in function_environment(address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("deploytools.rotation.lambda_handler.LOCK_WAIT", 60)


@pytest.fixture
def function(made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world with the function's environment, and rotation enabled."""
    address, master = made.postgres.address, made.postgres.master
    set_environment(monkeypatch, address)
    monkeypatch.setattr("deploytools.aws.client", lambda service, region: made.fake)
    login = json.dumps({"username": master.user, "password": master.password.reveal()})
    made.fake.create_secret(Name="master", SecretString=login, ClientRequestToken="m" * 32)
    write(made, host=address.host, port=address.port, masterarn="master")
    made.fake.rotate_secret(SecretId=NAME, ClientRequestToken=TOKEN)
    return made


def write(made: World, **values: Any) -> None:
    """Write the secret as another program."""
    made.fake.put_secret_value(SecretId=NAME, SecretString=json.dumps(made.document() | values))


def invoke(step: str, token: str = TOKEN) -> None:
    handler({"SecretId": NAME, "ClientRequestToken": token, "Step": step}, None)


def rotate(token: str = TOKEN) -> None:
    for step in STEPS:
        invoke(step, token)


def test_four_steps(function: World):
    with Poller(function) as poller:
        for step in STEPS:
            assert function.document()["password"] == FIRST
            invoke(step)
    assert (poller.failures, function.fake.stored.labels[CURRENT]) == ([], TOKEN)
    function.require_rotated()
    assert ROTATING not in function.fake.stored.labels
    assert function.document()["owner"] == function.owner


@pytest.mark.slow
def test_each_step_twice(function: World):
    for step in STEPS:
        invoke(step)
        invoke(step)
    function.require_rotated()
    found = function.document()
    for step in STEPS:  # The token is AWSCURRENT: it is done.
        invoke(step)
    assert function.document() == found
    function.require_rotated()


@pytest.mark.slow
def test_other_databases_of_the_owner(function: World):
    """A database that deploytools does not manage is not a tenant's; the secret of AWS's console has a dbname."""
    other = f"{function.name}_other"
    with function.postgres.admin() as admin:
        admin.execute(f"CREATE DATABASE {other} OWNER {function.owner}".encode())
    write(function, dbname=function.database)
    rotate()
    function.require_rotated()


@pytest.mark.slow
def test_the_logins_take_turns(function: World):
    rotate()
    function.fake.rotate_secret(SecretId=NAME, ClientRequestToken=OTHER_TOKEN)
    rotate(OTHER_TOKEN)
    assert (function.document()["username"], function.fake.stored.labels[CURRENT]) == (function.owner, OTHER_TOKEN)
    function.login().connect(function.database).close()


@pytest.mark.slow
@pytest.mark.parametrize("order", [order for order in permutations(STEPS) if order != tuple(STEPS)])
def test_out_of_order(function: World, order: tuple[str, ...]):
    """At no time is a login current that does not work, and the right order completes the rotation."""
    with Poller(function) as poller:
        for step in order:
            with suppress(Refused, ConnectionFailed):
                invoke(step)
        rotate()
    assert poller.failures == []
    function.require_rotated()


@pytest.mark.parametrize("step", list(STEPS)[1:])
def test_an_empty_version(function: World, step: str):
    with pytest.raises(Refused, match="has no login yet"):
        invoke(step)
    assert (function.document()["password"], function.steps) == (FIRST, [])


@pytest.mark.parametrize("step", STEPS)
def test_a_foreign_token(function: World, step: str):
    with pytest.raises(Refused, match="is not one of a rotation"):
        invoke(step, "f" * 31 + "x")
    assert function.document()["password"] == FIRST


@pytest.mark.parametrize("step", STEPS)
def test_a_token_without_pending(function: World, step: str):
    function.fake.put_secret_value(
        SecretId=NAME, ClientRequestToken=OTHER_TOKEN, SecretString="{}", VersionStages=["another"]
    )
    with pytest.raises(Refused, match="is not one of a rotation"):
        invoke(step, OTHER_TOKEN)
    assert function.document()["password"] == FIRST


@pytest.mark.parametrize("step", STEPS)
def test_a_secret_that_does_not_rotate(function: World, step: str):
    function.fake.stored.description["RotationEnabled"] = False
    with pytest.raises(Refused, match=f"Rotation of {NAME} is not enabled"):
        invoke(step)


def test_another_host(function: World):
    invoke("createSecret")
    write(function, host="another.example.com")
    for step in list(STEPS)[1:]:
        with pytest.raises(Refused, match="has host"):
            invoke(step)


def test_a_user_that_is_neither_login(function: World):
    write(function, username="another", owner=function.owner)
    with pytest.raises(ConfigurationError, match="which is neither"):
        invoke("createSecret")
    write(function, username=function.owner)
    pending = json.dumps(function.document() | {"username": "another"})
    function.fake.put_secret_value(
        SecretId=NAME, ClientRequestToken=TOKEN, SecretString=pending, VersionStages=[PENDING, ROTATING]
    )
    for step in list(STEPS)[1:]:
        with pytest.raises(Refused, match="has the login another"):
            invoke(step)


def test_an_unknown_step(function: World):
    with pytest.raises(ConfigurationError, match="not a step"):
        invoke("dropSecret")


@pytest.mark.slow
@pytest.mark.parametrize("after", list(STEPS)[:3])
def test_another_writer_in_between(function: World, after: str):
    """Its keys are kept, in a version that replaces that of the token; a repeated step finds it done."""
    for step in STEPS:
        invoke(step)
        if step == after:
            write(function, added=[1])
    function.require_rotated()
    assert function.document()["added"] == [1]
    found = function.fake.stored.labels[CURRENT]
    assert found != TOKEN
    invoke("finishSecret")
    assert function.fake.stored.labels[CURRENT] == found


@pytest.mark.slow
@pytest.mark.parametrize("call", ["Put", f"Move {CURRENT}", f"Drop {PENDING}", f"Drop {ROTATING}"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_the_last_step(function: World, call: str, when: str):
    """AWS invokes it again."""
    for step in list(STEPS)[:3]:
        invoke(step)
    write(function, added=[1])
    function.fake.on(call, Crash(), when=when)
    with Poller(function) as poller:
        with pytest.raises(Crash):
            invoke("finishSecret")
        invoke("finishSecret")
    function.require_rotated()
    assert (poller.failures, function.document()["added"]) == ([], [1])


@pytest.mark.slow
def test_grace(function: World, monkeypatch):
    monkeypatch.setenv("GRACE", "24h")
    rotate()
    with function.postgres.admin() as admin:
        rows = admin.execute(
            "SELECT rolname::text, rolvaliduntil BETWEEN now() + interval '23:59' AND now() + interval '24:00' "
            "FROM pg_roles WHERE rolname = ANY(%s) ORDER BY rolname", [[function.owner, f"{function.owner}_b"]]
        ).fetchall()  # fmt: skip
    assert rows == [(function.owner, True), (f"{function.owner}_b", False)]
    monkeypatch.setenv("GRACE", "tomorrow")
    with pytest.raises(ConfigurationError, match="GRACE"):
        invoke("finishSecret")


@pytest.mark.slow
def test_a_login_in_use(function: World):
    """A rotation does not change the password of a login that processes still use."""
    with function.login().connect(function.database):
        rotate()
        function.fake.rotate_secret(SecretId=NAME, ClientRequestToken=OTHER_TOKEN)
        with pytest.raises(Refused, match=f"The former login {function.owner} is in use"):
            invoke("createSecret", OTHER_TOKEN)
    function.login().connect(function.database).close()


@pytest.mark.slow
def test_the_command_continues_what_the_function_began(function: World):
    invoke("createSecret")
    invoke("setSecret")
    function.rotate()
    assert function.fake.stored.labels[CURRENT] == TOKEN
    function.require_rotated()
    invoke("testSecret")
    invoke("finishSecret")


def test_an_error_is_logged_with_its_hint(function: World, caplog):
    with suppress(DeployError):
        invoke("testSecret")
    assert "Hint: " in caplog.text
    assert FIRST not in caplog.text


@pytest.mark.slow
def test_on_an_emulator(capsys, settings, deployment: Deployment, monkeypatch, actions):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    address = deployment.postgres.address
    set_environment(monkeypatch, address)
    first = deployment.document()
    begin_rotation(deployment)
    result = run(capsys, "sync_secrets", "--set", "email_host=smtp.other-host.net", "--noinput")
    assert (result.code, "A rotation of" in result.err) == (1, True)
    actions.clear()
    for step in STEPS:
        for _ in range(2):
            handler({"SecretId": deployment.name, "ClientRequestToken": TOKEN, "Step": step}, None)
    found = deployment.document()
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "main"}
    policy = json.loads(run(capsys, "rotate_credentials", "password", "--iam-policy").out)
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert allowed - actions == {"secretsmanager:ListSecretVersionIds"}  # Only the command lists versions.
    assert actions <= allowed
    assert (deployment.versions()[TOKEN], found["username"]) == ([CURRENT], f"{deployment.role}_b")
    for tenant in deployment.tenants:
        Login(address, found["username"], Secret(found["password"])).connect(tenant).close()
    assert run(capsys, "rotate_credentials", "password", *ROTATE, "--finish").code == 0
    with pytest.raises(ConnectionFailed):
        Login(address, first["username"], Secret(first["password"])).connect(deployment.tenants[0])
    assert run(capsys, "create_tenant_dbs", "--check").code == 0


@pytest.mark.slow
def test_the_secret_of_one_tenant(capsys, settings, deployment: Deployment, monkeypatch):
    prefix = f"{deployment.name}/tenant/"
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix}
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    address, master, tenant = deployment.postgres.address, deployment.postgres.master, deployment.tenants[0]
    set_environment(monkeypatch, address)
    monkeypatch.setenv("DEPLOYTOOLS_MASTER_PASSWORD", master.password.reveal())
    name = prefix + tenant
    begin_rotation(deployment, name)
    for step in STEPS:
        handler({"SecretId": name, "ClientRequestToken": TOKEN, "Step": step}, None)
    found = deployment.document(name)
    assert found["username"] == f"{tenant}_b"
    Login(address, found["username"], Secret(found["password"])).connect(tenant).close()
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
