"""The resources of the emulated AWS account."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from deploytools.local import CloudState
from deploytools.secrets.inputs import GENERATED_LENGTHS
from tests.local_cloud import INSTANCE, NAMES


@pytest.fixture
def client(cloud: CloudState) -> Any:
    made = []

    def make(service: str) -> Any:
        session = boto3.Session("local", "local", region_name="us-east-1")
        made.append(session.client(service, endpoint_url=cloud.aws_endpoint_url))  # type: ignore[call-overload]
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_secret(cloud: CloudState, client: Callable[[str], Any]) -> None:
    secret = client("secretsmanager").get_secret_value(SecretId="rds/startupwebapp/multi-tenant/master")
    document = json.loads(secret["SecretString"])
    assert [len(document.pop(key)) for key in GENERATED_LENGTHS] == [*GENERATED_LENGTHS.values()]
    assert document == {
        "engine": "postgresql",
        "host": NAMES.host,
        "port": cloud.main.port,
        "username": "django_app",
        "dbClusterIdentifier": INSTANCE,
        "stripe_secret_key": "sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY",
        "stripe_publishable_key": "pk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY",
        "email_host": "smtp.example.com",
        "email_port": 587,
        "email_user": "notifications@example.com",
        "email_password": "PLACEHOLDER_UPDATE_WITH_REAL_PASSWORD",
        "master_username": "postgres",
        "master_password": cloud.master_password,
    }


def test_port_of_the_instance(cloud: CloudState, client: Callable[[str], Any]) -> None:
    (instance,) = client("rds").describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"]
    assert instance["Endpoint"]["Port"] == cloud.main.port


def test_instance(cloud: CloudState, client: Callable[[str], Any]) -> None:
    (instance,) = client("rds").describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"]
    expected = {
        "Engine": "postgres",
        "DBInstanceClass": "db.t4g.small",
        "AllocatedStorage": 20,
        "StorageType": "gp3",
        "StorageEncrypted": True,
        "BackupRetentionPeriod": 7,
        "DeletionProtection": False,
        "PubliclyAccessible": False,
    }
    assert {key: instance[key] for key in expected} == expected
    assert instance["EngineVersion"] == cloud.main.version


@pytest.mark.slow
def test_security_groups_allow_only_backend_and_bastion(client: Callable[[str], Any]) -> None:
    (instance,) = client("rds").describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"]
    (attached,) = instance["VpcSecurityGroups"]
    groups = client("ec2").describe_security_groups()["SecurityGroups"]
    ids = {group["GroupName"]: group["GroupId"] for group in groups if group["GroupName"] != "default"}
    assert set(ids) == {"backend", "bastion", "rds"}
    assert attached["VpcSecurityGroupId"] == ids["rds"]
    (rds,) = (group for group in groups if group["GroupName"] == "rds")
    (permission,) = rds["IpPermissions"]
    port = instance["Endpoint"]["Port"]
    assert (permission["FromPort"], permission["ToPort"], permission["IpRanges"]) == (port, port, [])
    assert {pair["GroupId"] for pair in permission["UserIdGroupPairs"]} == {ids["backend"], ids["bastion"]}


@pytest.mark.slow
def test_alarms_have_a_subscriber(client: Callable[[str], Any]) -> None:
    alarms = client("cloudwatch").describe_alarms(AlarmNamePrefix=INSTANCE)["MetricAlarms"]
    assert {alarm["MetricName"] for alarm in alarms} == {
        "CPUUtilization",
        "FreeStorageSpace",
        "FreeableMemory",
        "DatabaseConnections",
        "CPUCreditBalance",
    }
    for alarm in alarms:
        assert alarm["Dimensions"] == [{"Name": "DBInstanceIdentifier", "Value": INSTANCE}]
        (topic,) = alarm["AlarmActions"]
        (subscription,) = client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        assert subscription["Protocol"] == "email"
