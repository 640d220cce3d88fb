"""Facts of the RDS instance: its configuration, parameters, snapshots, maintenance and engine support."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from typing import Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.errors import AwsError, ConfigurationError, NotFound
from deploytools.secrets.contract import INSTANCE_ENDPOINT, host_name, instance_identifier
from deploytools.secrets.plan import SecretState
from deploytools.verification.log_groups import read_log_groups
from deploytools.verification.rds.db_cluster import CLUSTER_ENDPOINT, CUSTOM_ENDPOINT, read_instance
from deploytools.verification.registry import fact

STANDARD, EXTENDED = "open-source-rds-standard-support", "open-source-rds-extended-support"


def _from(key: str) -> Any:
    """Return a field whose value is a member of the AWS response as it is."""
    return field(default=None, metadata={"key": key})


@dataclass(frozen=True)
class RdsInstance:
    """The responses of DescribeDBInstances and DescribeDBClusters; None: they do not have the value.

    Attributes:
        arn: of the instance, or of its cluster.
        endpoint: of the instance, or of the writer of its cluster.
        cluster: the identifier of its DB cluster; empty: it is not in one.
        member_arn, member_endpoint: of the instance, if it is in a cluster.
        others: identifiers of the other instances of the cluster, or of its read replicas; of another Region: ARNs.
        region: the Region of a read replica in another Region; empty: that of the settings.
        other_endpoints: the reader endpoint and the custom endpoints of the cluster.
        read_at: the time of the response.
        pending: names and values of the pending changes of the instance: ``MultiAZ = false``.
        cluster_pending: those of its cluster.
        parameter_groups: name and ``ParameterApplyStatus`` of each group, or of the group of its cluster.
        instance_groups: those of the instance, if it is in a cluster.
        security_groups: ID and status of each group.
        allocated: storage in GiB.
        maximum: maximum storage of autoscaling in GiB.
        master_secret: ``SecretStatus`` of the managed secret of the master user; None: it is not managed.
        lifecycle: ``EngineLifecycleSupport``: whether Extended Support is enabled.
        key: the KMS key that encrypts the storage.
        monitoring: the interval of Enhanced Monitoring in seconds; 0: disabled.
        tags: key and value of each tag.
    """

    identifier: str
    read_at: datetime
    arn: str = ""
    status: str | None = _from("DBInstanceStatus")
    endpoint: str | None = None
    port: int | None = None
    engine: str | None = _from("Engine")
    engine_version: str | None = _from("EngineVersion")
    lifecycle: str | None = _from("EngineLifecycleSupport")
    instance_class: str | None = _from("DBInstanceClass")
    deletion_protection: bool | None = _from("DeletionProtection")
    backup_days: int | None = _from("BackupRetentionPeriod")
    backup_window: str | None = _from("PreferredBackupWindow")
    maintenance_window: str | None = _from("PreferredMaintenanceWindow")
    latest_restorable: datetime | None = _from("LatestRestorableTime")  # noqa: RUF009 - it is a field
    is_public: bool | None = _from("PubliclyAccessible")
    is_encrypted: bool | None = _from("StorageEncrypted")
    is_multi_az: bool | None = _from("MultiAZ")
    has_minor_upgrades: bool | None = _from("AutoMinorVersionUpgrade")
    copies_tags: bool | None = _from("CopyTagsToSnapshot")
    log_exports: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    cluster_pending: tuple[str, ...] = ()
    parameter_groups: tuple[tuple[str, str], ...] = ()
    instance_groups: tuple[tuple[str, str], ...] = ()
    security_groups: tuple[tuple[str, str], ...] = ()
    subnets: tuple[str, ...] = ()
    vpc: str | None = None
    certificate: str | None = None
    certificate_until: datetime | None = None
    allocated: int | None = _from("AllocatedStorage")
    maximum: int | None = _from("MaxAllocatedStorage")
    replica_of: str | None = _from("ReadReplicaSourceDBInstanceIdentifier")
    master_secret: str | None = None
    created_at: datetime | None = _from("InstanceCreateTime")  # noqa: RUF009 - it is a field
    monitoring: int | None = _from("MonitoringInterval")
    key: str | None = _from("KmsKeyId")
    tags: tuple[tuple[str, str], ...] = ()
    cluster: str = ""
    member_arn: str = ""
    member_endpoint: str = ""
    others: tuple[str, ...] = ()
    other_endpoints: tuple[str, ...] = ()
    region: str = ""

    @property
    def is_aurora(self) -> bool:
        return (self.engine or "").startswith("aurora")

    @property
    def is_multi_az_cluster(self) -> bool:
        return bool(self.cluster) and not self.is_aurora

    @property
    def option(self) -> str:
        """The option of the AWS CLI that names the instance."""
        region = f" --region {self.region}" if self.region else ""
        return f"--db-instance-identifier {self.identifier}{region}"

    @property
    def major(self) -> int | None:
        """The major version of PostgreSQL."""
        return int(self.engine_version.split(".")[0]) if self.engine_version else None

    def days_since(self, day: str) -> int | None:
        """Return the days from `day`, for example ``2026-10-01``, to `read_at`; None: not a date."""
        try:
            return (self.read_at.date() - date.fromisoformat(day)).days
        except ValueError:
            return None


@fact(actions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"), deadline=30)
def rds_instance(secret: SecretState, settings: Settings) -> RdsInstance:
    """The instance of ``DEPLOYTOOLS["RDS_INSTANCE"]``, or else ``dbClusterIdentifier`` or ``host`` in the secret.

    If that names a DB cluster, the fact is its writer.
    """
    endpoint = CLUSTER_ENDPOINT.fullmatch(host_name(secret.document))
    name = settings.rds_instance or instance_identifier(secret.document) or (endpoint[1] if endpoint else "")
    if not name:
        raise ConfigurationError(
            "The RDS instance is not set, and the host in the secret is not the endpoint of one.",
            hint='Set DEPLOYTOOLS["RDS_INSTANCE"].',
        )
    item = read_instance(aws.client("rds", settings.region), name, settings.region)
    return _instance(item["DBInstanceIdentifier"], item)


def _instance(identifier: str, item: Mapping[str, Any], region: str = "") -> RdsInstance:
    subnet_group = item.get("DBSubnetGroup") or {}
    certificate = item.get("CertificateDetails") or {}
    groups = item.get("VpcSecurityGroups") or ()
    return RdsInstance(
        **{field.name: item.get(field.metadata["key"]) for field in fields(RdsInstance) if field.metadata},
        identifier=identifier,
        read_at=datetime.now(UTC),
        arn=item.get("DBClusterArn") or item.get("DBInstanceArn", ""),
        endpoint=item.get("ClusterEndpoint") or item.get("Endpoint", {}).get("Address"),
        port=item.get("Endpoint", {}).get("Port"),
        log_exports=tuple(sorted(item.get("EnabledCloudwatchLogsExports") or ())),
        pending=_changes(item.get("PendingModifiedValues") or {}),
        cluster_pending=_changes(item.get("ClusterPendingModifiedValues") or {}),
        parameter_groups=_parameter_groups(item.get("DBParameterGroups")),
        instance_groups=_parameter_groups(item.get("InstanceParameterGroups")),
        security_groups=tuple(sorted((group["VpcSecurityGroupId"], group.get("Status", "")) for group in groups)),
        subnets=tuple(sorted(subnet["SubnetIdentifier"] for subnet in subnet_group.get("Subnets") or ())),
        vpc=subnet_group.get("VpcId"),
        certificate=certificate.get("CAIdentifier") or item.get("CACertificateIdentifier"),
        certificate_until=certificate.get("ValidTill"),
        master_secret=(item.get("MasterUserSecret") or {}).get("SecretStatus"),
        tags=tuple((tag["Key"], tag.get("Value", "")) for tag in item.get("TagList") or ()),
        cluster=item.get("DBClusterIdentifier", ""),
        member_arn=item.get("DBInstanceArn", "") if "DBClusterArn" in item else "",
        member_endpoint=item.get("Endpoint", {}).get("Address", "") if "DBClusterArn" in item else "",
        others=tuple(item.get("Others") or item.get("ReadReplicaDBInstanceIdentifiers") or ()),
        other_endpoints=tuple(filter(None, item.get("OtherEndpoints", ()))),
        region=region,
    )


def _changes(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names and, unless they have members, the values; AWS masks passwords."""
    shown = {name: str(value).lower() if isinstance(value, bool) else value for name, value in values.items()}
    return tuple(sorted(f"{name} = {value}" if isinstance(value, str | int) else name for name, value in shown.items()))


def _parameter_groups(groups: Any) -> tuple[tuple[str, str], ...]:
    return tuple((group["DBParameterGroupName"], group.get("ParameterApplyStatus", "")) for group in groups or ())


@fact(actions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"), deadline=30)
def rds_readers(rds_instance: RdsInstance, settings: Settings) -> tuple[RdsInstance, ...]:
    """The other instances of the cluster, or the read replicas of the instance."""
    return tuple(_reader(name, settings.region) for name in sorted(set(rds_instance.others)))


def _reader(name: str, region: str) -> RdsInstance:
    """Return a reader. A read replica in another Region is named by its ARN."""
    own = name.split(":")[3] if name.startswith("arn:") else region
    item = read_instance(aws.client("rds", own), name, own)
    return _instance(name.rpartition(":")[2], item, "" if own == region else own)


@dataclass(frozen=True)
class ServerInUse:
    """Whether the server in the secret is the RDS instance.

    Attributes:
        is_instance: whether the host is the endpoint of the instance; None: the instance has no endpoint yet.
        is_rds_endpoint: whether the host is the endpoint of any RDS instance or DB cluster.
        is_member: whether the host is the endpoint of one instance of the cluster, which can become a reader.
        is_reader: whether the host is the reader endpoint of the cluster, a custom one, or the endpoint of a reader.
    """

    is_instance: bool | None
    is_rds_endpoint: bool
    is_member: bool = False
    is_reader: bool = False


@fact()
def server_in_use(secret: SecretState, rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...]) -> ServerInUse:
    """The host in the secret, compared with the endpoint of the instance."""
    host = host_name(secret.document)
    is_member = host == rds_instance.member_endpoint.lower() != ""
    is_instance = None if rds_instance.endpoint is None else host == rds_instance.endpoint.lower() or is_member
    is_rds_endpoint = any(form.fullmatch(host) for form in (INSTANCE_ENDPOINT, CLUSTER_ENDPOINT, CUSTOM_ENDPOINT))
    others = (*rds_instance.other_endpoints, *(reader.member_endpoint for reader in rds_readers))
    return ServerInUse(is_instance, is_rds_endpoint, is_member, host in {name.lower() for name in others if name})


@fact(actions=("rds:DescribeDBParameters", "rds:DescribeDBClusterParameters"), deadline=30)
def rds_parameters(rds_instance: RdsInstance, settings: Settings) -> dict[str, str | None]:
    """The values of the parameters in the groups of the instance.

    In a cluster, the group of the cluster has them; what is set in the group of the instance overrides it.
    """
    region, values = settings.region, dict[str, str | None]()
    for group, _ in rds_instance.parameter_groups:
        values |= _parameters(region, "Cluster" if rds_instance.cluster else "", group)
    for group, _ in rds_instance.instance_groups:
        values |= _parameters(region, "", group, Source="user")
    return values


def _parameters(region: str, kind: str, group: str, **filters: str) -> dict[str, str | None]:
    client: Any = aws.client("rds", region)
    pages = client.get_paginator(f"describe_db_{'cluster_' if kind else ''}parameters")
    with aws.translate_aws_errors(f"rds:DescribeDB{kind}Parameters", f"the parameter group {group}"):
        found = pages.paginate(**{f"DB{kind}ParameterGroupName": group}, **filters).build_full_result()
    return {item["ParameterName"]: item.get("ParameterValue") for item in found["Parameters"]}


@fact(actions=("kms:DescribeKey",))
def storage_key_state(rds_instance: RdsInstance, settings: Settings) -> str:
    """``KeyState`` of the KMS key that encrypts the storage; empty: there is none."""
    if not rds_instance.key:
        return ""
    with suppress(NotFound), aws.translate_aws_errors("kms:DescribeKey", f"the key {rds_instance.key}"):
        metadata = aws.client("kms", settings.region).describe_key(KeyId=rds_instance.key)["KeyMetadata"]
        return str(metadata.get("KeyState", ""))
    return "missing"


#: The days for which the log groups of the exported logs keep events, by the name of the log; None: forever.
LogRetention = Mapping[str, int | None]


@fact(actions=("logs:DescribeLogGroups",))
def rds_log_retention(rds_instance: RdsInstance, settings: Settings) -> LogRetention:
    kind = f"cluster/{rds_instance.cluster}" if rds_instance.cluster else f"instance/{rds_instance.identifier}"
    names = {f"/aws/rds/{kind}/{log}": log for log in rds_instance.log_exports}
    return {names[name]: days for name, days in read_log_groups(names, settings.region).items()}


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of the instance; None: the AWS response does not have the value."""

    identifier: str
    kind: str
    is_encrypted: bool | None
    status: str = ""
    created_at: datetime | None = None

    @property
    def is_automatic(self) -> bool:
        """Whether RDS or AWS Backup created it."""
        return self.kind in {"automated", "awsbackup"}


@fact(actions=("rds:DescribeDBSnapshots", "rds:DescribeDBClusterSnapshots"))
def rds_snapshots(rds_instance: RdsInstance, settings: Settings) -> tuple[Snapshot, ...]:
    """All snapshots of the instance, or of its cluster, manual and automatic."""
    client: Any = aws.client("rds", settings.region)
    kind, name = ("Cluster", rds_instance.cluster) if rds_instance.cluster else ("", rds_instance.identifier)
    pages = client.get_paginator(f"describe_db_{'cluster_' if kind else ''}snapshots")
    with aws.translate_aws_errors(f"rds:DescribeDB{kind}Snapshots", f"the snapshots of {name}"):
        found = pages.paginate(**{f"DB{kind or 'Instance'}Identifier": name}).build_full_result()
    snapshots = (
        Snapshot(
            item[f"DB{kind}SnapshotIdentifier"],
            item.get("SnapshotType", ""),
            item.get("StorageEncrypted" if kind else "Encrypted"),
            item.get("Status", ""),
            item.get("SnapshotCreateTime"),
        )
        for item in found[f"DB{kind}Snapshots"]
    )
    return tuple(sorted(snapshots, key=lambda snapshot: snapshot.identifier))


@dataclass(frozen=True)
class SharedSnapshot:
    """The accounts that can restore a snapshot; ``all``: any account."""

    identifier: str
    accounts: tuple[str, ...]


@fact(actions=("rds:DescribeDBSnapshotAttributes", "rds:DescribeDBClusterSnapshotAttributes"), deadline=60)
def rds_shares(
    rds_instance: RdsInstance, rds_snapshots: tuple[Snapshot, ...], settings: Settings
) -> tuple[SharedSnapshot, ...]:
    """The accounts that the snapshots are shared with. Automated snapshots cannot be shared."""
    client: Any = aws.client("rds", settings.region)
    kind = "Cluster" if rds_instance.cluster else ""
    describe = getattr(client, f"describe_db_{'cluster_' if kind else ''}snapshot_attributes")
    shares = []
    for snapshot in rds_snapshots:
        if snapshot.kind == "automated":
            continue
        name = snapshot.identifier
        with aws.translate_aws_errors(f"rds:DescribeDB{kind}SnapshotAttributes", f"the snapshot {name}"):
            answer = describe(**{f"DB{kind}SnapshotIdentifier": name})[f"DB{kind}SnapshotAttributesResult"]
        attributes = answer.get(f"DB{kind}SnapshotAttributes", [])
        accounts = [a for item in attributes if item["AttributeName"] == "restore" for a in item["AttributeValues"]]
        shares.append(SharedSnapshot(name, tuple(sorted(accounts))))
    return tuple(shares)


@dataclass(frozen=True)
class Maintenance:
    """One pending maintenance action.

    Attributes:
        arn: of the instance or the cluster.
        action: for example ``system-update``.
        forced_at: ``ForcedApplyDate``; None: it is not forced.
        window_after: ``AutoAppliedAfterDate``: it is applied in the first maintenance window after it; None: not set.
        chosen: ``OptInStatus``: ``next-maintenance``, ``immediate``, …; empty: not set.
        applied_at: ``CurrentApplyDate``; None: not set.
    """

    arn: str
    action: str
    description: str
    forced_at: datetime | None
    chosen: str = ""
    window_after: datetime | None = None
    applied_at: datetime | None = None

    @property
    def resource(self) -> str:
        """The name in the ARN, with the type of a cluster: an instance can have the same name."""
        kind, name = self.arn.split(":")[5:7]
        return f"{name} {self.action}" if kind == "db" else f"{kind} {name} {self.action}"


@fact(actions=("rds:DescribePendingMaintenanceActions",))
def rds_maintenance(
    rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...], settings: Settings
) -> tuple[Maintenance, ...]:
    """The pending actions of the instance, or of its cluster and all instances of it."""
    client = aws.client("rds", settings.region)
    pending: list[tuple[str, Any]] = []
    members = (rds_instance, *rds_readers)
    for arn in filter(None, (rds_instance.arn, *(member.member_arn for member in members))):
        with aws.translate_aws_errors("rds:DescribePendingMaintenanceActions", f"the RDS resource {arn}"):
            answer: Any = client.describe_pending_maintenance_actions(ResourceIdentifier=arn)
        for resource in answer["PendingMaintenanceActions"]:
            found = sorted(resource["PendingMaintenanceActionDetails"], key=lambda item: item["Action"])
            pending += [(arn, action) for action in found]
    return tuple(
        Maintenance(
            arn,
            action["Action"],
            action.get("Description", ""),
            action.get("ForcedApplyDate"),
            action.get("OptInStatus", ""),
            action.get("AutoAppliedAfterDate"),
            action.get("CurrentApplyDate"),
        )
        for arn, action in pending
    )


@fact(actions=("rds:DescribeDBEngineVersions",))
def newer_minor_versions(rds_instance: RdsInstance, settings: Settings) -> tuple[str, ...]:
    """The minor versions to which the instance can be upgraded, in order."""
    engine, version = rds_instance.engine or "postgres", rds_instance.engine_version or ""
    with aws.translate_aws_errors("rds:DescribeDBEngineVersions", f"the engine {engine} {version}"):
        found = aws.client("rds", settings.region).describe_db_engine_versions(
            Engine=engine, EngineVersion=version, IncludeAll=True
        )["DBEngineVersions"]
    if not found:
        raise AwsError(
            f"RDS does not list the version {version} of {engine}.",
            hint=f"Run: aws rds describe-db-engine-versions --engine {engine} --include-all",
        )
    newer = [
        target["EngineVersion"]
        for target in found[0].get("ValidUpgradeTarget", ())
        if not target.get("IsMajorVersionUpgrade")
    ]
    return tuple(sorted(newer, key=lambda name: [int(number) for number in re.findall(r"\d+", name)]))


@dataclass(frozen=True)
class EngineSupport:
    """The end of support of the major version; None: the AWS response does not have it."""

    standard_until: datetime | None = None
    extended_until: datetime | None = None


@fact(actions=("rds:DescribeDBMajorEngineVersions",))
def engine_support(rds_instance: RdsInstance, settings: Settings) -> EngineSupport:
    engine, major = rds_instance.engine or "postgres", rds_instance.major
    if major is None:
        return EngineSupport()
    client = aws.client("rds", settings.region)
    if not hasattr(client, "describe_db_major_engine_versions"):
        raise ConfigurationError(
            "The installed boto3 does not have rds:DescribeDBMajorEngineVersions.", hint="Upgrade boto3."
        )
    with aws.translate_aws_errors("rds:DescribeDBMajorEngineVersions", f"the engine {engine} {major}"):
        answer = client.describe_db_major_engine_versions(Engine=engine, MajorEngineVersion=str(major))
    ends: dict[str, datetime] = {
        period["LifecycleSupportName"]: period["LifecycleSupportEndDate"]
        for version in answer["DBMajorEngineVersions"]
        for period in version.get("SupportedEngineLifecycles") or ()
    }
    return EngineSupport(ends.get(STANDARD), ends.get(EXTENDED))
