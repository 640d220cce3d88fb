"""Checks of the network access to the database, rule by rule."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from deploytools.conf import Settings
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.network.facts import (
    NINETY_DAYS,
    WEB,
    HostGroups,
    Network,
    PrefixLists,
    Rule,
    RuleHistory,
    SecurityGroup,
    all_groups,
    range_rules,
    temporary_rules,
)
from deploytools.verification.rds.facts import RdsInstance
from deploytools.verification.registry import check

#: The shortest prefix, by IP version, of the network of one site. Wider public ranges count as the internet.
WIDE = {4: 24, 6: 48}

#: Public IPv4 addresses that the rules of a group can allow together.
MAX_ADDRESSES = 2_048

#: The ranges from which Cloudflare connects to an origin (cloudflare.com/ips).
CLOUDFLARE = tuple(
    ip_network(cidr)
    for cidr in (
        *("173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "141.101.64.0/18"),
        *("108.162.192.0/18", "190.93.240.0/20", "188.114.96.0/20", "197.234.240.0/22", "198.41.128.0/17"),
        *("162.158.0.0/15", "104.16.0.0/13", "104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22"),
        *("2400:cb00::/32", "2606:4700::/32", "2803:f800::/32", "2405:b500::/32", "2405:8100::/32"),
        *("2a06:98c0::/29", "2c0f:f248::/32"),
    )
)

APP_GROUPS = 'DEPLOYTOOLS["APP_SECURITY_GROUPS"]'

#: Ranges that are not routed on the internet.
PRIVATE = tuple(
    ip_network(cidr)
    for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
)

#: Protocols without connections.
ICMP = {"icmp", "1", "icmpv6", "58"}


def revoke_hint(group: SecurityGroup, rule: Rule) -> str:
    return (
        f"Run: aws ec2 revoke-security-group-ingress --group-id {group.identifier} "
        f"--security-group-rule-ids {rule.identifier}"
    )


def rule_resource(group: SecurityGroup, rule: Rule) -> str:
    """Return the resource of a finding about one rule, so that a waiver accepts only this rule."""
    return f"{group.identifier} {rule.label}"


def allow_hint(network: Network, port: int, source: str) -> str:
    """Return the command that allows a security group to access the database."""
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
        return f"{cidr} (the internet)"
    addresses = "1 address" if known.num_addresses == 1 else f"{known.num_addresses:,} addresses"
    return f"{cidr} ({'private' if _is_private(cidr) else 'public'}, {addresses})"


def _source(rule: Rule, network: Network, lists: PrefixLists) -> str:
    if rule.cidr:
        return _range(rule.cidr)
    if rule.prefix_list:
        ranges = lists.get(rule.prefix_list, ())
        return f"the prefix list {rule.prefix_list} ({', '.join(ranges) or 'empty'})"
    known = network.groups.get(rule.group)
    name = f"{rule.group} ({known.name})" if known else rule.group
    return f"the group {name}" + (f" of the account {rule.account}" if rule.account else "")


def database_rules(network: Network, port: int) -> Iterator[tuple[SecurityGroup, Rule]]:
    """Yield the rules of the RDS instance's security groups that allow connections to `port`."""
    for identifier in network.of_database:
        if identifier in network.groups:
            for rule in network.groups[identifier].rules:
                if rule.covers(port):
                    yield network.groups[identifier], rule


def missing_groups(wanted: Iterable[str], found: Container[str]) -> list[Verdict]:
    """Return a verdict for each group that is not in the AWS response: its rules are unknown."""
    return [
        unknown(
            "the AWS response has no such security group, so its rules are unknown",
            identifier,
            f"Run: aws ec2 describe-security-groups --group-ids {identifier}",
        )
        for identifier in wanted
        if identifier not in found
    ]


@check(
    "network.database-ingress",
    title="The application can connect to the database, and nothing else but the bastion host",
    severity=Severity.CRITICAL,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Remove the rule and allow the application's security group",
    references=(
        "FSBP EC2.18",
        "Prowler ec2_securitygroup_allow_ingress_from_internet_to_tcp_port_postgres_5432",
        "Prowler ec2_securitygroup_allow_ingress_from_internet_to_any_port",
        "Trusted Advisor nNauJisYIT",
    ),
)
def database_ingress(
    rds_instance: RdsInstance, network: Network, prefix_lists: PrefixLists, settings: Settings
) -> Iterable[Verdict]:
    """A rule for an address range allows every host in it; a rule for a security group allows only its members."""
    if rds_instance.port is None:
        return [unknown("the AWS response has no Endpoint.Port", rds_instance.identifier)]
    if not network.of_database:
        return [failed("the RDS instance has no security group", rds_instance.identifier)]
    allowed = (*settings.app_security_groups, *settings.bastion_security_groups)
    rules, missing = (
        list(database_rules(network, rds_instance.port)),
        missing_groups(network.of_database, network.groups),
    )
    app = network.named(settings.app_security_groups)
    if not rules and not missing:
        hint = allow_hint(network, rds_instance.port, app[0]) if app else ""
        return [failed("no rule allows connections, not even from the application", rds_instance.identifier, hint)]
    found = missing + [_rule_verdict(group, rule, network, prefix_lists, allowed) for group, rule in rules]
    sources = _source_groups(network, (rule for _, rule in rules))
    if (
        not missing
        and settings.app_security_groups
        and not any(s.is_one_of(settings.app_security_groups) for s in sources)
    ):
        hint = allow_hint(network, rds_instance.port, app[0]) if app else f"Check {APP_GROUPS}"
        found.append(failed("no rule allows the application's security group", rds_instance.identifier, hint))
    return found


def _rule_verdict(
    group: SecurityGroup, rule: Rule, network: Network, lists: PrefixLists, allowed: tuple[str, ...]
) -> Verdict:
    evidence, resource = f"{_ports(rule)} from {_source(rule, network, lists)}", rule_resource(group, rule)
    if not rule.group or rule.account:
        return failed(evidence, resource, revoke_hint(group, rule))
    if not allowed:
        hint = f'Set {APP_GROUPS} and, if there is a bastion host, DEPLOYTOOLS["BASTION_SECURITY_GROUPS"]'
        return warned(f"{evidence}; {APP_GROUPS} is not set, so the source cannot be identified", resource, hint)
    source = network.groups.get(rule.group) or SecurityGroup(rule.group, "")
    if not source.is_one_of(allowed):
        evidence += ", which is neither the application's nor the bastion host's"
        return failed(evidence, resource, revoke_hint(group, rule))
    return passed(evidence, resource)


@check(
    "network.no-public-ingress",
    title="Security groups with access to the database are not open to the internet",
    severity=Severity.HIGH,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Allow only the security group of the load balancer",
    references=("FSBP EC2.19", "Prowler ec2_securitygroup_allow_ingress_from_internet_to_all_ports"),
)
def no_public_ingress(
    rds_instance: RdsInstance,
    network: Network,
    prefix_lists: PrefixLists,
    task_groups: HostGroups,
    settings: Settings,
) -> Iterable[Verdict]:
    """A host that is open to the internet and can connect to the database exposes it to attackers."""
    if rds_instance.port is None:
        return [unknown("the AWS response has no Endpoint.Port", rds_instance.identifier)]
    first = _source_groups(network, [rule for _, rule in database_rules(network, rds_instance.port)])
    known = {group.identifier for group in first}
    if known & {group.identifier for group in task_groups.groups}:  # A task is reached through any of its groups.
        first += [group for group in task_groups.groups if group.identifier not in known]
        network = replace(network, groups={group.identifier: group for group in task_groups.sources} | network.groups)
    further = [group for group in _all_source_groups(network, first) if group not in first]
    lists = {**prefix_lists, **task_groups.prefix_lists}
    known = {*network.of_database, *settings.bastion_security_groups}  # Other checks evaluate these.
    found = missing_groups(network.of_database, network.groups) + [
        verdict
        for group in (*first, *further)
        if not group.is_one_of(known)
        for verdict in public_ingress(group, lists, is_first=group in first)
    ]
    return found or [
        not_applicable("only the bastion host's group has access to the database", rds_instance.identifier)
    ]


def _source_groups(network: Network, rules: Iterable[Rule]) -> list[SecurityGroup]:
    """Return the security groups that are sources of the rules. A deleted group has no members."""
    names = dict.fromkeys(rule.group for rule in rules if rule.group and not rule.account)
    return [network.groups[name] for name in names if name in network.groups]


def _all_source_groups(network: Network, first: list[SecurityGroup]) -> list[SecurityGroup]:
    """Return the groups, the source groups of their rules, and so on, each once."""
    found: dict[str, SecurityGroup] = {}
    waiting = list(first)
    while waiting:
        group = waiting.pop(0)
        if group.identifier not in found:
            found[group.identifier] = group
            waiting += _source_groups(network, group.rules)
    return list(found.values())


def public_ingress(group: SecurityGroup, lists: PrefixLists, *, is_first: bool = True) -> list[Verdict]:
    """Evaluate one group. Ports 80 and 443 can be public only if the group is the source of another one.

    Args:
        is_first: whether it is the group of a host with access to the database.
    """
    web = "" if is_first else ", except ports 80 and 443"
    return public_rules(group, lists, () if is_first else WEB) or [
        passed(f"{group.name}: no rule is open to the internet{web}", group.identifier)
    ]


def public_rules(group: SecurityGroup, lists: PrefixLists, allowed: Container[int] = ()) -> list[Verdict]:
    """Return a failure for each rule that is open to the internet, except for ICMP.

    Args:
        allowed: single ports that can be open.
    """
    found = [
        failed(
            f"{group.name} opens {_ports(rule)} to {rule.cidr or rule.prefix_list}",
            rule_resource(group, rule),
            revoke_hint(group, rule),
        )
        for rule in group.rules
        if _is_public(rule, lists)
        and rule.protocol not in ICMP
        and not (rule.is_web and rule.cidr and _is_part(rule.cidr, CLOUDFLARE))
        and not (rule.first == rule.last and rule.first in allowed)
    ]
    return found or _many_ranges(group)


def _many_ranges(group: SecurityGroup) -> list[Verdict]:
    """Return a failure if the rules of a group together allow more public addresses than those of some sites."""
    rules = [rule for rule in group.rules if rule.protocol not in ICMP and not rule.is_web]
    ranges = {rule.cidr for rule in rules if rule.cidr}
    known = [ip_network(cidr, strict=False) for cidr in ranges if not _is_part(cidr, (*PRIVATE, *CLOUDFLARE))]
    number = sum(network.num_addresses for network in known if network.version == 4 and network.prefixlen >= WIDE[4])
    if number <= MAX_ADDRESSES:
        return []
    return [failed(f"{group.name} is open to {number:,} public addresses in {len(known)} ranges", group.identifier)]


def _is_public(rule: Rule, lists: PrefixLists) -> bool:
    """Return whether the source is a larger part of the internet than the network of one site."""
    ranges = (rule.cidr,) if rule.cidr else lists.get(rule.prefix_list, ())
    return any(_is_public_range(cidr) for cidr in ranges)


def _is_public_range(cidr: str) -> bool:
    known = ip_network(cidr, strict=False)
    return known.prefixlen < WIDE[known.version] and not _is_private(cidr)


def _is_private(cidr: str) -> bool:
    """Return whether the whole range is private: a /1 network can start and end in private ranges."""
    return _is_part(cidr, PRIVATE)


def _is_part(cidr: str, ranges: Iterable[IPv4Network | IPv6Network]) -> bool:
    known = ip_network(cidr, strict=False)
    return any(known.version == known_range.version and known.subnet_of(known_range) for known_range in ranges)  # type: ignore[arg-type]


@check(
    "network.no-temporary-rules",
    title="No security group rule is described as temporary, allows a single address, or was added by hand",
    severity=Severity.HIGH,
    guide="Security Checklist: No temporary security group rules left open",
    hint="Remove it: aws ec2 revoke-security-group-ingress --group-id GROUP --security-group-rule-ids RULE",
    references=("Prowler ec2_securitygroup_allow_ingress_from_internet_to_any_port_from_ip",),
)
def no_temporary_rules(
    network: Network,
    task_groups: HostGroups,
    settings: Settings,
    rule_history: RuleHistory,
    balancer_nodes: frozenset[str],
) -> Iterable[Verdict]:
    """The address in a temporary rule can later be assigned to another host.

    A single address is not reported on the bastion host and on ports 80 and 443: an internal site can have one.
    """
    groups = all_groups(network, task_groups)
    if not network.groups:
        return [unknown("the AWS response has no security groups")]
    found = missing_groups(network.of_database, network.groups) + [
        failed(
            f"from {rule.cidr or rule.group or rule.prefix_list}, "
            + (f'described "{rule.description}"' if rule.description else "without a description"),
            rule_resource(group, rule),
            revoke_hint(group, rule),
            measured=_creation(rule, rule_history),
        )
        for group, rule in temporary_rules(groups, settings, balancer_nodes)
    ]
    reported = {verdict.resource for verdict in found}
    for group, rule in range_rules(groups, settings):
        if (resource := rule_resource(group, rule)) not in reported:
            found += _added_by_hand(rule, resource, rule_history, balancer_nodes)
    return found or [passed(f"security groups: {len(groups)}, no temporary rules")]


def _added_by_hand(rule: Rule, resource: str, history: RuleHistory, known: Container[str]) -> list[Verdict]:
    """Return a warning if a person created the rule in the last 90 days, none if it is older or a tool's."""
    creation = history.created.get(rule.identifier)
    if rule.cidr.partition("/")[0] in known or (creation is None and history.gap == NINETY_DAYS):
        return []
    if creation is None:
        denied = f"Allow {history.denied} for the identity that runs this command"
        hint = denied if history.denied else "Run the command again"
        return [unknown(f"from {rule.cidr}, by an unknown identity", resource, hint)]
    group, _, _ = resource.partition(" ")
    hint = f"Remove it, or define it in your deployment tool. {revoke_hint(SecurityGroup(group, ''), rule)}"
    measured = _creation(rule, history)
    return [warned(f"from {rule.cidr}, added by hand", resource, hint, measured=measured)] if creation.by_hand else []


def _creation(rule: Rule, history: RuleHistory) -> str:
    """It is reported as measured, because CloudTrail does not respond in time in every run."""
    creation = history.created.get(rule.identifier)
    if creation is None:
        return f"creator and date are unknown ({history.gap})"
    return f"created on {creation.at:%Y-%m-%d} by {creation.by}"


@check(
    "network.private-subnets",
    title="Database subnets have no route to an internet gateway",
    severity=Severity.HIGH,
    guide="Troubleshooting: RDS is in private subnet",
    hint="Move the RDS instance to a DB subnet group without a route to an internet gateway",
    references=("FSBP RDS.46",),
)
def private_subnets(rds_instance: RdsInstance, routes: dict[str, str]) -> Iterable[Verdict]:
    """In a private subnet, a mistake in a security group does not make the database public."""
    if not rds_instance.subnets:
        yield unknown("the AWS response has no DBSubnetGroup.Subnets", rds_instance.identifier)
    for subnet in rds_instance.subnets:
        if subnet not in routes:
            yield unknown("the route table was not found", subnet)
        elif gateway := routes[subnet]:
            command = f"aws ec2 describe-route-tables --filters Name=association.subnet-id,Values={subnet}"
            hint = f"Run: {command} (and associate a route table without {gateway})"
            yield failed(f"the route table has a route to {gateway}", subnet, hint)
        else:
            yield passed("the route table has no route to an internet gateway", subnet)
