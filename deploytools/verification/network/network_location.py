"""The network location of this process, to explain why the database cannot be reached."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from deploytools.conf import Settings
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connection_probe import ProbeResult
from deploytools.secrets.plan import SecretState
from deploytools.verification.registry import fact

TASK, INSTANCE = "in an ECS task", "on an EC2 instance"

#: Failures that are expected outside the VPC of the database.
UNREACHABLE = {ConnectionFailure.NO_SUCH_NAME, ConnectionFailure.TIMEOUT}

#: Seconds for all requests together: outside AWS, there might be no response.
TIMEOUT = 0.9

#: The default of AWS's SDKs; AWS_EC2_METADATA_SERVICE_ENDPOINT overrides it, AWS_EC2_METADATA_DISABLED disables it.
INSTANCE_ENDPOINT = "http://169.254.169.254"

#: Larger responses are not read.
MAX_BYTES = 200_000


@dataclass(frozen=True)
class NetworkLocation:
    """The network location of a process.

    Attributes:
        place: `TASK` or `INSTANCE`; empty: neither ECS nor EC2 metadata is available.
        networks: the address ranges of the instance's VPC, or of the task's subnets.
        vpc: the ID of the VPC; empty: unknown.
        is_known: whether metadata could be requested.
        host, port: the address of the database in the secret.
    """

    place: str = ""
    networks: tuple[str, ...] = ()
    vpc: str = ""
    is_known: bool = True
    host: str = ""
    port: str = ""

    def contains(self, addresses: Sequence[str]) -> bool:
        """Return whether one of the addresses is in a network of this process."""
        return any(ip_address(address) in ip_network(network) for address in addresses for network in self.networks)

    def describe(self, addresses: Sequence[str]) -> str:
        """Return a sentence about the location of this process relative to the database.

        Args:
            addresses: of the database; none: its host name was not resolved.
        """
        if not self.is_known:
            return "AWS_EC2_METADATA_DISABLED is set, so the network location of this process is unknown."
        if not self.place:
            return (
                "No ECS or EC2 metadata is available: this process runs outside the database's VPC, or where there is "
                "no metadata (a Lambda function, a build, a container without access to the instance metadata)."
            )
        where = " ".join([self.place, *(["in", self.vpc] if self.vpc else []), f"({', '.join(self.networks)})"])
        if not addresses:
            return f"This process runs {where}."
        if self.contains(addresses):
            return f"This process runs {where}, inside the database's VPC."
        if self.place == TASK:
            return f"This process runs {where}; its subnet might be in another VPC than the database."
        return f"This process runs {where}; the address of the database is not in that VPC."

    def is_outside(self, addresses: Sequence[str]) -> bool:
        """Return whether this process is outside the network of a database at these addresses, as far as is known."""
        return not self.place or (self.place == INSTANCE and bool(addresses) and not self.contains(addresses))


@fact(deadline=5)
def network_location(
    connection_attempt: ProbeResult, secret: SecretState, settings: Settings
) -> NetworkLocation | None:
    """The network location of this process; None: the database was reached, or a tunnel is used."""
    error = connection_attempt.error
    if not isinstance(error, ConnectionFailed) or error.kind not in UNREACHABLE or settings.hostaddr:
        return None
    host, port = (str(secret.document[key].reveal()) for key in ("host", "port"))
    return replace(locate(os.environ), host=host, port=port)


def locate(environment: Mapping[str, str]) -> NetworkLocation:
    """Return the location of a process with these environment variables, within `TIMEOUT` seconds."""
    until = time.monotonic() + TIMEOUT
    task = environment.get("ECS_CONTAINER_METADATA_URI_V4", "")
    is_disabled = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    if task and (found := _try(_task, task, until)):
        return found
    if is_disabled:
        return NetworkLocation(is_known=False)
    endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "") or INSTANCE_ENDPOINT
    return _try(_instance, endpoint, until) or NetworkLocation()


def _try(read: Callable[[str, float], NetworkLocation], endpoint: str, until: float) -> NetworkLocation | None:
    """Return the location, or None if the endpoint does not respond or is another service."""
    try:
        return read(endpoint, until)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, http.client.HTTPException):
        return None


def _task(endpoint: str, until: float) -> NetworkLocation:
    """Read the subnets of the task from the ECS task metadata endpoint."""
    document = json.loads(_get(endpoint, "/task", until))
    networks = {
        network["IPv4SubnetCIDRBlock"]
        for container in document["Containers"]
        for network in container.get("Networks", ())
        if "IPv4SubnetCIDRBlock" in network
    }
    return NetworkLocation(TASK, tuple(sorted(networks)), document.get("VPCID", ""))


def _instance(endpoint: str, until: float) -> NetworkLocation:
    """Read the VPC of the first network interface from the EC2 instance metadata service (IMDSv2)."""
    lasting = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = {"X-aws-ec2-metadata-token": _get(endpoint, "/latest/api/token", until, method="PUT", headers=lasting)}
    mac = _get(endpoint, "/latest/meta-data/mac", until, headers=token).strip().rstrip("/")
    interface = f"/latest/meta-data/network/interfaces/macs/{mac}"
    vpc = _get(endpoint, f"{interface}/vpc-id", until, headers=token).strip()
    networks = _get(endpoint, f"{interface}/vpc-ipv4-cidr-blocks", until, headers=token).split()
    return NetworkLocation(INSTANCE, tuple(networks), vpc)


def _get(
    endpoint: str, path: str, until: float, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> str:
    parts = urlsplit(endpoint)
    left = until - time.monotonic()
    if left <= 0 or not parts.hostname:
        raise TimeoutError
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=left)
    try:
        connection.request(method, parts.path.rstrip("/") + path, headers=dict(headers or {}))
        response = connection.getresponse()
        if response.status != 200:
            raise LookupError(path)
        return response.read(MAX_BYTES).decode()
    finally:
        connection.close()
