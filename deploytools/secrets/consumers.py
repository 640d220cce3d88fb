"""The ECS service whose processes read the secret: the keys that its task definition references, and its restart."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploytools import aws
from deploytools.errors import DeployError, NotFound
from deploytools.wording import one_line

#: Parts of the ARN of a secret; a ``valueFrom`` has more: key, staging label, version.
ARN_PARTS = 7

#: Seconds between two reads of a deployment, and reads: 15 minutes. In the first reads, AWS might not show it.
POLL_SECONDS, POLLS, FIRST_POLLS = 10, 90, 6


@dataclass(frozen=True)
class EcsService:
    name: str
    cluster: str
    region: str
    sleep: Callable[[float], None] = time.sleep

    @property
    def restart_command(self) -> str:
        """The command that starts new processes."""
        names = f"--cluster {shlex.quote(self.cluster)} --service {shlex.quote(self.name)}"
        return f"aws ecs update-service {names} --region {self.region} --force-new-deployment"

    def references(self, secret: str) -> Mapping[str, str]:
        """Return the keys of `secret` that the task definition references, each with the container that does."""
        arn = self._describe().get("taskDefinition", "")
        with aws.translate_aws_errors("ecs:DescribeTaskDefinition", f"the task definition {arn}"):
            response: Any = aws.client("ecs", self.region).describe_task_definition(taskDefinition=arn)
        containers = response["taskDefinition"]["containerDefinitions"]
        return {key: container for container, source in _sources(containers) if (key := _key_of(source, secret))}

    def restart(self) -> None:
        """Force a new deployment and wait until it has replaced the running tasks.

        Raises:
            DeployError: it failed or was rolled back, or did not end in 15 minutes.
            AwsError: AWS could not be queried.
        """
        with aws.translate_aws_errors("ecs:UpdateService", self._resource):
            response: Any = aws.client("ecs", self.region).update_service(
                cluster=self.cluster, service=self.name, forceNewDeployment=True
            )
        started, is_visible = _primary(response["service"])["id"], False
        for attempt in range(POLLS):
            if attempt:
                self.sleep(POLL_SECONDS)
            service = self._describe()
            primary = _primary(service)
            is_visible |= any(deployment.get("id") == started for deployment in service["deployments"])
            if primary.get("id") != started:
                if is_visible or attempt >= FIRST_POLLS:
                    raise self._failed("was replaced or rolled back")
                continue
            if primary.get("rolloutState") == "FAILED":
                raise self._failed(f"failed: {one_line(primary.get('rolloutStateReason') or 'no reason given')}")
            if primary.get("rolloutState") == "COMPLETED" and len(service["deployments"]) == 1:
                return
        raise self._failed(f"did not end in {POLLS * POLL_SECONDS // 60} minutes")

    @property
    def _resource(self) -> str:
        return f"the service {self.name} in the cluster {self.cluster}"

    def _describe(self) -> Mapping[str, Any]:
        with aws.translate_aws_errors("ecs:DescribeServices", self._resource):
            response: Any = aws.client("ecs", self.region).describe_services(cluster=self.cluster, services=[self.name])
        if not response.get("services"):
            raise NotFound(
                f"The ECS service {self.name} does not exist in the cluster {self.cluster}.",
                hint='Check DEPLOYTOOLS["ECS_SERVICE"], DEPLOYTOOLS["ECS_CLUSTER"] and DEPLOYTOOLS["REGION"].',
            )
        service: Mapping[str, Any] = response["services"][0]
        return service

    def _failed(self, what: str) -> DeployError:
        names = f"--cluster {shlex.quote(self.cluster)} --services {shlex.quote(self.name)} --region {self.region}"
        return DeployError(
            f"The new deployment of {self.name} {what}; processes with the old values might still run.",
            hint=f"Read the events: aws ecs describe-services {names}",
        )


def _primary(service: Mapping[str, Any]) -> Mapping[str, Any]:
    for deployment in service.get("deployments") or ():
        if deployment.get("status") == "PRIMARY":
            found: Mapping[str, Any] = deployment
            return found
    raise DeployError(
        "The ECS service has no deployment by ECS: another deployment controller manages it.",
        hint="Start a deployment with that controller, for example with CodeDeploy.",
    )


def _sources(containers: Any) -> Iterator[tuple[str, str]]:
    """Yield each ``valueFrom`` of the containers, with the name of its container."""
    for container in containers:
        log = (container.get("logConfiguration") or {}).get("secretOptions") or ()
        for item in (*(container.get("secrets") or ()), *log):
            yield container["name"], item["valueFrom"]


def _key_of(source: str, secret: str) -> str:
    """Return the key of `secret` that a ``valueFrom`` references; empty: none of its keys."""
    parts = source.split(":")
    arn, name = ":".join(parts[:ARN_PARTS]), (parts + [""] * ARN_PARTS)[ARN_PARTS - 1]
    is_ours = secret in (arn, name) or name.rpartition("-")[0] == secret.rpartition(":")[2]
    return parts[ARN_PARTS] if is_ours and len(parts) > ARN_PARTS else ""
