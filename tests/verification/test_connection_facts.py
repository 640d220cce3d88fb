"""The connection as a fact: which link broke, and whether another version of the secret has the password."""

from __future__ import annotations

import json

import pytest

from deploytools.databases.server import Login
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.secret.value import Secret
from deploytools.verification.facts import Failed, Value
from deploytools.verification.runner import read_facts
from deploytools.verification.sources.connection import AcceptedPassword, ConnectionAttempt
from tests.management.runner import run
from tests.verification.world import REGISTRY

WRONG = "wrongPw7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU"


@pytest.fixture
def made(capsys, deployment):
    """The deployment with its databases."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


def look() -> ConnectionAttempt:
    checks = [REGISTRY.checks["connection.connect"]]
    fact = read_facts(REGISTRY.sources_for(checks))["connection_attempt"]
    assert isinstance(fact, Value)
    assert isinstance(fact.value, ConnectionAttempt)
    return fact.value


def test_every_link_is_timed(made):
    attempt = look()
    assert [link.name for link in attempt.links] == ["name", "TCP", "TLS", "login", "query"]
    assert all(link.seconds >= 0 for link in attempt.links)
    assert (attempt.broken, attempt.error, attempt.accepted) == ("", None, None)


@pytest.mark.parametrize(
    ("others", "label"),
    [
        ({"AWSPREVIOUS": True}, "AWSPREVIOUS"),
        ({"AWSPENDING": True}, "AWSPENDING"),
        ({"AWSPREVIOUS": False, "AWSPENDING": True}, "AWSPENDING"),
        ({"AWSPREVIOUS": False, "AWSPENDING": False}, ""),
        ({}, ""),
    ],
)
def test_the_version_whose_password_the_server_takes(made, others, label):
    right = made.document()
    made.client.delete_secret(SecretId=made.name, ForceDeleteWithoutRecovery=True)
    made.client.create_secret(Name=made.name)
    if "AWSPREVIOUS" in others:
        made.put_text(json.dumps(right if others["AWSPREVIOUS"] else right | {"password": f"{WRONG}1"}))
    made.put_text(json.dumps(right | {"password": WRONG}))
    if "AWSPENDING" in others:
        pending = right if others["AWSPENDING"] else right | {"password": f"{WRONG}2"}
        made.client.put_secret_value(SecretId=made.name, SecretString=json.dumps(pending), VersionStages=["AWSPENDING"])
    attempt = look()
    assert isinstance(attempt.error, ConnectionFailed)
    assert (attempt.error.kind, attempt.broken) == (ConnectionFailure.PASSWORD, "login")
    versions = made.client.describe_secret(SecretId=made.name)["VersionIdsToStages"]
    by_label = {stage: version for version, stages in versions.items() for stage in stages}
    expected = AcceptedPassword(label, made.name, by_label[label], by_label["AWSCURRENT"]) if label else None
    assert attempt.accepted == expected
    assert WRONG not in repr(attempt)


@pytest.fixture
def apart(capsys, deployment, settings):
    """The deployment with a role and a secret a tenant, and the name of the first tenant's secret."""
    prefix = f"{deployment.name}/tenant/"
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix}
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment, prefix + deployment.tenants[0]


@pytest.mark.parametrize("label", ["AWSPREVIOUS", "AWSPENDING"])
def test_the_version_of_a_tenants_own_secret(capsys, apart, label):
    made, name = apart
    client = made.client
    assert look().error is None
    right = json.loads(client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])
    client.put_secret_value(SecretId=name, SecretString=json.dumps(right | {"password": WRONG}))
    if label == "AWSPENDING":
        client.put_secret_value(SecretId=name, SecretString=json.dumps(right | {"password": f"{WRONG}2"}))
        client.put_secret_value(SecretId=name, SecretString=json.dumps(right), VersionStages=[label])
    attempt = look()
    labels = client.describe_secret(SecretId=name)["VersionIdsToStages"]
    by_label = {stage: version for version, stages in labels.items() for stage in stages}
    assert attempt.accepted is not None
    assert (attempt.accepted.label, attempt.accepted.secret, attempt.accepted.version) == (label, name, by_label[label])
    result = run(capsys, "check_rds", "--format", "json")
    (finding,) = [item for item in json.loads(result.out)["findings"] if item["check"] == "connection.connect"]
    assert finding["evidence"].endswith(f"The password of {label} works.")
    assert f"--secret-id {name} --region us-east-1" in finding["hint"]
    assert (result.code, WRONG in result.out) == (1, False)


def test_the_shop_is_asked_as_the_tenants_own_role(capsys, apart):
    made, name = apart
    options = ("verify_deploy", "--tag", "shop", "--stage", "launch", "--format", "json")
    (before,) = json.loads(run(capsys, *options).out)["findings"]
    own = json.loads(made.client.get_secret_value(SecretId=name)["SecretString"])
    login = Login(made.postgres.address, own["username"], Secret(own["password"]))
    with login.connect(made.tenants[0]) as session:
        session.execute("CREATE TABLE order_product (id int); INSERT INTO order_product VALUES (1)")
    (after,) = json.loads(run(capsys, *options).out)["findings"]
    assert [(found["status"], found["evidence"]) for found in (before, after)] == [
        ("not applicable", "there are no tables yet (see databases.migrated)"),
        ("pass", "1 products"),
    ]


def test_a_secret_without_an_address_is_no_connection(made):
    made.put(host=None)
    fact = read_facts(REGISTRY.sources_for([REGISTRY.checks["connection.connect"]]))["connection_attempt"]
    assert isinstance(fact, Failed)
    assert "lacks 1 of the keys it needs: host." in str(fact.error)
