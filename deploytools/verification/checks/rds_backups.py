"""Checks of the backups beside the switch: that they have an hour of their own, and that a restore was tried."""

from __future__ import annotations

import re

from deploytools.verification.checks.rds import NO_BACKUPS, has_no_backups, modify, unsaid
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.rds import RdsInstance

CHECKLIST = "Security Checklist: RDS automated backups enabled"

#: Minutes between the windows. A backup that takes longer than its window goes on, and so does maintenance.
APART = 30

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY, WEEK = 24 * 60, 7 * 24 * 60

#: The instance's tag that says when a restore was last tried, and for how many days that is good.
DRILL_TAG, DRILL_DAYS = "deploytools:restore-drill", 90


@check(
    "rds.windows-apart",
    title="Backup and maintenance have each an hour of their own",
    severity=Severity.LOW,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws rds modify-db-instance --preferred-backup-window hh:mm-hh:mm",
)
def windows_apart(rds_instance: RdsInstance) -> Verdict:
    """AWS makes no backup of an instance that is under maintenance, and either may take longer than its window."""
    if has_no_backups(rds_instance):
        return not_applicable(NO_BACKUPS, rds_instance.identifier)
    backup, maintenance = _minutes(rds_instance.backup_window), _minutes(rds_instance.maintenance_window)
    if backup is None or maintenance is None:
        return unsaid(rds_instance, "PreferredBackupWindow" if backup is None else "PreferredMaintenanceWindow")
    evidence = f"backup {rds_instance.backup_window} daily, maintenance {rds_instance.maintenance_window}, both in UTC"
    start, end = backup
    apart = min(_apart((start + day * DAY, end + day * DAY), maintenance) for day in range(7))
    hint = modify(rds_instance, f"--preferred-backup-window {_free_window(maintenance)}", "no downtime")
    if apart < 0:
        return failed(f"{evidence}: they overlap", rds_instance.identifier, hint)
    if apart < APART:
        return warned(f"{evidence}: {apart} minutes apart", rds_instance.identifier, hint)
    return passed(evidence, rds_instance.identifier)


def _minutes(window: str | None) -> tuple[int, int] | None:
    """Begin and end of ``hh:mm-hh:mm`` or ``ddd:hh:mm-ddd:hh:mm``, in minutes of the week; the end is the later one."""
    found = re.fullmatch(r"(?:([a-z]{3}):)?(\d\d):(\d\d)-(?:([a-z]{3}):)?(\d\d):(\d\d)", (window or "").lower())
    if found is None or {found[1], found[4]} - {None, *DAYS}:
        return None
    start, end = (
        (DAYS.index(day) if day else 0) * DAY + int(hour) * 60 + int(minute)
        for day, hour, minute in (found.group(1, 2, 3), found.group(4, 5, 6))
    )
    return start, end if end > start else end + (WEEK if found[1] else DAY)


def _apart(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Minutes from the end of either window to the begin of the other, round the week; below 0: they overlap."""
    after = (other[0] - one[0]) % WEEK - (one[1] - one[0])
    before = (one[0] - other[0]) % WEEK - (other[1] - other[0])
    return min(after, before)


def _free_window(maintenance: tuple[int, int]) -> str:
    """Half an hour that begins two hours after the maintenance."""
    start = (maintenance[1] + 120) % DAY
    end = (start + 30) % DAY
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


@check(
    "rds.restore-drill",
    title="Somebody has lately restored the RDS instance's backup",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=CHECKLIST,
    hint=f"Restore a copy (docs/verification.md, Restore drill) and note the day as the instance's tag {DRILL_TAG}",
)
def restore_drill(rds_instance: RdsInstance) -> Verdict:
    """A backup that nobody has ever restored is a hope; how long it takes is learned in the drill, or in the night."""
    if has_no_backups(rds_instance):
        return not_applicable(NO_BACKUPS, rds_instance.identifier)
    noted = dict(rds_instance.tags).get(DRILL_TAG)
    hint = (
        "Restore a copy and look into it (docs/verification.md, Restore drill), then run: aws rds add-tags-to-resource "
        f"--resource-name {rds_instance.arn} --tags Key={DRILL_TAG},Value=YYYY-MM-DD (the day of the drill)"
    )
    if noted is None:
        return warned(f"no drill is noted (tag {DRILL_TAG})", rds_instance.identifier, hint)
    days = rds_instance.days_since(noted)
    if days is None:
        return warned(f"the tag {DRILL_TAG} is no date: {noted}", rds_instance.identifier, hint)
    if days < 0:
        return warned(f"the drill of {noted} is to come", rds_instance.identifier, hint)
    evidence = f"the last drill was on {noted}"
    if days > DRILL_DAYS:
        return warned(f"{evidence}, more than {DRILL_DAYS} days ago", rds_instance.identifier, hint)
    return passed(evidence, rds_instance.identifier)
