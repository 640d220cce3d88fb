"""What the emulator does not answer and AWS does, of the calls that verification makes: as AWS documents them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch.models import Alarm
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.rds.models import DBInstance
from moto.rds.responses import RDSResponse
from moto.sns.models import sns_backends

from localcloud.certificates import RDS_HOST

#: AWS's certificate authorities of 2021 are valid for 40 years, an instance's certificate for one.
CERTIFICATE_DAYS = 365


def fill() -> None:
    """Teach the emulator of this process."""
    setattr(RDSResponse, "describe_pending_maintenance_actions", _no_maintenance)  # noqa: B010
    setattr(RDSResponse, "describe_db_major_engine_versions", _major_versions)  # noqa: B010
    setattr(CloudWatchResponse, "describe_alarm_history", _alarm_history)  # noqa: B010
    setattr(Alarm, "update_state", _set_off)  # noqa: B010
    setattr(DBInstance, "address", property(_address))  # noqa: B010
    setattr(DBInstance, "certificate_details", property(_certificate))  # noqa: B010


def _address(instance: Any) -> str:
    """The guide's, for its instance."""
    account = RDS_HOST.split(".")[1]
    return f"{instance.db_instance_identifier}.{account}.{instance.region}.rds.amazonaws.com"


def _no_maintenance(response: RDSResponse) -> ActionResult:
    return ActionResult({"PendingMaintenanceActions": []})


def _major_versions(response: RDSResponse) -> ActionResult:
    """PostgreSQL 13 until February 2026, each later one for a year longer; for money three years more."""
    asked = response.params
    end = 2013 + int(asked["MajorEngineVersion"])
    periods = [
        {
            "LifecycleSupportName": f"open-source-rds-{name}-support",
            "LifecycleSupportStartDate": datetime(start, 3, 1, tzinfo=UTC),
            "LifecycleSupportEndDate": datetime(start + years, 2, 28, tzinfo=UTC),
        }
        for name, start, years in (("standard", end - 5, 5), ("extended", end, 3))
    ]
    version = {
        "Engine": asked["Engine"],
        "MajorEngineVersion": asked["MajorEngineVersion"],
        "SupportedEngineLifecycles": periods,
    }
    return ActionResult({"DBMajorEngineVersions": [version]})


def _certificate(instance: Any) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS)
    return {"CAIdentifier": "rds-ca-rsa2048-g1", "ValidTill": until}


def _set_off(alarm: Any, reason: str, reason_data: str, state: str) -> None:
    """An alarm that is set to ALARM tells its topics, and goes back: AWS evaluates it again within seconds."""
    account = alarm.alarm_arn.split(":")[4]
    topics = sns_backends[account][alarm.region_name].topics
    if state == "ALARM" and alarm.state_value != "ALARM" and alarm.actions_enabled:
        alarm.history += [_told(alarm, action, action in topics) for action in alarm.alarm_actions]


def _told(alarm: Any, action: str, exists: bool) -> dict[str, Any]:
    summary = f"Successfully executed action {action}" if exists else f"Failed to execute action {action}"
    data = {"actionState": "Succeeded" if exists else "Failed", "notificationResource": action}
    return {
        "AlarmName": alarm.name,
        "AlarmType": "MetricAlarm",
        "Timestamp": datetime.now(UTC),
        "HistoryItemType": "Action",
        "HistorySummary": summary,
        "HistoryData": json.dumps(data),
    }


def _alarm_history(response: CloudWatchResponse) -> ActionResult:
    """Of actions; changes of state are not kept."""
    alarm = response.cloudwatch_backend.alarms.get(response._get_param("AlarmName"))
    return ActionResult({"AlarmHistoryItems": alarm.history if alarm else []})
