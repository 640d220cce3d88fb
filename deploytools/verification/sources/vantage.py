"""Where this process stands in AWS; asked only where the database was not found or did not answer."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from deploytools.conf import configuration
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import ConnectionAttempt

TASK, INSTANCE = "in an ECS task", "on an EC2 instance"

#: Failures that a place outside the VPC explains.
LOST = {ConnectionFailure.NO_SUCH_NAME, ConnectionFailure.TIMEOUT}

#: Seconds for all questions together. Who has no such service near by may wait for nothing.
WITHIN = 0.9

#: As AWS's own tools know it: AWS_EC2_METADATA_SERVICE_ENDPOINT names another, AWS_EC2_METADATA_DISABLED none.
INSTANCE_ENDPOINT = "http://169.254.169.254"

#: More than that is no answer of these services.
MOST_BYTES = 200_000


@dataclass(frozen=True)
class Vantage:
    """Where a process stands.

    Attributes:
        place: `TASK` or `INSTANCE`; empty: neither says that it runs there.
        networks: the ranges of addresses of the instance's VPC, or of the task's subnets.
        vpc: the VPC's id; empty: not told.
        is_told: whether anybody could be asked.
        host, port: where the database is looked for, as the secret has it.
    """

    place: str = ""
    networks: tuple[str, ...] = ()
    vpc: str = ""
    is_told: bool = True
    host: str = ""
    port: str = ""

    def sees(self, addresses: Sequence[str]) -> bool:
        """Whether one of `addresses` is in a network that it stands in."""
        return any(ip_address(address) in ip_network(network) for address in addresses for network in self.networks)

    def said(self, addresses: Sequence[str]) -> str:
        """A sentence of where this process stands, seen from a database at `addresses`; none: its name is no name."""
        if not self.is_told:
            return "Whether this process runs inside the database's VPC, nobody was asked (AWS_EC2_METADATA_DISABLED)."
        if not self.place:
            return (
                "Neither ECS nor EC2 says that this process runs there: outside the database's VPC, or where that "
                "cannot be told (a Lambda function, a build, a container that the instance's metadata do not reach)."
            )
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


@fact(deadline=5)
def vantage(connection_attempt: ConnectionAttempt, secret: SecretState) -> Vantage | None:
    """Where this process stands; None where that explains nothing: it got through, or takes a tunnel."""
    error = connection_attempt.error
    if not isinstance(error, ConnectionFailed) or error.kind not in LOST or configuration.hostaddr:
        return None
    host, port = (str(secret.document[key].reveal()) for key in ("host", "port"))
    return replace(standing(os.environ), host=host, port=port)


def standing(environment: Mapping[str, str]) -> Vantage:
    """Where a process with that environment stands, within `WITHIN` seconds."""
    until = time.monotonic() + WITHIN
    task = environment.get("ECS_CONTAINER_METADATA_URI_V4", "")
    is_disabled = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    if task and (found := _guarded(_task, task, until)):
        return found
    if is_disabled:
        return Vantage(is_told=False)
    endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "") or INSTANCE_ENDPOINT
    return _guarded(_instance, endpoint, until) or Vantage()


def _guarded(look: Callable[[str, float], Vantage], endpoint: str, until: float) -> Vantage | None:
    """What `look` sees; None where nobody answers there, or something else does."""
    try:
        return look(endpoint, until)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, http.client.HTTPException):
        return None


def _task(endpoint: str, until: float) -> Vantage:
    """By the ECS agent's answer: the subnets of the task's containers."""
    document = json.loads(_ask(endpoint, "/task", until))
    networks = {
        network["IPv4SubnetCIDRBlock"]
        for container in document["Containers"]
        for network in container.get("Networks", ())
        if "IPv4SubnetCIDRBlock" in network
    }
    return Vantage(TASK, tuple(sorted(networks)), document.get("VPCID", ""))


def _instance(endpoint: str, until: float) -> Vantage:
    """By the instance's metadata, version 2: the VPC of its first interface."""
    lasting = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = {"X-aws-ec2-metadata-token": _ask(endpoint, "/latest/api/token", until, method="PUT", headers=lasting)}
    mac = _ask(endpoint, "/latest/meta-data/mac", until, headers=token).strip().rstrip("/")
    interface = f"/latest/meta-data/network/interfaces/macs/{mac}"
    vpc = _ask(endpoint, f"{interface}/vpc-id", until, headers=token).strip()
    networks = _ask(endpoint, f"{interface}/vpc-ipv4-cidr-blocks", until, headers=token).split()
    return Vantage(INSTANCE, tuple(networks), vpc)


def _ask(
    endpoint: str, path: str, until: float, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> str:
    parts = urlsplit(endpoint)
    left = until - time.monotonic()
    if left <= 0 or not parts.hostname:
        raise TimeoutError
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=left)
    try:
        connection.request(method, parts.path.rstrip("/") + path, headers=dict(headers or {}))
        answer = connection.getresponse()
        if answer.status != 200:
            raise LookupError(path)
        return answer.read(MOST_BYTES).decode()
    finally:
        connection.close()
