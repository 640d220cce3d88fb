"""API calls that moto does not implement or answers differently, with the responses that AWS documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudtrail.responses import CloudTrailResponse
from moto.core.responses import ActionResult
from moto.rds.models import DBInstance
from moto.rds.responses import RDSResponse

from deploytools.local import secretsmanager_patches
from deploytools.local.cloud_state import ENDPOINT_ID

#: AWS's certificate authorities of 2021 are valid for 40 years, an instance's certificate for one.
CERTIFICATE_DAYS = 365


def install() -> None:
    """Patch moto in this process."""
    setattr(RDSResponse, "describe_pending_maintenance_actions", _pending_maintenance)  # noqa: B010
    setattr(RDSResponse, "describe_db_major_engine_versions", _major_versions)  # noqa: B010
    setattr(RDSResponse, "describe_db_engine_versions", _engine_versions)  # noqa: B010
    setattr(CloudTrailResponse, "lookup_events", _no_events)  # noqa: B010
    secretsmanager_patches.install()
    setattr(DBInstance, "address", property(_address))  # noqa: B010
    setattr(DBInstance, "certificate_details", property(_certificate_details))  # noqa: B010


def _address(instance: Any) -> str:
    return f"{instance.db_instance_identifier}.{ENDPOINT_ID}.{instance.region}.rds.amazonaws.com"


def _no_events(response: CloudTrailResponse) -> str:
    """LookupEvents: an account whose events are not recorded yet."""
    return json.dumps({"Events": []})


def _pending_maintenance(response: RDSResponse) -> ActionResult:
    return ActionResult({"PendingMaintenanceActions": []})


def _major_versions(response: RDSResponse) -> ActionResult:
    """Standard support of PostgreSQL 13 ends in February 2026, of each later version a year later; extended support
    lasts three more years.
    """
    parameters = response.params
    end = 2013 + int(parameters["MajorEngineVersion"])
    periods = [
        {
            "LifecycleSupportName": f"open-source-rds-{name}-support",
            "LifecycleSupportStartDate": datetime(start, 3, 1, tzinfo=UTC),
            "LifecycleSupportEndDate": datetime(start + years, 2, 28, tzinfo=UTC),
        }
        for name, start, years in (("standard", end - 5, 5), ("extended", end, 3))
    ]
    version = {
        "Engine": parameters["Engine"],
        "MajorEngineVersion": parameters["MajorEngineVersion"],
        "SupportedEngineLifecycles": periods,
    }
    return ActionResult({"DBMajorEngineVersions": [version]})


def _engine_versions(response: RDSResponse) -> ActionResult:
    """Every minor version is the newest one."""
    names = ("Engine", "EngineVersion")
    version = {name: response.params[name] for name in names} | {"ValidUpgradeTarget": []}
    return ActionResult({"DBEngineVersions": [version]})


def _certificate_details(instance: Any) -> dict[str, Any]:
    valid_till = datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS)
    return {"CAIdentifier": "rds-ca-rsa2048-g1", "ValidTill": valid_till}
