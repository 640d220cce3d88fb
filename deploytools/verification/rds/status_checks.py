"""Checks of the status of the RDS instance: server, parameters, pending changes, certificate, maintenance, support."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace

from deploytools.postgres.connection_probe import ProbeResult, SessionReport
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.rds.checks import (
    MODIFY,
    instance_check,
    missing_field,
    modify_cluster_hint,
    modify_hint,
    modify_now_hint,
    of_each,
)
from deploytools.verification.rds.facts import (
    EXTENDED,
    EngineSupport,
    Maintenance,
    RdsInstance,
    ServerInUse,
)
from deploytools.verification.registry import check

#: Prefixes of the statuses in which the instance accepts connections.
SERVING = (
    "available",
    "backing-up",
    "modifying",
    "storage-",
    "configuring-",
    "converting-",
    "moving-",
    "upgrading-storage",
)

#: Pending changes that must not be applied, and the options that keep the current state.
HARMFUL_CHANGES = {"BackupRetentionPeriod = 0": "--backup-retention-period 14", "MultiAZ = false": "--multi-az"}

CERTIFICATE_DAYS = 60

OFF, LOGGED = {"0", "off", "false", "no"}, "the log contains the data of customers"

#: Values of parameters that lose or expose data, and their effect.
UNSAFE_PARAMETERS: Mapping[str, tuple[Set[str], str]] = {
    **dict.fromkeys(("autovacuum", "track_counts"), (OFF, "PostgreSQL stops before transaction IDs run out")),
    **dict.fromkeys(("fsync", "full_page_writes"), (OFF, "a crash can corrupt the data")),
    "synchronous_commit": (OFF, "a crash loses the last transactions"),
    "log_statement": ({"all", "mod"}, LOGGED),
    **dict.fromkeys(
        ("log_min_duration_statement", "log_min_duration_sample", "auto_explain.log_min_duration"), ({"0"}, LOGGED)
    ),
    "pgaudit.log_parameter": ({"1", "on", "true", "yes"}, LOGGED),
    "ssl_min_protocol_version": ({"tlsv1", "tlsv1.1"}, "clients can use a TLS version with known vulnerabilities"),
    "password_encryption": ({"md5", *OFF}, "new passwords are stored as MD5 hashes"),
}

#: The certificate authority to use, and what must be done first.
AUTHORITY = "rds-ca-rsa2048-g1"
BEFORE = (
    "this can restart the instance: run it at a time of low traffic, after all clients use AWS's global-bundle.pem as "
    "sslrootcert"
)

#: The first major version of PostgreSQL for which rds.force_ssl is 1 by default, also of Aurora.
FORCE_SSL_DEFAULT_FROM, AURORA_FORCE_SSL_DEFAULT_FROM = 15, 17

#: Days after the time of an action that was opted in, in which its window is.
WINDOW_DAYS = 7

#: The numbers of a version, for example of ``16.10-R2``.
NUMBERS = re.compile(r"\d+")

#: Days to test a major version upgrade on a copy.
UPGRADE_DAYS = 180


@check(
    "rds.instance-in-use",
    title="Checked RDS instance is the server in the secret, and the one in use",
    severity=Severity.HIGH,
    guide="Step 6",
    hint='Correct DEPLOYTOOLS["RDS_INSTANCE"], or the host in the secret: python manage.py sync_secrets FILE',
)
def instance_in_use(
    server_in_use: ServerInUse, rds_instance: RdsInstance, secret_port: int | None, connection_attempt: ProbeResult
) -> Verdict:
    """Otherwise backups, alarms and rules of an unused instance are checked, and those of the server in use are not."""
    name = rds_instance.identifier
    if server_in_use.is_instance is None:
        return missing_field("Endpoint", name)
    if server_in_use.is_member:
        hint = f"Run: python manage.py sync_secrets --set host={rds_instance.endpoint}"
        return warned("the host in the secret is one instance of the cluster, a reader after a failover", name, hint)
    if server_in_use.is_instance:
        if rds_instance.port is None:
            return missing_field("Endpoint.Port", name)
        if secret_port in {None, rds_instance.port}:
            return _of_its_version(rds_instance, connection_attempt.report)
        hint = f"Run: python manage.py sync_secrets --set port={rds_instance.port}"
        return failed(f"its port is {rds_instance.port}, but the secret has {secret_port}", name, hint)
    evidence = f"the host in the secret is not {rds_instance.endpoint}"
    if server_in_use.is_reader:
        hint = f"Run: python manage.py sync_secrets --set host={rds_instance.endpoint}"
        return failed(f"{evidence}, but an endpoint of the same cluster that can lead to a reader", name, hint)
    if server_in_use.is_rds_endpoint:
        return failed(f"{evidence}, but the endpoint of another instance", name)
    return warned(f"{evidence}, and not an endpoint of an RDS instance", name)


def _of_its_version(instance: RdsInstance, report: SessionReport | None) -> Verdict:
    """Compare the versions: a tunnel can lead to another server."""
    found, expected = (report.server_version if report else None), instance.engine_version
    if found and expected and NUMBERS.findall(found)[:2] != NUMBERS.findall(expected)[:2]:
        evidence = f"the connected server is PostgreSQL {found}, but the instance is {expected}"
        return failed(evidence, instance.identifier, "Check which host and port the tunnel forwards to")
    compared = "" if found and expected else "; the version of the server in use was not compared"
    return passed(f"the host in the secret is {instance.endpoint}{compared}", instance.identifier)


@instance_check(
    "rds.available",
    title="RDS instance is available",
    severity=Severity.HIGH,
    guide="Step 6",
    hint="Run: aws rds describe-events --source-type db-instance --source-identifier INSTANCE --duration 1440",
)
def available(rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...]) -> Iterable[Verdict]:
    """An instance that is stopped or has full storage accepts no connections."""
    return of_each((rds_instance, *rds_readers), _available)


def _available(rds_instance: RdsInstance) -> Verdict:
    status = rds_instance.status
    if status is None:
        return missing_field("DBInstanceStatus")
    if status == "stopped":
        hint = f"Run: aws rds start-db-instance {rds_instance.option}"
        if rds_instance.cluster:
            hint = f"Run: aws rds start-db-cluster --db-cluster-identifier {rds_instance.cluster}"
        return failed("the instance is stopped", hint=hint)
    if status.startswith(("failed", "incompatible", "inaccessible", "storage-full", "restore-error", "deleting")):
        return failed(f"the status is {status}")
    return (passed if status.startswith(SERVING) else warned)(f"the status is {status}", rds_instance.identifier)


@instance_check(
    "rds.tls-required",
    title="TLS is required for connections",
    severity=Severity.HIGH,
    guide="Security Checklist",
    hint="Set rds.force_ssl=1 in the DB parameter group",
    references=("FSBP RDS.38", "Prowler rds_instance_transport_encrypted", "checkov CKV2_AWS_69"),
)
def tls_required(rds_instance: RdsInstance, rds_parameters: dict[str, str | None]) -> Verdict:
    """Without it, a client with sslmode=disable sends all data unencrypted."""
    value, major = rds_parameters.get("rds.force_ssl"), rds_instance.major
    groups = ", ".join(name for name, _ in rds_instance.parameter_groups)
    default_from = AURORA_FORCE_SSL_DEFAULT_FROM if rds_instance.is_aurora else FORCE_SSL_DEFAULT_FROM
    if not groups:
        return missing_field("DBParameterGroups")
    if value == "1":
        return passed(f"rds.force_ssl is 1 in {groups}")
    if value is None and major is None:
        return missing_field("EngineVersion")
    if value is None and major is not None and major >= default_from:
        return passed(f"rds.force_ssl is not set; its default in PostgreSQL {major} is 1")
    return failed(f"rds.force_ssl is {value or 'not set'} in {groups}", hint=_force_ssl_hint(rds_instance, groups))


def _force_ssl_hint(instance: RdsInstance, groups: str) -> str:
    if groups.startswith("default."):
        return f"{groups} cannot be changed: create a parameter group with rds.force_ssl=1 and assign it"
    kind = "db-cluster-parameter-group" if instance.cluster else "db-parameter-group"
    return (
        f"Run: aws rds modify-{kind} --{kind}-name {groups} "
        "--parameters ParameterName=rds.force_ssl,ParameterValue=1,ApplyMethod=immediate"
    )


@instance_check(
    "rds.parameters-applied",
    title="Parameter changes are applied, and no parameter is unsafe",
    severity=Severity.MEDIUM,
    guide="Step 11",
    hint="Run: aws rds reboot-db-instance --db-instance-identifier INSTANCE (interrupts connections: run it at a "
    "time of low traffic)",
)
def parameters_applied(
    rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...], rds_parameters: dict[str, str | None]
) -> Iterable[Verdict]:
    """A changed static parameter has no effect until the instance is rebooted. Unsafe values lose or expose data."""
    yield from of_each((rds_instance, *rds_readers), _parameters_applied)
    groups = [name for name, _ in (*rds_instance.parameter_groups, *rds_instance.instance_groups)]
    for name, (values, effect) in UNSAFE_PARAMETERS.items():
        value = (rds_parameters.get(name) or "").lower()
        if value in values:
            hint = f"Reset {name} in the parameter group {' or '.join(groups)}, or set another value"
            yield failed(f"{name} is {value}: {effect}", f"{rds_instance.identifier} {name}", hint)


def _parameters_applied(rds_instance: RdsInstance) -> Verdict:
    if not rds_instance.parameter_groups:
        return missing_field("DBParameterGroups")
    groups = (*rds_instance.parameter_groups, *rds_instance.instance_groups)
    pending = [f"{name}: {status}" for name, status in groups if status != "in-sync"]
    if pending:
        hint = (
            f"Run: aws rds reboot-db-instance {rds_instance.option} "
            "(interrupts connections: run it at a time of low traffic)"
        )
        return failed(", ".join(pending), hint=hint)
    return passed(f"parameter groups: {len(groups)}, all in sync")


@instance_check(
    "rds.no-pending-changes",
    title="No changes of the RDS instance are pending",
    severity=Severity.MEDIUM,
    guide="Step 11",
    hint=f"{MODIFY} --apply-immediately",
)
def no_pending_changes(rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...]) -> Iterable[Verdict]:
    """A pending change is applied in the next maintenance window and can restart the instance."""
    yield from of_each((rds_instance, *rds_readers), _pending)
    if rds_instance.cluster_pending:
        verdict = _changes(rds_instance.cluster_pending, modify_cluster_hint, rds_instance)
        yield replace(verdict, resource=f"cluster {rds_instance.cluster}")


def _pending(instance: RdsInstance) -> Verdict:
    """An instance of a Multi-AZ DB cluster is changed only with its cluster."""
    return _changes(instance.pending, modify_cluster_hint if instance.is_multi_az_cluster else modify_hint, instance)


def _changes(pending: tuple[str, ...], modify: Callable[..., str], instance: RdsInstance) -> Verdict:
    if not pending:
        return passed("no changes are pending")
    evidence = f"pending until the maintenance window: {', '.join(pending)}"
    if kept := [HARMFUL_CHANGES[change] for change in pending if change in HARMFUL_CHANGES]:
        return failed(evidence, hint=modify(instance, " ".join(kept), "this replaces the pending change"))
    note = "this can restart the instance: run it at a time of low traffic"
    return warned(evidence, hint=modify(instance, "--apply-immediately", note))


@instance_check(
    "rds.certificate",
    title=f"Server certificate is valid for at least {CERTIFICATE_DAYS} days",
    severity=Severity.HIGH,
    guide="Step 6",
    hint=f"{MODIFY} --ca-certificate-identifier rds-ca-rsa2048-g1",
    references=("Prowler rds_instance_certificate_expiration", "checkov CKV_AWS_211"),
)
def certificate(rds_instance: RdsInstance, rds_readers: tuple[RdsInstance, ...]) -> Iterable[Verdict]:
    """With verify-full, clients cannot connect after the certificate has expired."""
    return of_each((rds_instance, *rds_readers), _certificate)


def _certificate(rds_instance: RdsInstance) -> Verdict:
    until = rds_instance.certificate_until
    if until is None:
        return missing_field("CertificateDetails")
    days = (until - rds_instance.read_at).days
    evidence = f"{rds_instance.certificate}, valid until {until:%Y-%m-%d}"
    measured = f"{days} days left"
    hint = modify_now_hint(rds_instance, f"--ca-certificate-identifier {AUTHORITY}", BEFORE)
    if days < 0:
        return failed(f"{rds_instance.certificate}, expired on {until:%Y-%m-%d}", hint=hint)
    if days < CERTIFICATE_DAYS:
        return warned(evidence, hint=hint, measured=measured)
    return passed(evidence, measured=measured)


@instance_check(
    "rds.master-secret",
    title="Managed secret of the master user is active",
    severity=Severity.MEDIUM,
    guide="Step 5",
    hint=f"{MODIFY} --manage-master-user-password --rotate-master-user-password",
    references=("checkov CKV_AWS_161",),
)
def master_secret(rds_instance: RdsInstance) -> Verdict:
    """RDS cannot rotate an impaired secret, and the next change of the master password fails."""
    status = rds_instance.master_secret
    if status is None:
        return not_applicable("RDS does not manage the master password")
    if status in {"active", "rotating", "creating"}:
        return passed(f"the secret is {status}")
    hint = modify_now_hint(rds_instance, "--manage-master-user-password --rotate-master-user-password")
    return failed(f"the secret is {status}", hint=hint)


@instance_check(
    "rds.maintenance",
    title="No forced maintenance is scheduled",
    severity=Severity.MEDIUM,
    guide="Next Steps: Phase 12",
    hint="Run: aws rds apply-pending-maintenance-action --resource-identifier ARN --apply-action ACTION "
    "--opt-in-type next-maintenance",
)
def maintenance(rds_instance: RdsInstance, rds_maintenance: tuple[Maintenance, ...]) -> Iterable[Verdict]:
    """AWS applies forced maintenance at the scheduled time, which can restart the instance."""
    if not rds_maintenance:
        yield passed("no maintenance action is pending")
    for item in rds_maintenance:
        hint = (
            f"Run: aws rds apply-pending-maintenance-action --resource-identifier {item.arn} "
            f"--apply-action {item.action} --opt-in-type next-maintenance"
        )
        evidence = f"{item.action} ({item.description}), {_when(item)}"
        if item.chosen == "immediate":
            wait = "Wait until it is complete, and check that the application is connected"
            yield warned(f"{evidence}, opted in: it is applied now", item.resource, wait)
        elif (item.forced_at or item.window_after) and not _is_chosen(item, rds_instance):
            yield warned(evidence, item.resource, hint)
        else:
            yield passed(evidence, item.resource)


def _is_chosen(item: Maintenance, instance: RdsInstance) -> bool:
    """Return whether the action was opted in for the next window, and that window is not over."""
    if item.chosen != "next-maintenance" or item.applied_at is None:
        return False
    return (instance.read_at - item.applied_at).days < WINDOW_DAYS


def _when(item: Maintenance) -> str:
    dates = [f"in the first maintenance window after {item.window_after:%Y-%m-%d}"] if item.window_after else []
    dates += [f"forced on {item.forced_at:%Y-%m-%d}"] if item.forced_at else []
    dates += ["opted in: next-maintenance"] if item.chosen == "next-maintenance" else []
    return ", ".join(dates) or "not forced"


@instance_check(
    "rds.engine-supported",
    title=f"PostgreSQL major version has at least {UPGRADE_DAYS} days of standard support",
    severity=Severity.HIGH,
    guide="Next Steps: Phase 12",
    hint="Drop the template databases, which block an upgrade: python manage.py create_tenant_dbs --prune-templates "
    "--no-template. Test the upgrade on a copy, then run: aws rds modify-db-instance --db-instance-identifier "
    "INSTANCE --engine-version VERSION --allow-major-version-upgrade",
    references=("Prowler rds_instance_deprecated_engine_version", "Prowler rds_instance_extended_support"),
)
def engine_supported(rds_instance: RdsInstance, engine_support: EngineSupport) -> Verdict:
    """After the end of standard support, AWS charges for Extended Support or upgrades the instance automatically."""
    until, version = engine_support.standard_until, f"PostgreSQL {rds_instance.major}"
    if rds_instance.major is None:
        return missing_field("EngineVersion")
    if until is None:
        return unknown(f"the AWS response has no end of standard support for {version}")
    days, then = (until.date() - rds_instance.read_at.date()).days, _afterwards(rds_instance, engine_support)
    if days < 0:
        evidence = f"{version}: standard support ended on {until:%Y-%m-%d}; {then}"
        return failed(evidence, hint=_upgrade_hint(rds_instance))
    if days < UPGRADE_DAYS:
        evidence = f"{version}: standard support ends on {until:%Y-%m-%d}; then {then}"
        return warned(evidence, hint=_upgrade_hint(rds_instance))
    return passed(f"{version}: standard support ends on {until:%Y-%m-%d}")


def _afterwards(instance: RdsInstance, support: EngineSupport) -> str:
    """Return what follows standard support: Extended Support, unless it is disabled for the instance."""
    if instance.lifecycle not in {None, EXTENDED}:
        return "AWS upgrades the instance automatically"
    if support.extended_until is None:
        return "there is no Extended Support"
    if support.extended_until < instance.read_at:
        return f"Extended Support ended on {support.extended_until:%Y-%m-%d}"
    return f"Extended Support, which is charged, until {support.extended_until:%Y-%m-%d}"


def _upgrade_hint(instance: RdsInstance) -> str:
    return (
        f"Run: aws rds describe-db-engine-versions --engine {instance.engine or 'postgres'} --engine-version "
        f"{instance.engine_version} --query 'DBEngineVersions[].ValidUpgradeTarget[].EngineVersion' (lists the "
        "target versions). Test the upgrade on a restored copy, drop the template databases, which block it: python "
        "manage.py create_tenant_dbs --prune-templates --no-template, then upgrade: "
        f"{modify_hint(instance, '--engine-version VERSION --allow-major-version-upgrade').removeprefix('Run: ')}"
    )
