"""Checks of the instance's snapshots: each is a copy of every tenant's data."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.rds import RdsInstance, SharedSnapshot, Snapshot


@check(
    "rds.snapshots-private",
    title="No snapshot of the RDS instance is shared",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist",
    hint="Run: aws rds modify-db-snapshot-attribute --attribute-name restore --values-to-remove all",
    peers=("FSBP RDS.1", "Prowler rds_snapshots_public_access", "Trusted Advisor rSs93HQwa1"),
)
def snapshots_private(rds_instance: RdsInstance, rds_shares: tuple[SharedSnapshot, ...]) -> Iterable[Verdict]:
    """A public snapshot is a copy of every tenant's data for whoever has an AWS account."""
    shared = [snapshot for snapshot in rds_shares if snapshot.accounts]
    if not shared:
        yield passed(f"{len(rds_shares)} snapshots made by hand, none shared", rds_instance.identifier)
    for snapshot, account in ((item, account) for item in shared for account in item.accounts):
        about = f"{snapshot.identifier} {account}"
        hint = (
            f"Run: aws rds modify-db-snapshot-attribute --db-snapshot-identifier {snapshot.identifier} "
            f"--attribute-name restore --values-to-remove {account}"
        )
        if account == "all":
            yield failed("everybody may restore it", about, hint)
        else:
            yield warned("that account may restore it", about, hint)


@check(
    "rds.snapshots-encrypted",
    title="Every snapshot of the RDS instance is encrypted",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist",
    hint="Run: aws rds copy-db-snapshot --kms-key-id KEY (and, once the copy is there, give up the one in clear)",
    peers=("FSBP RDS.4", "Prowler rds_snapshots_encrypted"),
)
def snapshots_encrypted(rds_instance: RdsInstance, rds_snapshots: tuple[Snapshot, ...]) -> Iterable[Verdict]:
    """A copy from before the storage was encrypted stays in clear; AWS's own snapshots: see rds.encrypted."""
    by_hand = [snapshot for snapshot in rds_snapshots if snapshot.kind != "automated"]
    for snapshot in by_hand:
        if snapshot.is_encrypted is None:
            yield unknown("AWS's answer does not say (Encrypted)", snapshot.identifier)
        elif not snapshot.is_encrypted:
            yield failed("it is not encrypted", snapshot.identifier, _copy(snapshot))
    if all(snapshot.is_encrypted for snapshot in by_hand):
        yield passed(f"{len(by_hand)} snapshots made by hand; AWS's own are as the storage is", rds_instance.identifier)


def _copy(snapshot: Snapshot) -> str:
    """No command that deletes: whether the copy is good, a person has to look at."""
    name = snapshot.identifier.rpartition(":")[2]
    return (
        f"Run: aws rds copy-db-snapshot --source-db-snapshot-identifier {snapshot.identifier} "
        f"--target-db-snapshot-identifier {name}-encrypted --kms-key-id alias/aws/rds "
        "(and, once the copy has been restored from, give up the one in clear)"
    )
