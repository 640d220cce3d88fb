"""Checks of the RDS instance's own switches; `rds_state` judges what changes by itself."""

from __future__ import annotations

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.rds import RdsInstance

#: Days; the default of AWS Foundational Security Best Practices RDS.11.
BACKUP_DAYS = 7

LOGS = ("postgresql", "upgrade")


def modify(instance: RdsInstance, option: str, remark: str = "") -> str:
    """The command that changes one switch of those that AWS changes at once, whatever waits for maintenance."""
    command = f"Run: aws rds modify-db-instance --db-instance-identifier {instance.identifier} {option}"
    return f"{command} ({remark})" if remark else command


def modify_now(instance: RdsInstance, option: str, remark: str = "") -> str:
    """The command that changes what AWS else changes at the next maintenance, and with it all that waits for that."""
    waits = f"it also makes now what waits: {', '.join(instance.pending)}, which may restart it"
    remarks = [remark] * bool(remark) + [waits] * bool(instance.pending)
    return modify(instance, f"{option} --apply-immediately", "; ".join(remarks))


def unsaid(instance: RdsInstance, field: str) -> Verdict:
    """For what AWS's answer leaves out: that is no answer."""
    return unknown(f"AWS's answer does not say ({field})", instance.identifier)


NO_BACKUPS = "it has no automated backups (see rds.automated-backups)"


def has_no_backups(instance: RdsInstance) -> bool:
    """Whether AWS makes none, on purpose or not; a replica has its own only where it is told to."""
    return instance.backup_days == 0 or bool(instance.replica_of and not instance.backup_days)


def _switch(instance: RdsInstance, field: str, value: bool | None, *, wanted: bool, hint: str = "") -> Verdict:
    """The verdict on one of the instance's switches, by the name that AWS has for it."""
    if value is None:
        return unsaid(instance, field)
    evidence = f"{field} is {'on' if value else 'off'}"
    if value is wanted:
        return passed(evidence, instance.identifier)
    return failed(evidence, instance.identifier, hint)


@check(
    "rds.deletion-protection",
    title="The RDS instance is protected against deletion",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS deletion protection enabled",
    hint="Run: aws rds modify-db-instance --deletion-protection",
    peers=("FSBP RDS.8", "Prowler rds_instance_deletion_protection", "checkov CKV_AWS_293"),
)
def deletion_protection(rds_instance: RdsInstance) -> Verdict:
    """One click or one `terraform destroy` deletes the instance, and its automated backups with it."""
    hint = modify(rds_instance, "--deletion-protection", "no downtime")
    return _switch(rds_instance, "DeletionProtection", rds_instance.deletion_protection, wanted=True, hint=hint)


@check(
    "rds.automated-backups",
    title="The RDS instance is backed up automatically",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS automated backups enabled",
    hint="Run: aws rds modify-db-instance --backup-retention-period 14",
    peers=("FSBP RDS.11", "Prowler rds_instance_backup_enabled", "Trusted Advisor opQPADkZvH", "checkov CKV_AWS_133"),
)
def automated_backups(rds_instance: RdsInstance) -> Verdict:
    """A mistake is often noticed days later: backups that are kept for less than a week are gone by then."""
    days = rds_instance.backup_days
    option = "--backup-retention-period 14"
    if rds_instance.replica_of:
        return not_applicable(f"it is a replica of {rds_instance.replica_of}", rds_instance.identifier)
    if days is None:
        return unsaid(rds_instance, "BackupRetentionPeriod")
    if days == 0:
        hint = modify_now(rds_instance, option, "it stops for a moment: at a quiet hour")
        return failed("there are no automated backups", rds_instance.identifier, hint)
    if days < BACKUP_DAYS:
        hint = modify(rds_instance, option, "no downtime")
        return warned(f"kept for {days} days, fewer than {BACKUP_DAYS}", rds_instance.identifier, hint)
    return passed(f"kept for {days} days", rds_instance.identifier)


@check(
    "rds.not-public",
    title="The RDS instance has no public address",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Run: aws rds modify-db-instance --no-publicly-accessible",
    peers=("FSBP RDS.2", "Prowler rds_instance_no_public_access", "checkov CKV_AWS_17"),
)
def not_public(rds_instance: RdsInstance) -> Verdict:
    """With a public address one rule of a security group is all that stands before the data; it fails even then."""
    hint = modify(rds_instance, "--no-publicly-accessible")
    return _switch(rds_instance, "PubliclyAccessible", rds_instance.is_public, wanted=False, hint=hint)


@check(
    "rds.encrypted",
    title="The RDS instance's storage is encrypted",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist",
    hint="It cannot be turned on later: restore an encrypted copy of a snapshot, before there is data",
    peers=("FSBP RDS.3", "Prowler rds_instance_storage_encrypted", "checkov CKV_AWS_16"),
)
def encrypted(rds_instance: RdsInstance) -> Verdict:
    """Storage, backups and snapshots are in clear without it, and it cannot be turned on later."""
    return _switch(rds_instance, "StorageEncrypted", rds_instance.is_encrypted, wanted=True)


@check(
    "rds.multi-az",
    title="The RDS instance has a standby in another zone",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Run: aws rds modify-db-instance --multi-az (it doubles the instance's price)",
    peers=("FSBP RDS.5", "Trusted Advisor f2iK5R6Dep", "Prowler rds_instance_multi_az", "checkov CKV_AWS_157"),
)
def multi_az(rds_instance: RdsInstance) -> Verdict:
    """One zone's failure stops all tenants, and so does every change of class; one zone is cheap, so it only warns."""
    hint = modify_now(rds_instance, "--multi-az", "it doubles the instance's price")
    if rds_instance.is_multi_az is False:
        return warned("MultiAZ is off", rds_instance.identifier, hint)
    return _switch(rds_instance, "MultiAZ", rds_instance.is_multi_az, wanted=True)


@check(
    "rds.log-exports",
    title="PostgreSQL's log is kept outside the instance",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Run: aws rds modify-db-instance --cloudwatch-logs-export-configuration",
    peers=("FSBP RDS.9", "FSBP RDS.36", "Prowler rds_instance_integration_cloudwatch_logs", "checkov CKV_AWS_129"),
)
def log_exports(rds_instance: RdsInstance) -> Verdict:
    """RDS keeps three days of log on the instance; who logged in a week ago, nobody can tell then."""
    missing = [name for name in LOGS if name not in rds_instance.log_exports]
    option = f"""--cloudwatch-logs-export-configuration '{{"EnableLogTypes":["{'","'.join(missing)}"]}}'"""
    if missing:
        return warned(f"not exported: {', '.join(missing)}", rds_instance.identifier, modify(rds_instance, option))
    return passed(f"exported: {', '.join(rds_instance.log_exports)}", rds_instance.identifier)


@check(
    "rds.minor-upgrades",
    title="The RDS instance takes minor upgrades by itself",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Run: aws rds modify-db-instance --auto-minor-version-upgrade",
    peers=("FSBP RDS.13", "Prowler rds_instance_minor_version_upgrade_enabled", "checkov CKV_AWS_226"),
)
def minor_upgrades(rds_instance: RdsInstance) -> Verdict:
    """Minor versions of PostgreSQL mend security holes and data loss, and nothing else."""
    hint = modify(rds_instance, "--auto-minor-version-upgrade", "no downtime now")
    value = rds_instance.upgrades_itself
    return _switch(rds_instance, "AutoMinorVersionUpgrade", value, wanted=True, hint=hint)


@check(
    "rds.storage-grows",
    title="The RDS instance's storage can grow by itself",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Run: aws rds modify-db-instance --max-allocated-storage",
)
def storage_grows(rds_instance: RdsInstance) -> Verdict:
    """A full disk stops every tenant at once."""
    allocated, maximum = rds_instance.allocated, rds_instance.maximum
    if allocated is None:
        return unsaid(rds_instance, "AllocatedStorage")
    if maximum is None or maximum <= allocated:
        hint = modify(rds_instance, f"--max-allocated-storage {allocated * 5}", "no downtime")
        return warned(f"{allocated} GiB and no more", rds_instance.identifier, hint)
    return passed(f"{allocated} GiB, up to {maximum} GiB", rds_instance.identifier)


@check(
    "rds.tags-on-snapshots",
    title="Snapshots bear the RDS instance's tags",
    severity=Severity.LOW,
    stage=Stage.LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Run: aws rds modify-db-instance --copy-tags-to-snapshot",
    peers=("FSBP RDS.17", "Prowler rds_instance_copy_tags_to_snapshots"),
)
def tags_on_snapshots(rds_instance: RdsInstance) -> Verdict:
    """A snapshot without tags belongs to nobody when somebody tidies up."""
    if rds_instance.copies_tags is False:
        hint = modify(rds_instance, "--copy-tags-to-snapshot", "no downtime")
        return warned("CopyTagsToSnapshot is off", rds_instance.identifier, hint)
    return _switch(rds_instance, "CopyTagsToSnapshot", rds_instance.copies_tags, wanted=True)


@check(
    "rds.enhanced-monitoring",
    title="The RDS instance's operating system is measured",
    severity=Severity.LOW,
    stage=Stage.LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Run: aws rds modify-db-instance --monitoring-interval 60 --monitoring-role-arn ROLE",
    peers=("FSBP RDS.6", "Prowler rds_instance_enhanced_monitoring_enabled", "checkov CKV_AWS_118"),
)
def enhanced_monitoring(rds_instance: RdsInstance) -> Verdict:
    """CloudWatch sees that the instance is slow; which process, memory or disk made it so, only the system itself."""
    if rds_instance.monitoring is None:
        return unsaid(rds_instance, "MonitoringInterval")
    if rds_instance.monitoring == 0:
        remark = "no downtime; ROLE has the policy AmazonRDSEnhancedMonitoringRole, the log costs a little"
        hint = modify(rds_instance, "--monitoring-interval 60 --monitoring-role-arn ROLE", remark)
        return warned("MonitoringInterval is 0", rds_instance.identifier, hint)
    return passed(f"every {rds_instance.monitoring} seconds", rds_instance.identifier)
