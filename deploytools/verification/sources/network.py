"""Facts of the network: security groups rule by rule, prefix lists, routes, the bastion host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.rds import RdsInstance

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client


@dataclass(frozen=True)
class Rule:
    """One ingress rule: one source and the ports that it reaches.

    Attributes:
        protocol: ``tcp``, ``udp``, …; ``-1``: all.
        first, last: ports; -1: all.
        cidr: source as an address range, IPv4 or IPv6.
        prefix_list: source as the id of a list of ranges.
        group: source as the id of a security group.
        account: the account of `group`, where it is another one.
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
        """Whether it lets TCP connections to `port` in."""
        if self.protocol not in {"tcp", "6", "-1"}:
            return False
        return self.protocol == "-1" or self.first == -1 or self.first <= port <= self.last

    @property
    def label(self) -> str:
        """Its id with what it lets in: changed in place it keeps its id, and is another rule all the same."""
        last = "" if self.last in {self.first, -1} else f"-{self.last}"
        ports = "" if self.protocol == "-1" or self.first == -1 else f"/{self.first}{last}"
        group = f"{self.account}/{self.group}" if self.account else self.group
        protocol = "all" if self.protocol == "-1" else self.protocol
        return f"{self.identifier} {protocol}{ports} {self.cidr or self.prefix_list or group}"


@dataclass(frozen=True)
class SecurityGroup:
    """One security group with its ingress rules."""

    identifier: str
    name: str
    rules: tuple[Rule, ...] = ()

    def is_one_of(self, named: Iterable[str]) -> bool:
        """Whether `named` has its id or its name."""
        return bool({self.identifier, self.name} & set(named))


@dataclass(frozen=True)
class Network:
    """The security groups that matter.

    Attributes:
        groups: by id: the instance's, those that it lets in, those that these let in, and so on.
        of_database: ids of the instance's own.
    """

    groups: dict[str, SecurityGroup]
    of_database: tuple[str, ...]


@fact(actions=("ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"), deadline=30)
def network(rds_instance: RdsInstance, expectation: Expectation) -> Network:
    """The instance's security groups, the declared ones, every group that these let in, and so on to the end."""
    client = aws.client("ec2", configuration.region)
    own = tuple(identifier for identifier, _ in rds_instance.security_groups)
    found: dict[str, SecurityGroup] = {}
    wanted = {*own, *_declared(client, expectation, rds_instance.vpc)}
    asked: set[str] = set()
    while wanted:
        asked |= wanted
        found |= _read_groups(client, sorted(wanted))
        wanted = {
            rule.group for group in found.values() for rule in group.rules if rule.group and not rule.account
        } - asked
    return Network(found, own)


def _declared(client: EC2Client, expectation: Expectation, vpc: str | None) -> set[str]:
    """The ids of the application's and the bastion host's groups, which the settings may name by name."""
    named = {*expectation.app_groups, *expectation.bastion_groups}
    names = sorted(name for name in named if not name.startswith("sg-"))
    ids = named - set(names)
    if names:
        filters: Any = [{"Name": "group-name", "Values": names}]
        filters += [{"Name": "vpc-id", "Values": [vpc]}] if vpc else []
        with aws.calling("ec2:DescribeSecurityGroups", f"the security groups {', '.join(names)}"):
            answer = client.get_paginator("describe_security_groups").paginate(Filters=filters).build_full_result()
        ids |= {group["GroupId"] for group in answer["SecurityGroups"]}
    return ids


def _read_groups(client: EC2Client, ids: list[str]) -> dict[str, SecurityGroup]:
    """Those that exist: a rule may name one that is gone."""
    where = f"the security groups {', '.join(ids)}"
    filters: Any = [{"Name": "group-id", "Values": ids}]
    with aws.calling("ec2:DescribeSecurityGroups", where):
        groups = client.get_paginator("describe_security_groups").paginate(Filters=filters).build_full_result()
    with aws.calling("ec2:DescribeSecurityGroupRules", where):
        rules = client.get_paginator("describe_security_group_rules").paginate(Filters=filters).build_full_result()
    ingress = [rule for rule in rules["SecurityGroupRules"] if not rule["IsEgress"]]
    ingress.sort(key=lambda rule: rule["SecurityGroupRuleId"])
    return {
        group["GroupId"]: SecurityGroup(
            group["GroupId"],
            group.get("GroupName", ""),
            tuple(_rule(r) for r in ingress if r["GroupId"] == group["GroupId"]),
        )
        for group in sorted(groups["SecurityGroups"], key=lambda said: said["GroupId"])
    }


def _rule(said: Any) -> Rule:
    """One rule; AWS leaves the ports out where it means all."""
    source = said.get("ReferencedGroupInfo") or {}
    owner, referenced = said.get("GroupOwnerId", ""), source.get("UserId", "")
    return Rule(
        identifier=said["SecurityGroupRuleId"],
        protocol=str(said.get("IpProtocol", "-1")),
        first=said.get("FromPort", -1),
        last=said.get("ToPort", -1),
        cidr=said.get("CidrIpv4") or said.get("CidrIpv6") or "",
        prefix_list=said.get("PrefixListId", ""),
        group=source.get("GroupId", ""),
        account=referenced if referenced and owner and referenced != owner else "",
        description=said.get("Description", ""),
    )


@dataclass(frozen=True)
class PrefixLists:
    """The address ranges of each prefix list that a rule names, by its id."""

    ranges: dict[str, tuple[str, ...]]


@fact(actions=("ec2:GetManagedPrefixListEntries",))
def prefix_lists(network: Network) -> PrefixLists:
    """What the rules' prefix lists stand for."""
    return _read_ranges(network.groups.values())


def _read_ranges(groups: Iterable[SecurityGroup]) -> PrefixLists:
    pages = aws.client("ec2", configuration.region).get_paginator("get_managed_prefix_list_entries")
    ids = {rule.prefix_list for group in groups for rule in group.rules if rule.prefix_list}
    ranges = {}
    for identifier in sorted(ids):
        with aws.calling("ec2:GetManagedPrefixListEntries", f"the prefix list {identifier}"):
            answer = pages.paginate(PrefixListId=identifier).build_full_result()
        ranges[identifier] = tuple(sorted(entry["Cidr"] for entry in answer["Entries"]))
    return PrefixLists(ranges)


@dataclass(frozen=True)
class Routes:
    """For each of the instance's subnets the internet gateway that its route table leads to; empty: none."""

    gateways: dict[str, str]


@fact(actions=("ec2:DescribeRouteTables",))
def routes(rds_instance: RdsInstance) -> Routes:
    """Where the instance's subnets lead. A subnet without a table of its own uses the VPC's main one."""
    pages = aws.client("ec2", configuration.region).get_paginator("describe_route_tables")
    filters: Any = [{"Name": "vpc-id", "Values": [rds_instance.vpc or ""]}]
    with aws.calling("ec2:DescribeRouteTables", f"the VPC {rds_instance.vpc}"):
        tables: Any = pages.paginate(Filters=filters).build_full_result()["RouteTables"]
    by_subnet = {a["SubnetId"]: table for table in tables for a in table["Associations"] if a.get("SubnetId")}
    main = next((table for table in tables if any(a.get("Main") for a in table["Associations"])), None)
    gateways = {}
    for subnet in rds_instance.subnets:
        table = by_subnet.get(subnet, main)
        if table is not None:
            gateways[subnet] = next((g for g in map(_gateway, table["Routes"]) if g.startswith("igw-")), "")
    return Routes(gateways)


def _gateway(route: Any) -> str:
    return str(route.get("GatewayId") or "")


@dataclass(frozen=True)
class Bastion:
    """The bastion host's instance; None where AWS says nothing.

    Attributes:
        groups: ids of its security groups, whatever the settings name.
    """

    identifier: str
    state: str | None
    address: str | None
    demands_tokens: bool | None
    groups: tuple[str, ...] = ()


@fact(actions=("ec2:DescribeInstances",))
def bastion(expectation: Expectation) -> Bastion | None:
    """The bastion host; None where the settings name none."""
    identifier = expectation.bastion_instance
    if not identifier:
        return None
    with aws.calling("ec2:DescribeInstances", f"the bastion host {identifier}"):
        answer: Any = aws.client("ec2", configuration.region).describe_instances(InstanceIds=[identifier])
    found = answer["Reservations"][0]["Instances"][0]
    tokens = (found.get("MetadataOptions") or {}).get("HttpTokens")
    return Bastion(
        identifier,
        (found.get("State") or {}).get("Name"),
        found.get("PublicIpAddress"),
        None if tokens is None else tokens == "required",
        tuple(sorted(group["GroupId"] for group in found.get("SecurityGroups") or ())),
    )


@dataclass(frozen=True)
class BastionGroups:
    """The bastion host's own security groups, with the prefix lists of their rules."""

    groups: tuple[SecurityGroup, ...]
    prefix_lists: PrefixLists


@fact(actions=("ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules", "ec2:GetManagedPrefixListEntries"))
def bastion_groups(bastion: Bastion | None) -> BastionGroups:
    """What lets people in to the bastion host; nothing where there is none."""
    ids = list(bastion.groups) if bastion else []
    groups = _read_groups(aws.client("ec2", configuration.region), ids) if ids else {}
    return BastionGroups(tuple(groups.values()), _read_ranges(groups.values()))


@fact(actions=("ssm:DescribeInstanceInformation",))
def bastion_agent(expectation: Expectation) -> bool | None:
    """Whether Systems Manager reaches the bastion host, so that it needs no open port; None where there is none."""
    identifier = expectation.bastion_instance
    if not identifier:
        return None
    filters: Any = [{"Key": "InstanceIds", "Values": [identifier]}]
    with aws.calling("ssm:DescribeInstanceInformation", f"the bastion host {identifier}"):
        answer = aws.client("ssm", configuration.region).describe_instance_information(Filters=filters)
    return any(item.get("PingStatus") == "Online" for item in answer["InstanceInformationList"])
