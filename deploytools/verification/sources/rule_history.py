"""Facts of who made the rules that look temporary, and when: CloudTrail's record of the last 90 days."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import AccessDenied, AwsError
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.network import Network, Rule, SecurityGroup

#: What people write beside a rule that they mean to take away.
TEMPORARY = re.compile(r"\b(te?mp(orary)?|my ip|remove|delete me|debug|just for now|until)\b", re.IGNORECASE)

#: Seconds. AWS answers two such questions a second and 50 events each; older pages are not waited for.
PATIENCE = 10

NINETY_DAYS = "CloudTrail keeps 90 days, and hears of a change some minutes later"


@dataclass(frozen=True)
class Making:
    """When a rule was made, and by whom: ``user/alice``, ``assumed-role/Admin/alice``."""

    at: datetime
    by: str


@dataclass(frozen=True)
class RuleHistory:
    """The making of the rules that look temporary, by the rule's id.

    Attributes:
        gap: why others are not known.
    """

    made: dict[str, Making] = field(default_factory=dict)
    gap: str = NINETY_DAYS


def temporary_rules(network: Network, expectation: Expectation) -> list[tuple[SecurityGroup, Rule]]:
    """Those that say so, and those for one address, which only a bastion host has a use for."""
    return [
        (group, rule)
        for group in network.groups.values()
        for rule in group.rules
        if TEMPORARY.search(rule.description) or (_is_single(rule) and not group.is_one_of(expectation.bastion_groups))
    ]


def _is_single(rule: Rule) -> bool:
    return bool(rule.cidr) and ip_network(rule.cidr, strict=False).num_addresses == 1


@fact(actions=("cloudtrail:LookupEvents",), deadline=45)
def rule_history(network: Network, expectation: Expectation) -> RuleHistory:
    """Asked for only where there are such rules. It is told, not judged: a denied action is said and no more."""
    wanted = {rule.identifier for _, rule in temporary_rules(network, expectation)}
    made: dict[str, Making] = {}
    try:
        gap = _look_up(wanted, made) if wanted else NINETY_DAYS
    except AccessDenied as error:
        gap = f"AWS denied {error.action}"
    except AwsError as error:
        gap = str(error).rstrip(".")
    return RuleHistory(made, gap)


def _look_up(wanted: set[str], made: dict[str, Making]) -> str:
    """Fill `made`, the newest events first; returns why something is not in it."""
    attributes = [{"AttributeKey": "EventName", "AttributeValue": "AuthorizeSecurityGroupIngress"}]
    deadline = time.monotonic() + PATIENCE
    with aws.calling("cloudtrail:LookupEvents", f"the Region {configuration.region}"):
        pages = aws.client("cloudtrail", configuration.region).get_paginator("lookup_events")
        for page in pages.paginate(LookupAttributes=attributes):
            made |= {rule: making for event in page["Events"] for rule, making in _made_by(event) if rule in wanted}
            if wanted <= set(made):
                break
            if time.monotonic() > deadline:
                return "CloudTrail has more events than there was time to read"
    return NINETY_DAYS


def _made_by(event: Any) -> Iterator[tuple[str, Making]]:
    """The rules that one event made; none where it was refused."""
    try:
        said = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:  # It is told, not judged: better one event less than no verdict.
        return
    arn = (said.get("userIdentity") or {}).get("arn") or ""
    making = Making(event["EventTime"], arn.split(":", 5)[-1] or event.get("Username") or "somebody without a name")
    rules = ((said.get("responseElements") or {}).get("securityGroupRuleSet") or {}).get("items") or ()
    for rule in rules:
        yield rule.get("securityGroupRuleId", ""), making
