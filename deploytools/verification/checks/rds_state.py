"""Checks of what changes by itself: restorability, TLS's parameter, what is pending, certificate, snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.verification.checks.rds import NO_BACKUPS, has_no_backups, modify, modify_now, unsaid
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.rds import Parameters, RdsInstance, ServerInUse, Snapshot

#: Seconds. AWS writes the log away every five minutes; three times that is stale.
STALE = 15 * 60

#: Hours. AWS makes a snapshot a day, and takes its time; when there is much to do, it leaves one out.
SNAPSHOT_HOURS, SKIPPED_HOURS = 26, 50

#: What the states begin with in which an instance serves; in others it starts, stops, or is away for a while.
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

CERTIFICATE_DAYS = 60

#: Whose certificate the instance is to have, and what comes before it has it.
AUTHORITY = "rds-ca-rsa2048-g1"
BEFORE = "at a quiet hour, and after every client has AWS's global-bundle.pem as its sslrootcert"

#: The first PostgreSQL on RDS whose own default is rds.force_ssl=1.
FORCES_TLS_FROM = 15


@check(
    "rds.is-the-one",
    title="The RDS instance that is judged is the server in use",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint='Mend DEPLOYTOOLS["RDS_INSTANCE"], or the host in the secret: python manage.py sync_secrets FILE',
    speaks_for=("rds_instance",),  # Where there is none, it is unknown which one is in use.
)
def is_the_one(server_in_use: ServerInUse, rds_instance: RdsInstance, secret_port: int | None) -> Verdict:
    """Else backups, alarms and rules are judged of an instance that nobody uses, and the one in use has none."""
    if server_in_use.is_instance is None:
        return unsaid(rds_instance, "Endpoint")
    if server_in_use.is_instance and rds_instance.port is None:
        return unsaid(rds_instance, "Endpoint.Port")
    if server_in_use.is_instance and secret_port not in {None, rds_instance.port}:
        hint = f"Run: python manage.py sync_secrets --set port={rds_instance.port}"
        return failed(f"it answers at {rds_instance.port}, not at {secret_port}", rds_instance.identifier, hint)
    if server_in_use.is_instance:
        return passed(f"the secret's host is {rds_instance.endpoint}", rds_instance.identifier)
    evidence = f"the secret's host is not {rds_instance.endpoint}"
    if server_in_use.has_name_of_rds:
        return failed(f"{evidence}, but another instance's endpoint", rds_instance.identifier)
    return warned(f"{evidence}, but a name that RDS gives to no instance", rds_instance.identifier)


@check(
    "rds.available",
    title="The RDS instance is available",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Run: aws rds describe-events --duration 1440",
    speaks_for=("rds_instance",),
)
def available(rds_instance: RdsInstance) -> Verdict:
    """A stopped instance starts by itself after seven days and costs money; a full one serves nobody."""
    status = rds_instance.status
    if status is None:
        return unsaid(rds_instance, "DBInstanceStatus")
    if status == "stopped":
        hint = f"Run: aws rds start-db-instance --db-instance-identifier {rds_instance.identifier}"
        return failed("it is stopped", rds_instance.identifier, hint)
    if status.startswith(("failed", "incompatible", "inaccessible", "storage-full", "restore-error", "deleting")):
        return failed(f"its status is {status}", rds_instance.identifier)
    return (passed if status.startswith(SERVING) else warned)(f"its status is {status}", rds_instance.identifier)


@check(
    "rds.restorable",
    title="The RDS instance can be restored to a few minutes ago",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS automated backups enabled",
    hint="Run: aws rds describe-events --source-type db-instance --duration 1440, and see what stops them",
)
def restorable(rds_instance: RdsInstance, rds_snapshots: tuple[Snapshot, ...]) -> Verdict:
    """Backups that are switched on and do not happen are worse than none: nobody looks for another copy."""
    latest = rds_instance.latest_restorable
    if has_no_backups(rds_instance):
        return not_applicable(NO_BACKUPS, rds_instance.identifier)
    if rds_instance.status == "stopped":
        return not_applicable("it is stopped: nothing is written (see rds.available)", rds_instance.identifier)
    if latest is None:
        return failed("there is no moment that it could be restored to", rds_instance.identifier)
    age = (rds_instance.read_at - latest).total_seconds()
    measured = f"up to {age / 60:.0f} minutes ago"
    if age > STALE:
        return failed(f"not to a moment of the last {STALE // 60} minutes", rds_instance.identifier, measured=measured)
    return _begun_from(rds_instance, rds_snapshots, measured)


def _begun_from(instance: RdsInstance, snapshots: Iterable[Snapshot], measured: str) -> Verdict:
    """A restore begins with a snapshot: one of AWS's own, of today or yesterday."""
    made = [item.made_at for item in snapshots if item.is_automatic and item.status == "available" and item.made_at]
    if made:
        hours = (instance.read_at - max(made)).total_seconds() / 3600
        measured = f"{measured}, from a snapshot of {hours:.0f} hours ago"
        if hours <= SNAPSHOT_HOURS:
            return passed(f"to a moment of the last {STALE // 60} minutes", instance.identifier, measured=measured)
        judge = failed if hours > SKIPPED_HOURS else warned
        evidence = f"no snapshot of AWS's own is younger than {SNAPSHOT_HOURS} hours"
        return judge(evidence, instance.identifier, measured=measured)
    if instance.created_at and (instance.read_at - instance.created_at).total_seconds() < SNAPSHOT_HOURS * 3600:
        return passed("its first daily snapshot is to come", instance.identifier, measured=measured)
    evidence = "no snapshot of AWS's own is available to begin with"
    return failed(evidence, instance.identifier, measured=measured)


@check(
    "rds.forces-tls",
    title="PostgreSQL takes no connection without TLS",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist",
    hint="Set rds.force_ssl=1 in the instance's parameter group",
    peers=("FSBP RDS.38", "Prowler rds_instance_transport_encrypted", "checkov CKV2_AWS_69"),
)
def forces_tls(rds_instance: RdsInstance, rds_parameters: Parameters) -> Verdict:
    """One client with sslmode=disable sends every customer's row in clear; the server must not let it."""
    value, major = rds_parameters.values.get("rds.force_ssl"), rds_instance.major
    groups = ", ".join(name for name, _ in rds_instance.parameter_groups)
    if not groups:
        return unsaid(rds_instance, "DBParameterGroups")
    if value == "1":
        return passed(f"rds.force_ssl is 1 in {groups}", rds_instance.identifier)
    if value is None and major is None:
        return unsaid(rds_instance, "EngineVersion")
    if value is None and major is not None and major >= FORCES_TLS_FROM:
        return passed(f"rds.force_ssl is not set, and is on in PostgreSQL {major}", rds_instance.identifier)
    return failed(f"rds.force_ssl is {value or 'not set'} in {groups}", rds_instance.identifier, _force(groups))


def _force(groups: str) -> str:
    if groups.startswith("default."):
        return f"{groups} cannot be changed: make a parameter group of your own with rds.force_ssl=1 and give it to it"
    return (
        f"Run: aws rds modify-db-parameter-group --db-parameter-group-name {groups} "
        "--parameters ParameterName=rds.force_ssl,ParameterValue=1,ApplyMethod=immediate"
    )


@check(
    "rds.parameters-in-force",
    title="The parameters that are set are in force",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 11",
    hint="Run: aws rds reboot-db-instance, at a quiet hour",
)
def parameters_in_force(rds_instance: RdsInstance) -> Verdict:
    """What waits for a reboot was changed by somebody who believes that it is done."""
    if not rds_instance.parameter_groups:
        return unsaid(rds_instance, "DBParameterGroups")
    waiting = [f"{name}: {status}" for name, status in rds_instance.parameter_groups if status != "in-sync"]
    if waiting:
        hint = f"At a quiet hour run: aws rds reboot-db-instance --db-instance-identifier {rds_instance.identifier}"
        return failed(", ".join(waiting), rds_instance.identifier, hint)
    return passed(f"{len(rds_instance.parameter_groups)} parameter groups in sync", rds_instance.identifier)


@check(
    "rds.nothing-pending",
    title="No change of the RDS instance waits to be made",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 11",
    hint="Run: aws rds modify-db-instance --apply-immediately",
)
def nothing_pending(rds_instance: RdsInstance) -> Verdict:
    """A change without --apply-immediately is made in the next maintenance window, at an hour nobody chose."""
    if rds_instance.pending:
        evidence = f"waiting for the maintenance window: {', '.join(rds_instance.pending)}"
        hint = modify(rds_instance, "--apply-immediately", "it makes them now, and may restart it: at a quiet hour")
        return warned(evidence, rds_instance.identifier, hint)
    return passed("nothing waits", rds_instance.identifier)


@check(
    "rds.certificate",
    title="The RDS instance's certificate is valid for a while",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Step 6",
    hint="Run: aws rds modify-db-instance --ca-certificate-identifier rds-ca-rsa2048-g1",
    peers=("Prowler rds_instance_certificate_expiration", "checkov CKV_AWS_211"),
)
def certificate(rds_instance: RdsInstance) -> Verdict:
    """With verify-full every process stops connecting on the day on which the certificate ends."""
    until = rds_instance.certificate_until
    if until is None:
        return unsaid(rds_instance, "CertificateDetails")
    days = (until - rds_instance.read_at).days
    evidence = f"{rds_instance.certificate}, valid until {until:%Y-%m-%d}"
    measured = f"{days} days left"
    hint = modify_now(rds_instance, f"--ca-certificate-identifier {AUTHORITY}", f"it may restart it: {BEFORE}")
    if days < 0:
        return failed(f"{rds_instance.certificate}, expired on {until:%Y-%m-%d}", rds_instance.identifier, hint)
    if days < CERTIFICATE_DAYS:
        return warned(evidence, rds_instance.identifier, hint, measured=measured)
    return passed(evidence, rds_instance.identifier, measured=measured)


@check(
    "rds.master-secret",
    title="The secret that RDS keeps of the master's password works",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 5",
    hint="Run: aws rds modify-db-instance --manage-master-user-password --rotate-master-user-password",
    peers=("checkov CKV_AWS_161",),
)
def master_secret(rds_instance: RdsInstance) -> Verdict:
    """A managed secret that is impaired is not rotated any more, and the next change of the master's password fails."""
    status = rds_instance.master_secret
    if status is None:
        return not_applicable("RDS keeps no secret of it", rds_instance.identifier)
    if status in {"active", "rotating", "creating"}:
        return passed(f"it is {status}", rds_instance.identifier)
    hint = modify_now(rds_instance, "--manage-master-user-password --rotate-master-user-password")
    return failed(f"it is {status}", rds_instance.identifier, hint)
