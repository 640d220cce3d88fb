"""Facts of the ECS service that runs the application, where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import NotFound
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.stray_values import telling_values, written


@dataclass(frozen=True)
class Service:
    """What DescribeServices says; None where it says nothing.

    Where CodeDeploy or another makes the deployments, the primary task set's word is the one that counts.

    Attributes:
        rollout: ``rolloutState`` of the primary deployment; of a task set its ``stabilityStatus``.
        rolls_back: whether a failed deployment is taken back.
        controller: who makes the deployments: ``ECS``, ``CODE_DEPLOY``, ``EXTERNAL``.
        deployments: how many there are.
        subnets, security_groups: of its tasks' network; None: they have none of their own.
        target_groups: ARNs; those of one load balancer, which a blue/green deployment swaps, in one tuple.
        deployed_at: when the primary deployment, or task set, was begun.
    """

    name: str
    cluster: str
    status: str | None
    wanted: int | None
    running: int | None
    rollout: str | None
    breaks_circuit: bool | None
    has_public_address: bool | None
    task_definition: str
    rolls_back: bool | None = None
    controller: str = "ECS"
    deployments: int | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] | None = None
    target_groups: tuple[tuple[str, ...], ...] = ()
    deployed_at: datetime | None = None


@fact(actions=("ecs:DescribeServices",))
def ecs_service(expectation: Expectation) -> Service | None:
    """The service; None where the settings name none."""
    name, cluster = expectation.ecs_service, configuration.ecs_cluster or "default"
    if not name:
        return None
    with aws.calling("ecs:DescribeServices", f"the service {name} in the cluster {cluster}"):
        answer: Any = aws.client("ecs", configuration.region).describe_services(cluster=cluster, services=[name])
    if not answer["services"]:
        raise NotFound(
            f"The ECS service {name} does not exist in the cluster {cluster}.",
            hint=f"Check ECS_SERVICE, ECS_CLUSTER and the Region: aws ecs list-services --cluster {cluster}",
        )
    return _service(name, cluster, answer["services"][0])


def _service(name: str, cluster: str, said: Mapping[str, Any]) -> Service:
    deployment, task_set = _primary(said.get("deployments")), _primary(said.get("taskSets"))
    in_use = {**said, **{key: value for key, value in task_set.items() if value}}
    network = (in_use.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    breaker = (said.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}
    address, deployments = network.get("assignPublicIp"), said.get("deployments")
    return Service(
        name,
        cluster,
        said.get("status"),
        said.get("desiredCount"),
        said.get("runningCount"),
        task_set.get("stabilityStatus") or deployment.get("rolloutState"),
        breaker.get("enable"),
        None if address is None else address == "ENABLED",
        in_use.get("taskDefinition", ""),
        rolls_back=breaker.get("rollback"),
        controller=(said.get("deploymentController") or {}).get("type", "ECS"),
        deployments=None if deployments is None else len(deployments),
        subnets=tuple(network.get("subnets") or ()),
        security_groups=tuple(network.get("securityGroups") or ()) if network else None,
        target_groups=tuple(filter(None, map(_target_groups, in_use.get("loadBalancers") or ()))),
        deployed_at=task_set.get("createdAt") or deployment.get("createdAt"),
    )


def _primary(said: Iterable[Mapping[str, Any]] | None) -> Mapping[str, Any]:
    """The deployment, or the task set, that serves; an empty one where there is none."""
    return next((item for item in said or () if item.get("status") == "PRIMARY"), {})


def _target_groups(balancer: Mapping[str, Any]) -> tuple[str, ...]:
    """The target group of a load balancer and the one that it changes places with; a Classic one has none."""
    other = (balancer.get("advancedConfiguration") or {}).get("alternateTargetGroupArn")
    return tuple(arn for arn in (balancer.get("targetGroupArn"), other) if arn)


@dataclass(frozen=True)
class Container:
    """One container of a task definition.

    Attributes:
        leaked: where a value of the secret stands: names of environment variables, else of the definition's members.
        credentials: names of environment variables that sound like one, with a literal value.
        secrets: name and ARN of those that come from Secrets Manager or Parameter Store.
        secret_name: the secret that ``DB_SECRET_NAME`` says; empty: it is not set, or not a literal value.
        also_fetched: ARNs of the secrets that its log driver and the registry of its image are given.
        environment_files: ARNs of the S3 objects that hold more of its environment, and are not read here.
    """

    name: str
    image: str
    leaked: tuple[str, ...]
    credentials: tuple[str, ...]
    secrets: tuple[tuple[str, str], ...]
    user: str | None
    is_privileged: bool | None
    has_readonly_root: bool | None
    log_driver: str | None
    secret_name: str = ""
    also_fetched: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskDefinition:
    """The task definition that the service runs.

    Attributes:
        task_role: ARN of the role that the application has; empty: none.
        execution_role: ARN of the role that ECS itself takes, to fetch the image and ``secrets``; empty: none.
    """

    arn: str
    task_role: str
    containers: tuple[Container, ...]
    execution_role: str = ""


#: arn:partition:secretsmanager:region:account:secret:name
SECRET_PARTS = 7

#: Parts of names that are given to credentials.
TELLING = ("PASSWORD", "SECRET", "TOKEN", "API_KEY", "PRIVATE_KEY")


@fact(actions=("ecs:DescribeTaskDefinition",))
def task_definition(ecs_service: Service | None, secret: SecretState) -> TaskDefinition | None:
    """What the service runs; of literal values only whether they are the secret's."""
    if ecs_service is None:
        return None
    arn = ecs_service.task_definition
    with aws.calling("ecs:DescribeTaskDefinition", f"the task definition {arn}"):
        said: Any = aws.client("ecs", configuration.region).describe_task_definition(taskDefinition=arn)
    values = {form.decode() for value in telling_values(secret.document).values() for form in written(value)}
    found = said["taskDefinition"]
    containers = tuple(_container(item, values) for item in found["containerDefinitions"])
    return TaskDefinition(
        found["taskDefinitionArn"], found.get("taskRoleArn", ""), containers, found.get("executionRoleArn", "")
    )


def whole_secret(source: str) -> str:
    """The ARN in a ``valueFrom`` without the key, the label and the version that may follow; a parameter as it is."""
    return ":".join(source.split(":")[:SECRET_PARTS]) if ":secretsmanager:" in source else source


def _container(said: Any, values: set[str]) -> Container:
    environment = {item["name"]: item.get("value", "") for item in said.get("environment") or ()}
    log = said.get("logConfiguration") or {}
    registry = (said.get("repositoryCredentials") or {}).get("credentialsParameter")
    rest = {name: member for name, member in said.items() if name != "environment"}
    return Container(
        name=said["name"],
        image=said.get("image", ""),
        leaked=tuple(name for name, said in {**rest, **environment}.items() if _holds(said, values)),
        credentials=tuple(name for name, value in environment.items() if value and _is_telling(name)),
        secrets=tuple((item["name"], item["valueFrom"]) for item in said.get("secrets") or ()),
        user=said.get("user"),
        is_privileged=said.get("privileged"),
        has_readonly_root=said.get("readonlyRootFilesystem"),
        log_driver=log.get("logDriver"),
        secret_name=environment.get("DB_SECRET_NAME", ""),
        also_fetched=(
            *(item["valueFrom"] for item in log.get("secretOptions") or ()),
            *([registry] if registry else ()),
        ),
        environment_files=tuple(item["value"] for item in said.get("environmentFiles") or ()),
    )


def _holds(said: Any, values: set[str]) -> bool:
    """Whether one of `values` stands anywhere in it: in a command, a label, a health check, an option of a log."""
    if isinstance(said, Mapping):
        return any(_holds(part, values) for item in said.items() for part in item)
    if isinstance(said, list):
        return any(_holds(part, values) for part in said)
    return isinstance(said, str) and any(known in said for known in values)


def _is_telling(name: str) -> bool:
    """``DB_SECRET_NAME`` names a secret, ``DB_SECRET`` is one."""
    return any(part in name.upper() for part in TELLING) and not name.upper().endswith(("_NAME", "_ARN", "_ID"))
