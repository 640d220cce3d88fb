"""Checks of the RDS instance."""

from __future__ import annotations

from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.rds import RdsInstance

#: Days; the default of AWS Foundational Security Best Practices RDS.11.
BACKUP_DAYS = 7


def _modify(instance: RdsInstance, option: str) -> str:
    return (
        f"Run: aws rds modify-db-instance --db-instance-identifier {instance.identifier} {option} --apply-immediately"
    )


def _unsaid(instance: RdsInstance, field: str) -> Verdict:
    return unknown(f"AWS's answer does not say ({field})", instance.identifier)


def _switch(instance: RdsInstance, field: str, value: bool | None, *, wanted: bool, hint: str = "") -> Verdict:
    """The verdict on one of the instance's switches, by the name that AWS has for it."""
    if value is None:
        return _unsaid(instance, field)
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
)
def deletion_protection(rds_instance: RdsInstance) -> Verdict:
    """FSBP RDS.8."""
    hint = _modify(rds_instance, "--deletion-protection") + " (no downtime)"
    return _switch(rds_instance, "DeletionProtection", rds_instance.deletion_protection, wanted=True, hint=hint)


@check(
    "rds.automated-backups",
    title="The RDS instance is backed up automatically",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS automated backups enabled",
    hint="Run: aws rds modify-db-instance --backup-retention-period 14",
)
def automated_backups(rds_instance: RdsInstance) -> Verdict:
    """FSBP RDS.11: seven days or more."""
    days = rds_instance.backup_days
    hint = _modify(rds_instance, "--backup-retention-period 14")
    if days is None:
        return _unsaid(rds_instance, "BackupRetentionPeriod")
    if days == 0:
        return failed("there are no automated backups", rds_instance.identifier, hint)
    if days < BACKUP_DAYS:
        return warned(f"kept for {days} days, fewer than {BACKUP_DAYS}", rds_instance.identifier, hint)
    return passed(f"kept for {days} days", rds_instance.identifier)


@check(
    "rds.not-public",
    title="The RDS instance has no public address",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Run: aws rds modify-db-instance --no-publicly-accessible",
)
def not_public(rds_instance: RdsInstance) -> Verdict:
    """FSBP RDS.2; a failure even where the security group is tight."""
    hint = _modify(rds_instance, "--no-publicly-accessible")
    return _switch(rds_instance, "PubliclyAccessible", rds_instance.is_public, wanted=False, hint=hint)


@check(
    "rds.encrypted",
    title="The RDS instance's storage is encrypted",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist",
    hint="It cannot be turned on later: restore an encrypted copy of a snapshot, before there is data",
)
def encrypted(rds_instance: RdsInstance) -> Verdict:
    """FSBP RDS.3."""
    return _switch(rds_instance, "StorageEncrypted", rds_instance.is_encrypted, wanted=True)
