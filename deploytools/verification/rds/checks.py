"""Checks of the configuration of the RDS instance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from operator import attrgetter

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.rds.db_cluster import CLUSTER_OPTIONS, MULTI_AZ_OPTIONS
from deploytools.verification.rds.facts import LogRetention, RdsInstance
from deploytools.verification.registry import check

#: GiB by which RDS increases the storage at least.
MIN_STEP = 10

#: Days for which the exported logs must be kept. RDS itself keeps them for three days.
MIN_LOG_DAYS = 7

#: The command of ``aws kms`` that makes a key usable again, by its state.
KEY_COMMANDS = {"PendingDeletion": "cancel-key-deletion", "Disabled": "enable-key"}

#: PostgreSQL logs that RDS can export, and Aurora.
LOGS, AURORA_LOGS = ("postgresql", "upgrade"), ("postgresql",)

instance_check = partial(check, resource_of=attrgetter("identifier"))
#: Checks of what the guide leaves to a later phase.
later_check = partial(instance_check, stage=Stage.LAUNCH, guide="Next Steps: Phase 12")

#: The beginning of the hints of ``--explain``.
MODIFY = "Run: aws rds modify-db-instance --db-instance-identifier INSTANCE"


def modify_hint(instance: RdsInstance, option: str, note: str = "") -> str:
    """Return the command that changes a property which AWS always changes immediately."""
    if _is_of_cluster(instance, option):
        return modify_cluster_hint(instance, option, note)
    command = f"Run: aws rds modify-db-instance {instance.option} {option}"
    return f"{command} ({note})" if note else command


def modify_cluster_hint(instance: RdsInstance, option: str, note: str = "") -> str:
    """Return the command that changes a property of the cluster."""
    command = f"Run: aws rds modify-db-cluster --db-cluster-identifier {instance.cluster} {option}"
    return f"{command} ({note})" if note else command


def _is_of_cluster(instance: RdsInstance, option: str) -> bool:
    options = CLUSTER_OPTIONS | (MULTI_AZ_OPTIONS if instance.is_multi_az_cluster else set())
    return bool(instance.cluster) and option.split()[0] in options


def modify_now_hint(instance: RdsInstance, option: str, note: str = "") -> str:
    """Return the command that changes a property immediately, which also applies all pending changes."""
    changes = instance.cluster_pending if _is_of_cluster(instance, option) else instance.pending
    pending = f"this also applies the pending changes, which can restart it: {', '.join(changes)}"
    notes = [note] * bool(note) + [pending] * bool(changes)
    return modify_hint(instance, f"{option} --apply-immediately", "; ".join(notes))


def missing_field(field: str, resource: str = "") -> Verdict:
    return unknown(f"the AWS response has no {field}", resource)


def of_each(instances: Iterable[RdsInstance], evaluate: Callable[[RdsInstance], Verdict]) -> Iterable[Verdict]:
    """Yield the verdict about each instance, with its name."""
    for instance in instances:
        yield replace(evaluate(instance), resource=instance.identifier)


def _switch(
    field: str, value: bool | None, *, expected: bool = True, hint: str = "", otherwise: Callable[..., Verdict] = failed
) -> Verdict:
    """Evaluate a Boolean property by its name in the AWS API."""
    if value is None:
        return missing_field(field)
    evidence = f"{field} is {str(value).lower()}"
    return passed(evidence) if value is expected else otherwise(evidence, hint=hint)


@instance_check(
    "rds.deletion-protection",
    title="Deletion protection is enabled",
    severity=Severity.HIGH,
    guide="Security Checklist: RDS deletion protection enabled",
    hint=f"{MODIFY} --deletion-protection",
    references=("FSBP RDS.8", "Prowler rds_instance_deletion_protection", "checkov CKV_AWS_293"),
)
def deletion_protection(rds_instance: RdsInstance) -> Verdict:
    """Without it, one command or `terraform destroy` deletes the instance and its automated backups."""
    hint = modify_hint(rds_instance, "--deletion-protection", "no downtime")
    return _switch("DeletionProtection", rds_instance.deletion_protection, hint=hint)


@instance_check(
    "rds.not-public",
    title="RDS instance and its readers are not publicly accessible",
    severity=Severity.CRITICAL,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint=f"{MODIFY} --no-publicly-accessible",
    references=("FSBP RDS.2", "Prowler rds_instance_no_public_access", "checkov CKV_AWS_17"),
)
def not_public(rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...]) -> Iterable[Verdict]:
    """With a public IP address, one wrong security group rule exposes the database to the internet."""
    return of_each((rds_instance, *rds_readers), _not_public)


def _not_public(instance: RdsInstance) -> Verdict:
    hint = modify_hint(instance, "--no-publicly-accessible")
    if instance.is_multi_az_cluster:
        hint = "This cannot be changed: restore a snapshot into a new cluster with --no-publicly-accessible"
    return _switch("PubliclyAccessible", instance.is_public, expected=False, hint=hint)


@instance_check(
    "rds.storage-encrypted",
    title="Storage is encrypted, and its KMS key is enabled",
    severity=Severity.HIGH,
    guide="Security Checklist",
    hint="Encryption cannot be enabled later: copy a snapshot with --kms-key-id and restore the copy",
    references=("FSBP RDS.3", "Prowler rds_instance_storage_encrypted", "checkov CKV_AWS_16"),
)
def storage_encrypted(rds_instance: RdsInstance, storage_key_state: str) -> Verdict:
    """Without encryption, data, backups and snapshots are stored in plaintext. Without the key, they are lost."""
    if storage_key_state not in {"", "Enabled", "Updating"}:  # While its primary Region changes, a key can be used.
        verb = KEY_COMMANDS.get(storage_key_state, "describe-key")
        hint = f"Run: aws kms {verb} --key-id {rds_instance.key} (a key is disabled after its deletion was cancelled)"
        return failed(f"the state of its KMS key is {storage_key_state}", hint=hint)
    return _switch("StorageEncrypted", rds_instance.is_encrypted)


@later_check(
    "rds.multi-az",
    title="Multi-AZ is enabled",
    severity=Severity.MEDIUM,
    hint=f"{MODIFY} --multi-az (doubles the price of the instance)",
    references=("FSBP RDS.5", "Trusted Advisor f2iK5R6Dep", "Prowler rds_instance_multi_az", "checkov CKV_AWS_157"),
)
def multi_az(rds_instance: RdsInstance) -> Verdict:
    """With one Availability Zone, its failure or a change of the instance class stops all tenants."""
    hint = modify_now_hint(rds_instance, "--multi-az", "doubles the price of the instance")
    if rds_instance.cluster:
        hint = f"Add an instance in another zone. Run: {_create_reader(rds_instance)} (charged as another instance)"
    return _switch("MultiAZ", rds_instance.is_multi_az, hint=hint, otherwise=warned)


def _create_reader(instance: RdsInstance) -> str:
    return (
        f"aws rds create-db-instance --db-instance-identifier {instance.cluster}-reader --db-cluster-identifier "
        f"{instance.cluster} --engine {instance.engine} --db-instance-class {instance.instance_class}"
    )


@later_check(
    "rds.log-exports",
    title="PostgreSQL logs are exported to CloudWatch Logs",
    severity=Severity.MEDIUM,
    hint=f"{MODIFY} --cloudwatch-logs-export-configuration EnableLogTypes=postgresql",
    references=("FSBP RDS.9", "FSBP RDS.36", "Prowler rds_instance_integration_cloudwatch_logs", "checkov CKV_AWS_129"),
)
def log_exports(rds_instance: RdsInstance, rds_log_retention: LogRetention) -> Verdict:
    """RDS keeps the logs on the instance for three days only."""
    logs = AURORA_LOGS if rds_instance.is_aurora else LOGS
    missing = [name for name in logs if name not in rds_instance.log_exports]
    option = f"""--cloudwatch-logs-export-configuration '{{"EnableLogTypes":["{'","'.join(missing)}"]}}'"""
    if missing:
        return warned(f"not exported: {', '.join(missing)}", hint=modify_hint(rds_instance, option))
    brief = [name for name in logs if (rds_log_retention.get(name) or MIN_LOG_DAYS) < MIN_LOG_DAYS]
    if brief:
        evidence = f"the log group of {', '.join(brief)} keeps events for less than {MIN_LOG_DAYS} days"
        return warned(evidence, hint="Run: aws logs put-retention-policy --log-group-name NAME --retention-in-days 90")
    return passed(f"exported: {', '.join(rds_instance.log_exports)}")


@instance_check(
    "rds.minor-upgrades",
    title="Minor version upgrades are automatic, and the newest is installed",
    severity=Severity.HIGH,
    guide="Next Steps: Phase 12",
    hint=f"{MODIFY} --auto-minor-version-upgrade",
    references=("FSBP RDS.13", "Prowler rds_instance_minor_version_upgrade_enabled", "checkov CKV_AWS_226"),
)
def minor_upgrades(
    rds_instance: RdsInstance, newer_minor_versions: tuple[str, ...], rds_readers: tuple[RdsInstance, ...]
) -> Iterable[Verdict]:
    """Minor versions of PostgreSQL fix security vulnerabilities and bugs that cause data loss."""
    yield _minor_upgrades(rds_instance, newer_minor_versions)
    yield from of_each(rds_readers, partial(_minor_upgrades, newer_minor_versions=()))


def _minor_upgrades(rds_instance: RdsInstance, newer_minor_versions: tuple[str, ...]) -> Verdict:
    hint = modify_hint(rds_instance, "--auto-minor-version-upgrade", "no downtime until the next upgrade")
    if rds_instance.has_minor_upgrades and newer_minor_versions:
        newest = newer_minor_versions[-1]
        note = "restarts the instance: run it at a time of low traffic"
        hint = modify_now_hint(rds_instance, f"--engine-version {newest}", note)
        return warned(f"{rds_instance.engine_version} is installed, {newest} is available", hint=hint)
    return _switch("AutoMinorVersionUpgrade", rds_instance.has_minor_upgrades, hint=hint)


@later_check(
    "rds.storage-autoscaling",
    title="Storage autoscaling is enabled",
    severity=Severity.MEDIUM,
    hint=f"{MODIFY} --max-allocated-storage GIB",
)
def storage_autoscaling(rds_instance: RdsInstance) -> Verdict:
    """A full disk stops all tenants."""
    allocated, maximum = rds_instance.allocated, rds_instance.maximum
    if rds_instance.is_aurora:
        return passed("Aurora grows the storage automatically")
    if rds_instance.cluster:
        return not_applicable("Multi-AZ DB clusters have no storage autoscaling")
    if allocated is None:
        return missing_field("AllocatedStorage")
    hint = modify_hint(rds_instance, f"--max-allocated-storage {allocated * 5}", "no downtime")
    if maximum is None or maximum <= allocated:
        return warned(f"{allocated} GiB, without autoscaling", hint=hint)
    step = max(MIN_STEP, allocated // 10)  # RDS does not take a step that reaches the maximum.
    if maximum <= allocated + step:
        return warned(f"{allocated} GiB, up to {maximum} GiB: too little for a step of {step} GiB", hint=hint)
    return passed(f"{allocated} GiB, up to {maximum} GiB")


@later_check(
    "rds.snapshot-tags",
    title="Tags are copied to snapshots",
    severity=Severity.LOW,
    hint=f"{MODIFY} --copy-tags-to-snapshot",
    references=("FSBP RDS.17", "Prowler rds_instance_copy_tags_to_snapshots"),
)
def snapshot_tags(rds_instance: RdsInstance) -> Verdict:
    """Untagged snapshots are easily deleted by mistake."""
    hint = modify_hint(rds_instance, "--copy-tags-to-snapshot", "no downtime")
    return _switch("CopyTagsToSnapshot", rds_instance.copies_tags, hint=hint, otherwise=warned)


@later_check(
    "rds.enhanced-monitoring",
    title="Enhanced Monitoring is enabled",
    severity=Severity.LOW,
    hint=f"{MODIFY} --monitoring-interval 60 --monitoring-role-arn ROLE",
    references=("FSBP RDS.6", "Prowler rds_instance_enhanced_monitoring_enabled", "checkov CKV_AWS_118"),
)
def enhanced_monitoring(rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...]) -> Iterable[Verdict]:
    """Only Enhanced Monitoring shows which process uses CPU, memory or disk."""
    return of_each((rds_instance, *rds_readers), _enhanced_monitoring)


def _enhanced_monitoring(rds_instance: RdsInstance) -> Verdict:
    if rds_instance.monitoring is None:
        return missing_field("MonitoringInterval")
    if rds_instance.monitoring == 0:
        note = "no downtime; ROLE needs the policy AmazonRDSEnhancedMonitoringRole; the metrics are charged"
        hint = modify_hint(rds_instance, "--monitoring-interval 60 --monitoring-role-arn ROLE", note)
        return warned("MonitoringInterval is 0", hint=hint)
    return passed(f"every {rds_instance.monitoring} seconds")
