"""Facts of the subnets: their network ACLs and route tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.verification.ecs.facts import Service
from deploytools.verification.rds.facts import RdsInstance
from deploytools.verification.registry import fact


@dataclass(frozen=True)
class Subnet:
    """A subnet of the RDS instance or of the ECS tasks.

    Attributes:
        cidr: its IPv4 range.
        acl: the entries of its network ACL, as AWS returns them, in the order of their evaluation.
    """

    identifier: str
    zone: str
    cidr: str
    acl: tuple[Mapping[str, Any], ...] = ()

    def allows(self, other: Subnet, port: int) -> bool:
        """Return whether the network ACLs allow TCP connections to `port` of another subnet, and the responses."""
        if self.identifier == other.identifier:
            return True
        ways = [(port, self, other), *((response, other, self) for response in EPHEMERAL)]
        return all(_passes(at, to, n, egress=True) and _passes(to, at, n, egress=False) for n, at, to in ways)


#: The first and the last port at the client's end of a connection, on Linux.
EPHEMERAL = (32_768, 60_999)


def _passes(at: Subnet, peer: Subnet, port: int, *, egress: bool) -> bool:
    """Return whether the network ACL `at` a subnet allows packets to `port` of the receiver, to or from `peer`.

    Entries that deny a part of the peer's addresses are left out: a quarantined host blocks no application.
    """
    peers: Any = ip_network(peer.cidr)
    rest, is_allowed = [peers], False  # The addresses of the peer that no entry has matched yet.
    for entry in at.acl:
        ports = entry.get("PortRange") or {"From": 0, "To": 65_535}
        if (
            entry["Egress"] is egress
            and entry["Protocol"] in {"-1", "6"}
            and (entry["Protocol"] == "-1" or ports["From"] <= port <= ports["To"])
            and "CidrBlock" in entry
        ):
            block = ip_network(entry["CidrBlock"], strict=False)
            if entry["RuleAction"] == "allow":
                is_allowed |= any(block.overlaps(part) for part in rest)
            elif peers.subnet_of(block):
                break
            rest = [left for part in rest for left in _outside(part, block)]
    return is_allowed and not rest


def _outside(part: Any, block: Any) -> Iterable[Any]:
    """Return the networks of the addresses in `part` that are not in `block`."""
    if part.subnet_of(block):
        return ()
    return part.address_exclude(block) if block.subnet_of(part) else (part,)


Subnets = Mapping[str, Subnet]


@fact(actions=("ec2:DescribeSubnets", "ec2:DescribeNetworkAcls"), deadline=30)
def subnets(rds_instance: RdsInstance, ecs_service: Service | None, settings: Settings) -> Subnets:
    """The subnets of the RDS instance and of the ECS tasks that exist, by ID."""
    client, ids = aws.client("ec2", settings.region), sorted({*rds_instance.subnets, *_task_subnets(ecs_service)})
    if not ids:
        return {}

    def read(operation: str, key: str, name: str) -> Any:
        filters: Any = [{"Name": name, "Values": ids}]
        with aws.translate_aws_errors(f"ec2:Describe{key}", f"the subnets {', '.join(ids)}"):
            return client.get_paginator(operation).paginate(Filters=filters).build_full_result()[key]  # type: ignore[call-overload]

    entries = {
        association.get("SubnetId"): tuple(sorted(acl["Entries"], key=lambda entry: entry["RuleNumber"]))
        for acl in read("describe_network_acls", "NetworkAcls", "association.subnet-id")
        for association in acl["Associations"]
    }
    found = read("describe_subnets", "Subnets", "subnet-id")
    return {
        item["SubnetId"]: Subnet(
            item["SubnetId"], item["AvailabilityZone"], item["CidrBlock"], entries.get(item["SubnetId"], ())
        )
        for item in sorted(found, key=lambda item: str(item["SubnetId"]))
    }


def _task_subnets(service: Service | None) -> tuple[str, ...]:
    return service.subnets if service else ()


@fact(actions=("ec2:DescribeRouteTables",))
def routes(rds_instance: RdsInstance, settings: Settings) -> dict[str, str]:
    """The internet gateway in the route table of each subnet of the RDS instance; empty: none.

    A subnet without its own route table uses the main route table of the VPC.
    """
    pages = aws.client("ec2", settings.region).get_paginator("describe_route_tables")
    filters: Any = [{"Name": "vpc-id", "Values": [rds_instance.vpc or ""]}]
    with aws.translate_aws_errors("ec2:DescribeRouteTables", f"the VPC {rds_instance.vpc}"):
        tables: Any = pages.paginate(Filters=filters).build_full_result()["RouteTables"]
    by_subnet = {a["SubnetId"]: table for table in tables for a in table["Associations"] if a.get("SubnetId")}
    main = next((table for table in tables if any(a.get("Main") for a in table["Associations"])), None)
    gateways = {}
    for subnet in rds_instance.subnets:
        table = by_subnet.get(subnet, main)
        if table is not None:
            gateways[subnet] = next((g for g in map(_gateway, table["Routes"]) if g.startswith("igw-")), "")
    return gateways


def _gateway(route: Any) -> str:
    return str(route.get("GatewayId") or "")
