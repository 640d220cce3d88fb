"""What the emulator is taught: answers as AWS documents them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from localcloud import CloudState
from localcloud.world import INSTANCE


@pytest.fixture
def rds(cloud: CloudState) -> Any:
    client = boto3.Session("local", "local", region_name="us-east-1").client("rds", endpoint_url=cloud.aws_endpoint_url)
    yield client
    client.close()


def test_no_maintenance_is_pending(rds: Any) -> None:
    assert rds.describe_pending_maintenance_actions()["PendingMaintenanceActions"] == []


def test_an_instance_has_a_certificate_that_is_valid(rds: Any) -> None:
    (instance,) = rds.describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"]
    assert instance["CertificateDetails"]["CAIdentifier"] == "rds-ca-rsa2048-g1"
    assert instance["CertificateDetails"]["ValidTill"] > datetime.now(UTC)
