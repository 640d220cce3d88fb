"""API calls that are added to moto return what AWS documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from deploytools.local import CloudState
from tests.local_cloud import INSTANCE
from tests.old_boto3 import needs_boto3_1_40


@pytest.fixture
def rds(cloud: CloudState) -> Any:
    client = boto3.Session("local", "local", region_name="us-east-1").client("rds", endpoint_url=cloud.aws_endpoint_url)
    yield client
    client.close()


def test_a_secret_is_read_as_aws_does_after_a_write(cloud: CloudState) -> None:
    """Without a stage the response is AWSCURRENT, also if a write moves the label from a stage of its own."""
    session = boto3.Session("local", "local", region_name="us-east-1")
    client = session.client("secretsmanager", endpoint_url=cloud.aws_endpoint_url)
    name = "emulator/read-after-write"
    first = client.create_secret(Name=name, SecretString="old")["VersionId"]
    second = client.put_secret_value(SecretId=name, SecretString="new", VersionStages=["staged"])["VersionId"]
    read = client.get_secret_value(SecretId=name)
    assert (read["SecretString"], read["VersionStages"]) == ("old", ["AWSCURRENT"])
    move = {"MoveToVersionId": second, "RemoveFromVersionId": first}
    client.update_secret_version_stage(SecretId=name, VersionStage="AWSCURRENT", **move)
    read = client.get_secret_value(SecretId=name)
    assert (read["SecretString"], "AWSCURRENT" in read["VersionStages"]) == ("new", True)
    assert client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "old"
    client.create_secret(Name=f"{name}-empty")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_secret_value(SecretId=f"{name}-empty")
    for each in (name, f"{name}-empty"):
        client.delete_secret(SecretId=each, ForceDeleteWithoutRecovery=True)
    client.close()


def test_no_maintenance_is_pending(rds: Any) -> None:
    assert rds.describe_pending_maintenance_actions()["PendingMaintenanceActions"] == []


def test_an_instance_has_a_certificate_that_is_valid(rds: Any) -> None:
    (instance,) = rds.describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"]
    assert instance["CertificateDetails"]["CAIdentifier"] == "rds-ca-rsa2048-g1"
    assert instance["CertificateDetails"]["ValidTill"] > datetime.now(UTC)


@needs_boto3_1_40
def test_every_version_of_postgresql_has_an_end_of_support(rds: Any) -> None:
    answer = rds.describe_db_major_engine_versions(Engine="postgres", MajorEngineVersion="14")
    (version,) = answer["DBMajorEngineVersions"]
    ends = {
        period["LifecycleSupportName"]: period["LifecycleSupportEndDate"].date().isoformat()
        for period in version["SupportedEngineLifecycles"]
    }
    assert ends == {
        "open-source-rds-standard-support": "2027-02-28",
        "open-source-rds-extended-support": "2030-02-28",
    }
