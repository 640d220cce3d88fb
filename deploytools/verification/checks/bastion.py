"""Checks of the bastion host, where there is one."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.verification.checks.network import authorize, database_rules, opened, unanswered
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.network import Bastion, BastionGroups, Network, PrefixLists, SecurityGroup
from deploytools.verification.sources.rds import RdsInstance

CHECKLIST = "Security Checklist: Bastion host secured"
UNDECLARED = 'none is declared (DEPLOYTOOLS["BASTION_INSTANCE"])'


@check(
    "bastion.ssh-not-open",
    title="Neither SSH nor another port of the bastion host is open to the world",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Close the port, and come in by Systems Manager",
    peers=(
        "FSBP EC2.13",
        "Prowler ec2_instance_port_ssh_exposed_to_internet",
        "Prowler ec2_securitygroup_allow_ingress_from_internet_to_tcp_port_22",
    ),
)
def ssh_not_open(
    network: Network,
    expectation: Expectation,
    prefix_lists: PrefixLists,
    bastion: Bastion | None,
    bastion_groups: BastionGroups,
) -> Iterable[Verdict]:
    """The bastion host is let in by the database: whoever breaks into it is there."""
    own = {group.identifier: group for group in bastion_groups.groups}
    missing = unanswered(bastion.groups if bastion else (), own)
    if not expectation.bastion_groups and not own and not missing:
        return [not_applicable('none is declared (DEPLOYTOOLS["BASTION_SECURITY_GROUPS"], BASTION_INSTANCE)')]
    named = {i: group for i, group in network.groups.items() if group.is_one_of(expectation.bastion_groups)}
    found = missing + [
        failed("there is no such security group", name, 'Mend DEPLOYTOOLS["BASTION_SECURITY_GROUPS"]')
        for name in expectation.bastion_groups
        if not any(group.is_one_of([name]) for group in named.values())
    ]
    for identifier, group in named.items():
        found += [] if identifier in own else _judge(group, prefix_lists)
    for group in own.values():
        found += _judge(group, bastion_groups.prefix_lists)
    return found


def _judge(group: SecurityGroup, prefix_lists: PrefixLists) -> list[Verdict]:
    return opened(group, prefix_lists) or [
        passed(f"{group.name}: every port is closed, or open to few addresses", group.identifier)
    ]


@check(
    "bastion.imdsv2",
    title="The bastion host's metadata service demands tokens",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws ec2 modify-instance-metadata-options --http-tokens required",
    peers=("FSBP EC2.8", "Prowler ec2_instance_imdsv2_enabled"),
)
def imdsv2(bastion: Bastion | None) -> Verdict:
    """Without tokens, whatever makes the host fetch a URL fetches the credentials of its role."""
    if bastion is None:
        return not_applicable(UNDECLARED)
    if bastion.demands_tokens is None:
        return unknown("AWS's answer does not say (MetadataOptions.HttpTokens)", bastion.identifier)
    if bastion.demands_tokens:
        return passed("HttpTokens is required", bastion.identifier)
    hint = f"Run: aws ec2 modify-instance-metadata-options --instance-id {bastion.identifier} --http-tokens required"
    return failed("HttpTokens is optional", bastion.identifier, hint)


@check(
    "bastion.session-manager",
    title="The bastion host is reached by Session Manager",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Give its role the policy AmazonSSMManagedInstanceCore and restart its agent",
    peers=("FSBP SSM.1", "Prowler ec2_instance_managed_by_ssm"),
)
def session_manager(bastion: Bastion | None, bastion_agent: bool | None) -> Verdict:
    """Session Manager needs no open port and no key, and writes down who came."""
    if bastion is None:
        return not_applicable(UNDECLARED)
    if bastion.state != "running":
        return not_applicable(f"it is {bastion.state}: nobody reaches it", bastion.identifier)
    if bastion_agent:
        return passed("its agent is online", bastion.identifier)
    return warned("Systems Manager does not know it, or its agent is silent", bastion.identifier)


@check(
    "bastion.no-public-address",
    title="The bastion host has no public address",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Reach it by Session Manager, and launch it again without a public address",
    peers=("FSBP EC2.9", "Prowler ec2_instance_public_ip"),
)
def no_public_address(bastion: Bastion | None) -> Verdict:
    """Session Manager needs no address; with one, a rule too many is enough for the world to knock."""
    if bastion is None:
        return not_applicable(UNDECLARED)
    if bastion.address:
        return warned(f"it has the public address {bastion.address}", bastion.identifier)
    return passed("it has none", bastion.identifier)


@check(
    "bastion.let-in",
    title="The database lets the bastion host in",
    severity=Severity.LOW,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws ec2 authorize-security-group-ingress, from the bastion host's group",
)
def let_in(rds_instance: RdsInstance, network: Network, bastion: Bastion | None, expectation: Expectation) -> Verdict:
    """A bastion host that is not let in is found out at night, and then somebody opens the database to an address."""
    if bastion is None:
        return not_applicable(UNDECLARED)
    if rds_instance.port is None:
        return unknown("AWS's answer does not say (Endpoint.Port)", rds_instance.identifier)
    named = {rule.group for _, rule in database_rules(network, rds_instance.port) if not rule.account}
    if named & set(bastion.groups):
        return passed(f"by {', '.join(sorted(named & set(bastion.groups)))}", bastion.identifier)
    if missing := unanswered(network.of_database, network.groups):
        return missing[0]
    declared = [name for name, group in network.groups.items() if group.is_one_of(expectation.bastion_groups)]
    own = [name for name in bastion.groups if name in declared]
    hint = 'Name one of its groups in DEPLOYTOOLS["BASTION_SECURITY_GROUPS"], and let it in to the database'
    if own and network.of_database:
        hint = authorize(network, rds_instance.port, own[0])
    groups = ", ".join(bastion.groups) or "it has none"
    return warned(f"it lets in none of its security groups ({groups})", bastion.identifier, hint)
