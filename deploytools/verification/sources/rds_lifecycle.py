"""Facts of what AWS does to the instance by itself: maintenance, and the end of support of its engine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deploytools import aws
from deploytools.conf import configuration
from deploytools.verification.registry import fact
from deploytools.verification.sources.rds import RdsInstance

STANDARD, EXTENDED = "open-source-rds-standard-support", "open-source-rds-extended-support"


@dataclass(frozen=True)
class Maintenance:
    """One action that AWS has in store.

    Attributes:
        action: for example ``system-update``.
        forced_at: when it is done whatever the owner says; None: never.
        window_after: it is done in the first maintenance window after that; None: in none by itself.
        chosen: what the owner has asked for, ``next-maintenance`` or ``immediate``; empty: nothing.
    """

    action: str
    description: str
    forced_at: datetime | None
    chosen: str = ""
    window_after: datetime | None = None


@fact(actions=("rds:DescribePendingMaintenanceActions",))
def rds_maintenance(rds_instance: RdsInstance) -> tuple[Maintenance, ...]:
    """What AWS will do to the instance."""
    with aws.calling("rds:DescribePendingMaintenanceActions", f"the RDS instance {rds_instance.identifier}"):
        answer = aws.client("rds", configuration.region).describe_pending_maintenance_actions(
            ResourceIdentifier=rds_instance.arn
        )
    return tuple(
        Maintenance(
            action["Action"],
            action.get("Description", ""),
            action.get("ForcedApplyDate"),
            action.get("OptInStatus", ""),
            action.get("AutoAppliedAfterDate"),
        )
        for resource in answer["PendingMaintenanceActions"]
        for action in sorted(resource["PendingMaintenanceActionDetails"], key=lambda said: said["Action"])
    )


@dataclass(frozen=True)
class EngineSupport:
    """Until when AWS supports the instance's major version; None where it does not say.

    Attributes:
        standard_until: the end of what the price of the instance includes.
        extended_until: the end of what is charged for on top of it.
    """

    standard_until: datetime | None = None
    extended_until: datetime | None = None


@fact(actions=("rds:DescribeDBMajorEngineVersions",))
def engine_support(rds_instance: RdsInstance) -> EngineSupport:
    """AWS's calendar of the instance's major version."""
    engine, major = rds_instance.engine or "postgres", rds_instance.major
    if major is None:
        return EngineSupport()
    with aws.calling("rds:DescribeDBMajorEngineVersions", f"the engine {engine} {major}"):
        answer = aws.client("rds", configuration.region).describe_db_major_engine_versions(
            Engine=engine, MajorEngineVersion=str(major)
        )
    ends: dict[str, datetime] = {
        period["LifecycleSupportName"]: period["LifecycleSupportEndDate"]
        for version in answer["DBMajorEngineVersions"]
        for period in version.get("SupportedEngineLifecycles") or ()
    }
    return EngineSupport(ends.get(STANDARD), ends.get(EXTENDED))
