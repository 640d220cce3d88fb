"""Checks of the backups and snapshots of the RDS instance."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploytools.conf import Settings
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.rds.checks import MODIFY, instance_check, missing_field, modify_hint, modify_now_hint
from deploytools.verification.rds.facts import RdsInstance, SharedSnapshot, Snapshot
from deploytools.wording import count

CHECKLIST = "Security Checklist: RDS automated backups enabled"
NO_BACKUPS = "there are no automated backups (see rds.automated-backups)"

#: Days; the default of AWS Foundational Security Best Practices RDS.11.
BACKUP_DAYS = 7

#: Seconds. AWS uploads the transaction logs every five minutes.
MAX_RESTORE_AGE = 15 * 60

#: Hours. AWS creates a snapshot a day, with some delay, and can skip one under load.
SNAPSHOT_HOURS, SKIPPED_HOURS = 26, 50

#: Minutes between the windows: backup and maintenance can both take longer than their window.
MIN_GAP = 30

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY, WEEK = 24 * 60, 7 * 24 * 60

#: The tag of the RDS instance with the date of the last restore drill, and the days for which a drill counts.
DRILL_TAG, DRILL_DAYS = "deploytools:restore-drill", 90


def _has_no_backups(instance: RdsInstance) -> bool:
    """Return whether backups are disabled; on a replica they are by default."""
    return instance.backup_days == 0 or bool(instance.replica_of and not instance.backup_days)


@instance_check(
    "rds.automated-backups",
    title=f"Automated backups are kept for at least {BACKUP_DAYS} days",
    severity=Severity.HIGH,
    guide="Security Checklist: RDS automated backups enabled",
    hint=f"{MODIFY} --backup-retention-period 14",
    references=(
        "FSBP RDS.11",
        "Prowler rds_instance_backup_enabled",
        "Trusted Advisor opQPADkZvH",
        "checkov CKV_AWS_133",
    ),
)
def automated_backups(rds_instance: RdsInstance, settings: Settings) -> Verdict:
    """Data loss is often noticed days later, when the backups of a short retention period are already deleted."""
    days = rds_instance.backup_days
    option = "--backup-retention-period 14"
    if rds_instance.replica_of:
        return not_applicable(f"the instance is a replica of {rds_instance.replica_of}")
    if days is None:
        return missing_field("BackupRetentionPeriod")
    if days == 0:
        hint = modify_now_hint(rds_instance, option, "a short outage: run it at a time of low traffic")
        return failed("automated backups are disabled", hint=hint)
    if days < BACKUP_DAYS:
        hint = modify_hint(rds_instance, option, "no downtime")
        verdict = failed if settings.stage == Stage.LAUNCH else warned
        return verdict(f"retention period: {count(days, 'day')}, expected at least {BACKUP_DAYS}", hint=hint)
    return passed(f"retention period: {days} days")


@instance_check(
    "rds.restorable",
    title="Point-in-time recovery is available",
    severity=Severity.HIGH,
    guide="Security Checklist: RDS automated backups enabled",
    hint="Run: aws rds describe-events --source-type db-instance --source-identifier INSTANCE --duration 1440, and "
    "fix the reported problem",
)
def restorable(rds_instance: RdsInstance, rds_snapshots: tuple[Snapshot, ...]) -> Verdict:
    """Backups can fail although they are enabled; then the instance cannot be restored."""
    latest = rds_instance.latest_restorable
    if _has_no_backups(rds_instance):
        return not_applicable(NO_BACKUPS)
    if rds_instance.status == "stopped":
        return not_applicable("the instance is stopped (see rds.available)")
    if latest is None:
        return failed("there is no restore point")
    age = (rds_instance.read_at - latest).total_seconds()
    measured = f"latest restore point: {age / 60:.0f} minutes ago"
    if age > MAX_RESTORE_AGE:
        return failed(f"the latest restore point is older than {MAX_RESTORE_AGE // 60} minutes", measured=measured)
    return _from_snapshot(rds_instance, rds_snapshots, measured)


def _from_snapshot(instance: RdsInstance, snapshots: Iterable[Snapshot], measured: str) -> Verdict:
    """Evaluate the automatic snapshot that a restore starts from."""
    created = [
        item.created_at for item in snapshots if item.is_automatic and item.status == "available" and item.created_at
    ]
    if created:
        hours = (instance.read_at - max(created)).total_seconds() / 3600
        measured = f"{measured}, latest snapshot: {hours:.0f} hours ago"
        if hours <= SNAPSHOT_HOURS:
            evidence = f"the latest restore point is less than {MAX_RESTORE_AGE // 60} minutes old"
            return passed(evidence, measured=measured)
        verdict = failed if hours > SKIPPED_HOURS else warned
        return verdict(f"no automatic snapshot is younger than {SNAPSHOT_HOURS} hours", measured=measured)
    if instance.created_at and (instance.read_at - instance.created_at).total_seconds() < SNAPSHOT_HOURS * 3600:
        return passed("the instance is new: its first daily snapshot is not due yet", measured=measured)
    return failed("no automatic snapshot is available", measured=measured)


@instance_check(
    "rds.separate-windows",
    title="Backup and maintenance windows do not overlap",
    severity=Severity.LOW,
    guide=CHECKLIST,
    hint=f"{MODIFY} --preferred-backup-window hh:mm-hh:mm",
)
def separate_windows(rds_instance: RdsInstance) -> Verdict:
    """AWS does not back up an instance during maintenance, and both can take longer than their windows."""
    if _has_no_backups(rds_instance):
        return not_applicable(NO_BACKUPS)
    backup, maintenance = _minutes(rds_instance.backup_window), _minutes(rds_instance.maintenance_window)
    if backup is None or maintenance is None:
        return missing_field("PreferredBackupWindow" if backup is None else "PreferredMaintenanceWindow")
    evidence = f"backup {rds_instance.backup_window} daily, maintenance {rds_instance.maintenance_window}, both in UTC"
    start, end = backup
    gap = min(_gap((start + day * DAY, end + day * DAY), maintenance) for day in range(7))
    hint = modify_hint(rds_instance, f"--preferred-backup-window {_free_window(maintenance)}", "no downtime")
    if gap < 0:
        return failed(f"{evidence}: they overlap", hint=hint)
    if gap < MIN_GAP:
        return warned(f"{evidence}: {gap} minutes apart", hint=hint)
    return passed(evidence)


def _minutes(window: str | None) -> tuple[int, int] | None:
    """Return start and end of ``hh:mm-hh:mm`` or ``ddd:hh:mm-ddd:hh:mm`` in minutes of the week; end > start."""
    found = re.fullmatch(r"(?:([a-z]{3}):)?(\d\d):(\d\d)-(?:([a-z]{3}):)?(\d\d):(\d\d)", (window or "").lower())
    if found is None or {found[1], found[4]} - {None, *DAYS}:
        return None
    start, end = (
        (DAYS.index(day) if day else 0) * DAY + int(hour) * 60 + int(minute)
        for day, hour, minute in (found.group(1, 2, 3), found.group(4, 5, 6))
    )
    return start, end if end > start else end + (WEEK if found[1] else DAY)


def _gap(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Return the shortest time between two windows in a week, in minutes; negative: they overlap."""
    after = (other[0] - one[0]) % WEEK - (one[1] - one[0])
    before = (one[0] - other[0]) % WEEK - (other[1] - other[0])
    return min(after, before)


def _free_window(maintenance: tuple[int, int]) -> str:
    """Return a window of 30 minutes, two hours after the maintenance window."""
    start = (maintenance[1] + 120) % DAY
    end = (start + 30) % DAY
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


RESTORE = "aws rds restore-db-instance-to-point-in-time"


@instance_check(
    "rds.restore-drill",
    title=f"Backup restore was tested in the last {DRILL_DAYS} days",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=CHECKLIST,
    hint=f"Restore a copy: {RESTORE}. Check its data, delete it, and set the tag {DRILL_TAG} of the RDS instance",
)
def restore_drill(rds_instance: RdsInstance) -> Verdict:
    """A backup that was never restored might be unusable; a drill also measures the recovery time."""
    if _has_no_backups(rds_instance):
        return not_applicable(NO_BACKUPS)
    date = dict(rds_instance.tags).get(DRILL_TAG)
    restore = RESTORE.replace("instance", "cluster") if rds_instance.cluster else RESTORE
    hint = (
        f"Restore a copy: {restore}. Check its data and delete it, then run: aws rds "
        f"add-tags-to-resource --resource-name {rds_instance.arn} --tags Key={DRILL_TAG},Value=YYYY-MM-DD "
        "(the date of the drill)"
    )
    if date is None:
        return warned(f"no restore drill is recorded (tag {DRILL_TAG})", hint=hint)
    days = rds_instance.days_since(date)
    if days is None:
        return warned(f"the tag {DRILL_TAG} is not a date: {date}", hint=hint)
    if days < 0:
        return warned(f"the date of the restore drill, {date}, is in the future", hint=hint)
    evidence = f"the last restore drill was on {date}"
    if days > DRILL_DAYS:
        return warned(f"{evidence}, more than {DRILL_DAYS} days ago", hint=hint)
    return passed(evidence)


@instance_check(
    "rds.snapshots-private",
    title="Snapshots are not shared",
    severity=Severity.CRITICAL,
    guide="Security Checklist",
    hint="Run: aws rds modify-db-snapshot-attribute --db-snapshot-identifier SNAPSHOT --attribute-name restore "
    "--values-to-remove all",
    references=("FSBP RDS.1", "Prowler rds_snapshots_public_access", "Trusted Advisor rSs93HQwa1"),
)
def snapshots_private(rds_instance: RdsInstance, rds_shares: tuple[SharedSnapshot, ...]) -> Iterable[Verdict]:
    """Any AWS account can restore a public snapshot and read the data of all tenants."""
    shared = [snapshot for snapshot in rds_shares if snapshot.accounts]
    if not shared:
        yield passed(f"manual snapshots: {len(rds_shares)}, none is shared")
    for snapshot, account in ((item, account) for item in shared for account in item.accounts):
        about = f"{snapshot.identifier} {account}"
        kind = "db-cluster-snapshot" if rds_instance.cluster else "db-snapshot"
        hint = (
            f"Run: aws rds modify-{kind}-attribute --{kind}-identifier {snapshot.identifier} "
            f"--attribute-name restore --values-to-remove {account}"
        )
        if account == "all":
            yield failed("any AWS account can restore it", about, hint)
        else:
            yield warned("this account can restore it", about, hint)


@instance_check(
    "rds.snapshots-encrypted",
    title="Snapshots are encrypted",
    severity=Severity.HIGH,
    guide="Security Checklist",
    hint="Run: aws rds copy-db-snapshot --source-db-snapshot-identifier SNAPSHOT --target-db-snapshot-identifier "
    "COPY --kms-key-id KEY (test the copy with a restore, then delete the unencrypted "
    "snapshot)",
    references=("FSBP RDS.4", "Prowler rds_snapshots_encrypted"),
)
def snapshots_encrypted(rds_instance: RdsInstance, rds_snapshots: tuple[Snapshot, ...]) -> Iterable[Verdict]:
    """A manual snapshot from before the storage was encrypted stays unencrypted."""
    manual = [snapshot for snapshot in rds_snapshots if snapshot.kind != "automated"]
    for snapshot in manual:
        if snapshot.is_encrypted is None:
            yield unknown("the AWS response has no Encrypted", snapshot.identifier)
        elif not snapshot.is_encrypted:
            yield failed("the snapshot is not encrypted", snapshot.identifier, _copy(rds_instance, snapshot))
    if all(snapshot.is_encrypted for snapshot in manual):
        yield passed(f"manual snapshots: {len(manual)}, all encrypted (automatic ones: see rds.storage-encrypted)")


def _copy(instance: RdsInstance, snapshot: Snapshot) -> str:
    """Return the command that copies a snapshot. It deletes nothing: the copy must be tested first."""
    name = snapshot.identifier.rpartition(":")[2]
    kind = "db-cluster-snapshot" if instance.cluster else "db-snapshot"
    return (
        f"Run: aws rds copy-{kind} --source-{kind}-identifier {snapshot.identifier} "
        f"--target-{kind}-identifier {name}-encrypted --kms-key-id alias/aws/rds "
        "(test the copy with a restore, then delete the unencrypted snapshot)"
    )
