"""Where this process stands in AWS; asked only where the database was not found or did not answer."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from deploytools.conf import configuration
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import ConnectionAttempt
from deploytools.verification.vantage import INSTANCE, TASK, Vantage

#: Failures that a place outside the VPC explains.
LOST = {ConnectionFailure.NO_SUCH_NAME, ConnectionFailure.TIMEOUT}

#: Seconds for all questions together. Who has no such service near by may wait for nothing.
WITHIN = 0.9

#: As AWS's own tools know it: AWS_EC2_METADATA_SERVICE_ENDPOINT names another, AWS_EC2_METADATA_DISABLED none.
INSTANCE_ENDPOINT = "http://169.254.169.254"

#: More than that is no answer of these services.
MOST_BYTES = 200_000


@fact(deadline=5)
def vantage(connection_attempt: ConnectionAttempt) -> Vantage | None:
    """Where this process stands; None where that explains nothing: it got through, or takes a tunnel."""
    error = connection_attempt.error
    if not isinstance(error, ConnectionFailed) or error.kind not in LOST or configuration.hostaddr:
        return None
    return standing(os.environ)


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
