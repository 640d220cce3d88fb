"""Where a process stands in AWS, and what that says of a database that does not answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

TASK, INSTANCE = "in an ECS task", "on an EC2 instance"

#: The near end of a forwarded port: not PostgreSQL's own, which one on this machine may have.
LOCAL_PORT = 15432


@dataclass(frozen=True)
class Vantage:
    """Where a process stands.

    Attributes:
        place: `TASK` or `INSTANCE`; empty: neither says that it runs there.
        networks: the ranges of addresses of the instance's VPC, or of the task's subnets.
        vpc: the VPC's id; empty: not told.
        is_told: whether anybody could be asked.
    """

    place: str = ""
    networks: tuple[str, ...] = ()
    vpc: str = ""
    is_told: bool = True

    def sees(self, addresses: Sequence[str]) -> bool:
        """Whether one of `addresses` is in a network that it stands in."""
        return any(ip_address(address) in ip_network(network) for address in addresses for network in self.networks)

    def said(self, addresses: Sequence[str]) -> str:
        """A sentence of where this process stands, seen from a database at `addresses`; none: its name is no name."""
        if not self.is_told:
            return "Whether this process runs inside the database's VPC, nobody was asked (AWS_EC2_METADATA_DISABLED)."
        if not self.place:
            return "This process runs neither in an ECS task nor on an EC2 instance: outside the database's VPC."
        where = " ".join([self.place, *(["in", self.vpc] if self.vpc else []), f"({', '.join(self.networks)})"])
        if not addresses:
            return f"This process runs {where}."
        if self.sees(addresses):
            return f"This process runs {where}, inside the database's VPC."
        if self.place == TASK:
            return f"This process runs {where}; whether in the database's VPC, its subnet does not say."
        return f"This process runs {where}; the database's address is not of that VPC."

    def is_outside(self, addresses: Sequence[str]) -> bool:
        """Whether the way to a database at `addresses` leads through another host, as far as is known."""
        return not self.place or (self.place == INSTANCE and bool(addresses) and not self.sees(addresses))


def forward(host: str, port: str, *, bastion: str, region: str) -> str:
    """The commands that lead to a database in a VPC from outside it.

    Args:
        host, port: the database's.
        bastion: id of an instance that Systems Manager reaches; empty: nobody says.
        region: of that instance.
    """
    return (
        "Forward a port through the bastion host. Run: aws ssm start-session "
        f"--target {bastion or 'INSTANCE_ID'} --region {region} "
        "--document-name AWS-StartPortForwardingSessionToRemoteHost "
        f"--parameters host={host},portNumber={port},localPortNumber={LOCAL_PORT} "
        f"(and, beside it: DB_HOSTADDR=127.0.0.1 DB_PORT={LOCAL_PORT} python manage.py check_rds)"
    )


#: What to look at from inside.
LOOK_AT_RULES = (
    "The database's security group does not let this one's in, or a network ACL is in the way. Run: python manage.py "
    "verify_deploy --tag network"
)
