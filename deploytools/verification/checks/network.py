"""Checks of who reaches the database over the network, rule by rule."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from ipaddress import ip_network

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.network import Network, PrefixLists, Routes, Rule, SecurityGroup
from deploytools.verification.sources.rds import RdsInstance
from deploytools.verification.sources.rule_history import RuleHistory, temporary_rules

#: By version: a longer prefix is a person, an office or a company; a shorter one is the world, more or less.
WIDE = {4: 16, 6: 32}

#: What no route of the internet leads to.
PRIVATE = tuple(
    ip_network(cidr)
    for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
)

#: Ports that a load balancer is open to the world on, and protocols that carry no connection.
WEB, PINGS = {80, 443}, {"icmp", "1", "icmpv6", "58"}


def revoke(group: SecurityGroup, rule: Rule) -> str:
    """The command that takes a rule away."""
    return (
        f"Run: aws ec2 revoke-security-group-ingress --group-id {group.identifier} "
        f"--security-group-rule-ids {rule.identifier}"
    )


def about(group: SecurityGroup, rule: Rule) -> str:
    """The resource of a finding about one rule: whoever accepts that one accepts no other."""
    return f"{group.identifier} {rule.label}"


def authorize(network: Network, port: int, source: str) -> str:
    """The command that lets a security group in to the database."""
    return (
        f"Run: aws ec2 authorize-security-group-ingress --group-id {network.of_database[0]} --protocol tcp "
        f"--port {port} --source-group {source}"
    )


def _ports(rule: Rule) -> str:
    if rule.protocol == "-1" or rule.first == -1:
        return "all ports"
    return f"port {rule.first}" if rule.first == rule.last else f"ports {rule.first}-{rule.last}"


def _range(cidr: str) -> str:
    known = ip_network(cidr, strict=False)
    if known.prefixlen == 0:
        return f"{cidr} (the whole internet)"
    return f"{cidr} ({'private' if _is_private(cidr) else 'public'}, {known.num_addresses:,} addresses)"


def _source(rule: Rule, network: Network, lists: PrefixLists) -> str:
    if rule.cidr:
        return _range(rule.cidr)
    if rule.prefix_list:
        ranges = lists.ranges.get(rule.prefix_list, ())
        return f"the prefix list {rule.prefix_list} ({', '.join(ranges) or 'empty'})"
    known = network.groups.get(rule.group)
    name = f"{rule.group} ({known.name})" if known else rule.group
    return f"the group {name}" + (f" of the account {rule.account}" if rule.account else "")


def database_rules(network: Network, port: int) -> Iterator[tuple[SecurityGroup, Rule]]:
    """The rules of the instance's groups that let somebody in to `port`."""
    for identifier in network.of_database:
        if identifier in network.groups:
            for rule in network.groups[identifier].rules:
                if rule.covers(port):
                    yield network.groups[identifier], rule


def unanswered(wanted: Iterable[str], found: Container[str]) -> list[Verdict]:
    """Of each wanted group that AWS's answer lacks nobody knows what it lets in."""
    return [
        unknown(
            "AWS's answer does not have it: what it lets in is not known",
            identifier,
            f"Run: aws ec2 describe-security-groups --group-ids {identifier}",
        )
        for identifier in wanted
        if identifier not in found
    ]


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
    rules, missing = list(database_rules(network, rds_instance.port)), unanswered(network.of_database, network.groups)
    if not rules and not missing:
        app = [name for name, group in network.groups.items() if group.is_one_of(expectation.app_groups)]
        hint = authorize(network, rds_instance.port, app[0]) if app else ""
        return [failed("nothing may reach it, the application neither", rds_instance.identifier, hint)]
    return missing + [_judge(group, rule, network, prefix_lists, allowed) for group, rule in rules]


def _judge(group: SecurityGroup, rule: Rule, network: Network, lists: PrefixLists, allowed: tuple[str, ...]) -> Verdict:
    seen, resource = f"{_ports(rule)} from {_source(rule, network, lists)}", about(group, rule)
    if not rule.group or rule.account:
        return failed(seen, resource, revoke(group, rule))
    if not allowed:
        hint = "Say which groups are the application's: APP_SECURITY_GROUPS=sg-…, and BASTION_SECURITY_GROUPS"
        return warned(f"{seen}; nobody says whether that is the application", resource, hint)
    source = network.groups.get(rule.group) or SecurityGroup(rule.group, "")
    if not source.is_one_of(allowed):
        return failed(f"{seen}, which is neither the application's nor the bastion's", resource, revoke(group, rule))
    return passed(seen, resource)


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
    """A group is as tight as those that it lets in: only a load balancer is for the world, and only for the web."""
    if rds_instance.port is None:
        return [unknown("AWS's answer does not say (Endpoint.Port)", rds_instance.identifier)]
    first = _let_in(network, [rule for _, rule in database_rules(network, rds_instance.port)])
    further = [group for group in _chain(network, first) if group not in first]
    known = {*network.of_database, *expectation.bastion_groups}  # Judged by checks of their own.
    judged = unanswered(network.of_database, network.groups) + [
        verdict
        for group in (*first, *further)
        if not group.is_one_of(known)
        for verdict in _judge_open(group, prefix_lists, is_first=group in first)
    ]
    return judged or [not_applicable("the database lets in no group but the bastion's", rds_instance.identifier)]


def _let_in(network: Network, rules: Iterable[Rule]) -> list[SecurityGroup]:
    """The groups that rules name. One that is gone has nobody in it."""
    names = dict.fromkeys(rule.group for rule in rules if rule.group and not rule.account)
    return [network.groups[name] for name in names if name in network.groups]


def _chain(network: Network, first: list[SecurityGroup]) -> list[SecurityGroup]:
    """`first`, the groups that they let in, the groups that these let in, and so on, each once."""
    found: dict[str, SecurityGroup] = {}
    waiting = list(first)
    while waiting:
        group = waiting.pop(0)
        if group.identifier not in found:
            found[group.identifier] = group
            waiting += _let_in(network, group.rules)
    return list(found.values())


def _judge_open(group: SecurityGroup, lists: PrefixLists, *, is_first: bool) -> list[Verdict]:
    """By whether the database lets the group in itself: the web may not come that far."""
    but = "" if is_first else ", but for the web at most"
    return opened(group, lists, () if is_first else WEB) or [
        passed(f"{group.name}: no rule is open to the world{but}", group.identifier)
    ]


def opened(group: SecurityGroup, lists: PrefixLists, allowed: Container[int] = ()) -> list[Verdict]:
    """A failure for each rule that opens something to the world; single ports may be `allowed`, and pings are."""
    return [
        failed(
            f"{group.name} opens {_ports(rule)} to {rule.cidr or rule.prefix_list}",
            about(group, rule),
            revoke(group, rule),
        )
        for rule in group.rules
        if _is_wide(rule, lists)
        and rule.protocol not in PINGS
        and not (rule.first == rule.last and rule.first in allowed)
    ]


def _is_wide(rule: Rule, lists: PrefixLists) -> bool:
    """Whether it lets in more of the internet than one office."""
    ranges = (rule.cidr,) if rule.cidr else lists.ranges.get(rule.prefix_list, ())
    return any(_is_wide_range(cidr) for cidr in ranges)


def _is_wide_range(cidr: str) -> bool:
    known = ip_network(cidr, strict=False)
    return known.prefixlen < WIDE[known.version] and not _is_private(cidr)


def _is_private(cidr: str) -> bool:
    """Whether all of it is; half the internet begins at one address of nobody's and ends at another."""
    known = ip_network(cidr, strict=False)
    return any(known.version == private.version and known.subnet_of(private) for private in PRIVATE)  # type: ignore[arg-type]


@check(
    "network.no-temporary-rules",
    title="No temporary rule is left in a security group",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: No temporary security group rules left open",
    hint="Take it away: aws ec2 revoke-security-group-ingress",
    peers=("Prowler ec2_securitygroup_allow_ingress_from_internet_to_any_port_from_ip",),
)
def no_temporary_rules(network: Network, expectation: Expectation, rule_history: RuleHistory) -> Iterable[Verdict]:
    """Step 5, option C, opens the database to one address "for now"; by next year it is somebody else's."""
    if not network.groups:
        return [unknown("AWS's answer has none of the security groups")]
    found = unanswered(network.of_database, network.groups) + [
        failed(
            f"from {rule.cidr or rule.group or rule.prefix_list}, "
            + (f'described "{rule.description}"' if rule.description else "without a description"),
            about(group, rule),
            revoke(group, rule),
            measured=_making(rule, rule_history),
        )
        for group, rule in temporary_rules(network, expectation)
    ]
    return found or [passed(f"{len(network.groups)} security groups, every rule looks meant")]


def _making(rule: Rule, history: RuleHistory) -> str:
    """Who made it; told as measured, for whether CloudTrail answers differs from run to run."""
    made = history.made.get(rule.identifier)
    if made is None:
        return f"made by whom and when is not known ({history.gap})"
    return f"made on {made.at:%Y-%m-%d} by {made.by}"


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
