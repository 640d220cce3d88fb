"""Facts of what is around the ECS service: its last deployment, its cluster, and the targets of its load balancer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import NotFound
from deploytools.verification.registry import fact
from deploytools.verification.sources.ecs import Service


@dataclass(frozen=True)
class Deployment:
    """What ListServiceDeployments says of one deployment.

    Attributes:
        status: ``SUCCESSFUL``, ``ROLLBACK_SUCCESSFUL``, ``IN_PROGRESS``, …; None: it is not said.
        reason: why, in AWS's words.
    """

    status: str | None
    created_at: datetime
    reason: str = ""


@fact(actions=("ecs:ListServiceDeployments",))
def ecs_deployment(ecs_service: Service | None) -> Deployment | None:
    """The last deployment that ECS made of the service, in the 90 days that it remembers; None where there is none."""
    if ecs_service is None or ecs_service.controller != "ECS":
        return None
    client, found = aws.client("ecs", configuration.region), list[Any]()
    asked: Any = {"service": ecs_service.name, "cluster": ecs_service.cluster}
    while True:
        with aws.calling("ecs:ListServiceDeployments", f"the service {ecs_service.name}"):
            answer: Any = client.list_service_deployments(**asked)
        found += [item for item in answer.get("serviceDeployments") or () if "createdAt" in item]
        if not answer.get("nextToken"):
            break
        asked["nextToken"] = answer["nextToken"]
    last = max(found, key=lambda item: item["createdAt"], default=None)
    return Deployment(last.get("status"), last["createdAt"], last.get("statusReason", "")) if last else None


@dataclass(frozen=True)
class Cluster:
    """What DescribeClusters says.

    Attributes:
        insights: the setting ``containerInsights``: ``disabled``, ``enabled``, ``enhanced``; None: it is not said.
    """

    name: str
    insights: str | None


@fact(actions=("ecs:DescribeClusters",))
def ecs_cluster(ecs_service: Service | None) -> Cluster | None:
    """The cluster with its settings; None where the settings name no service."""
    if ecs_service is None:
        return None
    name = ecs_service.cluster
    with aws.calling("ecs:DescribeClusters", f"the cluster {name}"):
        answer: Any = aws.client("ecs", configuration.region).describe_clusters(clusters=[name], include=["SETTINGS"])
    if not answer["clusters"]:
        raise NotFound(f"The ECS cluster {name} does not exist.", hint="Check ECS_CLUSTER: aws ecs list-clusters")
    settings = {item.get("name"): item.get("value") for item in answer["clusters"][0].get("settings") or ()}
    return Cluster(name, settings.get("containerInsights"))


@dataclass(frozen=True)
class Target:
    """One task as the load balancer sees it.

    Attributes:
        address: of the task, with the port.
        state: ``healthy``, ``draining``, …; None: it is not said.
        reason: why it is not healthy, as a code, for example ``Target.Timeout``.
    """

    address: str
    state: str | None
    reason: str = ""


@dataclass(frozen=True)
class TargetGroup:
    """The targets of one load balancer of the service.

    Attributes:
        arn: of the target group; where a blue/green deployment swaps two, of the first.
        targets: of all of them.
    """

    arn: str
    targets: tuple[Target, ...]

    @property
    def name(self) -> str:
        """Of the target group."""
        return self.arn.split(":targetgroup/")[-1].split("/")[0]


@fact(actions=("elasticloadbalancing:DescribeTargetHealth",))
def ecs_targets(ecs_service: Service | None) -> tuple[TargetGroup, ...] | None:
    """What the load balancers think of the service's tasks; None where the settings name no service."""
    if ecs_service is None:
        return None
    return tuple(
        TargetGroup(arns[0], tuple(target for arn in arns for target in _targets(arn)))
        for arns in ecs_service.target_groups
    )


def _targets(arn: str) -> tuple[Target, ...]:
    with aws.calling("elasticloadbalancing:DescribeTargetHealth", f"the target group {arn}"):
        answer: Any = aws.client("elbv2", configuration.region).describe_target_health(TargetGroupArn=arn)
    return tuple(sorted(map(_target, answer["TargetHealthDescriptions"]), key=lambda target: target.address))


def _target(said: Any) -> Target:
    target, health = said.get("Target") or {}, said.get("TargetHealth") or {}
    port = f":{target['Port']}" if "Port" in target else ""
    return Target(f"{target.get('Id', '')}{port}", health.get("State"), health.get("Reason", ""))
