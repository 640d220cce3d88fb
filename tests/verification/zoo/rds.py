"""Worlds of the area rds: faults with the statuses that they change, and good variations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.findings import Status
from deploytools.verification.rds.facts import (
    EngineSupport,
    Maintenance,
    ServerInUse,
    SharedSnapshot,
    Snapshot,
)
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    ALARMS,
    DAILY,
    NOW,
    RDS,
    Changes,
    alarm,
    expect,
    rds,
)

DAY = timedelta(days=1)


def snapshots(*found: Snapshot) -> Changes:
    """The snapshots of the instance."""
    return {"rds_snapshots": found}


def storage_alarm(gib: int) -> Changes:
    """The alarm on the free storage with another threshold."""
    return alarm("FreeStorageSpace", threshold=gib * 2**30)


def missing_field(field: str, check: str, name: str) -> Row:
    return Row(rds(**{field: None}), {check: UNKNOWN}, f"the AWS response has no {name}")


#: The verdicts of other checks without backups.
WITHOUT_BACKUPS = {"rds.restorable": NA, "rds.separate-windows": NA, "rds.restore-drill": NA}


def aurora(**changes: Any) -> Changes:
    """The instance is the writer of an Aurora cluster."""
    return rds(**{"cluster": "orders", "engine": "aurora-postgresql", "log_exports": ("postgresql",), **changes})


OF_CLUSTER = ("rds.deletion-protection", "rds.automated-backups", "rds.storage-encrypted", "rds.log-exports")
#: What a reader has, and what is reported.
OF_READERS: tuple[tuple[str, Any, str, Status, str], ...] = (
    ("status", "failed", "rds.available", FAIL, "the status is failed"),
    ("certificate_until", NOW - DAY, "rds.certificate", FAIL, "rds-ca-rsa2048-g1, expired on 2026-02-28"),
    ("has_minor_upgrades", False, "rds.minor-upgrades", FAIL, "AutoMinorVersionUpgrade is false"),
    ("pending", ("DBInstanceClass",), "rds.no-pending-changes", WARN, "pending until the maintenance window"),
    ("instance_groups", (("own", "pending-reboot"),), "rds.parameters-applied", FAIL, "own: pending-reboot"),
    ("monitoring", 0, "rds.enhanced-monitoring", WARN, "MonitoringInterval is 0"),
)
#: Parameters, and what is reported of them.
UNSAFE = (
    ("autovacuum", "0", "autovacuum is 0: PostgreSQL stops before"),
    ("track_counts", "off", "PostgreSQL stops before"),
    ("fsync", "0", "a crash can corrupt the data"),
    ("full_page_writes", "0", "a crash can corrupt the data"),
    ("synchronous_commit", "off", "a crash loses the last transactions"),
    ("log_statement", "all", "log_statement is all: the log contains the data of customers"),
    ("log_statement", "mod", "the log contains the data of customers"),
    ("log_min_duration_statement", "0", "the log contains the data of customers"),
    ("log_min_duration_sample", "0", "the log contains the data of customers"),
    ("auto_explain.log_min_duration", "0", "the log contains the data of customers"),
    ("pgaudit.log_parameter", "1", "the log contains the data of customers"),
    ("ssl_min_protocol_version", "TLSv1.1", "known vulnerabilities"),
    ("password_encryption", "md5", "MD5"),
)
SAFE = {
    "autovacuum": "1", "log_statement": "ddl", "log_min_duration_statement": "1000", "log_min_duration_sample": "100",
    "auto_explain.log_min_duration": "-1", "pgaudit.log": "ddl,role", "pgaudit.log_parameter": "0",
    "synchronous_commit": "on", "ssl_min_protocol_version": "TLSv1.2",
    "password_encryption": "scram-sha-256", "fsync": None,
}  # fmt: skip

SWITCHES = [
    Row(
        aurora(allocated=1, maximum=None) | {"alarms": tuple(a for a in ALARMS if a.metric != "FreeStorageSpace")},
        good=(*OF_CLUSTER, "rds.multi-az", "rds.storage-autoscaling", "alarms.metrics"),
    ),
    *(
        Row(aurora() | {"rds_readers": (replace(RDS, identifier="orders-2", is_public=is_public),)}, flips, seen, good)
        for is_public, flips, seen, good in (
            (True, {"rds.not-public": FAIL}, "orders-2: PubliclyAccessible is true", ()),
            (None, {"rds.not-public": UNKNOWN}, "orders-2: the AWS response has no PubliclyAccessible", ()),
            (False, {}, "", ("rds.not-public",)),
        )
    ),
    *(
        Row(
            aurora() | {"rds_readers": (replace(RDS, identifier="orders-2", **{field: value}),)},
            {check: status},
            f"orders-2: {seen}",
        )
        for field, value, check, status, seen in OF_READERS
    ),
    Row(
        aurora(cluster_pending=("EngineVersion",)),
        {"rds.no-pending-changes": WARN},
        "cluster orders: pending until the maintenance window: EngineVersion",
    ),
    Row(aurora(instance_groups=(("own", "pending-reboot"),)), {"rds.parameters-applied": FAIL}, "own: pending-reboot"),
    Row(aurora(instance_groups=(("own", "in-sync"),)), good=("rds.parameters-applied",)),
    Row(
        aurora() | {"server_in_use": ServerInUse(False, True, is_reader=True)},
        {"rds.instance-in-use": FAIL},
        "an endpoint of the same cluster that can lead to a reader",
    ),
    Row(
        rds(cluster="orders", maximum=None),
        {"rds.storage-autoscaling": NA},
        "Multi-AZ DB clusters have no storage autoscaling",
    ),
    Row(aurora(deletion_protection=False), {"rds.deletion-protection": FAIL}, "DeletionProtection is false"),
    Row(aurora(backup_days=1), {"rds.automated-backups": FAIL}, "retention period: 1 day"),
    Row(aurora(is_encrypted=False), {"rds.storage-encrypted": FAIL}, "StorageEncrypted is false"),
    Row(aurora(is_multi_az=False), {"rds.multi-az": WARN}, "MultiAZ is false"),
    Row(aurora(log_exports=()), {"rds.log-exports": WARN}, "not exported: postgresql"),
    Row(aurora(latest_restorable=None), {"rds.restorable": FAIL}, "there is no restore point"),
    Row(aurora() | {"rds_parameters": {}}, {"rds.tls-required": FAIL}, "rds.force_ssl is not set"),
    Row(
        aurora() | {"server_in_use": ServerInUse(True, True, is_member=True)},
        {"rds.instance-in-use": WARN},
        "one instance of the cluster, a reader after a failover",
    ),
    Row(rds(deletion_protection=False), {"rds.deletion-protection": FAIL}, "DeletionProtection is false"),
    Row(rds(backup_days=6), {"rds.automated-backups": FAIL}, "retention period: 6 days, expected at least 7"),
    Row(
        rds(backup_days=1) | expect(stage="pre-launch"),
        {"rds.automated-backups": WARN},
        "retention period: 1 day, expected at least 7",
    ),
    Row(
        rds(backup_days=0, latest_restorable=None),
        {"rds.automated-backups": FAIL, **WITHOUT_BACKUPS},
        "automated backups are disabled",
    ),
    Row(rds(backup_days=7), {}),
    Row(
        rds(backup_days=0, latest_restorable=None, replica_of="main"),
        {"rds.automated-backups": NA, **WITHOUT_BACKUPS},
        "the instance is a replica of main",
    ),
    Row(rds(replica_of="main"), {"rds.automated-backups": NA}, "the instance is a replica of main"),
    Row(rds(is_public=True), {"rds.not-public": FAIL}, "PubliclyAccessible is true"),
    Row(rds(is_encrypted=False), {"rds.storage-encrypted": FAIL}, "StorageEncrypted is false"),
    Row(rds(is_multi_az=False), {"rds.multi-az": WARN}, "MultiAZ is false"),
    Row(rds(log_exports=("upgrade",)), {"rds.log-exports": WARN}, "not exported: postgresql"),
    Row(rds(has_minor_upgrades=False), {"rds.minor-upgrades": FAIL}, "AutoMinorVersionUpgrade is false"),
    Row({"newer_minor_versions": ("16.11", "16.12")}, {"rds.minor-upgrades": WARN}, "16.12 is available"),
    Row({"newer_minor_versions": ("16.12",), **rds(has_minor_upgrades=False)}, {"rds.minor-upgrades": FAIL}, "false"),
    Row(rds(maximum=None), {"rds.storage-autoscaling": WARN}, "20 GiB, without autoscaling"),
    Row(rds(maximum=20), {"rds.storage-autoscaling": WARN}, "20 GiB, without autoscaling"),
    Row(rds(maximum=30), {"rds.storage-autoscaling": WARN}, "up to 30 GiB: too little for a step of 10 GiB"),
    Row(
        rds(allocated=200, maximum=220) | storage_alarm(20),
        {"rds.storage-autoscaling": WARN},
        "200 GiB, up to 220 GiB: too little for a step of 20 GiB",
    ),
    Row(rds(maximum=31), good=("rds.storage-autoscaling",)),
    Row(rds(monitoring=0), {"rds.enhanced-monitoring": WARN}, "MonitoringInterval is 0"),
    missing_field("monitoring", "rds.enhanced-monitoring", "MonitoringInterval"),
    Row(rds(copies_tags=False), {"rds.snapshot-tags": WARN}, "CopyTagsToSnapshot is false"),
    missing_field("deletion_protection", "rds.deletion-protection", "DeletionProtection"),
    missing_field("backup_days", "rds.automated-backups", "BackupRetentionPeriod"),
    missing_field("is_public", "rds.not-public", "PubliclyAccessible"),
    missing_field("is_encrypted", "rds.storage-encrypted", "StorageEncrypted"),
    missing_field("is_multi_az", "rds.multi-az", "MultiAZ"),
    missing_field("has_minor_upgrades", "rds.minor-upgrades", "AutoMinorVersionUpgrade"),
    missing_field("allocated", "rds.storage-autoscaling", "AllocatedStorage"),
    missing_field("copies_tags", "rds.snapshot-tags", "CopyTagsToSnapshot"),
]

STATE = [
    Row({"server_in_use": ServerInUse(False, True)}, {"rds.instance-in-use": FAIL}, "the endpoint of another instance"),
    Row(
        {"server_in_use": ServerInUse(False, False)},
        {"rds.instance-in-use": WARN},
        "not an endpoint of an RDS",
    ),
    Row({"secret_port": None}, {}),
    Row(
        {"server_in_use": ServerInUse(False, True), "secret_port": 6432},
        {"rds.instance-in-use": FAIL},
        "the endpoint of another instance",
    ),
    Row(
        {"server_in_use": ServerInUse(None, True)}, {"rds.instance-in-use": UNKNOWN}, "the AWS response has no Endpoint"
    ),
    Row(rds(status="stopped"), {"rds.available": FAIL, "rds.restorable": NA}, "the instance is stopped"),
    Row(rds(status="storage-full"), {"rds.available": FAIL}, "the status is storage-full"),
    *(Row(rds(status=status), {}) for status in ("backing-up", "modifying", "storage-optimization")),
    *(
        Row(rds(status=status), {"rds.available": WARN}, f"the status is {status}")
        for status in ("rebooting", "starting", "upgrading", "unheard-of")
    ),
    missing_field("status", "rds.available", "DBInstanceStatus"),
    Row(
        rds(latest_restorable=NOW - timedelta(minutes=16)),
        {"rds.restorable": FAIL},
        "point: 16 minutes ago",
    ),
    Row(rds(latest_restorable=None), {"rds.restorable": FAIL}, "there is no restore point"),
    Row({"rds_parameters": {"rds.force_ssl": "0"}}, {"rds.tls-required": FAIL}, "rds.force_ssl is 0"),
    Row({"rds_parameters": {}}, {}),
    Row(
        {"rds_parameters": {}, **rds(engine_version="14.13")},
        {"rds.instance-in-use": FAIL, "rds.tls-required": FAIL},
        "the connected server is PostgreSQL 16.10, but the instance is 14.13",
    ),
    Row(
        {"rds_parameters": {}, **rds(engine_version=None)},
        {"rds.tls-required": UNKNOWN, "rds.engine-supported": UNKNOWN},
        "EngineVersion",
    ),
    Row(
        rds(parameter_groups=()), {"rds.tls-required": UNKNOWN, "rds.parameters-applied": UNKNOWN}, "DBParameterGroups"
    ),
    Row(rds(parameter_groups=(("mine", "pending-reboot"),)), {"rds.parameters-applied": FAIL}, "mine: pending-reboot"),
    *(
        Row({"rds_parameters": {"rds.force_ssl": "1", name: value}}, {"rds.parameters-applied": FAIL}, seen)
        for name, value, seen in UNSAFE
    ),
    Row({"rds_parameters": {"rds.force_ssl": "1", **SAFE}}, good=("rds.parameters-applied",)),
    Row(
        rds(pending=("DBInstanceClass",)),
        {"rds.no-pending-changes": WARN},
        "window: DBInstanceClass",
    ),
    Row(
        {"rds_maintenance": (Maintenance(RDS.arn, "system-update", "New OS", NOW + DAY),)},
        {"rds.maintenance": WARN},
        "system-update (New OS), forced on 2026-03-02",
    ),
    Row({"rds_maintenance": (Maintenance(RDS.arn, "system-update", "New OS", None),)}, {}),
    Row(
        {"rds_maintenance": (Maintenance(RDS.arn, "db-upgrade", "16.12", None, window_after=NOW + DAY),)},
        {"rds.maintenance": WARN},
        "db-upgrade (16.12), in the first maintenance window after 2026-03-02",
    ),
    Row(
        {"rds_maintenance": (Maintenance(RDS.arn, "db-upgrade", "16.12", NOW + 30 * DAY, window_after=NOW + DAY),)},
        {"rds.maintenance": WARN},
        "in the first maintenance window after 2026-03-02, forced on 2026-03-31",
    ),
    *(
        Row(
            {"rds_maintenance": (Maintenance(RDS.arn, "db-upgrade", "16.12", *dates),)},
            {"rds.maintenance": WARN},
            f"db-upgrade (16.12), {seen}",
        )
        for *dates, seen in (
            (
                None,
                "immediate",
                NOW + DAY,
                "in the first maintenance window after 2026-03-02, opted in: it is applied now",
            ),
            (None, "immediate", None, "not forced, opted in: it is applied now"),
            (NOW + DAY, "next-maintenance", None, "forced on 2026-03-02, opted in: next-maintenance"),
            (NOW + DAY, "next-maintenance", None, NOW - 8 * DAY, "forced on 2026-03-02, opted in: next-maintenance"),
        )
    ),
    *(
        Row({"rds_maintenance": (Maintenance(RDS.arn, "system-update", "New OS", *dates),)}, good=("rds.maintenance",))
        for dates in (
            (NOW + 9 * DAY, "next-maintenance", None, NOW + 3 * DAY),
            (NOW + 9 * DAY, "next-maintenance", None, NOW - DAY),
            (None, "next-maintenance"),
        )
    ),
    Row(
        {"rds_maintenance": (Maintenance(RDS.arn, "system-update", "New OS", NOW + DAY, "undo-opt-in"),)},
        {"rds.maintenance": WARN},
        "forced on 2026-03-02",
    ),
    Row(rds(certificate_until=NOW + 59 * DAY), {"rds.certificate": WARN}, "59 days left"),
    Row(rds(certificate_until=NOW - DAY), {"rds.certificate": FAIL}, "expired on 2026-02-28"),
    missing_field("certificate_until", "rds.certificate", "CertificateDetails"),
    Row(
        {"rds_shares": (SharedSnapshot("by-hand", ("all",)),)},
        {"rds.snapshots-private": FAIL},
        "any AWS account can restore it",
    ),
    Row(
        {"rds_shares": (SharedSnapshot("by-hand", ("999999999999",)),)},
        {"rds.snapshots-private": WARN},
        "by-hand 999999999999: this account can restore it",
    ),
    Row(
        snapshots(DAILY, Snapshot("old", "manual", False)),
        {"rds.snapshots-encrypted": FAIL},
        "is not encrypted",
    ),
    Row(
        snapshots(DAILY, Snapshot("old", "manual", None)),
        {"rds.snapshots-encrypted": UNKNOWN},
        "response has no Encrypted",
    ),
    Row(snapshots(DAILY), {}),
    Row(snapshots(replace(DAILY, kind="awsbackup")), {}),
    Row(snapshots(DAILY, Snapshot("rds:old", "automated", False)), {}),
    Row(snapshots(DAILY, Snapshot("rds:old", "automated", None)), {}),
    Row(snapshots(), {"rds.restorable": FAIL}, "no automatic snapshot is available"),
    Row(snapshots(replace(DAILY, status="creating")), {"rds.restorable": FAIL}, "no automatic snapshot is available"),
    Row(snapshots(replace(DAILY, kind="manual")), {"rds.restorable": FAIL}, "no automatic snapshot is available"),
    Row(
        snapshots(replace(DAILY, created_at=NOW - timedelta(hours=27))),
        {"rds.restorable": WARN},
        "latest snapshot: 27 hours",
    ),
    Row(
        snapshots(replace(DAILY, created_at=NOW - timedelta(hours=51))),
        {"rds.restorable": FAIL},
        "latest snapshot: 51 hours",
    ),
    Row({**snapshots(), **rds(created_at=NOW - timedelta(hours=25))}, {}),
    Row(
        {**snapshots(), **rds(created_at=NOW - timedelta(hours=27))}, {"rds.restorable": FAIL}, "no automatic snapshot"
    ),
    Row(rds(master_secret="impaired"), {"rds.master-secret": FAIL}, "the secret is impaired"),
    Row(rds(master_secret="rotating"), {}),
    Row(rds(master_secret=None), {"rds.master-secret": NA}, "RDS does not manage the master password"),
]


def support(days: float | None, extended: float = 2190, **changes: Any) -> Changes:
    """The end of support of the engine, in days from now."""
    until = None if days is None else NOW + days * DAY
    return {"engine_support": EngineSupport(until, NOW + extended * DAY), **rds(**changes)}


def windows(backup: str | None, maintenance: str | None) -> Changes:
    return rds(backup_window=backup, maintenance_window=maintenance)


def drill(date: str) -> Changes:
    return rds(tags=(("Name", "good"), ("deploytools:restore-drill", date)))


UPKEEP = [
    Row(support(180), {}),
    Row(
        support(179),
        {"rds.engine-supported": WARN},
        "standard support ends on 2026-08-27; then Extended Support, which is charged, until 2032-02-28",
    ),
    Row(
        support(100, lifecycle="open-source-rds-extended-support-disabled"),
        {"rds.engine-supported": WARN},
        "ends on 2026-06-09; then AWS upgrades the instance automatically",
    ),
    Row(
        support(-1, lifecycle=None),
        {"rds.engine-supported": FAIL},
        "PostgreSQL 16: standard support ended on 2026-02-28; Extended Support, which is charged",
    ),
    Row(support(-1, -1), {"rds.engine-supported": FAIL}, "Extended Support ended on 2026-02-28"),
    Row({"engine_support": EngineSupport(NOW - DAY)}, {"rds.engine-supported": FAIL}, "there is no Extended Support"),
    Row(
        support(None),
        {"rds.engine-supported": UNKNOWN},
        "has no end of standard support for PostgreSQL 16",
    ),
    Row(
        {"engine_support": EngineSupport(), **rds(engine_version=None)},
        {"rds.engine-supported": UNKNOWN},
        "the AWS response has no EngineVersion",
    ),
    Row(windows("04:00-04:30", "sun:05:00-sun:05:30"), {}),
    Row(windows("04:01-04:31", "sun:05:00-sun:05:30"), {"rds.separate-windows": WARN}, "29 minutes apart"),
    Row(windows("05:30-06:00", "sun:05:00-sun:05:30"), {"rds.separate-windows": WARN}, "0 minutes apart"),
    Row(windows("23:45-00:15", "wed:00:40-wed:01:10"), {"rds.separate-windows": WARN}, "25 minutes apart"),
    Row(windows("00:20-00:50", "sun:23:00-mon:00:00"), {"rds.separate-windows": WARN}, "20 minutes apart"),
    Row(windows("05:15-05:45", "sun:05:00-sun:05:30"), {"rds.separate-windows": FAIL}, "they overlap"),
    Row(windows("04:00-08:00", "sun:05:00-sun:05:30"), {"rds.separate-windows": FAIL}, "they overlap"),
    Row(windows("00:00-00:30", "sun:23:45-mon:00:15"), {"rds.separate-windows": FAIL}, "they overlap"),
    Row(
        windows(None, "sun:05:00-sun:05:30"),
        {"rds.separate-windows": UNKNOWN},
        "has no PreferredBackupWindow",
    ),
    Row(
        windows("03:00-03:30", "someday"),
        {"rds.separate-windows": UNKNOWN},
        "has no PreferredMaintenanceWindow",
    ),
    Row(rds(tags=()), {"rds.restore-drill": WARN}, "no restore drill is recorded (tag deploytools:restore-drill)"),
    Row(drill("2025-12-01"), {}),
    Row(
        drill("2025-11-30"),
        {"rds.restore-drill": WARN},
        "drill was on 2025-11-30, more than 90 days ago",
    ),
    Row(drill("2026-03-02"), {"rds.restore-drill": WARN}, "restore drill, 2026-03-02, is in the future"),
    Row(drill("last week"), {"rds.restore-drill": WARN}, "is not a date: last week"),
]
