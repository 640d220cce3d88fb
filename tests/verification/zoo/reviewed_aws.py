"""Worlds of a review of the AWS account, most of which passed all checks when they were invented; with good ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.iam.policies import Policy
from deploytools.verification.network.facts import HostGroups, Rule, SecurityGroup
from tests.verification.zoo.ecs import defined
from tests.verification.zoo.iam import simulated, written
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    ARN,
    BASTION_ROLE,
    DEFAULT_ACL,
    FROM_BALANCER,
    GROUPS,
    NOW,
    ROLE,
    SUBNETS,
    TARGETS,
    TOPIC,
    WEB,
    WORLD,
    Changes,
    alarm,
    description,
    expect,
    rds,
    service,
)

DAY = timedelta(days=1)
TAG: dict[str, Any] = {"StringEquals": {"aws:ResourceTag/stage": "test"}}
TAGGED: dict[str, Any] = {"Action": "ec2:*", "Resource": "*", "Condition": TAG}
LAPTOP = Rule("sgr-l", "tcp", 8000, 8000, cidr="203.0.113.9/32")
MIGRATION = Rule("sgr-m", "tcp", 8000, 8000, group="sg-old", description="remove after the migration")
TEMPORARY, BASTION = "network.no-temporary-rules", "bastion.no-public-ingress"


def debug(*rules: Rule) -> Changes:
    """The tasks have a further security group with these rules."""
    return {"task_groups": HostGroups((GROUPS["sg-app"], SecurityGroup("sg-debug", "debug", rules)), {})}


def jump(*rules: Rule) -> Changes:
    """The bastion host has a further security group, which allows a group with these rules."""
    wizard = SecurityGroup("sg-wizard", "wizard", (Rule("sgr-w", "tcp", 22, 22, group="sg-jump"),))
    sources = (SecurityGroup("sg-jump", "jump", rules),)
    return {"bastion_groups": HostGroups((GROUPS["sg-bastion"], wizard), {"pl-9": ("0.0.0.0/0",)}, sources)}


def of_bastion(**members: Any) -> Changes:
    """The role of the bastion host has a further statement."""
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", **members}
    return {"bastion_role": replace(BASTION_ROLE, policies=(*BASTION_ROLE.policies, Policy("more", (statement,))))}


NETWORK = [
    *(
        Row(of_bastion(**members), {"bastion.least-privilege": status}, seen)
        for members, status, seen in (
            ({}, FAIL, "bastion more statement"),
            ({"Action": "iam:*"}, FAIL, "changes permissions"),
            ({"Action": "secretsmanager:GetSecretValue"}, FAIL, "reads other secrets"),
            ({"Action": "rds:*", "Condition": TAG}, UNKNOWN, "copies, changes or stops databases"),
        )
    ),
    *(
        Row(of_bastion(**members), good=("bastion.least-privilege",))
        for members in (
            {"Action": ["cloudwatch:PutMetricData", "logs:PutLogEvents"]},
            {"Action": "secretsmanager:GetSecretValue", "Resource": ARN},
            {"Action": "rds-db:connect"},
        )
    ),
    Row({"bastion_role": None}, good=("bastion.least-privilege",)),
    Row(debug(LAPTOP), {TEMPORARY: FAIL}, "sg-debug sgr-l tcp/8000 203.0.113.9/32: from 203.0.113.9/32"),
    Row(debug(MIGRATION), {TEMPORARY: FAIL}, 'described "remove after the migration"'),
    Row(debug(LAPTOP) | {"balancer_nodes": frozenset({"203.0.113.9"})}, good=(TEMPORARY,)),
    Row(debug(FROM_BALANCER), good=(TEMPORARY,)),
    *(
        Row(jump(replace(LAPTOP, first=22, last=22, **source)), {BASTION: FAIL}, f"jump opens port 22 to {seen}")
        for source, seen in (
            ({"cidr": "0.0.0.0/0"}, "0.0.0.0/0"),
            ({"cidr": "::/0"}, "::/0"),
            ({"cidr": "", "prefix_list": "pl-9"}, "pl-9"),
        )
    ),
    Row(jump(LAPTOP), good=(BASTION,)),
    Row(jump(replace(LAPTOP, first=443, last=443, cidr="0.0.0.0/0")), good=(BASTION,)),
]

SUPPRESSED: dict[str, Any] = {"actions": (), "suppressed": ("all by maintenance",)}
PAGER = "arn:aws:lambda:us-east-1:123456789012:function:pager"


def paged(*statements: dict[str, Any], function: str = PAGER, more: tuple[str, ...] = ()) -> Changes:
    """The topic's subscription invokes a function with this policy."""
    topic = replace(WORLD["alarm_topics"][0], confirmed=(f"lambda {function}", *more))
    return {"alarm_topics": (topic,), "alarm_functions": {function: statements}}


def invoking(**members: Any) -> dict[str, Any]:
    principal = {"Service": "sns.amazonaws.com"}
    return {"Effect": "Allow", "Principal": principal, "Action": "lambda:InvokeFunction", "Resource": PAGER, **members}


ACTIONS, SUBSCRIPTIONS = "alarms.actions", "alarms.subscriptions"
ALARMS = [
    Row(alarm(**SUPPRESSED), {ACTIONS: FAIL}, "are suppressed for a day: all by maintenance"),
    Row(
        alarm(**SUPPRESSED | {"actions": (TOPIC,), "actions_enabled": False}),
        {ACTIONS: FAIL},
        "are suppressed for a day",
    ),
    Row(alarm(**SUPPRESSED | {"actions": (TOPIC,)}), good=(ACTIONS,)),
    Row(alarm(**SUPPRESSED | {"via": (("arn:two", TOPIC),)}), good=(ACTIONS,)),
    *(
        Row(paged(*statements), {SUBSCRIPTIONS: status}, "does not exist, or does not allow sns.amazonaws.com")
        for status, *statements in (
            (FAIL,),
            (FAIL, invoking(Principal={"Service": "events.amazonaws.com"})),
            (FAIL, invoking(Condition={"ArnLike": {"aws:SourceArn": f"{TOPIC}-staging"}})),
            (UNKNOWN, invoking(Condition={"StringEquals": {"lambda:EventSourceToken": "x"}})),
        )
    ),
    Row(paged(invoking(Condition={"ArnLike": {"aws:SourceArn": TOPIC}})), good=(SUBSCRIPTIONS,)),
    Row(paged(more=("email ops@shop.net",)), good=(SUBSCRIPTIONS,)),
    Row(paged(function=PAGER.replace("123456789012", "999988887777")), good=(SUBSCRIPTIONS,)),
]


def runs_with(used: str, named: str = "web") -> Changes:
    """The task definition has one role, and the settings name one."""
    return expect(task_role=named) | {"task_definition": replace(WORLD["task_definition"], task_role=used)}


SCHEDULE, OTHER = "secret.rotation-on-schedule", "arn:aws:iam::123456789012:role/other"
IDENTITY = [
    Row(runs_with(OTHER), {"iam.secret-access": FAIL}, "the task role of the task definition is other"),
    Row(runs_with(""), {"iam.secret-access": FAIL}, "the task role of the task definition is not set"),
    Row(runs_with(ROLE.arn, ROLE.arn), good=("iam.secret-access",)),
    Row(written(**TAGGED), {"iam.least-privilege": UNKNOWN}, "changes the network"),
    Row(written(**TAGGED) | simulated(**{"ec2__*": "allowed"}), {"iam.least-privilege": FAIL}, "changes the network"),
    Row(description(rotation_days=730), {SCHEDULE: WARN}, "rotated every 730 days, MAX_AGE_DAYS is 90"),
    Row(description(next_rotation=NOW + 300 * DAY), {SCHEDULE: WARN}, "rotated every 319 days, MAX_AGE_DAYS is 90"),
    Row(description(rotation_days=90, next_rotation=NOW + 71 * DAY), good=(SCHEDULE,)),
    Row(description(rotation_days=730) | expect(max_age_days=0), {"secret.credential-age": NA}, good=(SCHEDULE,)),
    Row({"rotation_function": "implicitDeny"}, {SCHEDULE: FAIL}, "the rotation function does not exist"),
    Row({"rotation_function": "conditional"}, {SCHEDULE: UNKNOWN}, "the rotation function does not exist"),
    Row({"rotation_function": "allowed"}, good=(SCHEDULE,)),
    Row(description(failed_replicas=("eu-west-1",)), {SCHEDULE: FAIL}, "its replication failed: eu-west-1"),
    Row(description(rotates=False, failed_replicas=("eu-west-1",)), {SCHEDULE: FAIL}, "replication failed"),
]


def acl(*entries: dict[str, Any]) -> Changes:
    """The subnet subnet-b has a network ACL with further entries before those of a new VPC."""
    added = tuple(
        {"RuleNumber": number, "Egress": False, "Protocol": "6", "RuleAction": "deny", "CidrBlock": "10.0.0.0/16"}
        | entry
        for number, entry in enumerate(entries)
    )
    return {"subnets": SUBNETS | {"subnet-b": replace(SUBNETS["subnet-b"], acl=added + DEFAULT_ACL)}}


def egress(*rules: Rule) -> Changes:
    """The tasks' security group has these egress rules."""
    group = replace(GROUPS["sg-app"], egress=rules)
    lists: dict[str, tuple[str, ...]] = {"pl-vpc": ("10.0.0.0/16",), "pl-s3": ("198.51.100.0/24",)}
    return {"task_groups": HostGroups((group,), lists)}


TO_POSTGRES = Rule("sgr-e", "tcp", 5432, 5432, group="sg-db")
POSTGRES, RESPONSES = {"From": 5432, "To": 5432}, {"From": 1024, "To": 65_535}
REACHES = "ecs.reaches-database"
ALLOW_HALF = {"Protocol": "-1", "CidrBlock": "10.0.1.0/25", "RuleAction": "allow"}
DENIED_HALVES = tuple({"Protocol": "-1", "CidrBlock": cidr} for cidr in ("10.0.1.0/25", "10.0.1.128/25"))
ALLOW_SSH = {"PortRange": {"From": 22, "To": 22}, "RuleAction": "allow"}
AWSLOGS = {"awslogs-group": "/ecs/new", "awslogs-region": "us-east-1"}
SERVICE = [
    *(
        Row(changes, {"ecs.redundant": WARN}, seen)
        for changes, seen in (
            (
                {"subnets": SUBNETS | {"subnet-b": replace(SUBNETS["subnet-b"], zone="us-east-1a")}},
                "1 Availability Zone",
            ),
            ({"least_tasks": 0}, "Application Auto Scaling can reduce 2 tasks to 0"),
            ({"least_tasks": 1}, "Application Auto Scaling can reduce 2 tasks to 1"),
        )
    ),
    *(
        Row({"ecs_targets": (replace(TARGETS, codes=codes),)}, {"ecs.targets-healthy": WARN}, "errors, too")
        for codes in (("200-499",), ("200", "200-400"), ("404,200",))
    ),
    *(
        Row({"ecs_targets": (replace(TARGETS, codes=codes),)}, good=("ecs.targets-healthy",))
        for codes in ((), ("200-399",), ("200,301",))
    ),
    Row({"least_tasks": 2}, good=("ecs.redundant",)),
    Row({"subnets": {}}, {"ecs.redundant": UNKNOWN, REACHES: UNKNOWN}, "the AWS response has no subnet"),
    Row(
        {"subnets": SUBNETS | {"subnet-b": replace(SUBNETS["subnet-b"], acl=())}},
        {REACHES: UNKNOWN},
        "the AWS response has no subnet subnet-b with its network ACL",
    ),
    *(
        Row(acl(*entries), {REACHES: FAIL}, seen)
        for *entries, seen in (
            ({"PortRange": POSTGRES}, "the network ACLs block port 5432 from subnet-a to subnet-b"),
            ({"PortRange": POSTGRES, "Egress": True}, "from subnet-b to subnet-a"),
            ({"PortRange": RESPONSES, "Egress": True}, "or the responses"),
            ({"Protocol": "-1", "CidrBlock": "10.0.1.0/24"}, "or the responses"),
            (ALLOW_SSH, {"Protocol": "-1", "CidrBlock": "0.0.0.0/0"}, "or the responses"),
            (ALLOW_HALF, {"Protocol": "-1"}, "or the responses"),
            (DENIED_HALVES[0], DENIED_HALVES[1], "or the responses"),
        )
    ),
    *(
        Row(acl(*entries), good=(REACHES,))
        for entries in (
            ({"PortRange": {"From": 22, "To": 22}},),
            ({"PortRange": POSTGRES, "CidrBlock": "198.51.100.0/24"},),
            ({"PortRange": POSTGRES, "CidrBlock": "10.0.1.9/32"},),
            (ALLOW_HALF, ALLOW_HALF | {"CidrBlock": "10.0.1.128/25"}, {"Protocol": "-1"}),
            ({"PortRange": POSTGRES, "RuleAction": "allow"}, {"PortRange": POSTGRES}),
            ({"Protocol": "17"},),
            ({"Protocol": "-1", "Ipv6CidrBlock": "::/0", "CidrBlock": "192.0.2.0/24"},),
        )
    ),
    *(
        Row(egress(*rules), {REACHES: FAIL}, "no egress rule of its security groups allows port 5432")
        for rules in (
            (),
            (WEB,),
            (replace(TO_POSTGRES, group="sg-cache"),),
            (replace(TO_POSTGRES, group="", cidr="::/0"),),
            (replace(TO_POSTGRES, group="", cidr="10.0.1.0/24"),),
            (replace(TO_POSTGRES, group="", prefix_list="pl-s3"),),
        )
    ),
    *(
        Row(egress(WEB, *rules), good=(REACHES,))
        for rules in (
            (TO_POSTGRES,),
            (replace(TO_POSTGRES, group="", cidr="10.0.0.0/16"),),
            (replace(TO_POSTGRES, group="", cidr="10.0.1.0/25"), replace(TO_POSTGRES, group="", cidr="10.0.2.0/24")),
            (replace(TO_POSTGRES, group="", prefix_list="pl-vpc"),),
        )
    ),
    Row(service(min_healthy=50), good=("ecs.redundant",)),
    *(
        Row(defined(logConfiguration={"logDriver": "awslogs", "options": options}), {"ecs.logs": FAIL}, seen)
        for options, seen in (
            (AWSLOGS, "the log group /ecs/new does not exist"),
            (AWSLOGS | {"awslogs-create-group": "false"}, "the log group /ecs/new does not exist"),
            ({"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1"}, "the log group /ecs/web does not exist"),
        )
    ),
    Row(
        defined(logConfiguration={"logDriver": "awslogs", "options": AWSLOGS | {"awslogs-create-group": "true"}}),
        good=("ecs.logs",),
    ),
    Row({"rds_log_retention": {"postgresql": 1}}, {"rds.log-exports": WARN}, "postgresql keeps events for less than 7"),
    Row({"rds_log_retention": {"postgresql": 7}}, good=("rds.log-exports",)),
    Row({"rds_log_retention": {}}, good=("rds.log-exports",)),
]

DATABASE = [
    *(
        Row(
            {"storage_key_state": state},
            {"rds.storage-encrypted": FAIL},
            f"the state of its KMS key is {state}",
        )
        for state in ("PendingDeletion", "Disabled", "PendingImport", "missing")
    ),
    Row({"storage_key_state": "Updating"}, good=("rds.storage-encrypted",)),
    *(
        Row(rds(pending=(change, "DBInstanceClass = db.t4g.large")), {"rds.no-pending-changes": FAIL}, change)
        for change in ("BackupRetentionPeriod = 0", "MultiAZ = false")
    ),
    Row(rds(pending=("BackupRetentionPeriod = 30",)), {"rds.no-pending-changes": WARN}, "BackupRetentionPeriod = 30"),
    Row({"storage_key_state": ""}, good=("rds.storage-encrypted",)),
]

REVIEWED: list[Row] = [*DATABASE, *SERVICE, *NETWORK, *ALARMS, *IDENTITY]
