"""What the emulator does not answer and AWS does, of the calls that verification makes: as AWS documents them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.rds.models import DBInstance
from moto.rds.responses import RDSResponse

from localcloud.certificates import RDS_HOST

#: AWS's certificate authorities of 2021 are valid for 40 years, an instance's certificate for one.
CERTIFICATE_DAYS = 365


def fill() -> None:
    """Teach the emulator of this process."""
    setattr(RDSResponse, "describe_pending_maintenance_actions", _no_maintenance)  # noqa: B010
    setattr(DBInstance, "address", property(_address))  # noqa: B010
    setattr(DBInstance, "certificate_details", property(_certificate))  # noqa: B010


def _address(instance: Any) -> str:
    """The guide's, for its instance."""
    account = RDS_HOST.split(".")[1]
    return f"{instance.db_instance_identifier}.{account}.{instance.region}.rds.amazonaws.com"


def _no_maintenance(response: RDSResponse) -> ActionResult:
    return ActionResult({"PendingMaintenanceActions": []})


def _certificate(instance: Any) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS)
    return {"CAIdentifier": "rds-ca-rsa2048-g1", "ValidTill": until}
