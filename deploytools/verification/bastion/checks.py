"""Checks of the bastion host."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from operator import attrgetter

from deploytools.conf import Settings
from deploytools.verification.bastion.facts import Bastion
from deploytools.verification.findings import (
    Severity,
    Status,
    Verdict,
    failed,
    not_applicable,
    passed,
    unknown,
    warned,
)
from deploytools.verification.iam.checks import excess_permissions
from deploytools.verification.iam.excess import Permission
from deploytools.verification.iam.facts import Role
from deploytools.verification.iam.permissions import READ, Simulations
from deploytools.verification.network.checks import allow_hint, database_rules, missing_groups, public_ingress
from deploytools.verification.network.facts import HostGroups, Network, PrefixLists
from deploytools.verification.rds.facts import RdsInstance
from deploytools.verification.registry import check
from deploytools.verification.secret.facts import SecretDescription

CHECKLIST = "Security Checklist: Bastion host secured"
NOT_SET = 'DEPLOYTOOLS["BASTION_INSTANCE"] is not set'

bastion_check = partial(
    check, guide=CHECKLIST, not_set=NOT_SET, setting="BASTION_INSTANCE", resource_of=attrgetter("identifier")
)


@check(
    "bastion.no-public-ingress",
    title="Bastion host is not open to the internet",
    severity=Severity.CRITICAL,
    guide=CHECKLIST,
    hint="Close the port and use Session Manager",
    references=(
        "FSBP EC2.13",
        "Prowler ec2_instance_port_ssh_exposed_to_internet",
        "Prowler ec2_securitygroup_allow_ingress_from_internet_to_tcp_port_22",
    ),
)
def no_public_ingress(
    network: Network,
    settings: Settings,
    prefix_lists: PrefixLists,
    bastion: Bastion | None,
    bastion_groups: HostGroups,
) -> Iterable[Verdict]:
    """The bastion host can connect to the database, so an attacker on it can, too."""
    own = {group.identifier: group for group in bastion_groups.groups}
    missing = missing_groups(bastion.groups if bastion else (), own)
    if not settings.bastion_security_groups and not own and not missing:
        return [not_applicable("neither BASTION_SECURITY_GROUPS nor BASTION_INSTANCE is set")]
    named = {i: group for i, group in network.groups.items() if group.is_one_of(settings.bastion_security_groups)}
    found = missing + [
        failed("the security group does not exist", name, 'Correct DEPLOYTOOLS["BASTION_SECURITY_GROUPS"]')
        for name in settings.bastion_security_groups
        if not any(group.is_one_of([name]) for group in named.values())
    ]
    lists = {**prefix_lists, **bastion_groups.prefix_lists}
    for group in (named | own).values():
        found += public_ingress(group, lists)
    for group in bastion_groups.sources:  # network.no-public-ingress evaluates those of the other groups.
        found += public_ingress(group, lists, is_first=False)
    return found


@bastion_check(
    "bastion.imdsv2",
    title="Bastion host requires IMDSv2",
    severity=Severity.HIGH,
    hint="Run: aws ec2 modify-instance-metadata-options --instance-id INSTANCE --http-tokens required",
    references=("FSBP EC2.8", "Prowler ec2_instance_imdsv2_enabled"),
)
def imdsv2(bastion: Bastion) -> Verdict:
    """With IMDSv1, a request forgery on the host can read the credentials of its role."""
    if bastion.requires_tokens is None:
        return unknown("the AWS response has no MetadataOptions.HttpTokens")
    if bastion.requires_tokens:
        return passed("HttpTokens is required")
    hint = f"Run: aws ec2 modify-instance-metadata-options --instance-id {bastion.identifier} --http-tokens required"
    return failed("HttpTokens is optional", hint=hint)


@bastion_check(
    "bastion.session-manager",
    title="Bastion host is managed by Systems Manager",
    severity=Severity.MEDIUM,
    hint="Attach AmazonSSMManagedInstanceCore to its role and restart the SSM agent",
    references=("FSBP SSM.1", "Prowler ec2_instance_managed_by_ssm"),
)
def session_manager(bastion: Bastion, bastion_agent: bool | None) -> Verdict:
    """Session Manager needs no open port and no SSH key, and logs every session."""
    if bastion.state != "running":
        return not_applicable(f"the instance is {bastion.state}")
    if bastion_agent:
        return passed("the SSM agent is online")
    return warned("it is not registered in Systems Manager, or its SSM agent is offline")


@bastion_check(
    "bastion.no-public-address",
    title="Bastion host has no public IP address",
    severity=Severity.MEDIUM,
    hint="Use Session Manager and launch the host again without a public IP address",
    references=("FSBP EC2.9", "Prowler ec2_instance_public_ip"),
)
def no_public_address(bastion: Bastion) -> Verdict:
    """With a public IP address, one wrong security group rule exposes the host to the internet."""
    if bastion.address:
        return warned(f"its public IP address is {bastion.address}")
    return passed("no public IP address")


#: Of the policy AmazonSSMManagedInstanceCore, those that could be dangerous, and the login with a token of IAM.
OF_BASTION = tuple(
    Permission(action, "*", {})
    for action in (
        *("ssm:DescribeAssociation", "ssm:ListAssociations", "ssm:ListInstanceAssociations", "ssm:GetParameter"),
        *("ssm:GetParameters", "ssm:UpdateAssociationStatus", "ssm:UpdateInstanceAssociationStatus", "rds-db:connect"),
    )
)


@bastion_check(
    "bastion.least-privilege",
    title="Role of the bastion host has no dangerous permission",
    severity=Severity.HIGH,
    hint="Detach the policy from its role: Session Manager needs only AmazonSSMManagedInstanceCore",
    references=("FSBP IAM.1", "Prowler ec2_instance_profile_attached"),
)
def least_privilege(
    bastion: Bastion, bastion_role: Role | None, secret_description: SecretDescription
) -> Iterable[Verdict]:
    """Every user who can log in on the host has the permissions of its role."""
    if bastion_role is None:
        return [passed("it has no role", bastion.identifier)]
    expected = [*OF_BASTION, Permission(READ, secret_description.arn, {})]
    found = excess_permissions(bastion_role, expected, Simulations({}), "needed")
    dangerous = [verdict for verdict in found if verdict.status in {Status.FAIL, Status.UNKNOWN}]
    evidence = f"policies: {len(bastion_role.policies)}; no dangerous action is allowed"
    return dangerous or [passed(evidence, bastion_role.name)]


@bastion_check(
    "bastion.database-access",
    title="Bastion host can connect to the database",
    severity=Severity.LOW,
    hint="Run: aws ec2 authorize-security-group-ingress --group-id GROUP --protocol tcp --port 5432 --source-group "
    "BASTION_GROUP",
)
def database_access(bastion: Bastion, rds_instance: RdsInstance, network: Network, settings: Settings) -> Verdict:
    """Without this access, administrators might open the database to their own addresses in an emergency."""
    if rds_instance.port is None:
        return unknown("the AWS response has no Endpoint.Port", rds_instance.identifier)
    named = {rule.group for _, rule in database_rules(network, rds_instance.port) if not rule.account}
    if named & set(bastion.groups):
        return passed(f"with the security group {', '.join(sorted(named & set(bastion.groups)))}", bastion.identifier)
    if missing := missing_groups(network.of_database, network.groups):
        return missing[0]
    declared = [name for name, group in network.groups.items() if group.is_one_of(settings.bastion_security_groups)]
    own = [name for name in bastion.groups if name in declared]
    hint = 'Add one of its security groups to DEPLOYTOOLS["BASTION_SECURITY_GROUPS"] and allow it for the database'
    if own and network.of_database:
        hint = allow_hint(network, rds_instance.port, own[0])
    groups = ", ".join(bastion.groups) or "it has no security group"
    return warned(f"the database allows none of its security groups ({groups})", hint=hint)
