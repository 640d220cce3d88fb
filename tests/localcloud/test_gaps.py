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


def test_an_alarm_that_is_set_off_tells_its_topics_and_goes_back(cloud: CloudState) -> None:
    session = boto3.Session("local", "local", region_name="us-east-1")
    cloudwatch = session.client("cloudwatch", endpoint_url=cloud.aws_endpoint_url)
    name = f"{INSTANCE}-FreeableMemory"
    before = cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="Action")["AlarmHistoryItems"]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    *_, item = cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="Action")["AlarmHistoryItems"]
    assert item not in before
    assert item["HistorySummary"].startswith("Successfully executed action arn:aws:sns:us-east-1:123456789012:")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["StateValue"] == "OK"
    cloudwatch.close()
