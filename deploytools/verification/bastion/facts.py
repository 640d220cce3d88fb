"""Facts of the bastion host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.verification.network.facts import PrefixLists, SecurityGroup, read_groups, read_prefix_lists
from deploytools.verification.registry import fact


@dataclass(frozen=True)
class Bastion:
    """The EC2 instance of the bastion host; None: AWS did not return the value.

    Attributes:
        address: the public IP address; None: it has none.
        requires_tokens: whether IMDSv2 is required.
        groups: ids of its security groups.
    """

    identifier: str
    state: str | None
    address: str | None
    requires_tokens: bool | None
    groups: tuple[str, ...] = ()


@fact(actions=("ec2:DescribeInstances",))
def bastion(settings: Settings) -> Bastion | None:
    """The bastion host; None: not set."""
    identifier = settings.bastion_instance
    if not identifier:
        return None
    with aws.translate_aws_errors("ec2:DescribeInstances", f"the bastion host {identifier}"):
        answer: Any = aws.client("ec2", settings.region).describe_instances(InstanceIds=[identifier])
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
    """The security groups of the bastion host, with the prefix lists of their rules."""

    groups: tuple[SecurityGroup, ...]
    prefix_lists: PrefixLists


@fact(actions=("ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules", "ec2:GetManagedPrefixListEntries"))
def bastion_groups(bastion: Bastion | None, settings: Settings) -> BastionGroups:
    """The security groups of the bastion host; none: not set."""
    ids = list(bastion.groups) if bastion else []
    groups = read_groups(aws.client("ec2", settings.region), ids) if ids else {}
    return BastionGroups(tuple(groups.values()), read_prefix_lists(groups.values(), settings.region))


@fact(actions=("ssm:DescribeInstanceInformation",))
def bastion_agent(settings: Settings) -> bool | None:
    """Whether the Systems Manager agent of the bastion host is online; None: not set."""
    identifier = settings.bastion_instance
    if not identifier:
        return None
    filters: Any = [{"Key": "InstanceIds", "Values": [identifier]}]
    with aws.translate_aws_errors("ssm:DescribeInstanceInformation", f"the bastion host {identifier}"):
        answer = aws.client("ssm", settings.region).describe_instance_information(Filters=filters)
    return any(item.get("PingStatus") == "Online" for item in answer["InstanceInformationList"])
