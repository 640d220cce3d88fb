"""Worlds of a review of the AWS account, most of which passed all checks when they were invented; with good ones."""

from __future__ import annotations

from dataclasses import replace

from deploytools.verification.network.facts import HostGroups, Rule, SecurityGroup
from tests.verification.zoo.row import FAIL, Row
from tests.verification.zoo.world import FROM_BALANCER, GROUPS, Changes

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


NETWORK = [
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

REVIEWED: list[Row] = [*NETWORK]
