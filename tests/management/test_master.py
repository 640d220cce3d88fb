"""The sources of the master user's credentials, their order, and their errors."""

from __future__ import annotations

import json

import boto3
import pytest

from deploytools import aws
from deploytools.conf import read_settings
from deploytools.errors import AwsError, ConfigurationError, SecretIncomplete
from deploytools.tenants.credentials import read_secret
from deploytools.tenants.master import Master, find_master
from tests.fakes.errors import client_error
from tests.management.runner import run


def find(username: str | None = None, named: str | None = None, interactive: bool = False) -> Master:
    settings = read_settings()
    return find_master(settings, read_secret(settings), username=username, named=named, interactive=interactive)


def seen(master: Master) -> tuple[str, str, str]:
    return master.login.user, master.login.password.reveal(), master.source


@pytest.fixture
def managed(deployment, settings):
    """An instance for whose master user RDS manages a secret, in the emulator."""
    rds = boto3.client("rds")
    instance = rds.create_db_instance(
        DBInstanceIdentifier=deployment.name,
        DBInstanceClass="db.t4g.small",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="postgres",
        ManageMasterUserPassword=True,
    )["DBInstance"]
    arn = instance["MasterUserSecret"]["SecretArn"]
    rds.describe_db_instances(DBInstanceIdentifier=deployment.name)  # The first call makes it active.
    document = {"username": "postgres", "password": deployment.postgres.master.password.reveal()}
    deployment.client.put_secret_value(SecretId=arn, SecretString=json.dumps(document))
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": deployment.name}
    yield arn
    rds.delete_db_instance(DBInstanceIdentifier=deployment.name, SkipFinalSnapshot=True)


def test_named_secret_takes_precedence(deployment, managed):
    other = {"username": "boss", "password": "of-the-named-secret"}
    arn = deployment.client.create_secret(Name=f"{deployment.name}/boss", SecretString=json.dumps(other))["ARN"]
    by_name, by_arn = find(named=f"{deployment.name}/boss"), find(named=arn)
    assert seen(by_name) == ("boss", "of-the-named-secret", f"the secret {deployment.name}/boss")
    assert (by_name.arn, by_arn.arn) == ("", arn)
    assert seen(find(named=arn, username="other"))[:2] == ("other", "of-the-named-secret")


def test_named_secret_without_required_keys(deployment):
    deployment.client.create_secret(Name=f"{deployment.name}/boss", SecretString='{"user": "boss"}')
    with pytest.raises(SecretIncomplete, match="is missing 2 required keys: username, password"):
        find(named=f"{deployment.name}/boss")


@pytest.mark.slow
def test_secret_managed_by_rds_is_next(capsys, deployment, managed, monkeypatch):
    monkeypatch.setenv("DEPLOYTOOLS_MASTER_PASSWORD", "of-the-environment")
    deployment.put(master_username="postgres", master_password="stale, and not asked")
    found = find()
    assert (found.login.user, found.arn) == ("postgres", managed)
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert f"(password: the secret that RDS manages for {deployment.name})" in result.out
    assert result.code == 0


def test_shared_secret_and_environment_are_last(deployment, monkeypatch):
    monkeypatch.setenv("DEPLOYTOOLS_MASTER_USERNAME", "root")
    monkeypatch.setenv("DEPLOYTOOLS_MASTER_PASSWORD", "of-the-environment")
    assert seen(find())[2] == "master_* in the shared secret"
    assert seen(find(username="other")) == ("other", "of-the-environment", "the environment")
    deployment.put(master_password=None)
    assert seen(find()) == ("root", "of-the-environment", "the environment")
    deployment.put(master_password="")
    assert seen(find()) == ("root", "of-the-environment", "the environment")


class Rds:
    """An RDS client with one response."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def describe_db_instances(self, **_: str) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"DBInstances": [{"MasterUserSecret": self.answer}]}


def answering(monkeypatch, answer):
    real = aws.client
    monkeypatch.setattr(aws, "client", lambda name, region: Rds(answer) if name == "rds" else real(name, region))


def test_a_managed_secret_that_is_being_created(capsys, deployment, monkeypatch):
    answering(monkeypatch, {"SecretArn": "arn:aws:secretsmanager:…", "SecretStatus": "creating"})
    with pytest.raises(AwsError, match="RDS is creating the secret for the master user of startupwebapp-multi-tenant"):
        find()
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert (result.code, deployment.postgres.snapshot(deployment.tenants)) == (2, [])


@pytest.mark.parametrize("status", ["active", "rotating", "impaired"])
def test_a_managed_secret_that_can_be_read(deployment, monkeypatch, status):
    """AWS: an impaired secret can be used to access database credentials, but it cannot be rotated."""
    text = json.dumps({"username": "boss", "password": "of-rds"})
    arn = deployment.client.create_secret(Name=f"{deployment.name}/boss", SecretString=text)["ARN"]
    answering(monkeypatch, {"SecretArn": arn, "SecretStatus": status})
    assert seen(find())[:2] == ("boss", "of-rds")
    assert (find().secret, find().instance) == (arn, "startupwebapp-multi-tenant-prod")


def test_missing_instance_and_denied_access_to_it(deployment, monkeypatch):
    answering(monkeypatch, client_error("DBInstanceNotFound", "DBInstance not found."))
    assert find().source == "master_* in the shared secret"
    answering(monkeypatch, client_error("AccessDenied", "no"))
    assert find().source == "master_* in the shared secret"
    deployment.put(master_password=None)
    with pytest.raises(ConfigurationError) as caught:
        find()
    assert str(caught.value) == (
        "The password of the master user postgres is not set. "
        "AWS denied rds:DescribeDBInstances on the RDS instance startupwebapp-multi-tenant-prod."
    )
    deployment.put(master_password=None, dbClusterIdentifier=None, host="shop-prod.abc123.us-east-1.rds.amazonaws.com")
    with pytest.raises(ConfigurationError, match=r"on the RDS instance shop-prod\."):
        find()


@pytest.mark.slow
def test_the_password_of_a_rotation_in_progress(capsys, deployment):
    """Between two steps of a rotation, only AWSPENDING has the password that works."""
    name, master = f"{deployment.name}/master", deployment.postgres.master
    wrong, right = ({"username": master.user, "password": p} for p in ("wrong-0123456789", master.password.reveal()))
    deployment.client.create_secret(Name=name, SecretString=json.dumps(wrong))
    try:
        refused = run(capsys, "create_tenant_dbs", "--plan", "--master-secret", name)
        assert (refused.code, "password authentication failed" in refused.err) == (2, True), refused
        deployment.client.put_secret_value(SecretId=name, SecretString=json.dumps(right), VersionStages=["AWSPENDING"])
        for command in (["create_tenant_dbs", "--noinput"], ["rotate_credentials", "password", "--status"]):
            result = run(capsys, *command, "--master-secret", name)
            assert result.code == 0, result
            assert master.password.reveal() not in result.out + result.err
    finally:
        deployment.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("rds", "Let RDS set a new password and write it to its secret: aws rds modify-db-instance --db-instance-iden"),
        ("named", "Set password in the secret {name}/boss to the password of postgres."),
        ("environment", "Set DEPLOYTOOLS_MASTER_PASSWORD to the password of postgres."),
    ],
)
def test_the_hint_for_a_wrong_password_names_its_source(capsys, deployment, request, monkeypatch, source, hint):
    wrong = json.dumps({"username": "postgres", "password": "not-the-masters"})
    options: list[str] = []
    deployment.put(master_password=None)
    if source == "rds":
        deployment.client.put_secret_value(SecretId=request.getfixturevalue("managed"), SecretString=wrong)
    elif source == "named":
        deployment.client.create_secret(Name=f"{deployment.name}/boss", SecretString=wrong)
        options = ["--master-secret", f"{deployment.name}/boss"]
    else:
        monkeypatch.setenv("DEPLOYTOOLS_MASTER_PASSWORD", "not-the-masters")
    before = deployment.postgres.snapshot([])
    result = run(capsys, "create_tenant_dbs", "--noinput", *options)
    assert result.code == 2
    assert result.err.splitlines()[1].startswith(f"Hint: {hint.format(name=deployment.name)}")
    assert deployment.postgres.snapshot([]) == before
