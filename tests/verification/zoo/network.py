"""Worlds of the area network: faults with the statuses that they change, and good variations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.findings import Status
from deploytools.verification.network.facts import (
    HostGroups,
    Network,
    Rule,
    RuleCreation,
    RuleHistory,
    SecurityGroup,
)
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    FROM_BALANCER,
    FROM_BASTION,
    GROUPS,
    NOW,
    OFFICE,
    Changes,
    bastion,
    expect,
    rds,
    rules,
)

DAY = timedelta(days=1)


OPEN = {"network.database-ingress": FAIL}
TEMPORARY = {"network.database-ingress": FAIL, "network.no-temporary-rules": FAIL}


def database_rule(flips: dict[str, Status], seen: str = "", **changes: Any) -> Row:
    added = replace(Rule("sgr-x", "tcp", 5432, 5432), **changes)
    return Row(rules("sg-db", added), flips, seen)


def two_groups(**changes: Any) -> Changes:
    """A second security group of the RDS instance, with one rule."""
    second = replace(
        GROUPS["sg-db"], identifier="sg-two", name="two", rules=(Rule("sgr-x", "tcp", 5432, 5432, **changes),)
    )
    return {"network": Network({**GROUPS, "sg-two": second}, ("sg-db", "sg-two"))}


def bastion_group(rule: Rule, ranges: dict[str, tuple[str, ...]] | None = None) -> Changes:
    """A security group of the bastion host that is not in the settings."""
    groups = (GROUPS["sg-bastion"], SecurityGroup("sg-wizard", "w", (rule,)))
    own = {"bastion_groups": HostGroups(groups, ranges or {})}
    return bastion(groups=("sg-bastion", "sg-wizard")) | own


SSH_TO_ALL = Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")
JUMP = SecurityGroup("sg-jump", "jump", (SSH_TO_ALL,))
ALLOWS_JUMP = replace(GROUPS["sg-bastion"], rules=(Rule("sgr-jump", "tcp", 22, 22, group="sg-jump"),))


def far_away() -> Changes:
    """The load balancer's group allows a group that allows a group … that is open to the internet."""
    names = ["sg-balancer", *(f"hop-{number}" for number in range(1, 6))]
    rules = [Rule("sgr-hop", "tcp", 22, 22, group=name) for name in names[1:]] + [SSH_TO_ALL]
    chain = {name: SecurityGroup(name, name, (rule,)) for name, rule in zip(names, rules, strict=True)}
    return {"network": Network({**GROUPS, **chain}, ("sg-db",))}


BY_ALICE, BY_TOOL = (
    RuleHistory({"sgr-x": RuleCreation(NOW - 12 * DAY, by, by_hand)})
    for by, by_hand in (("user/alice", True), ("assumed-role/deploy/ci", False))
)
NETWORK = [
    database_rule(
        OPEN,
        "tcp/5432 10.0.0.0/16: port 5432 from 10.0.0.0/16 (private, 65,536 addresses)",
        cidr="10.0.0.0/16",
    ),
    database_rule(OPEN, "port 5432 from 0.0.0.0/0 (the internet)", cidr="0.0.0.0/0"),
    database_rule(OPEN, "from ::/0 (the internet)", cidr="::/0"),
    database_rule(OPEN, "ports 5000-6000 from", cidr="0.0.0.0/0", first=5000, last=6000),
    database_rule(OPEN, "all ports from", cidr="0.0.0.0/0", protocol="-1", first=-1, last=-1),
    database_rule(TEMPORARY, "from 10.0.0.9/32 (private, 1 address)", cidr="10.0.0.9/32"),
    database_rule(TEMPORARY, "from 8.8.4.4/32 (public, 1 address)", cidr="8.8.4.4/32"),
    database_rule(TEMPORARY, "from 10.0.0.0/24", cidr="10.0.0.0/24", description="TEMP for step 5.2 option C"),
    database_rule(OPEN, "the group sg-other, which is neither the application's nor", group="sg-other"),
    database_rule(OPEN, "the group sg-db (rds), which is neither", group="sg-db"),
    database_rule(OPEN, "the group sg-app (backend) of the account 999", group="sg-app", account="999"),
    database_rule({}, cidr="0.0.0.0/0", protocol="udp"),
    database_rule({}, cidr="0.0.0.0/0", protocol="icmp", first=8, last=-1),
    database_rule({}, cidr="0.0.0.0/0", first=22, last=22),
    database_rule({}, group="sg-app", first=5000, last=6000),
    database_rule({}, group="sg-app", protocol="-1", first=-1, last=-1),
    Row(two_groups(cidr="0.0.0.0/0"), dict(OPEN), "0.0.0.0/0"),
    Row(two_groups(group="sg-app"), {}),
    Row(
        {
            **rules("sg-db", Rule("sgr-x", "tcp", 5432, 5432, prefix_list="pl-1")),
            "prefix_lists": {"pl-1": ("192.0.2.0/24",)},
        },
        dict(OPEN),
        "the prefix list pl-1 (192.0.2.0/24)",
    ),
    Row(
        rds(port=5433),
        {
            "rds.instance-in-use": FAIL,
            "network.database-ingress": FAIL,
            "network.no-public-ingress": NA,
            "bastion.database-access": WARN,
            "ecs.reaches-database": FAIL,
        },
        "its port is 5433, but the secret has 5432",
    ),
    Row(
        {
            **rds(port=5433),
            **rules("sg-db", Rule("sgr-x", "tcp", 5433, 5433, group="sg-app")),
            "secret_port": 5433,
        },
        {"bastion.database-access": WARN},
        "the database allows none of its security groups (sg-bastion)",
    ),
    Row(
        rds(port=None),
        {
            "rds.instance-in-use": UNKNOWN,
            "network.database-ingress": UNKNOWN,
            "network.no-public-ingress": UNKNOWN,
            "bastion.database-access": UNKNOWN,
            "ecs.reaches-database": UNKNOWN,
        },
        "the AWS response has no Endpoint.Port",
    ),
    Row(
        {"network": Network(GROUPS, ("sg-db", "sg-gone"))},
        dict.fromkeys(("network.database-ingress", "network.no-public-ingress", "network.no-temporary-rules"), UNKNOWN),
        "sg-gone: the AWS response has no such security group",
    ),
    Row(
        {"network": Network({name: group for name, group in GROUPS.items() if name != "sg-db"}, ("sg-db",))},
        {
            **dict.fromkeys(
                ("network.database-ingress", "network.no-public-ingress", "network.no-temporary-rules"), UNKNOWN
            ),
            "bastion.database-access": UNKNOWN,
            "ecs.reaches-database": UNKNOWN,
        },
        "sg-db: the AWS response has no such security group",
    ),
    Row(
        {**expect(bastion_security_groups=()), "network": Network({}, ())},
        {
            "network.database-ingress": FAIL,
            "network.no-public-ingress": NA,
            "network.no-temporary-rules": UNKNOWN,
            "bastion.database-access": WARN,
            "ecs.reaches-database": FAIL,
        },
        "no security group",
    ),
    Row(
        {"network": Network(GROUPS, ())},
        {
            "network.database-ingress": FAIL,
            "network.no-public-ingress": NA,
            "bastion.database-access": WARN,
            "ecs.reaches-database": FAIL,
        },
        "no security group",
    ),
    Row(
        expect(app_security_groups=()),
        {"network.database-ingress": FAIL},
        "which is neither the application's nor the bastion host's",
    ),
    Row(
        expect(app_security_groups=(), bastion_security_groups=()),
        {
            "network.database-ingress": WARN,
            "network.no-temporary-rules": FAIL,
        },
        'DEPLOYTOOLS["APP_SECURITY_GROUPS"] is not set, so the source cannot be identified',
    ),
    Row(
        {
            **expect(app_security_groups=(), bastion_security_groups=()),
            **bastion(groups=()),
            "bastion_groups": HostGroups((), {}),
        },
        {
            "bastion.database-access": WARN,
            "network.database-ingress": WARN,
            "network.no-temporary-rules": FAIL,
            "bastion.no-public-ingress": NA,
        },
        'DEPLOYTOOLS["APP_SECURITY_GROUPS"] is not set, so the source cannot be identified',
    ),
    Row(
        rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr="0.0.0.0/0")),
        {"network.no-public-ingress": FAIL},
        "opens port 8000",
    ),
    Row(
        rules("sg-app", Rule("sgr-x", "-1", -1, -1, cidr="::/0")),
        {"network.no-public-ingress": FAIL},
        "opens all ports to ::/0",
    ),
    *(
        Row(
            rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr=cidr)),
            {"network.no-public-ingress": FAIL},
            f"opens port 8000 to {cidr}",
        )
        for cidr in (
            "2000::/3",
            "::/1",
            "2a00::/12",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "8.0.0.0/9",
            "192.0.0.0/4",
            "3.80.0.0/16",
            "2a05:d018::/36",
        )
    ),
    *(
        Row(rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr=cidr)), {})
        for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "fc00::/7", "2a05:d018:1::/48", "17.0.1.0/24")
    ),
    Row(rules("sg-app", Rule("sgr-x", "icmp", 3, 4, cidr="0.0.0.0/0")), {}),
    Row(
        rules("sg-app", Rule("sgr-x", "tcp", 443, 443, cidr="::/0")), {"network.no-public-ingress": FAIL}, "port 443 to"
    ),
    Row(rules("sg-balancer", Rule("sgr-x", "tcp", 80, 80, cidr="0.0.0.0/0")), {}),
    Row(rules("sg-balancer", Rule("sgr-x", "tcp", 80, 80, group="sg-gone")), {}),
    Row(rules("sg-balancer", Rule("sgr-x", "tcp", 80, 80, group="sg-app")), {}),
    Row(
        rules("sg-balancer", Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")),
        {"network.no-public-ingress": FAIL},
        "sg-balancer sgr-x tcp/22 0.0.0.0/0: balancer opens port 22 to 0.0.0.0/0",
    ),
    Row(
        rules("sg-balancer", Rule("sgr-x", "tcp", 80, 443, cidr="0.0.0.0/0")),
        {"network.no-public-ingress": FAIL},
        "balancer opens ports 80-443",
    ),
    Row(far_away(), {"network.no-public-ingress": FAIL}, "hop-5 opens port 22 to 0.0.0.0/0"),
    Row(
        {"network": Network({**GROUPS, "sg-jump": JUMP, "sg-bastion": ALLOWS_JUMP}, ("sg-db",))},
        {"network.no-public-ingress": FAIL},
        "jump opens port 22 to 0.0.0.0/0",
    ),
    Row(
        rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr="10.0.0.9/32")),
        {"network.no-temporary-rules": FAIL},
        "from 10.0.0.9/32, without a description; creator and date are unknown (CloudTrail has the",
    ),
    Row(
        {
            **rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr="10.0.0.9/32")),
            "rule_history": RuleHistory({"sgr-x": RuleCreation(NOW - 12 * DAY, "assumed-role/Admin/alice")}),
        },
        {"network.no-temporary-rules": FAIL},
        "without a description; created on 2026-02-17 by assumed-role/Admin/alice",
    ),
    Row({"rule_history": RuleHistory(gap="AWS denied x", denied="x")}, good=("network.no-temporary-rules",)),
    *(
        Row(
            rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, cidr="10.0.0.0/24")) | {"rule_history": history},
            flips,
            seen,
            good=() if flips else ("network.no-temporary-rules",),
        )
        for history, flips, seen in (
            (BY_ALICE, {"network.no-temporary-rules": WARN}, "added by hand; created on 2026-02-17 by user/alice"),
            (BY_TOOL, {}, ""),
            (RuleHistory(), {}, ""),
            *(
                (history, {"network.no-temporary-rules": UNKNOWN}, "by an unknown identity")
                for history in (
                    RuleHistory(gap="AWS denied it", denied="cloudtrail:LookupEvents"),
                    RuleHistory(gap="AWS throttled cloudtrail:LookupEvents"),
                )
            ),
        )
    ),
    Row(
        rules("sg-balancer", Rule("sgr-x", "tcp", 443, 443, cidr="0.0.0.0/0")) | {"rule_history": BY_ALICE},
        good=("network.no-temporary-rules",),
    ),
    Row(
        rules("sg-app", Rule("sgr-x", "tcp", 80, 80, group="sg-balancer", description="tmp")),
        {"network.no-temporary-rules": FAIL},
        'described "tmp"',
    ),
    Row(
        {"routes": {"subnet-a": "", "subnet-b": "igw-1"}},
        {"network.private-subnets": FAIL},
        "has a route to igw-1",
    ),
    Row({"routes": {"subnet-a": ""}}, {"network.private-subnets": UNKNOWN}, "the route table was not found"),
    Row(rds(subnets=()), {"network.private-subnets": UNKNOWN}, "DBSubnetGroup.Subnets"),
    Row(
        rules("sg-bastion", Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")),
        {"bastion.no-public-ingress": FAIL},
        "opens port 22 to 0.0.0.0/0",
    ),
    Row(rules("sg-bastion", Rule("sgr-x", "tcp", 22, 22, cidr="203.0.113.0/24")), {}),
    Row(
        rules("sg-bastion", Rule("sgr-x", "tcp", 2222, 3389, cidr="0.0.0.0/0")),
        {"bastion.no-public-ingress": FAIL},
        "bastion opens ports 2222-3389 to 0.0.0.0/0",
    ),
    Row(
        bastion_group(Rule("sgr-x", "tcp", 8080, 8080, cidr="::/0")),
        {"bastion.no-public-ingress": FAIL},
        "opens port 8080 to ::/0",
    ),
    Row(rules("sg-bastion", Rule("sgr-x", "icmp", 8, -1, cidr="0.0.0.0/0")), {}),
    Row(
        bastion(groups=("sg-bastion", "sg-gone")),
        {"bastion.no-public-ingress": UNKNOWN},
        "sg-gone: the AWS response has no such security group",
    ),
    Row(
        expect(bastion_security_groups=("gone",)),
        {"network.database-ingress": FAIL, "network.no-temporary-rules": FAIL, "bastion.no-public-ingress": FAIL},
        "sgr-bastion",
    ),
    Row(
        expect(bastion_security_groups=("sg-bastion", "gone")),
        {"bastion.no-public-ingress": FAIL},
        "the security group does not exist",
    ),
    Row(
        bastion_group(Rule("sgr-x", "tcp", 22, 22, cidr="0.0.0.0/0")),
        {"bastion.no-public-ingress": FAIL},
        "opens port 22 to 0.0.0.0/0",
    ),
    Row(
        bastion_group(Rule("sgr-x", "tcp", 22, 22, prefix_list="pl-1"), {"pl-1": ("0.0.0.0/0",)}),
        {"bastion.no-public-ingress": FAIL},
        "opens port 22 to pl-1",
    ),
    Row(bastion_group(Rule("sgr-x", "tcp", 22, 22, cidr="203.0.113.0/24")), {}),
    Row(bastion(requires_tokens=False), {"bastion.imdsv2": FAIL}, "HttpTokens is optional"),
    Row(bastion(requires_tokens=None), {"bastion.imdsv2": UNKNOWN}, "MetadataOptions.HttpTokens"),
    Row(
        {"bastion": None},
        {
            f"bastion.{name}": NA
            for name in ("imdsv2", "session-manager", "no-public-address", "database-access", "least-privilege")
        },
        'DEPLOYTOOLS["BASTION_INSTANCE"] is not set',
    ),
    Row(bastion(address="198.51.100.1"), {"bastion.no-public-address": WARN}, "public IP address is 198.51.100.1"),
    Row(
        {**bastion_group(OFFICE), **bastion(groups=("sg-wizard",))},
        {"bastion.database-access": WARN},
        "the database allows none of its security groups (sg-wizard)",
    ),
    Row(bastion(groups=()), {"bastion.database-access": WARN}, "(it has no security group)"),
    Row({**bastion_group(OFFICE), **bastion(groups=("sg-wizard", "sg-bastion"))}, {}),
    Row(bastion(state="stopped"), {"bastion.session-manager": NA}, "the instance is stopped"),
    Row({"bastion_agent": False}, {"bastion.session-manager": WARN}, "it is not registered in Systems Manager"),
]

APP, INGRESS = "sg-app", ("network.database-ingress",)
NETWORK += [
    *(
        Row(
            rules(APP, replace(FROM_BALANCER, identifier="sgr-x", description=words)),
            {"network.no-temporary-rules": FAIL},
            words,
        )
        for words in (
            "Temporarily open for the migration",
            "TEMP_ACCESS bob",
            "testing - close after phase 9",
            "tmp",
            "remove after launch",
        )
    ),
    *(
        Row(
            rules(APP, replace(FROM_BALANCER, identifier="sgr-x", description=words)),
            good=("network.no-temporary-rules",),
        )
        for words in (
            "from the template",
            "attempts of the balancer",
            "contemporary site",
            "HTTP from the load balancer",
        )
    ),
    Row(rules(APP, Rule("sgr-x", "tcp", 443, 443, cidr="198.51.100.7/32")), good=("network.no-temporary-rules",)),
    Row(
        rules(APP, Rule("sgr-x", "tcp", 8000, 8000, cidr="10.0.1.12/32"))
        | {"balancer_nodes": frozenset({"10.0.1.12"})},
        good=("network.no-temporary-rules",),
    ),
    Row(
        rules(APP, Rule("sgr-x", "tcp", 8000, 8000, cidr="10.0.1.13/32"))
        | {"balancer_nodes": frozenset({"10.0.1.12"})},
        {"network.no-temporary-rules": FAIL},
        "from 10.0.1.13/32",
    ),
    Row(
        rules("sg-bastion", Rule("sgr-x", "tcp", 22, 22, cidr="3.80.0.0/16")),
        {"bastion.no-public-ingress": FAIL},
        "3.80.0.0/16",
    ),
    *(
        Row(rules(APP, Rule("sgr-x", "tcp", 443, 443, cidr=cidr)), good=("network.no-public-ingress",))
        for cidr in ("104.16.0.0/13", "173.245.48.0/20", "2606:4700::/32")
    ),
    *(
        Row(
            rules(APP, Rule("sgr-x", "tcp", port, port, cidr=cidr)),
            {"network.no-public-ingress": FAIL},
            f"port {port} to {cidr}",
        )
        for port, cidr in ((22, "104.16.0.0/13"), (443, "104.0.0.0/8"))
    ),
    Row(
        rules("sg-db", FROM_BASTION, instead=True),
        {"network.database-ingress": FAIL, "ecs.reaches-database": FAIL, "network.no-public-ingress": NA},
        "no rule allows the application's security group",
    ),
    Row(
        {"network": Network({**GROUPS, APP: replace(GROUPS[APP], name="backend of vpc-2")}, ("sg-db",))},
        {"network.database-ingress": FAIL, "ecs.reaches-database": FAIL},
        "which is neither the application's",
    ),
    Row(expect(app_security_groups=("backend", "workers")), good=INGRESS),
]
