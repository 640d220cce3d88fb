"""`rotate_credentials master_password`, with the password in a secret of ours: faults, and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from deploytools.conf import parse_settings
from deploytools.errors import ConnectionFailed, DeployError, Refused
from deploytools.postgres.connections import Login, locked_session
from deploytools.reports.rotation_text import to_status_text
from deploytools.rotation.rotation_plan import plan_abort, plan_master_rotation
from deploytools.rotation.rotation_state import Credential, RotationState, master_credential
from deploytools.rotation.rotation_store import RotationStore
from deploytools.rotation.rotator import Rotator
from deploytools.secrets.document import Document, Secret
from deploytools.secrets.versions import ROTATING_MASTER
from deploytools.tenants.master import OWN_KEYS, SHARED_KEYS, find_master
from deploytools.tenants.operations import Operation
from tests.deployment import Deployment
from tests.fakes.errors import DENIED, INTERNAL, NO_RESPONSE, THROTTLED, Crash
from tests.fakes.secretsmanager import CURRENT, PENDING, Fake
from tests.management.runner import Result, rotate_credentials, run
from tests.postgres_server import Postgres

FIRST = "first-master-password-0123456789-0123456789"
NAME = "prod"
SHARED, NAMED = master_credential(SHARED_KEYS), master_credential(OWN_KEYS)
STEPS = ["CreateVersion", "SetMasterPassword", "TestMaster", "Switch", "EndRotation"]


class World:
    """A master user that is not a superuser, and its secret in the strict fake."""

    def __init__(self, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, credential: Credential) -> None:
        self.postgres, self.credential = postgres, credential
        self.name = postgres.fresh_name()
        self.user = f"{self.name}_master"
        postgres.make_role(self.user, Secret(FIRST), "CREATEROLE CREATEDB")
        self.fake = Fake(NAME)
        address = postgres.address
        values = {"host": address.host, "port": address.port, "username": "shop_app", "password": "of-the-application"}
        values |= {credential.user_key: self.user, credential.password_key: FIRST, "added": 0}
        self.fake.create_secret(Name=NAME, SecretString=json.dumps(values), ClientRequestToken="f" * 32)
        rds = SimpleNamespace(describe_db_instances=lambda **_: {"DBInstances": [{}]})
        monkeypatch.setattr("deploytools.aws.client", lambda service, region: rds if service == "rds" else self.fake)
        self.settings = parse_settings(
            {
                "SECRET_NAME": NAME,
                "REGION": "us-east-1",
                "HOSTADDR": address.hostaddr,
                "SSLMODE": address.sslmode,
                "SSLROOTCERT": address.sslrootcert,
            }
        )
        self.steps: list[str] = []

    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.fake.current))

    def password(self) -> str:
        return str(self.document()[self.credential.password_key])

    def works(self, password: str) -> bool:
        try:
            Login(self.postgres.address, self.user, Secret(password)).connect("postgres").close()
        except ConnectionFailed:
            return False
        return True

    def run(self, plan: Any, after: int | None = None) -> RotationState:
        """Connect as the commands do, and execute a plan; crash after so many steps."""

        def on_step(step: Operation) -> None:
            self.steps.append(type(step).__name__)
            if len(self.steps) == after:
                raise Crash

        self.steps.clear()
        named = None if self.credential == SHARED else NAME
        secret = Document(self.document())
        master = find_master(self.settings, secret, username=None, named=named, interactive=False)
        client: Any = self.fake
        store = RotationStore(client, NAME, "us-east-1", sleep=lambda _: None, credential=self.credential)
        with locked_session(master.login, wait=60) as connection:
            rotator = Rotator(connection, store, master.login, self.user, (), one_login=True, on_step=on_step)
            rotator.run(plan(rotator.read()))
            return rotator.read()

    def rotate(self, after: int | None = None) -> RotationState:
        return self.run(plan_master_rotation, after)

    def is_complete(self) -> bool:
        return self.password() != FIRST and not {PENDING, ROTATING_MASTER} & self.fake.stored.labels.keys()

    def require_rotated(self) -> None:
        assert self.is_complete()
        assert (self.works(self.password()), self.works(FIRST)) == (True, False)
        found = self.document()
        assert found["rotated_at"].keys() == {self.credential.password_key}
        expected = {"host", "port", "username", "password", "added", "rotated_at", *self.credential_keys()}
        assert found.keys() == expected
        if self.credential == SHARED:
            assert (found["username"], found["password"]) == ("shop_app", "of-the-application")

    def credential_keys(self) -> set[str]:
        return {self.credential.user_key, self.credential.password_key}


@pytest.fixture(params=[SHARED, NAMED], ids=["shared", "named"])
def made(request: pytest.FixtureRequest, one_postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(one_postgres, monkeypatch, request.param)
    yield world
    one_postgres.sweep(world.name)


def test_all_steps(made: World):
    state = made.rotate()
    assert (made.steps, made.fake.stored.labels[CURRENT]) == (STEPS, state.secret.version)
    made.require_rotated()
    assert [call for call in made.fake.calls if call.split()[0] in ("Put", "Move", "Drop")] == [
        "Put", f"Move {PENDING}", f"Move {CURRENT}", f"Drop {PENDING}", f"Drop {ROTATING_MASTER}",
    ]  # fmt: skip
    assert FIRST not in made.postgres.log()
    assert made.password() not in made.postgres.log()


@pytest.mark.slow
@pytest.mark.parametrize("after", range(1, len(STEPS) + 1))
def test_killed_after_each_step(made: World, after: int):
    """The next run logs in with the password that works, and continues with the same version."""
    with pytest.raises(Crash):
        made.rotate(after)
    pending = made.fake.stored.labels.get(PENDING)
    assert made.works(made.password()) is (after < 2 or after > 3)  # Then AWSPENDING has the one that works.
    if after < len(STEPS):
        assert "Complete it:\n  python manage.py rotate_credentials master_password" in to_status_text(
            made.run(lambda s: ())
        )
        assert made.rotate().secret.version == pending
    made.require_rotated()


CALLS = ["Put", f"Move {PENDING}", f"Move {CURRENT}", f"Drop {PENDING}", f"Drop {ROTATING_MASTER}", "Describe",
         "Get version"]  # fmt: skip
REPEATED = ("Describe", "Get version")
FAULTS = {"killed": Crash(), "denied": DENIED, "throttled": THROTTLED, "5xx": INTERNAL, "lost": NO_RESPONSE}


@pytest.mark.slow
@pytest.mark.parametrize("made", [SHARED], ids=["shared"], indirect=True)
@pytest.mark.parametrize("error", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_each_call_fails(made: World, call: str, when: str, error: BaseException):
    for skip in range(3 if call in REPEATED else 1):
        made.fake.on(call, error, when=when, skip=skip)
        with suppress(DeployError, Crash):
            made.rotate()
        assert made.fake.forget() == 0
        if not made.is_complete():
            made.rotate()
        made.require_rotated()


@pytest.mark.slow
def test_another_writer(made: World):
    """What it wrote is kept."""
    with pytest.raises(Crash):
        made.rotate(after=2)
    made.fake.put_secret_value(SecretId=NAME, SecretString=json.dumps(made.document() | {"added": 1}))
    made.rotate()
    assert made.document()["added"] == 1
    made.require_rotated()


@pytest.mark.slow
def test_abort(made: World):
    """Only before PostgreSQL has the new password."""
    with pytest.raises(Crash):
        made.rotate(after=1)
    made.run(plan_abort)
    assert (made.steps, made.password(), made.works(FIRST)) == (["TestCurrent", "CancelVersion"], FIRST, True)
    assert not {PENDING, ROTATING_MASTER} & made.fake.stored.labels.keys()
    with pytest.raises(Refused, match="none is before its switch"):
        made.run(plan_abort)
    with pytest.raises(Crash):
        made.rotate(after=2)
    with pytest.raises(Refused, match="does not have the password of AWSCURRENT any more"):
        made.run(plan_abort)
    made.rotate()
    made.require_rotated()


@pytest.mark.slow
def test_another_writer_changes_the_master_user(made: World):
    """The rotation can only be canceled, and the former master user stays as it is."""
    other = f"{made.name}_other"
    made.postgres.make_role(other, Secret(FIRST), f"CREATEROLE CREATEDB ROLE {made.user}")
    with pytest.raises(Crash):
        made.rotate(after=1)
    key = made.credential.user_key
    made.fake.put_secret_value(SecretId=NAME, SecretString=json.dumps(made.document() | {key: other}))
    with pytest.raises(Refused, match=f"has the master user {made.user}, not {other}. Nothing was changed") as caught:
        made.rotate()
    assert caught.value.hint == "Cancel it: python manage.py rotate_credentials master_password --abort"
    made.run(plan_abort)
    assert (made.steps, made.works(FIRST)) == (["CancelVersion"], True)
    made.rotate()
    assert made.is_complete()


# The command.


@pytest.fixture
def deployed(deployment: Deployment) -> Deployment:
    """The deployment with a master user of its own: other tests use the server's."""
    user = f"{deployment.name}_master"
    deployment.postgres.make_role(user, Secret(FIRST), "CREATEROLE CREATEDB")
    deployment.put(master_username=user, master_password=FIRST)
    return deployment


def rotate(capsys: pytest.CaptureFixture[str], *options: str) -> Result:
    return rotate_credentials(capsys, "master_password", *options)


@pytest.mark.slow
def test_command(capsys, settings, deployed: Deployment):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "main"}
    before = deployed.document()
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    status = rotate(capsys, "--status")
    assert (status.code, "password not rotated yet" in status.out) == (0, True), status
    plan = rotate(capsys, "--plan")
    assert (plan.code, deployed.document()) == (0, before)
    assert [line.split()[1] for line in plan.out.splitlines() if line.startswith("  - ")] == [
        "create", "set", "log", "move", "remove",
    ]  # fmt: skip
    assert "modify-db-instance --db-instance-identifier main --manage-master-user-password" in plan.out
    result = rotate(capsys)
    after = deployed.document()
    assert result.code == 0, result
    assert {key for key in {**before, **after} if before.get(key) != after.get(key)} == {
        "master_password",
        "rotated_at",
    }
    assert list(after["rotated_at"]) == ["master_password"]
    assert not {before["master_password"], after["master_password"]} & {*result.out.split(), *result.err.split()}
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    found = json.loads(rotate(capsys, "--status", "--format", "json").out)
    assert (found["login"], found["rotated_at"]) == (before["master_username"], after["rotated_at"]["master_password"])


@pytest.mark.slow
def test_two_credentials_of_one_secret(capsys, deployed: Deployment, monkeypatch):
    """The unfinished rotation of one of them is not continued as one of the other."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with monkeypatch.context() as patched, pytest.raises(TypeError):
        patched.setattr("deploytools.rotation.rotator.Rotator.test_master", None)
        rotate(capsys)
    before = deployed.document()
    for options in ([], ["--one-login"], ["--abort"]):
        result = rotate_credentials(capsys, "password", *options)
        assert (result.code, deployed.document()) == (1, before), result
        assert result.err.endswith("run: python manage.py rotate_credentials master_password\n")
    result = run(capsys, "sync_secrets", "--set", "email_port=465", "--noinput")
    assert (result.code, "run: python manage.py rotate_credentials master_password" in result.err) == (1, True)
    result = run(capsys, "verify_deploy", "--only", "secret.no-pending-rotation")
    assert "Continue it: python manage.py rotate_credentials master_password --noinput" in result.out
    assert rotate(capsys).code == 0
    with monkeypatch.context() as patched, pytest.raises(TypeError):
        patched.setattr("deploytools.rotation.rotator.Rotator.test_login", None)
        rotate_credentials(capsys, "password")
    result = rotate(capsys)
    assert (result.code, "run: python manage.py rotate_credentials password\n" in result.err) == (1, True)
    assert rotate_credentials(capsys, "password").code == 0


@pytest.mark.slow
def test_a_password_that_is_not_in_a_secret(capsys, deployed: Deployment, monkeypatch):
    deployed.put(master_username=None, master_password=None)
    monkeypatch.setenv("DEPLOYTOOLS_MASTER_PASSWORD", deployed.postgres.master.password.reveal())
    result = rotate(capsys)
    assert (result.code, "the environment" in result.err, "terminal" in result.err) == (2, False, False), result
    assert "Hint: Specify a secret with its username and password: --master-secret NAME. Or add" in result.err


@pytest.mark.slow
def test_the_shared_secret_is_used_without_the_option_for_another_name(capsys, deployed: Deployment):
    result = rotate(capsys, "--master-username", f"{deployed.name}_master")
    assert (result.code, "run the command without --master-username." in result.err) == (2, True), result


@pytest.mark.slow
def test_a_secret_of_the_master_user(capsys, settings, deployed: Deployment):
    """What RDS offers for the shared secret is not offered."""
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "main"}
    name, before = f"{deployed.name}/master", deployed.document()
    text = json.dumps({"username": before["master_username"], "password": FIRST})
    deployed.client.create_secret(Name=name, SecretString=text)
    try:
        assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
        result = rotate(capsys, "--master-secret", name)
        assert (result.code, deployed.document(name)["password"] != FIRST, deployed.document()) == (0, True, before)
        assert "--unset" not in result.out
    finally:
        deployed.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.mark.slow
def test_the_secret_of_an_aurora_cluster(capsys, deployed: Deployment):
    name = f"rds!cluster-{deployed.name}"
    text = json.dumps({"username": f"{deployed.name}_master", "password": FIRST})
    deployed.client.create_secret(Name=name, SecretString=text)
    try:
        result = rotate(capsys, "--master-secret", name)
        assert (result.code, "aws rds modify-db-cluster " in result.err) == (2, True), result
    finally:
        deployed.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.mark.slow
def test_the_login_of_the_application_is_not_the_master_user(capsys, deployed: Deployment):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    before = deployed.document()
    result = rotate(capsys, "--master-secret", deployed.name)
    assert (result.code, deployed.document()) == (2, before)
    assert f"{deployed.role} is a login of the application, not the master user." in result.err


@pytest.mark.parametrize("credential", ["django_secret_key", "master_password"])
def test_tenants_are_not_required(capsys, settings, deployed: Deployment, credential: str):
    settings.DEPLOYTOOLS |= {"TENANTS": []}
    result = rotate_credentials(capsys, credential, "--plan")
    assert (result.code, result.err) == (0, "")


@pytest.mark.slow
def test_a_wrong_password(capsys, deployed: Deployment):
    deployed.put(master_username=f"{deployed.name}_master", master_password="wrong-password-0123456789")
    before = deployed.versions()
    result = rotate(capsys)
    assert (result.code, deployed.versions()) == (2, before)
    assert "password authentication failed" in result.err


@pytest.mark.parametrize("option", ["--one-login", "--finish", "--back", "--now", "--leaked"])
def test_options_of_other_credentials_are_refused(capsys, option: str):
    result = rotate(capsys, option)
    assert (result.code, f"master_password cannot be combined with {option}." in result.err) == (2, True)


@pytest.mark.parametrize("credential", ["password", "master_password"])
@pytest.mark.parametrize("option", ["--plan", "--status"])
def test_what_changes_nothing_does_not_wait_for_the_lock(capsys, credential: str, option: str):
    result = run(capsys, "rotate_credentials", credential, option, "--wait-for-lock", "5")
    assert (result.code, f"{option} cannot be combined with --wait-for-lock." in result.err) == (2, True)


@pytest.mark.parametrize("options", [["--tenant", "one"], ["--master-username", "boss"], ["--wait-for-lock", "5"]])
def test_the_policy_does_not_depend_on_these_options(capsys, options: list[str]):
    result = run(capsys, "rotate_credentials", "password", "--iam-policy", *options)
    assert (result.code, f"--iam-policy cannot be combined with {options[0]}." in result.err) == (2, True), result


def test_the_policy(capsys, settings):
    """It requires the instance, and does not have the tenants' secrets."""
    result = run(capsys, "rotate_credentials", "master_password", "--iam-policy")
    assert (result.code, 'DEPLOYTOOLS["RDS_INSTANCE"] is not set' in result.err) == (2, True)
    per_tenant = {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": "shop/tenant/", "RDS_INSTANCE": "main"}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | per_tenant
    result = run(capsys, "rotate_credentials", "master_password", "--iam-policy")
    assert (result.code, "shop/tenant/" in result.out, "rds:ModifyDBInstance" in result.out) == (0, False, True)
    result = run(capsys, "rotate_credentials", "password", "--iam-policy")
    assert ("shop/tenant/" in result.out, "rds:ModifyDBInstance" in result.out) == (True, False)
