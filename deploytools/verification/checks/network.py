"""Checks of who reaches the database over the network, rule by rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.network import Network, PrefixLists, Routes, Rule, SecurityGroup
from deploytools.verification.sources.rds import RdsInstance

#: What people write beside a rule that they mean to take away.
TEMPORARY = re.compile(r"\b(te?mp(orary)?|my ip|remove|delete me|debug|just for now|until)\b", re.IGNORECASE)

#: A range with fewer addresses than this is an office or a person; with more it is the world, more or less.
WIDE = 65_536


def revoke(group: SecurityGroup, rule: Rule) -> str:
    """The command that takes a rule away."""
    return (
        f"Run: aws ec2 revoke-security-group-ingress --group-id {group.identifier} "
        f"--security-group-rule-ids {rule.identifier}"
    )


def _ports(rule: Rule) -> str:
    if rule.protocol == "-1" or rule.first == -1:
        return "all ports"
    return f"port {rule.first}" if rule.first == rule.last else f"ports {rule.first}-{rule.last}"


def _range(cidr: str) -> str:
    known = ip_network(cidr, strict=False)
    if known.prefixlen == 0:
        return f"{cidr} (the whole internet)"
    return f"{cidr} ({'private' if known.is_private else 'public'}, {known.num_addresses:,} addresses)"


def _source(rule: Rule, network: Network, lists: PrefixLists) -> str:
    if rule.cidr:
        return _range(rule.cidr)
    if rule.prefix_list:
        ranges = lists.ranges.get(rule.prefix_list, ())
        return f"the prefix list {rule.prefix_list} ({', '.join(ranges) or 'empty'})"
    known = network.groups.get(rule.group)
    name = f"{rule.group} ({known.name})" if known else rule.group
    return f"the group {name}" + (f" of the account {rule.account}" if rule.account else "")


def _database_rules(network: Network, port: int) -> Iterator[tuple[SecurityGroup, Rule]]:
    for identifier in network.of_database:
        if identifier in network.groups:
            for rule in network.groups[identifier].rules:
                if rule.covers(port):
                    yield network.groups[identifier], rule


@check(
    "network.ingress-only-from-app",
    title="Only the application and the bastion host reach the database",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Take the rule away, and let in the application's security group",
    peers=(
        "FSBP EC2.18",
        "Prowler ec2_securitygroup_allow_ingress_from_internet_to_tcp_port_postgres_5432",
        "Prowler ec2_securitygroup_allow_ingress_from_internet_to_any_port",
        "Trusted Advisor nNauJisYIT",
    ),
)
def ingress_only_from_app(
    rds_instance: RdsInstance, network: Network, prefix_lists: PrefixLists, expectation: Expectation
) -> Iterable[Verdict]:
    """An address range lets in whoever sits there; a security group lets in what it was given to, and nothing else."""
    if rds_instance.port is None:
        return [unknown("AWS's answer does not say (Endpoint.Port)", rds_instance.identifier)]
    if not network.of_database:
        return [failed("it has no security group", rds_instance.identifier)]
    allowed = (*expectation.app_groups, *expectation.bastion_groups)
    rules = list(_database_rules(network, rds_instance.port))
    if not rules:
        return [failed("nothing may reach it, the application neither", rds_instance.identifier)]
    return [_judge(group, rule, network, prefix_lists, allowed) for group, rule in rules]


def _judge(group: SecurityGroup, rule: Rule, network: Network, lists: PrefixLists, allowed: tuple[str, ...]) -> Verdict:
    seen = f"{rule.identifier}: {_ports(rule)} from {_source(rule, network, lists)}"
    if not rule.group or rule.account:
        return failed(seen, group.identifier, revoke(group, rule))
    if not allowed:
        hint = "Say which groups are the application's: APP_SECURITY_GROUPS=sg-…, and BASTION_SECURITY_GROUPS"
        return warned(f"{seen}; nobody says whether that is the application", group.identifier, hint)
    source = network.groups.get(rule.group) or SecurityGroup(rule.group, "")
    if not source.is_one_of(allowed):
        return failed(
            f"{seen}, which is neither the application's nor the bastion's", group.identifier, revoke(group, rule)
        )
    return passed(seen, group.identifier)


@check(
    "network.app-not-open",
    title="The groups that the database lets in are not open to the world themselves",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Let the load balancer's security group in, and nothing else",
    peers=("FSBP EC2.19", "Prowler ec2_securitygroup_allow_ingress_from_internet_to_all_ports"),
)
def app_not_open(
    rds_instance: RdsInstance, network: Network, prefix_lists: PrefixLists, expectation: Expectation
) -> Iterable[Verdict]:
    """A group is as tight as the groups that it lets in: what is open to the world there is one step from the data."""
    if rds_instance.port is None:
        return [unknown("AWS's answer does not say (Endpoint.Port)", rds_instance.identifier)]
    chain = _let_in(network, rds_instance.port)
    groups = [group for group in chain if not group.is_one_of(expectation.bastion_groups)]
    if not groups:
        return [not_applicable("the database lets in no group but the bastion's", rds_instance.identifier)]
    return [_judge_open(group, prefix_lists) for group in groups]


def _let_in(network: Network, port: int) -> list[SecurityGroup]:
    """The groups that the database's rules name."""
    names = dict.fromkeys(rule.group for _, rule in _database_rules(network, port) if rule.group and not rule.account)
    return [network.groups[name] for name in names if name in network.groups]


def _judge_open(group: SecurityGroup, lists: PrefixLists) -> Verdict:
    for rule in group.rules:
        if is_wide(rule, lists):
            seen = f"{group.name}: {rule.identifier} opens {_ports(rule)} to {rule.cidr or rule.prefix_list}"
            return failed(seen, group.identifier, revoke(group, rule))
    return passed(f"{group.name}: no rule is open to the world", group.identifier)


def is_wide(rule: Rule, lists: PrefixLists) -> bool:
    """Whether it lets in more of the internet than one office."""
    ranges = (rule.cidr,) if rule.cidr else lists.ranges.get(rule.prefix_list, ())
    return any(_is_wide_range(cidr) for cidr in ranges)


def _is_wide_range(cidr: str) -> bool:
    known = ip_network(cidr, strict=False)
    return known.prefixlen == 0 or (not known.is_private and known.version == 4 and known.num_addresses > WIDE)


@check(
    "network.no-temporary-rules",
    title="No temporary rule is left in a security group",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: No temporary security group rules left open",
    hint="Take it away: aws ec2 revoke-security-group-ingress",
    peers=("Prowler ec2_securitygroup_allow_ingress_from_internet_to_any_port_from_ip",),
)
def no_temporary_rules(network: Network, expectation: Expectation) -> Iterable[Verdict]:
    """Step 5, option C, opens the database to one address "for now"; by next year it is somebody else's."""
    found = [
        (group, rule)
        for group in network.groups.values()
        for rule in group.rules
        if TEMPORARY.search(rule.description) or (_is_single(rule) and not group.is_one_of(expectation.bastion_groups))
    ]
    if not found:
        return [passed(f"{len(network.groups)} security groups, every rule looks meant")]
    return [
        failed(
            f"{rule.identifier} from {rule.cidr or rule.group or rule.prefix_list}, "
            + (f'described "{rule.description}"' if rule.description else "without a description"),
            group.identifier,
            revoke(group, rule),
        )
        for group, rule in found
    ]


def _is_single(rule: Rule) -> bool:
    return bool(rule.cidr) and ip_network(rule.cidr, strict=False).num_addresses == 1


@check(
    "network.private-subnets",
    title="The database's subnets have no route to the internet",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Troubleshooting: RDS is in private subnet",
    hint="Move the instance to a subnet group without an internet gateway",
    peers=("FSBP RDS.46",),
)
def private_subnets(rds_instance: RdsInstance, routes: Routes) -> Iterable[Verdict]:
    """In a private subnet a mistake in a security group is not yet a way in."""
    if not rds_instance.subnets:
        yield unknown("AWS's answer does not say (DBSubnetGroup.Subnets)", rds_instance.identifier)
    for subnet in rds_instance.subnets:
        if subnet not in routes.gateways:
            yield unknown("no route table was found for it", subnet)
        elif gateway := routes.gateways[subnet]:
            hint = f"Run: aws ec2 describe-route-tables --filters Name=association.subnet-id,Values={subnet}"
            yield failed(
                f"its route table leads to {gateway}", subnet, f"{hint}, and give it a table without {gateway}"
            )
        else:
            yield passed("its route table leads to no internet gateway", subnet)
