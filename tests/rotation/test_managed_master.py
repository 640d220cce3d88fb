"""`rotate_credentials master_password`, with the secret that RDS manages: a real role, and RDS as a double."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import sql

from deploytools import aws
from deploytools.errors import ConnectionFailed
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from tests.deployment import Deployment
from tests.fakes.errors import DENIED, NO_RESPONSE, THROTTLED
from tests.management.runner import Result, rotate_credentials, run
from tests.postgres_server import scram

FIRST, SECOND = ("first-master-password-0123456789-0123456789", "second-master-password-0123456789-0123456789")
INSTANCE = "main"

pytestmark = pytest.mark.slow


class Rds:
    """RDS as far as it rotates: each read of the instance is one step further, in the order of AWS's rotation."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.client = deployment, deployment.client
        self.user = f"{deployment.name}_master"
        deployment.postgres.make_role(self.user, Secret(FIRST), "CREATEROLE CREATEDB")
        text = json.dumps({"username": self.user, "password": FIRST})
        self.arn = self.client.create_secret(Name=f"{deployment.name}/managed", SecretString=text)["ARN"]
        self.status, self.stops_at = "active", ""
        self.requests: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []
        self.steps: Iterator[str] = iter(())

    def describe_db_instances(self, **_: str) -> dict[str, Any]:
        if self.errors and self.requests:
            raise self.errors.pop()
        if self.status == "rotating":
            self.stops_at = next(self.steps, self.stops_at)
        return {"DBInstances": [{"MasterUserSecret": {"SecretArn": self.arn, "SecretStatus": self.status}}]}

    def modify_db_instance(self, **request: Any) -> dict[str, Any]:
        if self.errors and self.errors[-1] is DENIED:
            raise self.errors.pop()
        self.requests.append(request)
        self.begin()
        if self.errors and self.errors[-1] is NO_RESPONSE:
            raise self.errors.pop()
        return {}

    def begin(self) -> None:
        self.status, self.steps = "rotating", self._rotate()

    def _rotate(self) -> Iterator[str]:
        yield "created"
        document = json.dumps({"username": self.user, "password": SECOND})
        put = self.client.put_secret_value(SecretId=self.arn, SecretString=document, VersionStages=["AWSPENDING"])
        yield "pending"
        with self.deployment.postgres.admin() as admin:
            verifier = sql.Literal(scram(admin, self.user, Secret(SECOND)))
            admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(self.user), verifier))
        yield "set"
        found = self.client.describe_secret(SecretId=self.arn)["VersionIdsToStages"]
        (current,) = [version for version, labels in found.items() if "AWSCURRENT" in labels]
        self.client.update_secret_version_stage(
            SecretId=self.arn,
            VersionStage="AWSCURRENT",
            MoveToVersionId=put["VersionId"],
            RemoveFromVersionId=current,
        )
        yield "switched"
        self.status = "active"
        yield "done"

    def works(self, password: str) -> bool:
        try:
            Login(self.deployment.postgres.address, self.user, Secret(password)).connect("postgres").close()
        except ConnectionFailed:
            return False
        return True


@pytest.fixture
def rds(deployment: Deployment, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rds]:
    made, client = Rds(deployment), aws.client
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": INSTANCE}
    monkeypatch.setattr(aws, "client", lambda name, region: made if name == "rds" else client(name, region))
    monkeypatch.setattr("deploytools.rotation.managed_master.PAUSE", 0)
    yield made
    deployment.client.delete_secret(SecretId=made.arn, ForceDeleteWithoutRecovery=True)


def rotate(capsys: pytest.CaptureFixture[str], *options: str) -> Result:
    return rotate_credentials(capsys, "master_password", *options)


def test_rotation(capsys, rds: Rds):
    plan = rotate(capsys, "--plan")
    assert (plan.code, plan.out.count("  - "), rds.requests) == (0, 3, [])
    result = rotate(capsys)
    assert result.code == 0, result
    assert rds.requests == [
        {"DBInstanceIdentifier": INSTANCE, "RotateMasterUserPassword": True, "ApplyImmediately": True}
    ]
    assert "  waiting for RDS (status: rotating, 0 s)\n" in result.err
    assert f"  ✓ log in as {rds.user} with the new password\n" in result.err
    assert (rds.works(FIRST), rds.works(SECOND), rds.stops_at) == (False, True, "done")
    found = json.loads(rotate(capsys, "--status", "--format", "json").out)
    assert (found["status"], found["instance"], found["login"]) == ("active", INSTANCE, rds.user)
    assert f"managed by RDS for {INSTANCE} (status: active)" in rotate(capsys, "--status").out


def test_a_rotation_in_progress_is_waited_for(capsys, rds: Rds):
    """Also one that an interrupted run has started."""
    rds.begin()
    result = rotate(capsys)
    assert (result.code, rds.requests, rds.works(SECOND)) == (0, [], True), result


def test_all_reads_use_one_client(capsys, rds: Rds, monkeypatch: pytest.MonkeyPatch):
    """A rotation is read every 5 seconds; a session reads files and asks for credentials."""
    client: Any = aws.client
    waiting: list[Any] = []

    def recorded(service: str, region: str) -> Any:
        found = client(service, region)
        if service == "secretsmanager" and rds.status == "rotating":
            waiting.append(found)
        return found

    monkeypatch.setattr(aws, "client", recorded)
    assert rotate(capsys).code == 0
    assert (len(waiting) > 2, len(set(map(id, waiting)))) == (True, 1)


def test_commands_log_in_while_the_status_is_rotating(capsys, rds: Rds):
    """With AWSCURRENT, or with AWSPENDING where PostgreSQL has the new password already."""
    rds.begin()
    while rds.stops_at != "set":
        result = run(capsys, "create_tenant_dbs", "--plan")
        assert result.code == 0, result
    rds.steps = iter(())  # AWSCURRENT has the former password for as long as the test runs.
    for command in (["create_tenant_dbs", "--noinput"], ["rotate_credentials", "password", "--status"]):
        result = run(capsys, *command)
        assert result.code == 0, result


@pytest.mark.parametrize("when", ["before", "during"])
def test_an_impaired_secret(capsys, rds: Rds, when: str):
    rds.status, rds.begin = "impaired", lambda: setattr(rds, "status", "impaired")  # type: ignore[method-assign]
    if when == "during":
        rds.status = "active"
    result = rotate(capsys)
    assert (result.code, len(rds.requests)) == (1, when == "during"), result
    assert (
        "its status is impaired. " + ("The rotation failed." if rds.requests else "Nothing was changed.") in result.err
    )


def test_the_wait_is_bounded(capsys, rds: Rds, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("deploytools.rotation.managed_master.LIMIT", 0)
    result = rotate(capsys)
    assert (result.code, "has not rotated the password of" in result.err) == (2, True)
    assert "rotate_credentials master_password --status" in result.err


def test_aws_is_throttled_while_it_is_waited_for(capsys, rds: Rds):
    rds.errors = [THROTTLED, THROTTLED]
    assert rotate(capsys).code == 0
    assert (rds.errors, rds.works(SECOND)) == ([], True)


def test_aws_denies_it(capsys, rds: Rds):
    rds.errors = [DENIED]
    result = rotate(capsys)
    assert (result.code, "rds:ModifyDBInstance" in result.err, rds.works(FIRST)) == (2, True, True)


def test_a_lost_response(capsys, rds: Rds):
    """The rotation has begun nevertheless: the next run waits for it."""
    rds.errors = [NO_RESPONSE]
    assert rotate(capsys).code == 2
    result = rotate(capsys)
    assert (result.code, len(rds.requests), rds.works(SECOND)) == (0, 1, True), result


def test_interrupted(capsys, rds: Rds, monkeypatch: pytest.MonkeyPatch):
    def interrupt(self: object, before: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("deploytools.rotation.managed_master.ManagedMaster._read_again", interrupt)
        result = rotate(capsys)
    assert (result.code, "RDS completes a rotation that it has begun." in result.err) == (130, True)
    assert rotate(capsys).code == 0
    assert len(rds.requests) == 1


def test_it_cannot_be_canceled(capsys, rds: Rds):
    result = rotate(capsys, "--abort")
    assert (result.code, "A rotation by RDS cannot be canceled" in result.err, rds.requests) == (1, True, [])


def test_a_secret_of_rds_is_not_changed_as_one_of_ours(capsys, deployment: Deployment, rds: Rds):
    """The name shows it, although the instance that it belongs to is not configured."""
    name, text = f"rds!db-{deployment.name}", json.dumps({"username": rds.user, "password": FIRST})
    deployment.client.create_secret(Name=name, SecretString=text)
    try:
        result = rotate(capsys, "--master-secret", name)
        assert (result.code, f"RDS manages the secret {name}" in result.err) == (2, True), result
    finally:
        deployment.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
