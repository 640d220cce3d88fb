"""Facts of the bastion host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.verification.iam.facts import ROLE_ACTIONS, Role, read_role
from deploytools.verification.network.facts import HOST_GROUPS, HostGroups, Network, host_groups
from deploytools.verification.registry import fact


@dataclass(frozen=True)
class Bastion:
    """The EC2 instance of the bastion host; None: AWS did not return the value.

    Attributes:
        address: a public IP address, IPv4 or IPv6, of any network interface; None: it has none.
        requires_tokens: whether IMDSv2 is required.
        profile: name of its instance profile; empty: none.
        groups: ids of the security groups of all its network interfaces.
    """

    identifier: str
    state: str | None
    address: str | None
    requires_tokens: bool | None
    groups: tuple[str, ...] = ()
    profile: str = ""


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
        next(_public_addresses(found), None),
        None if tokens is None else tokens == "required",
        tuple(sorted({group["GroupId"] for group in _groups(found)})),
        (found.get("IamInstanceProfile") or {}).get("Arn", "").rpartition("/")[2],
    )


def _groups(instance: Any) -> Iterator[Any]:
    """Yield the groups of the instance, which are those of its first network interface, and of all interfaces."""
    yield from instance.get("SecurityGroups") or ()
    for interface in instance.get("NetworkInterfaces") or ():
        yield from interface.get("Groups") or ()


def _public_addresses(instance: Any) -> Iterator[str]:
    """Yield the public addresses of all network interfaces. An IPv6 address is public unless it is a local one."""
    interfaces = instance.get("NetworkInterfaces") or ()
    private = [address for interface in interfaces for address in interface.get("PrivateIpAddresses") or ()]
    yield from filter(None, [instance.get("PublicIpAddress")])
    associations = (item.get("Association") or {} for item in (*interfaces, *private))
    yield from filter(None, (association.get("PublicIp") for association in associations))  # Or only a CarrierIp.
    ipv6 = [item["Ipv6Address"] for interface in interfaces for item in interface.get("Ipv6Addresses") or ()]
    yield from (address for address in ipv6 if ip_address(address).is_global)


@fact(actions=("iam:GetInstanceProfile", *ROLE_ACTIONS), deadline=30)
def bastion_role(bastion: Bastion | None, settings: Settings) -> Role | None:
    """The role of the bastion host; None: it has none, or is not set."""
    if bastion is None or not bastion.profile:
        return None
    with aws.translate_aws_errors("iam:GetInstanceProfile", f"the instance profile {bastion.profile}"):
        answer = aws.client("iam", settings.region).get_instance_profile(InstanceProfileName=bastion.profile)
    roles = answer["InstanceProfile"]["Roles"]
    return read_role(roles[0]["RoleName"], settings.region) if roles else None


@fact(actions=HOST_GROUPS)
def bastion_groups(bastion: Bastion | None, network: Network, settings: Settings) -> HostGroups:
    """The security groups of the bastion host; none: not set."""
    return host_groups(bastion.groups if bastion else (), network, settings.region)


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
