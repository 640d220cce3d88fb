"""Facts of the RDS instance, as AWS describes it: the instance, its parameters and snapshots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import ConfigurationError, NotFound
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact

if TYPE_CHECKING:
    from types_boto3_rds.type_defs import DBInstanceTypeDef


#: What RDS calls an instance; those of a proxy or a cluster have a dash in the second label.
NAME_OF_INSTANCE = re.compile(r"[a-z0-9-]+\.[a-z0-9]+\.[a-z0-9-]+\.rds\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class RdsInstance:
    """What DescribeDBInstances says; None where it says nothing.

    Attributes:
        read_at: when it was said.
        pending: the names of what was changed and is not in force yet.
        parameter_groups: name and ``ParameterApplyStatus`` of each.
        security_groups: id and status of each.
        allocated: GiB of storage.
        maximum: GiB that storage may grow to by itself.
        master_secret: ``SecretStatus`` of the secret that RDS keeps of the master's password; None: it keeps none.
        lifecycle: ``EngineLifecycleSupport``: whether AWS supports the engine beyond its standard support, for money.
        monitoring: seconds between two measurements of the operating system; 0: there are none.
        tags: key and value of each.
    """

    identifier: str
    read_at: datetime
    arn: str = ""
    status: str | None = None
    endpoint: str | None = None
    port: int | None = None
    engine: str | None = None
    engine_version: str | None = None
    lifecycle: str | None = None
    instance_class: str | None = None
    deletion_protection: bool | None = None
    backup_days: int | None = None
    backup_window: str | None = None
    maintenance_window: str | None = None
    latest_restorable: datetime | None = None
    is_public: bool | None = None
    is_encrypted: bool | None = None
    is_multi_az: bool | None = None
    upgrades_itself: bool | None = None
    copies_tags: bool | None = None
    log_exports: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    parameter_groups: tuple[tuple[str, str], ...] = ()
    security_groups: tuple[tuple[str, str], ...] = ()
    subnets: tuple[str, ...] = ()
    vpc: str | None = None
    certificate: str | None = None
    certificate_until: datetime | None = None
    allocated: int | None = None
    maximum: int | None = None
    replica_of: str | None = None
    master_secret: str | None = None
    created_at: datetime | None = None
    monitoring: int | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def major(self) -> int | None:
        """PostgreSQL's major version."""
        return int(self.engine_version.split(".")[0]) if self.engine_version else None

    def days_since(self, day: str) -> int | None:
        """Days from `day`, for example ``2026-10-01``, to when it was read; None: that is no date."""
        try:
            return (self.read_at.date() - date.fromisoformat(day)).days
        except ValueError:
            return None


def instance_identifier(secret: SecretState) -> str:
    """Which instance it is; empty: nobody says."""
    stored = secret.document.get("dbClusterIdentifier")
    return configuration.rds_instance or (str(stored.reveal()) if stored else "")


@fact(actions=("rds:DescribeDBInstances",))
def rds_instance(secret: SecretState) -> RdsInstance:
    """The instance of this deployment: ``DEPLOYTOOLS["RDS_INSTANCE"]``, else the secret's ``dbClusterIdentifier``."""
    identifier = instance_identifier(secret)
    if not identifier:
        raise ConfigurationError(
            "Nobody says which RDS instance it is.",
            hint='Set DEPLOYTOOLS["RDS_INSTANCE"], or dbClusterIdentifier in the secret.',
        )
    with aws.calling("rds:DescribeDBInstances", f"the RDS instance {identifier} in {configuration.region}"):
        answer = aws.client("rds", configuration.region).describe_db_instances(DBInstanceIdentifier=identifier)
    if not answer["DBInstances"]:
        raise NotFound(f"The RDS instance {identifier} does not exist.", hint="Check the identifier and the Region.")
    return _instance(identifier, answer["DBInstances"][0])


def _instance(identifier: str, found: DBInstanceTypeDef) -> RdsInstance:
    said: dict[str, Any] = dict(found)
    subnet_group = said.get("DBSubnetGroup") or {}
    certificate = said.get("CertificateDetails") or {}
    groups = said.get("VpcSecurityGroups") or ()
    return RdsInstance(
        identifier=identifier,
        read_at=datetime.now(UTC),
        arn=said.get("DBInstanceArn", ""),
        status=said.get("DBInstanceStatus"),
        endpoint=said.get("Endpoint", {}).get("Address"),
        port=said.get("Endpoint", {}).get("Port"),
        engine=said.get("Engine"),
        engine_version=said.get("EngineVersion"),
        lifecycle=said.get("EngineLifecycleSupport"),
        instance_class=said.get("DBInstanceClass"),
        deletion_protection=said.get("DeletionProtection"),
        backup_days=said.get("BackupRetentionPeriod"),
        backup_window=said.get("PreferredBackupWindow"),
        maintenance_window=said.get("PreferredMaintenanceWindow"),
        latest_restorable=said.get("LatestRestorableTime"),
        is_public=said.get("PubliclyAccessible"),
        is_encrypted=said.get("StorageEncrypted"),
        is_multi_az=said.get("MultiAZ"),
        upgrades_itself=said.get("AutoMinorVersionUpgrade"),
        copies_tags=said.get("CopyTagsToSnapshot"),
        log_exports=tuple(sorted(said.get("EnabledCloudwatchLogsExports") or ())),
        pending=tuple(sorted(said.get("PendingModifiedValues") or ())),
        parameter_groups=tuple(
            (group["DBParameterGroupName"], group.get("ParameterApplyStatus", ""))
            for group in said.get("DBParameterGroups") or ()
        ),
        security_groups=tuple(sorted((group["VpcSecurityGroupId"], group.get("Status", "")) for group in groups)),
        subnets=tuple(sorted(subnet["SubnetIdentifier"] for subnet in subnet_group.get("Subnets") or ())),
        vpc=subnet_group.get("VpcId"),
        certificate=certificate.get("CAIdentifier") or said.get("CACertificateIdentifier"),
        certificate_until=certificate.get("ValidTill"),
        allocated=said.get("AllocatedStorage"),
        maximum=said.get("MaxAllocatedStorage"),
        replica_of=said.get("ReadReplicaSourceDBInstanceIdentifier"),
        created_at=said.get("InstanceCreateTime"),
        master_secret=(said.get("MasterUserSecret") or {}).get("SecretStatus"),
        monitoring=said.get("MonitoringInterval"),
        tags=tuple((tag["Key"], tag.get("Value", "")) for tag in said.get("TagList") or ()),
    )


@dataclass(frozen=True)
class ServerInUse:
    """Whether the server that the secret names is the instance that was looked at.

    Attributes:
        is_instance: whether the secret's host is the instance's endpoint; None: the instance has none yet.
        has_name_of_rds: whether the host is a name that RDS gives to instances.
    """

    is_instance: bool | None
    has_name_of_rds: bool


@fact()
def server_in_use(secret: SecretState, rds_instance: RdsInstance) -> ServerInUse:
    """The secret's host beside the instance's endpoint."""
    stored = secret.document.get("host")
    host = str(stored.reveal()).lower().rstrip(".") if stored else ""
    is_instance = None if rds_instance.endpoint is None else host == rds_instance.endpoint.lower()
    return ServerInUse(is_instance, bool(NAME_OF_INSTANCE.fullmatch(host)))


@dataclass(frozen=True)
class Parameters:
    """What DescribeDBParameters says of the instance's groups; a parameter that it does not name is not in it."""

    values: dict[str, str | None]


@fact(actions=("rds:DescribeDBParameters",), deadline=30)
def rds_parameters(rds_instance: RdsInstance) -> Parameters:
    """The parameters of the instance's parameter groups."""
    pages = aws.client("rds", configuration.region).get_paginator("describe_db_parameters")
    values: dict[str, str | None] = {}
    for group, _ in rds_instance.parameter_groups:
        with aws.calling("rds:DescribeDBParameters", f"the parameter group {group}"):
            for page in pages.paginate(DBParameterGroupName=group):
                values |= {item["ParameterName"]: item.get("ParameterValue") for item in page["Parameters"]}
    return Parameters(values)


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of the instance; None where AWS says nothing."""

    identifier: str
    kind: str
    is_encrypted: bool | None
    status: str = ""
    made_at: datetime | None = None

    @property
    def is_automatic(self) -> bool:
        """Whether AWS made it by itself."""
        return self.kind in {"automated", "awsbackup"}


@fact(actions=("rds:DescribeDBSnapshots",))
def rds_snapshots(rds_instance: RdsInstance) -> tuple[Snapshot, ...]:
    """All snapshots of the instance, made by hand and by AWS."""
    pages = aws.client("rds", configuration.region).get_paginator("describe_db_snapshots")
    with aws.calling("rds:DescribeDBSnapshots", f"the RDS instance {rds_instance.identifier}"):
        answer = pages.paginate(DBInstanceIdentifier=rds_instance.identifier).build_full_result()
    return tuple(
        Snapshot(
            found["DBSnapshotIdentifier"],
            found.get("SnapshotType", ""),
            found.get("Encrypted"),
            found.get("Status", ""),
            found.get("SnapshotCreateTime"),
        )
        for found in sorted(answer["DBSnapshots"], key=lambda said: said["DBSnapshotIdentifier"])
    )


@dataclass(frozen=True)
class SharedSnapshot:
    """Who may restore a snapshot: account numbers, or ``all``: everybody."""

    identifier: str
    accounts: tuple[str, ...]


@fact(actions=("rds:DescribeDBSnapshotAttributes",), deadline=60)
def rds_shares(rds_snapshots: tuple[Snapshot, ...]) -> tuple[SharedSnapshot, ...]:
    """The snapshots that can be shared, those made by hand, and with whom they are."""
    client = aws.client("rds", configuration.region)
    shares = []
    for snapshot in rds_snapshots:
        if snapshot.kind == "automated":
            continue
        with aws.calling("rds:DescribeDBSnapshotAttributes", f"the snapshot {snapshot.identifier}"):
            answer = client.describe_db_snapshot_attributes(DBSnapshotIdentifier=snapshot.identifier)
        attributes = answer["DBSnapshotAttributesResult"].get("DBSnapshotAttributes", [])
        accounts = [a for item in attributes if item["AttributeName"] == "restore" for a in item["AttributeValues"]]
        shares.append(SharedSnapshot(snapshot.identifier, tuple(sorted(accounts))))
    return tuple(shares)
