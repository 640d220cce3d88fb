"""Facts of the network: security groups with their rules, prefix lists, the creation of rules."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.errors import AccessDenied, AwsError
from deploytools.verification.ecs.facts import Service
from deploytools.verification.rds.facts import RdsInstance
from deploytools.verification.registry import fact

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client

#: Words in the description of a temporary rule.
TEMPORARY = re.compile(
    r"(?<![a-z])(te?mp(orar(y|ily))?|test(s|ing)?|(my|home|hotel) ?ip|remove|delete|close (after|when)"
    r"|debug(ging)?|for now|until|during|quick ?fix|hot ?fix|todo|fixme)(?![a-z])",
    re.IGNORECASE,
)

#: Ports that a load balancer opens to the internet.
WEB = {80, 443}

#: The user agents of deployment tools.
TOOLS = re.compile(r"terraform|pulumi|cloudformation|cdk|ansible|crossplane", re.IGNORECASE)

#: Seconds to read events: CloudTrail returns 50 events per request and allows two requests a second.
MAX_HISTORY_SECONDS = 10

NINETY_DAYS = "CloudTrail has the events of the last 90 days, with a delay of some minutes"


@dataclass(frozen=True)
class Rule:
    """One ingress rule: one source and a range of ports.

    Attributes:
        protocol: ``tcp``, ``udp``, …; ``-1``: all.
        first, last: ports; -1: all.
        cidr: the source, if it is an IPv4 or IPv6 range.
        prefix_list: the source, if it is a prefix list.
        group: the source, if it is a security group.
        account: the account of `group`, if it is another one.
    """

    identifier: str
    protocol: str
    first: int
    last: int
    cidr: str = ""
    prefix_list: str = ""
    group: str = ""
    account: str = ""
    description: str = ""

    def covers(self, port: int) -> bool:
        """Return whether the rule allows TCP connections to `port`."""
        if self.protocol not in {"tcp", "6", "-1"}:
            return False
        return self.protocol == "-1" or self.first == -1 or self.first <= port <= self.last

    @property
    def is_web(self) -> bool:
        """Whether the rule allows one port, which a load balancer opens to the internet."""
        return self.first == self.last and self.first in WEB

    @property
    def label(self) -> str:
        """The id, ports and source of the rule. A rule that was modified keeps its id, but gets another label."""
        last = "" if self.last in {self.first, -1} else f"-{self.last}"
        ports = "" if self.protocol == "-1" or self.first == -1 else f"/{self.first}{last}"
        group = f"{self.account}/{self.group}" if self.account else self.group
        protocol = "all" if self.protocol == "-1" else self.protocol
        return f"{self.identifier} {protocol}{ports} {self.cidr or self.prefix_list or group}"


#: The egress rule of a new security group.
ALLOW_ALL = Rule("", "-1", -1, -1, cidr="0.0.0.0/0")


@dataclass(frozen=True)
class SecurityGroup:
    """A security group with its ingress rules, and its egress rules, whose sources are destinations."""

    identifier: str
    name: str
    rules: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = (ALLOW_ALL,)

    def is_one_of(self, names: Iterable[str]) -> bool:
        """Return whether the id or the name of the group is in `names`."""
        return bool({self.identifier, self.name} & set(names))


@dataclass(frozen=True)
class Network:
    """The security groups of the database, and all groups that have access to it, directly or through others.

    Attributes:
        groups: the groups by id.
        of_database: ids of the groups of the RDS instance.
    """

    groups: dict[str, SecurityGroup]
    of_database: tuple[str, ...]

    def named(self, names: Iterable[str]) -> list[str]:
        """Return the ids of the groups whose id or name is in `names`."""
        return [identifier for identifier, group in self.groups.items() if group.is_one_of(names)]


@fact(actions=("ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"), deadline=30)
def network(rds_instance: RdsInstance, settings: Settings) -> Network:
    """The security groups of the RDS instance, those in the settings, and the source groups of all their rules."""
    client = aws.client("ec2", settings.region)
    own = tuple(identifier for identifier, _ in rds_instance.security_groups)
    wanted = {*own, *_configured_groups(client, settings, rds_instance.vpc)}
    return Network(_read_with_sources(client, wanted, rds_instance.vpc or ""), own)


def _read_with_sources(
    client: EC2Client, wanted: set[str], vpc: str, known: Container[str] = ()
) -> dict[str, SecurityGroup]:
    """Return the groups, the source groups of their rules, and so on, except those that are known."""
    found: dict[str, SecurityGroup] = {}
    requested: set[str] = set()
    while wanted := {name for name in wanted if name not in requested and name not in known}:
        requested |= wanted
        found |= read_groups(client, sorted(wanted), vpc)
        wanted = {rule.group for group in found.values() for rule in group.rules if rule.group and not rule.account}
    return found


def _configured_groups(client: EC2Client, settings: Settings, vpc: str | None) -> set[str]:
    """Return the ids of the groups of the settings, which can be ids or names."""
    named = {*settings.app_security_groups, *settings.bastion_security_groups}
    names = sorted(name for name in named if not name.startswith("sg-"))
    ids = named - set(names)
    if names:
        filters: Any = [{"Name": "group-name", "Values": names}]
        filters += [{"Name": "vpc-id", "Values": [vpc]}] if vpc else []
        with aws.translate_aws_errors("ec2:DescribeSecurityGroups", f"the security groups {', '.join(names)}"):
            answer = client.get_paginator("describe_security_groups").paginate(Filters=filters).build_full_result()
        ids |= {group["GroupId"] for group in answer["SecurityGroups"]}
    return ids


def read_groups(client: EC2Client, ids: list[str], vpc: str = "") -> dict[str, SecurityGroup]:
    """Return the groups that exist: a rule can have a deleted group as its source.

    Args:
        vpc: a group of another VPC gets the VPC in its name, so that no name in the settings matches it. Empty: any.
    """
    where = f"the security groups {', '.join(ids)}"
    filters: Any = [{"Name": "group-id", "Values": ids}]
    with aws.translate_aws_errors("ec2:DescribeSecurityGroups", where):
        groups = client.get_paginator("describe_security_groups").paginate(Filters=filters).build_full_result()
    with aws.translate_aws_errors("ec2:DescribeSecurityGroupRules", where):
        rules = client.get_paginator("describe_security_group_rules").paginate(Filters=filters).build_full_result()
    every = sorted(rules["SecurityGroupRules"], key=lambda rule: rule["SecurityGroupRuleId"])
    return {
        group["GroupId"]: SecurityGroup(
            group["GroupId"],
            _name(group, vpc),
            *(
                tuple(_rule(r) for r in every if (r["GroupId"], r["IsEgress"]) == (group["GroupId"], is_egress))
                for is_egress in (False, True)
            ),
        )
        for group in sorted(groups["SecurityGroups"], key=lambda group: group["GroupId"])
    }


def _name(group: Any, vpc: str) -> str:
    name, own = str(group.get("GroupName", "")), str(group.get("VpcId", ""))
    return f"{name} of {own}" if vpc and own and own != vpc else name


def _rule(rule: Any) -> Rule:
    """One rule; AWS leaves the ports out where it means all."""
    source = rule.get("ReferencedGroupInfo") or {}
    owner, referenced = rule.get("GroupOwnerId", ""), source.get("UserId", "")
    return Rule(
        identifier=rule["SecurityGroupRuleId"],
        protocol=str(rule.get("IpProtocol", "-1")),
        first=rule.get("FromPort", -1),
        last=rule.get("ToPort", -1),
        cidr=rule.get("CidrIpv4") or rule.get("CidrIpv6") or "",
        prefix_list=rule.get("PrefixListId", ""),
        group=source.get("GroupId", ""),
        account=referenced if referenced and owner and referenced != owner else "",
        description=rule.get("Description", ""),
    )


@fact(actions=("ec2:DescribeNetworkInterfaces",))
def balancer_nodes(network: Network, task_groups: HostGroups, settings: Settings) -> frozenset[str]:
    """The private addresses of load balancers that are the source of a rule."""
    groups = all_groups(network, task_groups)
    singles = sorted({rule.cidr.partition("/")[0] for group in groups for rule in group.rules if is_single(rule)})
    if not singles:
        return frozenset()
    filters: Any = [{"Name": "addresses.private-ip-address", "Values": singles}]
    with aws.translate_aws_errors("ec2:DescribeNetworkInterfaces", f"the addresses {', '.join(singles)}"):
        pages = aws.client("ec2", settings.region).get_paginator("describe_network_interfaces")
        found = pages.paginate(Filters=filters).build_full_result()["NetworkInterfaces"]
    return frozenset(
        item["PrivateIpAddress"] for item in found if str(item.get("InterfaceType", "")).endswith("load_balancer")
    )


#: The ranges of the prefix lists that are sources of rules, by id.
PrefixLists = dict[str, tuple[str, ...]]


@fact(actions=("ec2:GetManagedPrefixListEntries",))
def prefix_lists(network: Network, settings: Settings) -> PrefixLists:
    return read_prefix_lists(network.groups.values(), settings.region)


def read_prefix_lists(groups: Iterable[SecurityGroup], region: str) -> PrefixLists:
    pages = aws.client("ec2", region).get_paginator("get_managed_prefix_list_entries")
    rules = [rule for group in groups for rule in (*group.rules, *(rule for rule in group.egress if not rule.is_web))]
    ids = {rule.prefix_list for rule in rules if rule.prefix_list}
    ranges = {}
    for identifier in sorted(ids):
        with aws.translate_aws_errors("ec2:GetManagedPrefixListEntries", f"the prefix list {identifier}"):
            answer = pages.paginate(PrefixListId=identifier).build_full_result()
        ranges[identifier] = tuple(sorted(entry["Cidr"] for entry in answer["Entries"]))
    return ranges


HOST_GROUPS = ("ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules", "ec2:GetManagedPrefixListEntries")


@dataclass(frozen=True)
class HostGroups:
    """The security groups of a host, with the prefix lists of their rules.

    Attributes:
        sources: the source groups of their rules, and so on, that are not in `Network`.
    """

    groups: tuple[SecurityGroup, ...]
    prefix_lists: PrefixLists
    sources: tuple[SecurityGroup, ...] = ()


@fact(actions=HOST_GROUPS)
def task_groups(ecs_service: Service | None, network: Network, settings: Settings) -> HostGroups:
    """The security groups of the ECS tasks; none: not set."""
    return host_groups((ecs_service and ecs_service.security_groups) or (), network, settings.region)


def host_groups(ids: Iterable[str], network: Network, region: str) -> HostGroups:
    """Return the security groups of a host, with the prefix lists and the sources of those not in `network`."""
    wanted = tuple(ids)
    read = _read_with_sources(aws.client("ec2", region), set(wanted), "", network.groups)
    known = {**network.groups, **read}
    return HostGroups(
        tuple(known[name] for name in wanted if name in known),
        read_prefix_lists(read.values(), region),
        tuple(group for name, group in read.items() if name not in wanted),
    )


def all_groups(network: Network, task_groups: HostGroups) -> tuple[SecurityGroup, ...]:
    """Return the groups of `network`, and the further groups of the ECS tasks with their sources."""
    further = (*task_groups.groups, *task_groups.sources)
    return (*network.groups.values(), *(group for group in further if group.identifier not in network.groups))


@dataclass(frozen=True)
class RuleCreation:
    """When a rule was created, and by which identity: ``user/alice``, ``assumed-role/Admin/alice``.

    Attributes:
        by_hand: whether a person created it: as an IAM user, with IAM Identity Center or in the console.
    """

    at: datetime
    by: str
    by_hand: bool = False


@dataclass(frozen=True)
class RuleHistory:
    """The creation of rules that can be temporary, by the id of the rule.

    Attributes:
        gap: why the creation of other rules is unknown.
        denied: the action that AWS denied; empty: none.
    """

    created: dict[str, RuleCreation] = field(default_factory=dict)
    gap: str = NINETY_DAYS
    denied: str = ""


def range_rules(groups: Iterable[SecurityGroup], settings: Settings) -> list[tuple[SecurityGroup, Rule]]:
    """Return the rules for address ranges, except on the bastion host and for the web."""
    return [
        (group, rule)
        for group in groups
        for rule in group.rules
        if rule.cidr and not group.is_one_of(settings.bastion_security_groups) and not rule.is_web
    ]


def temporary_rules(
    groups: Iterable[SecurityGroup], settings: Settings, known: Container[str] = ()
) -> list[tuple[SecurityGroup, Rule]]:
    """Return the rules that are described as temporary, and those for one address.

    Not for one address on the bastion host or on the ports of a website: an internal site has one office's address.

    Args:
        known: addresses that are not temporary.
    """
    bastions = settings.bastion_security_groups
    return [
        (group, rule)
        for group in groups
        for rule in group.rules
        if TEMPORARY.search(rule.description)
        or (
            is_single(rule)
            and not rule.is_web
            and not group.is_one_of(bastions)
            and rule.cidr.partition("/")[0] not in known
        )
    ]


def is_single(rule: Rule) -> bool:
    """Return whether the source of a rule is one address."""
    return bool(rule.cidr) and ip_network(rule.cidr, strict=False).num_addresses == 1


@fact(actions=("cloudtrail:LookupEvents",), deadline=45)
def rule_history(network: Network, task_groups: HostGroups, settings: Settings) -> RuleHistory:
    """The creation of rules that can be temporary, if there are any. A denied action is not an error."""
    groups = all_groups(network, task_groups)
    rules = [*temporary_rules(groups, settings), *range_rules(groups, settings)]
    wanted = {rule.identifier for _, rule in rules}
    created: dict[str, RuleCreation] = {}
    denied = ""
    try:
        gap = _read_history(wanted, created, settings.region) if wanted else NINETY_DAYS
    except AccessDenied as error:
        gap, denied = f"AWS denied {error.action}", error.action
    except AwsError as error:
        gap = str(error).rstrip(".")
    return RuleHistory(created, gap, denied)


def _read_history(wanted: set[str], created: dict[str, RuleCreation], region: str) -> str:
    """Fill `created`, the newest events first, and return why the creation of other rules is unknown."""
    attributes = [{"AttributeKey": "EventName", "AttributeValue": "AuthorizeSecurityGroupIngress"}]
    deadline = time.monotonic() + MAX_HISTORY_SECONDS
    with aws.translate_aws_errors("cloudtrail:LookupEvents", f"the Region {region}"):
        pages = aws.client("cloudtrail", region).get_paginator("lookup_events")
        for page in pages.paginate(LookupAttributes=attributes):
            found = (item for event in page["Events"] for item in _created_by(event))
            created |= {rule: creation for rule, creation in found if rule in wanted}
            if wanted <= set(created):
                break
            if time.monotonic() > deadline:
                return f"CloudTrail has more events than were read in {MAX_HISTORY_SECONDS} s"
    return NINETY_DAYS


def _created_by(event: Any) -> Iterator[tuple[str, RuleCreation]]:
    """Yield the rules that were created in one event; none if the request was denied."""
    try:
        detail = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:  # One unreadable event must not hide the others.
        return
    arn = (detail.get("userIdentity") or {}).get("arn") or ""
    by = arn.split(":", 5)[-1] or event.get("Username") or "unknown identity"
    creation = RuleCreation(event["EventTime"], by, _is_by_hand(detail))
    rules = ((detail.get("responseElements") or {}).get("securityGroupRuleSet") or {}).get("items") or ()
    for rule in rules:
        yield rule.get("securityGroupRuleId", ""), creation


def _is_by_hand(detail: Mapping[str, Any]) -> bool:
    """Return whether a person made a request, not a deployment tool."""
    identity = detail.get("userIdentity") or {}
    if TOOLS.search(f"{detail.get('userAgent', '')} {identity.get('invokedBy', '')}"):
        return False
    is_person = identity.get("type") in {"IAMUser", "Root"} or "/AWSReservedSSO_" in str(identity.get("arn", ""))
    return is_person or detail.get("sessionCredentialFromConsole") == "true"
