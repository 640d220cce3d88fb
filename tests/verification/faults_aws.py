"""Single faults of what AWS describes, each with exactly the checks that it flips; and false alarms not to raise."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.findings import Status
from deploytools.verification.policies import Policy
from deploytools.verification.sources.alarms import Topic, TopicKey
from deploytools.verification.sources.ecs_surroundings import Cluster, Deployment
from deploytools.verification.sources.network import BastionGroups, Network, PrefixLists, Routes, Rule, SecurityGroup
from deploytools.verification.sources.outside import Answer, NoAnswer
from deploytools.verification.sources.rds import Parameters, ServerInUse, SharedSnapshot, Snapshot
from deploytools.verification.sources.rds_lifecycle import EngineSupport, Maintenance
from deploytools.verification.sources.rule_history import Making, RuleHistory
from tests.verification.faults import FAIL, NA, UNKNOWN, WARN, Fault
from tests.verification.world import (
    ALARMS,
    ARN,
    DAILY,
    GROUPS,
    HEADERS,
    KEY,
    NEEDED,
    NOW,
    OFFICE,
    POWERS,
    QUESTIONS,
    RDS,
    READING,
    ROLE,
    TOPIC,
    TRUST,
    URL,
    WORLD,
    Changes,
    alarm,
    bastion,
    container,
    description,
    expect,
    outside,
    rds,
    rules,
    service,
    targets,
)

DAY = timedelta(days=1)


def snapshots(*found: Snapshot) -> Changes:
    """The instance's snapshots."""
    return {"rds_snapshots": found}


def unsaid(field: str, check: str, name: str) -> Fault:
    return Fault(rds(**{field: None}), {check: UNKNOWN}, f"AWS's answer does not say ({name})")


#: What is said of the backups where there are none.
WITHOUT_BACKUPS = {"rds.restorable": NA, "rds.windows-apart": NA, "rds.restore-drill": NA}

SWITCHES = [
    Fault(rds(deletion_protection=False), {"rds.deletion-protection": FAIL}, "DeletionProtection is off"),
    Fault(rds(backup_days=6), {"rds.automated-backups": WARN}, "kept for 6 days, fewer than 7"),
    Fault(
        rds(backup_days=0, latest_restorable=None),
        {"rds.automated-backups": FAIL, **WITHOUT_BACKUPS},
        "there are no automated backups",
    ),
    Fault(rds(backup_days=7), {}),
    Fault(
        rds(backup_days=0, latest_restorable=None, replica_of="main"),
        {"rds.automated-backups": NA, **WITHOUT_BACKUPS},
        "it is a replica of main",
    ),
    Fault(rds(replica_of="main"), {"rds.automated-backups": NA}, "it is a replica of main"),
    Fault(rds(is_public=True), {"rds.not-public": FAIL}, "PubliclyAccessible is on"),
    Fault(rds(is_encrypted=False), {"rds.encrypted": FAIL}, "StorageEncrypted is off"),
    Fault(rds(is_multi_az=False), {"rds.multi-az": WARN}, "MultiAZ is off"),
    Fault(rds(log_exports=("upgrade",)), {"rds.log-exports": WARN}, "not exported: postgresql"),
    Fault(rds(upgrades_itself=False), {"rds.minor-upgrades": FAIL}, "AutoMinorVersionUpgrade is off"),
    Fault(rds(maximum=None), {"rds.storage-grows": WARN}, "20 GiB and no more"),
    Fault(rds(maximum=20), {"rds.storage-grows": WARN}, "20 GiB and no more"),
    Fault(rds(monitoring=0), {"rds.enhanced-monitoring": WARN}, "MonitoringInterval is 0"),
    unsaid("monitoring", "rds.enhanced-monitoring", "MonitoringInterval"),
    Fault(rds(copies_tags=False), {"rds.tags-on-snapshots": WARN}, "CopyTagsToSnapshot is off"),
    unsaid("deletion_protection", "rds.deletion-protection", "DeletionProtection"),
    unsaid("backup_days", "rds.automated-backups", "BackupRetentionPeriod"),
    unsaid("is_public", "rds.not-public", "PubliclyAccessible"),
    unsaid("is_encrypted", "rds.encrypted", "StorageEncrypted"),
    unsaid("is_multi_az", "rds.multi-az", "MultiAZ"),
    unsaid("upgrades_itself", "rds.minor-upgrades", "AutoMinorVersionUpgrade"),
    unsaid("allocated", "rds.storage-grows", "AllocatedStorage"),
    unsaid("copies_tags", "rds.tags-on-snapshots", "CopyTagsToSnapshot"),
]

STATE = [
    Fault({"server_in_use": ServerInUse(False, True)}, {"rds.is-the-one": FAIL}, "another instance's endpoint"),
    Fault({"server_in_use": ServerInUse(False, False)}, {"rds.is-the-one": WARN}, "a name that RDS gives to no"),
    Fault({"secret_port": None}, {}),
    Fault(
        {"server_in_use": ServerInUse(False, True), "secret_port": 6432},
        {"rds.is-the-one": FAIL},
        "another instance's endpoint",
    ),
    Fault({"server_in_use": ServerInUse(None, True)}, {"rds.is-the-one": UNKNOWN}, "(Endpoint)"),
    Fault(rds(status="stopped"), {"rds.available": FAIL, "rds.restorable": NA}, "it is stopped"),
    Fault(rds(status="storage-full"), {"rds.available": FAIL}, "its status is storage-full"),
    *(Fault(rds(status=status), {}) for status in ("backing-up", "modifying", "storage-optimization")),
    *(
        Fault(rds(status=status), {"rds.available": WARN}, f"its status is {status}")
        for status in ("rebooting", "starting", "upgrading", "unheard-of")
    ),
    unsaid("status", "rds.available", "DBInstanceStatus"),
    Fault(rds(latest_restorable=NOW - timedelta(minutes=16)), {"rds.restorable": FAIL}, "up to 16 minutes ago"),
    Fault(rds(latest_restorable=None), {"rds.restorable": FAIL}, "there is no moment"),
    Fault({"rds_parameters": Parameters({"rds.force_ssl": "0"})}, {"rds.forces-tls": FAIL}, "rds.force_ssl is 0"),
    Fault({"rds_parameters": Parameters({})}, {}),
    Fault(
        {"rds_parameters": Parameters({}), **rds(engine_version="14.13")},
        {"rds.forces-tls": FAIL},
        "rds.force_ssl is not set",
    ),
    Fault(
        {"rds_parameters": Parameters({}), **rds(engine_version=None)},
        {"rds.forces-tls": UNKNOWN, "rds.engine-supported": UNKNOWN},
        "EngineVersion",
    ),
    Fault(
        rds(parameter_groups=()), {"rds.forces-tls": UNKNOWN, "rds.parameters-in-force": UNKNOWN}, "DBParameterGroups"
    ),
    Fault(
        rds(parameter_groups=(("mine", "pending-reboot"),)), {"rds.parameters-in-force": FAIL}, "mine: pending-reboot"
    ),
    Fault(rds(pending=("DBInstanceClass",)), {"rds.nothing-pending": WARN}, "maintenance window: DBInstanceClass"),
    Fault(
        {"rds_maintenance": (Maintenance("system-update", "New OS", NOW + DAY),)},
        {"rds.maintenance": WARN},
        "system-update (New OS), forced on 2026-03-02",
    ),
    Fault({"rds_maintenance": (Maintenance("system-update", "New OS", None),)}, {}),
    Fault(
        {"rds_maintenance": (Maintenance("db-upgrade", "16.12", None, window_after=NOW + DAY),)},
        {"rds.maintenance": WARN},
        "db-upgrade (16.12), in the first maintenance window after 2026-03-02",
    ),
    Fault(
        {"rds_maintenance": (Maintenance("db-upgrade", "16.12", NOW + 30 * DAY, window_after=NOW + DAY),)},
        {"rds.maintenance": WARN},
        "in the first maintenance window after 2026-03-02, forced on 2026-03-31",
    ),
    Fault({"rds_maintenance": (Maintenance("db-upgrade", "16.12", None, "immediate", NOW + DAY),)}, {}),
    Fault({"rds_maintenance": (Maintenance("system-update", "New OS", NOW + DAY, "next-maintenance"),)}, {}),
    Fault(
        {"rds_maintenance": (Maintenance("system-update", "New OS", NOW + DAY, "undo-opt-in"),)},
        {"rds.maintenance": WARN},
        "forced on 2026-03-02",
    ),
    Fault(rds(certificate_until=NOW + 59 * DAY), {"rds.certificate": WARN}, "59 days left"),
    Fault(rds(certificate_until=NOW - DAY), {"rds.certificate": FAIL}, "expired on 2026-02-28"),
    unsaid("certificate_until", "rds.certificate", "CertificateDetails"),
    Fault(
        {"rds_shares": (SharedSnapshot("by-hand", ("all",)),)},
        {"rds.snapshots-private": FAIL},
        "everybody may restore it",
    ),
    Fault(
        {"rds_shares": (SharedSnapshot("by-hand", ("999999999999",)),)},
        {"rds.snapshots-private": WARN},
        "by-hand 999999999999: that account may restore it",
    ),
    Fault(snapshots(DAILY, Snapshot("old", "manual", False)), {"rds.snapshots-encrypted": FAIL}, "not encrypted"),
    Fault(snapshots(DAILY, Snapshot("old", "manual", None)), {"rds.snapshots-encrypted": UNKNOWN}, "(Encrypted)"),
    Fault(snapshots(DAILY), {}),
    Fault(snapshots(replace(DAILY, kind="awsbackup")), {}),
    Fault(snapshots(DAILY, Snapshot("rds:old", "automated", False)), {}),
    Fault(snapshots(DAILY, Snapshot("rds:old", "automated", None)), {}),
    Fault(snapshots(), {"rds.restorable": FAIL}, "no snapshot of AWS's own is available"),
    Fault(snapshots(replace(DAILY, status="creating")), {"rds.restorable": FAIL}, "no snapshot of AWS's own"),
    Fault(snapshots(replace(DAILY, kind="manual")), {"rds.restorable": FAIL}, "no snapshot of AWS's own"),
    Fault(
        snapshots(replace(DAILY, made_at=NOW - timedelta(hours=27))), {"rds.restorable": WARN}, "snapshot of 27 hours"
    ),
    Fault(
        snapshots(replace(DAILY, made_at=NOW - timedelta(hours=51))), {"rds.restorable": FAIL}, "snapshot of 51 hours"
    ),
    Fault({**snapshots(), **rds(created_at=NOW - timedelta(hours=25))}, {}),
    Fault({**snapshots(), **rds(created_at=NOW - timedelta(hours=27))}, {"rds.restorable": FAIL}, "no snapshot"),
    Fault(rds(master_secret="impaired"), {"rds.master-secret": FAIL}, "it is impaired"),
    Fault(rds(master_secret="rotating"), {}),
    Fault(rds(master_secret=None), {"rds.master-secret": NA}, "RDS keeps no secret of it"),
]


def support(days: float | None, extended: float = 2190, **changes: Any) -> Changes:
    """Until when AWS supports the engine, in days from now."""
    until = None if days is None else NOW + days * DAY
    return {"engine_support": EngineSupport(until, NOW + extended * DAY), **rds(**changes)}


def windows(backup: str | None, maintenance: str | None) -> Changes:
    return rds(backup_window=backup, maintenance_window=maintenance)


def drill(noted: str) -> Changes:
    return rds(tags=(("Name", "good"), ("deploytools:restore-drill", noted)))


UPKEEP = [
    Fault(support(180), {}),
    Fault(
        support(179),
        {"rds.engine-supported": WARN},
        "standard support only until 2026-08-27; then Extended Support, which is charged for, until 2032-02-28",
    ),
    Fault(
        support(100, lifecycle="open-source-rds-extended-support-disabled"),
        {"rds.engine-supported": WARN},
        "only until 2026-06-09; then AWS upgrades it by itself",
    ),
    Fault(
        support(-1, lifecycle=None),
        {"rds.engine-supported": FAIL},
        "PostgreSQL 16: its standard support ended on 2026-02-28; Extended Support, which is charged for",
    ),
    Fault(support(-1, -1), {"rds.engine-supported": FAIL}, "Extended Support too, on 2026-02-28"),
    Fault(
        {"engine_support": EngineSupport(NOW - DAY)}, {"rds.engine-supported": FAIL}, "AWS names no Extended Support"
    ),
    Fault(support(None), {"rds.engine-supported": UNKNOWN}, "AWS does not say until when it supports PostgreSQL 16"),
    Fault(
        {"engine_support": EngineSupport(), **rds(engine_version=None)},
        {"rds.engine-supported": UNKNOWN},
        "AWS's answer does not say (EngineVersion)",
    ),
    Fault(windows("04:00-04:30", "sun:05:00-sun:05:30"), {}),
    Fault(windows("04:01-04:31", "sun:05:00-sun:05:30"), {"rds.windows-apart": WARN}, "29 minutes apart"),
    Fault(windows("05:30-06:00", "sun:05:00-sun:05:30"), {"rds.windows-apart": WARN}, "0 minutes apart"),
    Fault(windows("23:45-00:15", "wed:00:40-wed:01:10"), {"rds.windows-apart": WARN}, "25 minutes apart"),
    Fault(windows("00:20-00:50", "sun:23:00-mon:00:00"), {"rds.windows-apart": WARN}, "20 minutes apart"),
    Fault(windows("05:15-05:45", "sun:05:00-sun:05:30"), {"rds.windows-apart": FAIL}, "they overlap"),
    Fault(windows("04:00-08:00", "sun:05:00-sun:05:30"), {"rds.windows-apart": FAIL}, "they overlap"),
    Fault(windows("00:00-00:30", "sun:23:45-mon:00:15"), {"rds.windows-apart": FAIL}, "they overlap"),
    Fault(windows(None, "sun:05:00-sun:05:30"), {"rds.windows-apart": UNKNOWN}, "(PreferredBackupWindow)"),
    Fault(windows("03:00-03:30", "someday"), {"rds.windows-apart": UNKNOWN}, "(PreferredMaintenanceWindow)"),
    Fault(rds(tags=()), {"rds.restore-drill": WARN}, "no drill is noted (tag deploytools:restore-drill)"),
    Fault(drill("2025-12-01"), {}),
    Fault(drill("2025-11-30"), {"rds.restore-drill": WARN}, "the last drill was on 2025-11-30, more than 90 days ago"),
    Fault(drill("2026-03-02"), {"rds.restore-drill": WARN}, "the drill of 2026-03-02 is to come"),
    Fault(drill("last week"), {"rds.restore-drill": WARN}, "is no date: last week"),
]

OPEN = {"network.ingress-only-from-app": FAIL}
TEMPORARY = {"network.ingress-only-from-app": FAIL, "network.no-temporary-rules": FAIL}


def database_rule(flips: dict[str, Status], seen: str = "", **changes: Any) -> Fault:
    added = replace(Rule("sgr-x", "tcp", 5432, 5432), **changes)
    return Fault(rules("sg-db", added), flips, seen)


def two_groups(**changes: Any) -> Changes:
    """A second group of the instance's, with a rule of its own."""
    second = replace(
        GROUPS["sg-db"], identifier="sg-two", name="two", rules=(Rule("sgr-x", "tcp", 5432, 5432, **changes),)
    )
    return {"network": Network({**GROUPS, "sg-two": second}, ("sg-db", "sg-two"))}


def bastion_group(rule: Rule, ranges: dict[str, tuple[str, ...]] | None = None) -> Changes:
    """A group of the bastion host's that the settings do not name."""
    groups = (GROUPS["sg-bastion"], SecurityGroup("sg-wizard", "w", (rule,)))
    own = {"bastion_groups": BastionGroups(groups, PrefixLists(ranges or {}))}
    return bastion(groups=("sg-bastion", "sg-wizard")) | own


SSH_TO_ALL = Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")
JUMP = SecurityGroup("sg-jump", "jump", (SSH_TO_ALL,))
LETS_JUMP_IN = replace(GROUPS["sg-bastion"], rules=(Rule("sgr-jump", "tcp", 22, 22, group="sg-jump"),))


def far_away() -> Changes:
    """The load balancer's group lets one in that lets one in … that is open to the world."""
    names = ["sg-balancer", *(f"hop-{number}" for number in range(1, 6))]
    rules = [Rule("sgr-hop", "tcp", 22, 22, group=name) for name in names[1:]] + [SSH_TO_ALL]
    chain = {name: SecurityGroup(name, name, (rule,)) for name, rule in zip(names, rules, strict=True)}
    return {"network": Network({**GROUPS, **chain}, ("sg-db",))}


NETWORK = [
    database_rule(
        OPEN,
        "tcp/5432 10.0.0.0/16: port 5432 from 10.0.0.0/16 (private, 65,536 addresses)",
        cidr="10.0.0.0/16",
    ),
    database_rule(OPEN, "port 5432 from 0.0.0.0/0 (the whole internet)", cidr="0.0.0.0/0"),
    database_rule(OPEN, "from ::/0 (the whole internet)", cidr="::/0"),
    database_rule(OPEN, "ports 5000-6000 from", cidr="0.0.0.0/0", first=5000, last=6000),
    database_rule(OPEN, "all ports from", cidr="0.0.0.0/0", protocol="-1", first=-1, last=-1),
    database_rule(TEMPORARY, "from 10.0.0.9/32 (private, 1 addresses)", cidr="10.0.0.9/32"),
    database_rule(TEMPORARY, "from 8.8.4.4/32 (public, 1 addresses)", cidr="8.8.4.4/32"),
    database_rule(TEMPORARY, "from 10.0.0.0/24", cidr="10.0.0.0/24", description="TEMP for step 5.2 option C"),
    database_rule(OPEN, "the group sg-other, which is neither the application's nor the bastion's", group="sg-other"),
    database_rule(OPEN, "the group sg-db (rds), which is neither", group="sg-db"),
    database_rule(OPEN, "the group sg-app (backend) of the account 999", group="sg-app", account="999"),
    database_rule({}, cidr="0.0.0.0/0", protocol="udp"),
    database_rule({}, cidr="0.0.0.0/0", protocol="icmp", first=8, last=-1),
    database_rule({}, cidr="0.0.0.0/0", first=22, last=22),
    database_rule({}, group="sg-app", first=5000, last=6000),
    database_rule({}, group="sg-app", protocol="-1", first=-1, last=-1),
    Fault(two_groups(cidr="0.0.0.0/0"), dict(OPEN), "0.0.0.0/0"),
    Fault(two_groups(group="sg-app"), {}),
    Fault(
        {
            **rules("sg-db", Rule("sgr-x", "tcp", 5432, 5432, prefix_list="pl-1")),
            "prefix_lists": PrefixLists({"pl-1": ("192.0.2.0/24",)}),
        },
        dict(OPEN),
        "the prefix list pl-1 (192.0.2.0/24)",
    ),
    Fault(
        rds(port=5433),
        {
            "rds.is-the-one": FAIL,
            "network.ingress-only-from-app": FAIL,
            "network.app-not-open": NA,
            "bastion.let-in": WARN,
            "ecs.reaches-database": FAIL,
        },
        "it answers at 5433, not at 5432",
    ),
    Fault(
        {
            **rds(port=5433),
            **rules("sg-db", Rule("sgr-x", "tcp", 5433, 5433, group="sg-app")),
            "secret_port": 5433,
        },
        {"bastion.let-in": WARN},
        "it lets in none of its security groups (sg-bastion)",
    ),
    Fault(
        rds(port=None),
        {
            "rds.is-the-one": UNKNOWN,
            "network.ingress-only-from-app": UNKNOWN,
            "network.app-not-open": UNKNOWN,
            "bastion.let-in": UNKNOWN,
            "ecs.reaches-database": UNKNOWN,
        },
        "(Endpoint.Port)",
    ),
    Fault(
        {"network": Network(GROUPS, ("sg-db", "sg-gone"))},
        dict.fromkeys(("network.ingress-only-from-app", "network.app-not-open", "network.no-temporary-rules"), UNKNOWN),
        "sg-gone: AWS's answer does not have it",
    ),
    Fault(
        {"network": Network({name: group for name, group in GROUPS.items() if name != "sg-db"}, ("sg-db",))},
        {
            **dict.fromkeys(
                ("network.ingress-only-from-app", "network.app-not-open", "network.no-temporary-rules"), UNKNOWN
            ),
            "bastion.let-in": UNKNOWN,
            "ecs.reaches-database": UNKNOWN,
        },
        "sg-db: AWS's answer does not have it",
    ),
    Fault(
        {**expect(bastion_groups=()), "network": Network({}, ())},
        {
            "network.ingress-only-from-app": FAIL,
            "network.app-not-open": NA,
            "network.no-temporary-rules": UNKNOWN,
            "bastion.let-in": WARN,
            "ecs.reaches-database": FAIL,
        },
        "no security group",
    ),
    Fault(
        {"network": Network(GROUPS, ())},
        {
            "network.ingress-only-from-app": FAIL,
            "network.app-not-open": NA,
            "bastion.let-in": WARN,
            "ecs.reaches-database": FAIL,
        },
        "no security group",
    ),
    Fault(
        expect(app_groups=()),
        {"network.ingress-only-from-app": FAIL},
        "which is neither the application's nor the bastion's",
    ),
    Fault(
        expect(app_groups=(), bastion_groups=()),
        {
            "network.ingress-only-from-app": WARN,
            "network.no-temporary-rules": FAIL,
        },
        "nobody says whether that is the application",
    ),
    Fault(
        {
            **expect(app_groups=(), bastion_groups=()),
            **bastion(groups=()),
            "bastion_groups": BastionGroups((), PrefixLists({})),
        },
        {
            "bastion.let-in": WARN,
            "network.ingress-only-from-app": WARN,
            "network.no-temporary-rules": FAIL,
            "bastion.ssh-not-open": NA,
        },
        "nobody says whether that is the application",
    ),
    Fault(
        rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr="0.0.0.0/0")),
        {"network.app-not-open": FAIL},
        "opens port 8000",
    ),
    Fault(
        rules("sg-app", Rule("sgr-x", "-1", -1, -1, cidr="::/0")),
        {"network.app-not-open": FAIL},
        "opens all ports to ::/0",
    ),
    *(
        Fault(
            rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr=cidr)),
            {"network.app-not-open": FAIL},
            f"opens port 8000 to {cidr}",
        )
        for cidr in ("2000::/3", "::/1", "2a00::/12", "0.0.0.0/1", "128.0.0.0/1", "8.0.0.0/9", "192.0.0.0/4")
    ),
    *(
        Fault(rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr=cidr)), {})
        for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "fc00::/7", "2a05:d018::/36", "17.0.0.0/16")
    ),
    Fault(rules("sg-app", Rule("sgr-x", "icmp", 3, 4, cidr="0.0.0.0/0")), {}),
    Fault(rules("sg-app", Rule("sgr-x", "tcp", 443, 443, cidr="::/0")), {"network.app-not-open": FAIL}, "port 443 to"),
    Fault(rules("sg-balancer", Rule("sgr-x", "tcp", 80, 80, cidr="0.0.0.0/0")), {}),
    Fault(rules("sg-balancer", Rule("sgr-x", "tcp", 80, 80, group="sg-gone")), {}),
    Fault(rules("sg-balancer", Rule("sgr-x", "tcp", 80, 80, group="sg-app")), {}),
    Fault(
        rules("sg-balancer", Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")),
        {"network.app-not-open": FAIL},
        "sg-balancer sgr-x tcp/22 0.0.0.0/0: balancer opens port 22 to 0.0.0.0/0",
    ),
    Fault(
        rules("sg-balancer", Rule("sgr-x", "tcp", 80, 443, cidr="0.0.0.0/0")),
        {"network.app-not-open": FAIL},
        "balancer opens ports 80-443",
    ),
    Fault(far_away(), {"network.app-not-open": FAIL}, "hop-5 opens port 22 to 0.0.0.0/0"),
    Fault(
        {"network": Network({**GROUPS, "sg-jump": JUMP, "sg-bastion": LETS_JUMP_IN}, ("sg-db",))},
        {"network.app-not-open": FAIL},
        "jump opens port 22 to 0.0.0.0/0",
    ),
    Fault(
        rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr="10.0.0.9/32")),
        {"network.no-temporary-rules": FAIL},
        "from 10.0.0.9/32, without a description; made by whom and when is not known (CloudTrail keeps 90 days, and",
    ),
    Fault(
        {
            **rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr="10.0.0.9/32")),
            "rule_history": RuleHistory({"sgr-x": Making(NOW - 12 * DAY, "assumed-role/Admin/alice")}),
        },
        {"network.no-temporary-rules": FAIL},
        "without a description; made on 2026-02-17 by assumed-role/Admin/alice",
    ),
    Fault({"rule_history": RuleHistory(gap="AWS denied cloudtrail:LookupEvents")}, {}),
    Fault(
        rules("sg-app", Rule("sgr-x", "tcp", 80, 80, group="sg-balancer", description="tmp")),
        {"network.no-temporary-rules": FAIL},
        'described "tmp"',
    ),
    Fault(
        {"routes": Routes({"subnet-a": "", "subnet-b": "igw-1"})}, {"network.private-subnets": FAIL}, "leads to igw-1"
    ),
    Fault({"routes": Routes({"subnet-a": ""})}, {"network.private-subnets": UNKNOWN}, "no route table was found"),
    Fault(rds(subnets=()), {"network.private-subnets": UNKNOWN}, "DBSubnetGroup.Subnets"),
    Fault(
        rules("sg-bastion", Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")),
        {"bastion.ssh-not-open": FAIL},
        "opens port 22 to 0.0.0.0/0",
    ),
    Fault(rules("sg-bastion", Rule("sgr-x", "tcp", 22, 22, cidr="203.0.113.0/24")), {}),
    Fault(
        rules("sg-bastion", Rule("sgr-x", "tcp", 2222, 3389, cidr="0.0.0.0/0")),
        {"bastion.ssh-not-open": FAIL},
        "bastion opens ports 2222-3389 to 0.0.0.0/0",
    ),
    Fault(
        bastion_group(Rule("sgr-x", "tcp", 8080, 8080, cidr="::/0")),
        {"bastion.ssh-not-open": FAIL},
        "opens port 8080 to ::/0",
    ),
    Fault(rules("sg-bastion", Rule("sgr-x", "icmp", 8, -1, cidr="0.0.0.0/0")), {}),
    Fault(
        bastion(groups=("sg-bastion", "sg-gone")),
        {"bastion.ssh-not-open": UNKNOWN},
        "sg-gone: AWS's answer does not have it",
    ),
    Fault(
        expect(bastion_groups=("gone",)),
        {"network.ingress-only-from-app": FAIL, "network.no-temporary-rules": FAIL, "bastion.ssh-not-open": FAIL},
        "sgr-bastion",
    ),
    Fault(expect(bastion_groups=("sg-bastion", "gone")), {"bastion.ssh-not-open": FAIL}, "no such security group"),
    Fault(
        bastion_group(Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")),
        {"bastion.ssh-not-open": FAIL},
        "opens port 22 to 0.0.0.0/0",
    ),
    Fault(
        bastion_group(Rule("sgr-x", "tcp", 22, 22, prefix_list="pl-1"), {"pl-1": ("0.0.0.0/0",)}),
        {"bastion.ssh-not-open": FAIL},
        "opens port 22 to pl-1",
    ),
    Fault(bastion_group(Rule("sgr-x", "tcp", 22, 22, cidr="203.0.113.0/24")), {}),
    Fault(bastion(demands_tokens=False), {"bastion.imdsv2": FAIL}, "HttpTokens is optional"),
    Fault(bastion(demands_tokens=None), {"bastion.imdsv2": UNKNOWN}, "MetadataOptions.HttpTokens"),
    Fault(
        {"bastion": None},
        {f"bastion.{name}": NA for name in ("imdsv2", "session-manager", "no-public-address", "let-in")},
        "none is declared",
    ),
    Fault(bastion(address="198.51.100.1"), {"bastion.no-public-address": WARN}, "the public address 198.51.100.1"),
    Fault(
        {**bastion_group(OFFICE), **bastion(groups=("sg-wizard",))},
        {"bastion.let-in": WARN},
        "it lets in none of its security groups (sg-wizard)",
    ),
    Fault(bastion(groups=()), {"bastion.let-in": WARN}, "(it has none)"),
    Fault({**bastion_group(OFFICE), **bastion(groups=("sg-wizard", "sg-bastion"))}, {}),
    Fault(bastion(state="stopped"), {"bastion.session-manager": NA}, "it is stopped"),
    Fault({"bastion_agent": False}, {"bastion.session-manager": WARN}, "Systems Manager does not know it"),
]

NOBODY = Topic(TOPIC)
BY_ACCOUNT = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
    "Action": "kms:*",
    "Resource": "*",
}
BY_CLOUDWATCH = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudwatch.amazonaws.com"},
    "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
    "Resource": "*",
}


def encrypted(*statements: dict[str, Any], arn: str = KEY, is_of_aws: bool = False) -> Changes:
    """The topic is encrypted with a key that has this policy."""
    return {
        "alarm_topics": (replace(NOBODY, confirmed=("sms",), key="alias/ops"),),
        "topic_keys": (TopicKey(TOPIC, arn, is_of_aws, statements),),
    }


ALARM = [
    Fault({"alarms": ALARMS[1:]}, {"alarms.metrics": FAIL}, "no alarm looks at it for good"),
    Fault({"alarms": ALARMS[:4], **rds(instance_class="db.m6g.large")}, {}),
    Fault(
        {"alarms": (), "alarm_topics": ()},
        {
            "alarms.metrics": FAIL,
            "alarms.act": NA,
            "alarms.have-data": NA,
            "alarms.heard": NA,
            "alarms.topic-key": NA,
        },
        "no alarm looks at it for good",
    ),
    Fault(alarm(acts=False), {"alarms.act": FAIL}, "its actions are switched off"),
    Fault(alarm(actions=()), {"alarms.act": FAIL}, "it has no action"),
    Fault(alarm(acts=None), {"alarms.act": UNKNOWN}, "(ActionsEnabled)"),
    Fault(alarm(state="INSUFFICIENT_DATA"), {"alarms.have-data": WARN}, "it has no data"),
    Fault(alarm(state="INSUFFICIENT_DATA", changed_at=NOW - timedelta(minutes=5)), {}),
    Fault(alarm(state="ALARM"), {}),
    Fault(alarm(state=None), {"alarms.have-data": UNKNOWN}, "(StateValue)"),
    Fault({"alarm_topics": (NOBODY,)}, {"alarms.heard": FAIL}, "nobody is subscribed"),
    Fault(
        {"alarm_topics": (replace(NOBODY, pending=("email ops@shop.net",)),)},
        {"alarms.heard": FAIL},
        "not confirmed: email ops@shop.net",
    ),
    Fault(
        {"alarm_topics": (replace(NOBODY, exists=False),)},
        {"alarms.heard": FAIL, "alarms.topic-key": NA},
        "the topic does not exist",
    ),
    Fault({"alarm_topics": ()}, {"alarms.heard": NA, "alarms.topic-key": NA}, "no alarm tells an SNS topic"),
    Fault(encrypted(is_of_aws=True), {"alarms.topic-key": FAIL}, "AWS's own, which CloudWatch may not use"),
    Fault(encrypted(arn=""), {"alarms.topic-key": FAIL}, "encrypted with alias/ops, which does not exist"),
    Fault(encrypted(BY_ACCOUNT, BY_CLOUDWATCH), {}),
    Fault(encrypted(BY_ACCOUNT, {**BY_CLOUDWATCH, "Action": "kms:*"}), {}),
    Fault(
        encrypted({**BY_CLOUDWATCH, "Principal": "*", "Condition": {"StringEquals": {"kms:CallerAccount": "123"}}}),
        {"alarms.topic-key": FAIL},
        "does not let CloudWatch kms:Decrypt",
    ),
    Fault(
        encrypted(BY_ACCOUNT),
        {"alarms.topic-key": FAIL},
        "the policy of alias/ops, which it is encrypted with, does not let CloudWatch kms:Decrypt, kms:GenerateData",
    ),
    Fault(
        encrypted(BY_ACCOUNT, {**BY_CLOUDWATCH, "Action": ["kms:Decrypt"]}),
        {"alarms.topic-key": FAIL},
        "does not let CloudWatch kms:GenerateDataKey*",
    ),
    Fault(
        encrypted(BY_CLOUDWATCH, {**BY_CLOUDWATCH, "Principal": "*", "Effect": "Deny"}),
        {"alarms.topic-key": FAIL},
        "does not let CloudWatch kms:Decrypt",
    ),
]


HOW, DENIED = "reading its policies", "not by IAM's simulation: AWS denied it"


def powers(
    *allowed: tuple[str, str],
    lacking: tuple[tuple[str, str], ...] = (),
    unsure: tuple[tuple[str, str], ...] = (),
    whose: str = "task_role",
) -> Changes:
    """What the role may do of what is none of its work, and what it may not of what is."""
    fact = f"{whose}_powers"
    before = WORLD[fact]
    return {
        fact: replace(
            before,
            how=HOW,
            without=DENIED,
            needed={q: "" if q in lacking else by for q, by in before.needed.items()},
            allowed={q: "policy p" if q in allowed else "" for q in QUESTIONS},
            unsure=unsure,
        )
    }


def attached(name: str) -> Changes:
    return {"task_role": replace(ROLE, policies=(Policy(name, (), f"arn:aws:iam::aws:policy/{name}"),))}


def written(**members: Any) -> Changes:
    """A policy of the role's own with one statement."""
    return {"task_role": replace(ROLE, policies=(Policy("p", ({**READING, **members},)),))}


def trusting(principal: object, **members: Any) -> Changes:
    return {"task_role": replace(ROLE, trust=({**TRUST[0], "Principal": principal, **members},))}


ECS_TASKS = {"Service": "ecs-tasks.amazonaws.com"}
OTHER_PARAMETER = ("ssm:GetParameters", "arn:aws:ssm:us-east-1:123456789012:parameter/shop/dsn")
IAM = [
    Fault({"task_role_powers": None}, {"iam.reads-its-secret": NA, "iam.least-privilege": NA}, "no role is declared"),
    Fault(
        {"task_role": None},
        {"iam.no-admin-policy": NA, "iam.no-wildcards": NA, "iam.trust": NA, "iam.confused-deputy": NA},
        "no role is declared",
    ),
    Fault(
        powers(lacking=NEEDED[:1]),
        {"iam.reads-its-secret": FAIL},
        f"nothing allows secretsmanager:GetSecretValue on {ARN} ({HOW}); {DENIED}",
    ),
    Fault(
        powers(lacking=NEEDED[1:]),
        {"iam.reads-its-secret": WARN},
        f"none of its policies allows kms:Decrypt on {KEY}, which encrypts it (reading",
    ),
    Fault(
        {"task_role_powers": replace(POWERS, needed={NEEDED[0]: "policy p", ("kms:Decrypt", "*"): ""})},
        {"iam.reads-its-secret": WARN},
        "allows kms:Decrypt on the key that encrypts it",
    ),
    Fault({"task_role_powers": replace(POWERS, needed={NEEDED[0]: "policy p"})}, {}),
    Fault(
        powers(lacking=NEEDED[:1], unsure=NEEDED[:1]),
        {"iam.reads-its-secret": UNKNOWN},
        f"whether it may secretsmanager:GetSecretValue on {ARN} hangs on a condition that is not known here",
    ),
    Fault(
        powers(lacking=NEEDED[1:], unsure=NEEDED[1:]),
        {"iam.reads-its-secret": WARN},
        f"whether it may kms:Decrypt on {KEY} hangs on a condition",
    ),
    Fault(
        powers(lacking=NEEDED[:1], unsure=NEEDED[:1], whose="execution_role"),
        {"iam.execution-role": UNKNOWN},
        "hangs on a condition that is not known here",
    ),
    Fault(powers(QUESTIONS[0]), {"iam.least-privilege": FAIL}, "secret:somebody-elses"),
    Fault(
        powers(QUESTIONS[3]),
        {"iam.least-privilege": FAIL},
        f"web rds:DeleteDBInstance {RDS.arn}: it may, by policy p ({HOW}); {DENIED}",
    ),
    *(
        Fault(attached(name), {"iam.no-admin-policy": FAIL}, f"{name} is attached")
        for name in ("AdministratorAccess", "AmazonRDSFullAccess", "PowerUserAccess")
    ),
    Fault(attached("AmazonSSMManagedInstanceCore"), {}),
    Fault(written(Action="*"), {"iam.no-wildcards": FAIL}, "policy p allows *"),
    Fault(written(Action=["logs:PutLogEvents", "s3:*"]), {"iam.no-wildcards": WARN}, "policy p allows s3:*"),
    Fault(
        {"task_role": replace(ROLE, policies=(Policy("p", ({"Effect": "Allow", "NotAction": "iam:*"},)),))},
        {"iam.no-wildcards": FAIL},
        "policy p allows everything but iam:*",
    ),
    Fault(written(Action="s3:*", Effect="Deny"), {}),
    Fault(written(Action=["s3:Get*", "s3:PutObject"]), {}),
    Fault(trusting("*"), {"iam.trust": FAIL, "iam.confused-deputy": NA}, "everybody may take it"),
    Fault(
        trusting({"AWS": "arn:aws:iam::999999999999:root"}),
        {"iam.trust": WARN, "iam.confused-deputy": NA},
        "999999999999:root may take it",
    ),
    Fault(trusting({"Service": "lambda.amazonaws.com"}), {"iam.confused-deputy": NA}, "ECS may not take it"),
    Fault(trusting(ECS_TASKS, Condition={}), {"iam.confused-deputy": WARN}, "no condition on aws:SourceAccount"),
    Fault(trusting(ECS_TASKS, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:ecs:us-east-1:123456789012:*"}}), {}),
    Fault(
        trusting(ECS_TASKS, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:ecs:*:*:*"}}),
        {"iam.confused-deputy": WARN},
        "no condition on aws:SourceAccount",
    ),
    Fault(container(secrets=()), {"iam.execution-role": NA}, "the application reads its own"),
    Fault({"execution_role_powers": None}, {"iam.execution-role": FAIL}, "executionRoleArn is not set"),
    Fault(
        powers(lacking=NEEDED[:1], whose="execution_role"),
        {"iam.execution-role": FAIL},
        f"nothing allows secretsmanager:GetSecretValue on {ARN}",
    ),
    Fault(
        powers(lacking=NEEDED[1:], whose="execution_role"),
        {"iam.execution-role": WARN},
        "none of its policies allows kms:Decrypt",
    ),
    Fault(
        powers(QUESTIONS[0], whose="execution_role"),
        {"iam.execution-role": FAIL},
        f"execution secretsmanager:GetSecretValue {QUESTIONS[0][1]}: it may, by policy p",
    ),
    Fault(
        {"execution_role_powers": replace(WORLD["execution_role_powers"], needed={OTHER_PARAMETER: ""})},
        {"iam.execution-role": FAIL},
        "nothing allows ssm:GetParameters on arn:aws:ssm:us-east-1:123456789012:parameter/shop/dsn",
    ),
]


def by_code_deploy(**changes: Any) -> Changes:
    """The service, whose deployments are task sets."""
    return service(controller="CODE_DEPLOY", **changes)


NOT_OURS = {"ecs.circuit-breaker": NA, "ecs.not-rolled-back": NA}
ECS = [
    Fault(
        {"ecs_service": None},
        {
            "ecs.rolled-out": NA,
            "ecs.since-rotation": NA,
            "ecs.circuit-breaker": NA,
            "ecs.no-public-address": NA,
            "ecs.not-rolled-back": NA,
            "ecs.reaches-database": NA,
        },
        "no ECS service",
    ),
    Fault({"ecs_cluster": None}, {"ecs.container-insights": NA}, "no ECS service"),
    Fault({"ecs_targets": None}, {"ecs.targets-healthy": NA}, "no ECS service"),
    Fault(
        {"task_definition": None},
        {
            "iam.execution-role": NA,
            "ecs.no-literal-secrets": NA,
            "ecs.this-secret": NA,
            "ecs.image-pinned": NA,
            "ecs.logs": NA,
            "ecs.unprivileged": NA,
        },
        "no ECS service",
    ),
    Fault(
        service(deployed_at=NOW - 21 * DAY),
        {"ecs.since-rotation": WARN},
        "deployed 2026-02-08 12:00+0000, the",
    ),
    Fault(service(deployed_at=None), {"ecs.since-rotation": UNKNOWN}, "deployments.createdAt"),
    Fault(description(rotated_at=None), {"ecs.since-rotation": NA}, "has not rotated the secret"),
    Fault(service(rollout="FAILED"), {"ecs.rolled-out": FAIL}, "2 of 2 tasks run, rollout FAILED"),
    Fault(service(running=1), {"ecs.rolled-out": FAIL}, "1 of 2 tasks run"),
    Fault(service(wanted=0, running=0), {"ecs.rolled-out": FAIL}, "0 of 0 tasks run"),
    Fault(service(status="DRAINING"), {"ecs.rolled-out": FAIL}, "its status is DRAINING"),
    Fault(service(wanted=None), {"ecs.rolled-out": UNKNOWN}, "desiredCount"),
    Fault(service(status=None), {"ecs.rolled-out": UNKNOWN}, "(status, "),
    Fault(service(rollout=None), {}),
    Fault(service(rollout=None, deployments=2), {"ecs.rolled-out": FAIL}, "2 of 2 tasks run, 2 deployments"),
    Fault(service(rollout=None, deployments=None), {"ecs.rolled-out": UNKNOWN}, "2 of 2 tasks run, no deployments"),
    Fault(by_code_deploy(rollout="STEADY_STATE"), dict(NOT_OURS), "made by CODE_DEPLOY"),
    Fault(
        by_code_deploy(rollout="STABILIZING"),
        {"ecs.rolled-out": FAIL, **NOT_OURS},
        "rollout STABILIZING",
    ),
    Fault(by_code_deploy(rollout=None), {"ecs.rolled-out": UNKNOWN, **NOT_OURS}, "1 deployments"),
    Fault(service(breaks_circuit=None), {"ecs.circuit-breaker": WARN}, "deploymentCircuitBreaker is off"),
    Fault(service(rolls_back=False), {"ecs.circuit-breaker": WARN}, "is on, and does not roll back"),
    Fault(service(has_public_address=True), {"ecs.no-public-address": FAIL}, "assignPublicIp is ENABLED"),
    Fault(service(has_public_address=None), {"ecs.no-public-address": NA}, "no network of their own"),
    Fault(
        container(leaked=("DB_PASSWORD",)),
        {"ecs.no-literal-secrets": FAIL},
        "web DB_PASSWORD: it holds a value of the secret",
    ),
    Fault(container(credentials=("API_TOKEN",)), {"ecs.no-literal-secrets": FAIL}, "web API_TOKEN: it has a literal"),
    Fault(
        container(environment_files=("arn:aws:s3:::shop/web.env",)),
        {"ecs.no-literal-secrets": UNKNOWN},
        "in files that were not read: arn:aws:s3:::shop/web.env",
    ),
    Fault(
        container(environment_files=("arn:aws:s3:::shop/web.env",), secret_name=""),
        {"ecs.no-literal-secrets": UNKNOWN, "ecs.this-secret": UNKNOWN},
        "in files that were not read: arn:aws:s3:::shop/web.env",
    ),
    Fault(
        container(environment_files=("arn:aws:s3:::shop/web.env",), credentials=("API_TOKEN",)),
        {"ecs.no-literal-secrets": FAIL},
        "web API_TOKEN: it has a literal",
    ),
    Fault(container(secret_name="staging"), {"ecs.this-secret": FAIL}, "DB_SECRET_NAME is staging, not prod"),
    *(Fault(container(secret_name=name), {}) for name in (ARN, ARN[:-7], "", "prod-AbCdEf")),
    Fault(
        container(secrets=(("A", f"{ARN}:a::"), ("B", f"{ARN.replace('prod', 'sentry')}:dsn::"), ("C", "/shop/level"))),
        {"ecs.this-secret": WARN},
        "it is given values of another secret: arn:aws:secretsmanager:us-east-1:123456789012:secret:sentry-AbCdEf",
    ),
    Fault(
        container(secret_name="", secrets=()),
        {"iam.execution-role": NA, "ecs.this-secret": NA},
        "the application reads its own",
    ),
    Fault(container(image="shop:latest"), {"ecs.image-pinned": WARN}, "shop:latest"),
    Fault(container(log_driver=None), {"ecs.logs": FAIL}, "it has no log driver"),
    Fault(container(log_driver="none"), {"ecs.logs": FAIL}, "it has no log driver"),
    Fault(container(is_privileged=True), {"ecs.unprivileged": FAIL}, "it is privileged"),
    *(
        Fault(container(user=user), {"ecs.unprivileged": FAIL}, f"its user is {user}, which is root")
        for user in ("root", "0", "0:0", "root:root", "root:1000", "0:web", "00", "+0")
    ),
    *(Fault(container(user=user), {}) for user in ("web", "web:root", "1000:0", "10001:10001", "rooted", "100")),
    Fault(container(user=None), {"ecs.unprivileged": WARN}, "its user is the image’s"),
    Fault(container(has_readonly_root=None), {"ecs.unprivileged": WARN}, "its root file system can be written"),
]


def deployed(status: str | None, reason: str = "") -> Changes:
    """The last deployment."""
    return {"ecs_deployment": Deployment(status, NOW - 2 * DAY, reason)}


def default_let_in(security_groups: tuple[str, ...] = ()) -> Changes:
    """The application's group is the default one of a VPC, and the service names these."""
    default = replace(GROUPS["sg-app"], name="default")
    return {
        "network": Network({**GROUPS, "sg-app": default}, ("sg-db",)),
        **expect(app_groups=("sg-app",)),
        **service(security_groups=security_groups),
    }


SURROUNDINGS = [
    Fault({"ecs_deployment": None}, {"ecs.not-rolled-back": NA}, "in the 90 days that it remembers"),
    Fault(deployed("IN_PROGRESS"), {"ecs.not-rolled-back": NA}, "that of 2026-02-27 is IN_PROGRESS"),
    Fault(deployed(None), {"ecs.not-rolled-back": UNKNOWN}, "serviceDeployments: status"),
    Fault(
        deployed("ROLLBACK_SUCCESSFUL", "the circuit breaker saw a failure"),
        {"ecs.not-rolled-back": FAIL},
        "that of 2026-02-27 is ROLLBACK_SUCCESSFUL: the circuit breaker saw a failure",
    ),
    *(
        Fault(deployed(status), {"ecs.not-rolled-back": FAIL}, f"is {status}")
        for status in ("STOPPED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED")
    ),
    Fault({"ecs_cluster": Cluster("prod", "enhanced")}, {}),
    Fault(
        {"ecs_cluster": Cluster("prod", "disabled")}, {"ecs.container-insights": WARN}, "containerInsights is disabled"
    ),
    Fault({"ecs_cluster": Cluster("prod", None)}, {"ecs.container-insights": UNKNOWN}, "settings: containerInsights"),
    Fault({"ecs_targets": ()}, {"ecs.targets-healthy": NA}, "it has no target group"),
    Fault(targets(), {"ecs.targets-healthy": FAIL}, "no target is registered"),
    Fault(targets("healthy", "draining", "unhealthy.draining"), {}),
    Fault(targets("draining"), {"ecs.targets-healthy": FAIL}, "none is healthy: 1 draining"),
    Fault(targets("initial", "initial"), {"ecs.targets-healthy": FAIL}, "none is healthy: 2 initial"),
    Fault(targets("healthy", "initial"), {"ecs.targets-healthy": WARN}, "1 healthy, 1 initial: not all"),
    Fault(targets("healthy", None), {"ecs.targets-healthy": UNKNOWN}, "(TargetHealth.State)"),
    *(
        Fault(targets("healthy", state), {"ecs.targets-healthy": FAIL}, f"10.0.1.1:8000 is {state} (Target.Timeout)")
        for state in ("unhealthy", "unused", "unavailable")
    ),
    Fault(service(security_groups=None), {"ecs.reaches-database": NA}, "not awsvpc"),
    Fault(service(security_groups=("sg-app", "sg-other")), {}),
    Fault(expect(app_groups=("sg-app",)), {}),
    Fault(
        service(security_groups=("sg-other",)),
        {"ecs.reaches-database": FAIL},
        "of its groups (sg-other) the database lets in none that APP_SECURITY_GROUPS names",
    ),
    Fault(service(security_groups=()), {"ecs.reaches-database": FAIL}, "(the VPC’s default one)"),
    Fault(default_let_in(), {"ecs.reaches-database": UNKNOWN}, "nobody says whether that is sg-app, which is let in"),
    Fault(default_let_in(security_groups=("sg-app",)), {}),
    Fault(
        service(security_groups=("sg-bastion",)),
        {"ecs.reaches-database": FAIL},
        "of its groups (sg-bastion) the database lets in none",
    ),
]

OUTSIDE_CHECKS = ("certificate", "redirect", "hsts", "headers", "health", "no-debug-page")
DOWN = NoAnswer("Connection refused")
VISIT = [
    Fault({"outside": None}, {f"outside.{name}": NA for name in OUTSIDE_CHECKS}, "nobody says what its address is"),
    Fault(outside(certificate_until=NOW + 20 * DAY), {"outside.certificate": FAIL}, "20 days left"),
    Fault(
        outside(distrust="certificate has expired", certificate_until=None),
        {"outside.certificate": FAIL},
        "certificate has expired",
    ),
    Fault(
        outside(
            certificate_until=None, page=DOWN, health=DOWN, missing=DOWN, plain=Answer(301, {"location": f"{URL}/"})
        ),
        {f"outside.{name}": NA for name in OUTSIDE_CHECKS if name != "redirect"} | {"outside.health": FAIL},
        "nobody answers (see outside.health)",
    ),
    Fault(
        outside(certificate_until=None, page=DOWN, health=DOWN, missing=DOWN, plain=None),
        {f"outside.{name}": NA for name in OUTSIDE_CHECKS} | {"outside.health": FAIL},
        "nobody answers (see outside.health)",
    ),
    Fault(outside(health=DOWN), {"outside.health": FAIL}, "no answer: Connection refused"),
    Fault(outside(missing=DOWN), {"outside.no-debug-page": UNKNOWN}, "gives no answer: Connection refused"),
    *(
        Fault(
            outside(missing=Answer(status, {})), {"outside.no-debug-page": UNKNOWN}, f"answers {status}: no error page"
        )
        for status in (200, 400, 403, 503)
    ),
    Fault(
        outside(missing=Answer(301, {"location": "https://shop.example/"})),
        {"outside.no-debug-page": UNKNOWN},
        "answers 301 to https://shop.example/: no error page was seen",
    ),
    Fault(outside(missing=Answer(200, {}, True)), {"outside.no-debug-page": FAIL}, "shows Django's debug page"),
    Fault(outside(missing=Answer(410, {})), {}),
    Fault(
        outside(plain=NoAnswer("nothing said within 5 s")),
        {"outside.redirect": UNKNOWN},
        "no answer on port 80: nothing said within 5 s",
    ),
    Fault(outside(plain=Answer(200, {})), {"outside.redirect": FAIL}, "http answers 200"),
    Fault(
        outside(plain=Answer(301, {"location": "http://www.shop.net/"})), {"outside.redirect": FAIL}, "301 to http://"
    ),
    Fault(outside(plain=None), {}),
    Fault(outside(plain=None, url=f"{URL}:8443"), {"outside.redirect": NA}, "the address names a port"),
    Fault(outside(url=f"{URL}:443"), {}),
    Fault(
        outside(page=Answer(200, HEADERS | {"strict-transport-security": "max-age=3600"})),
        {"outside.hsts": FAIL},
        "max-age=3600",
    ),
    Fault(
        outside(page=Answer(200, {k: v for k, v in HEADERS.items() if k != "referrer-policy"})),
        {"outside.headers": WARN},
        "missing: referrer-policy",
    ),
    Fault(outside(health=Answer(503, {})), {"outside.health": FAIL}, "it answers 503"),
    Fault(outside(missing=Answer(404, {}, True)), {"outside.no-debug-page": FAIL}, "shows Django's debug page"),
    Fault(outside(url=URL), {}),
]
