"""Facts of the connection: the stage that failed, and the version of the secret whose password is accepted."""

from __future__ import annotations

import json

import pytest

from deploytools.conf import read_settings
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connection_probe import ProbeResult
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from deploytools.verification.connection.facts import LOCAL, AcceptedPassword, alias_sslmodes
from deploytools.verification.fact_result import Fact, Failed, Value
from deploytools.verification.runner import read_facts
from tests.management.runner import run
from tests.verification.zoo.world import REGISTRY

WRONG = "wrongPw7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU"


def read_connection() -> dict[str, Fact]:
    return read_facts(REGISTRY.sources_for([REGISTRY.checks["connection.connect"]]), {"settings": read_settings()})


def read() -> tuple[ProbeResult, AcceptedPassword | None]:
    facts = read_connection()
    attempt, accepted = facts["connection_attempt"], facts["accepted_password"]
    assert isinstance(attempt, Value) and isinstance(accepted, Value)
    assert isinstance(attempt.value, ProbeResult)
    return attempt.value, accepted.value


def test_sslmodes_of_further_aliases(settings, monkeypatch):
    postgresql, secure = {"ENGINE": "django.db.backends.postgresql"}, {"sslmode": "verify-full"}
    found = {
        "replica": {**postgresql, "HOST": "db.shop.net", "OPTIONS": secure},
        "reports": {"ENGINE": "deploytools.backend", "HOST": "db.shop.net"},
        "geo": {"ENGINE": "shop.nothing", "HOST": "localhost"},
        "local": {**postgresql, "HOST": "127.0.0.1"},
        "socket": {**postgresql, "HOST": "/run/postgresql"},
        "unset": postgresql,
        "cache": {"ENGINE": "django.db.backends.sqlite3", "HOST": "x"},
        "tunnel": {**postgresql, "HOST": "db.shop.net", "OPTIONS": {"hostaddr": "127.0.0.1"}},
        "service": {**postgresql, "OPTIONS": {"service": "shop"}},
        "named": {**postgresql, "HOST": "db.shop.net", "OPTIONS": {"service": "shop"}},
        "strict": {**postgresql, "OPTIONS": {"service": "shop", **secure}},
        "several": {**postgresql, "HOST": "localhost,db.shop.net"},
    }
    monkeypatch.delenv("PGHOST", raising=False)
    for alias, database in found.items():
        monkeypatch.setitem(settings.DATABASES, alias, database)
    prefer = {"reports": "prefer", "tunnel": "prefer", "several": "prefer"}
    local = dict.fromkeys(("geo", "local", "socket", "unset"), LOCAL)
    strict = {"replica": "verify-full", "strict": "verify-full"}
    assert alias_sslmodes() == {**strict, "service": "", "named": "", **prefer, **local}
    monkeypatch.setenv("PGHOST", "db.shop.net")
    assert alias_sslmodes()["unset"] == "prefer"
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert alias_sslmodes()["reports"] == "verify-full"


@pytest.mark.slow
def test_every_stage_has_a_duration(made):
    attempt, accepted = read()
    assert [stage.name for stage in attempt.stages] == ["DNS", "TCP", "TLS", "login", "query"]
    assert all(stage.seconds >= 0 for stage in attempt.stages)
    assert (attempt.failed_stage, attempt.error, accepted) == ("", None, None)


@pytest.mark.slow
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
def test_version_whose_password_the_server_accepts(made, others, label):
    right = made.document()
    made.client.delete_secret(SecretId=made.name, ForceDeleteWithoutRecovery=True)
    made.client.create_secret(Name=made.name)
    if "AWSPREVIOUS" in others:
        made.put_text(json.dumps(right if others["AWSPREVIOUS"] else right | {"password": f"{WRONG}1"}))
    made.put_text(json.dumps(right | {"password": WRONG}))
    if "AWSPENDING" in others:
        pending = right if others["AWSPENDING"] else right | {"password": f"{WRONG}2"}
        made.client.put_secret_value(SecretId=made.name, SecretString=json.dumps(pending), VersionStages=["AWSPENDING"])
    attempt, accepted = read()
    assert isinstance(attempt.error, ConnectionFailed)
    assert (attempt.error.kind, attempt.failed_stage) == (ConnectionFailure.PASSWORD, "login")
    versions = made.client.describe_secret(SecretId=made.name)["VersionIdsToStages"]
    by_label = {stage: version for version, stages in versions.items() for stage in stages}
    expected = AcceptedPassword(label, made.name, by_label[label], by_label["AWSCURRENT"]) if label else None
    assert accepted == expected
    assert WRONG not in repr((attempt, accepted))


@pytest.fixture
def apart(capsys, deployment, settings):
    """The deployment with a role and a secret a tenant, and the name of the first tenant's secret."""
    prefix = f"{deployment.name}/tenant/"
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix}
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    own = deployment.client.get_secret_value(SecretId=prefix + deployment.tenants[0])["SecretString"]
    deployment.use_login(json.loads(own))
    return deployment, prefix + deployment.tenants[0]


@pytest.mark.slow
@pytest.mark.parametrize("label", ["AWSPREVIOUS", "AWSPENDING"])
def test_version_of_a_tenants_own_secret(capsys, apart, label):
    made, name = apart
    client = made.client
    assert read()[0].error is None
    right = json.loads(client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])
    client.put_secret_value(SecretId=name, SecretString=json.dumps(right | {"password": WRONG}))
    if label == "AWSPENDING":
        client.put_secret_value(SecretId=name, SecretString=json.dumps(right | {"password": f"{WRONG}2"}))
        client.put_secret_value(SecretId=name, SecretString=json.dumps(right), VersionStages=[label])
    _, accepted = read()
    labels = client.describe_secret(SecretId=name)["VersionIdsToStages"]
    by_label = {stage: version for version, stages in labels.items() for stage in stages}
    assert accepted is not None
    assert (accepted.label, accepted.secret, accepted.version) == (label, name, by_label[label])
    result = run(capsys, "check_rds", "--format", "json")
    (finding,) = [item for item in json.loads(result.out)["findings"] if item["check"] == "connection.connect"]
    assert finding["evidence"].endswith(f"The password of {label} works.")
    assert f"--secret-id {name} --region us-east-1" in finding["hint"]
    assert (result.code, WRONG in result.out) == (1, False)


@pytest.mark.slow
def test_shop_check_uses_the_tenants_own_role(capsys, apart):
    made, name = apart
    options = ("verify_deploy", "--tag", "shop", "--stage", "launch", "--format", "json")
    (before,) = json.loads(run(capsys, *options).out)["findings"]
    own = json.loads(made.client.get_secret_value(SecretId=name)["SecretString"])
    login = Login(made.postgres.address, own["username"], Secret(own["password"]))
    with login.connect(made.tenants[0]) as session:
        session.execute("CREATE TABLE order_product (id int); INSERT INTO order_product VALUES (1)")
    (after,) = json.loads(run(capsys, *options).out)["findings"]
    assert [(found["status"], found["evidence"]) for found in (before, after)] == [
        ("not applicable", "the tables do not exist yet (see databases.migrated)"),
        ("pass", "products: 1"),
    ]


@pytest.mark.slow
def test_secret_without_a_host(made):
    made.put(host=None)
    fact = read_connection()["connection_attempt"]
    assert isinstance(fact, Failed)
    assert "is missing 1 required key: host." in str(fact.error)
