"""Checks of what AWS does to the instance by itself: maintenance, and the end of support of its engine."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.verification.checks.rds import unsaid
from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.rds import RdsInstance
from deploytools.verification.sources.rds_lifecycle import EXTENDED, EngineSupport, Maintenance

#: What an owner answers who has chosen the hour.
CHOSEN = {"next-maintenance", "immediate"}

#: Days. A major upgrade is tried on a copy first, by people who have other work.
UPGRADE_DAYS = 180


@check(
    "rds.maintenance",
    title="AWS will not force maintenance on the RDS instance unawares",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Choose the hour: aws rds apply-pending-maintenance-action --opt-in-type next-maintenance",
)
def maintenance(rds_instance: RdsInstance, rds_maintenance: tuple[Maintenance, ...]) -> Iterable[Verdict]:
    """What AWS does by itself may restart the instance, on a day that is known long before; better to choose it."""
    if not rds_maintenance:
        yield passed("none is pending", rds_instance.identifier)
    for item in rds_maintenance:
        hint = (
            f"Run: aws rds apply-pending-maintenance-action --resource-identifier {rds_instance.arn} "
            f"--apply-action {item.action} --opt-in-type next-maintenance"
        )
        is_chosen = item.chosen in CHOSEN
        evidence = f"{item.action} ({item.description}), {_when(item)}"
        evidence += f", asked for: {item.chosen}" if is_chosen else ""
        if (item.forced_at or item.window_after) and not is_chosen:
            yield warned(evidence, f"{rds_instance.identifier} {item.action}", hint)
        else:
            yield passed(evidence, f"{rds_instance.identifier} {item.action}")


def _when(item: Maintenance) -> str:
    dates = [f"in the first maintenance window after {item.window_after:%Y-%m-%d}"] if item.window_after else []
    dates += [f"forced on {item.forced_at:%Y-%m-%d}"] if item.forced_at else []
    return ", ".join(dates) or "not forced"


@check(
    "rds.engine-supported",
    title="AWS supports the RDS instance's major version of PostgreSQL for a while",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Next Steps: Phase 12",
    hint="Try the upgrade on a copy, after python manage.py create_tenant_dbs --prune-templates --no-template (closed "
    "databases stop it), then run: aws rds modify-db-instance --allow-major-version-upgrade",
    peers=("Prowler rds_instance_deprecated_engine_version", "Prowler rds_instance_extended_support"),
)
def engine_supported(rds_instance: RdsInstance, engine_support: EngineSupport) -> Verdict:
    """After its standard support a version costs money by the hour and core, or AWS upgrades it on a day of its own."""
    until, version = engine_support.standard_until, f"PostgreSQL {rds_instance.major}"
    if rds_instance.major is None:
        return unsaid(rds_instance, "EngineVersion")
    if until is None:
        return unknown(f"AWS does not say until when it supports {version}", rds_instance.identifier)
    days, then = (until.date() - rds_instance.read_at.date()).days, _afterwards(rds_instance, engine_support)
    if days < 0:
        evidence = f"{version}: its standard support ended on {until:%Y-%m-%d}; {then}"
        return failed(evidence, rds_instance.identifier, _upgrade(rds_instance))
    if days < UPGRADE_DAYS:
        evidence = f"{version}: standard support only until {until:%Y-%m-%d}; then {then}"
        return warned(evidence, rds_instance.identifier, _upgrade(rds_instance))
    return passed(f"{version}: standard support until {until:%Y-%m-%d}", rds_instance.identifier)


def _afterwards(instance: RdsInstance, support: EngineSupport) -> str:
    """What the end of standard support means for this instance; Extended Support is what it has unless it says no."""
    if instance.lifecycle not in {None, EXTENDED}:
        return "AWS upgrades it by itself"
    if support.extended_until is None:
        return "AWS names no Extended Support"
    if support.extended_until < instance.read_at:
        return f"Extended Support too, on {support.extended_until:%Y-%m-%d}"
    return f"Extended Support, which is charged for, until {support.extended_until:%Y-%m-%d}"


def _upgrade(instance: RdsInstance) -> str:
    return (
        f"Run: aws rds describe-db-engine-versions --engine {instance.engine or 'postgres'} --engine-version "
        f"{instance.engine_version} --query 'DBEngineVersions[].ValidUpgradeTarget[].EngineVersion' (it lists what it "
        "can become), try the upgrade on a restored copy, drop the templates of tenants, which stop it, with python "
        "manage.py create_tenant_dbs --prune-templates --no-template, then do it: aws rds modify-db-instance "
        f"--db-instance-identifier {instance.identifier} --engine-version VERSION --allow-major-version-upgrade"
    )
