"""Facts of the ECS service that runs the application; None: the settings name no service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.errors import NotFound
from deploytools.secrets.custom_fields import all_fields
from deploytools.secrets.plan import SecretState
from deploytools.verification.ecs.plaintext import credentials_in, is_credential
from deploytools.verification.log_groups import read_log_groups
from deploytools.verification.registry import fact
from deploytools.verification.secret.secret_scan import credential_values, encoded_forms


@dataclass(frozen=True)
class Service:
    """The response of DescribeServices; None: not in the response.

    If the deployment controller is not ECS, the values are those of the primary task set.

    Attributes:
        rollout: ``rolloutState`` of the primary deployment, or ``stabilityStatus`` of the primary task set.
        rolls_back: whether the circuit breaker rolls back a failed deployment.
        controller: the deployment controller: ``ECS``, ``CODE_DEPLOY``, ``EXTERNAL``.
        subnets, security_groups: the network configuration of its tasks; None: the tasks have none of their own.
        target_groups: ARNs; the two that a blue/green deployment swaps are in one tuple.
        deployed_at: creation of the primary deployment or task set.
        min_healthy: ``minimumHealthyPercent``: the tasks that a deployment keeps running.
        is_spot: whether all its tasks run on Fargate Spot.
    """

    name: str
    cluster: str
    status: str | None
    desired: int | None
    running: int | None
    rollout: str | None
    has_circuit_breaker: bool | None
    has_public_address: bool | None
    task_definition: str
    rolls_back: bool | None = None
    controller: str = "ECS"
    deployments: int | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] | None = None
    target_groups: tuple[tuple[str, ...], ...] = ()
    deployed_at: datetime | None = None
    min_healthy: int | None = None
    is_spot: bool = False


@fact(actions=("ecs:DescribeServices",))
def ecs_service(settings: Settings) -> Service | None:
    name, cluster = settings.ecs_service, settings.ecs_cluster or "default"
    if not name:
        return None
    with aws.translate_aws_errors("ecs:DescribeServices", f"the service {name} in the cluster {cluster}"):
        response: Any = aws.client("ecs", settings.region).describe_services(cluster=cluster, services=[name])
    if not response["services"]:
        raise NotFound(
            f"The ECS service {name} does not exist in the cluster {cluster}.",
            hint='Check DEPLOYTOOLS["ECS_SERVICE"], DEPLOYTOOLS["ECS_CLUSTER"] and DEPLOYTOOLS["REGION"]: aws ecs '
            f"list-services --cluster {cluster}",
        )
    return _service(name, cluster, response["services"][0])


def _service(name: str, cluster: str, item: Mapping[str, Any]) -> Service:
    deployment, task_set = _primary(item.get("deployments")), _primary(item.get("taskSets"))
    in_use = {**item, **{key: value for key, value in task_set.items() if value}}
    network = (in_use.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    configuration = item.get("deploymentConfiguration") or {}
    breaker = configuration.get("deploymentCircuitBreaker") or {}
    providers = {provider["capacityProvider"] for provider in in_use.get("capacityProviderStrategy") or ()}
    address, deployments = network.get("assignPublicIp"), item.get("deployments")
    return Service(
        name,
        cluster,
        item.get("status"),
        item.get("desiredCount"),
        item.get("runningCount"),
        task_set.get("stabilityStatus") or deployment.get("rolloutState"),
        breaker.get("enable"),
        None if address is None else address == "ENABLED",
        in_use.get("taskDefinition", ""),
        rolls_back=breaker.get("rollback"),
        controller=(item.get("deploymentController") or {}).get("type", "ECS"),
        deployments=None if deployments is None else len(deployments),
        subnets=tuple(network.get("subnets") or ()),
        security_groups=tuple(network.get("securityGroups") or ()) if network else None,
        target_groups=tuple(filter(None, map(_target_groups, in_use.get("loadBalancers") or ()))),
        deployed_at=task_set.get("createdAt") or deployment.get("createdAt"),
        min_healthy=configuration.get("minimumHealthyPercent"),
        is_spot=providers == {"FARGATE_SPOT"},
    )


def _primary(items: Iterable[Mapping[str, Any]] | None) -> Mapping[str, Any]:
    """The primary deployment or task set; empty: there is none."""
    return next((item for item in items or () if item.get("status") == "PRIMARY"), {})


def _target_groups(balancer: Mapping[str, Any]) -> tuple[str, ...]:
    """The target group and its alternate of a blue/green deployment; a Classic Load Balancer has none."""
    other = (balancer.get("advancedConfiguration") or {}).get("alternateTargetGroupArn")
    return tuple(arn for arn in (balancer.get("targetGroupArn"), other) if arn)


@fact(actions=("application-autoscaling:DescribeScalableTargets",))
def least_tasks(ecs_service: Service | None, settings: Settings) -> int | None:
    """``MinCapacity`` of Application Auto Scaling; None: it does not scale the service, or the service is not set."""
    if ecs_service is None:
        return None
    resource = f"service/{ecs_service.cluster.rpartition('/')[2]}/{ecs_service.name.rpartition('/')[2]}"
    with aws.translate_aws_errors("application-autoscaling:DescribeScalableTargets", f"the service {resource}"):
        found: Any = aws.client("application-autoscaling", settings.region).describe_scalable_targets(
            ServiceNamespace="ecs", ResourceIds=[resource], ScalableDimension="ecs:service:DesiredCount"
        )
    return min((target["MinCapacity"] for target in found["ScalableTargets"]), default=None)


@dataclass(frozen=True)
class Container:
    """One container of a task definition, without the values of its environment.

    Attributes:
        leaked: environment variables and other members of the definition that contain a value of the secret.
        credentials: environment variables, options of the command and labels with a credential, by value or name.
        secrets: name and ARN of the variables from Secrets Manager or Parameter Store.
        secret_names: plaintext variables with the name or ARN of a secret, and their values; an empty value: it is
            neither an ARN nor the name of this deployment's secret, and might be a credential.
        also_fetched: ARNs of the secrets of its log driver and of its image's registry.
        environment_files: ARNs of S3 objects with more environment variables, which are not read.
        host_access: Linux capabilities, devices, directories and namespaces of the host that it has.
        settings_module: ``DJANGO_SETTINGS_MODULE`` of its command or its variables; empty: not set.
        region: its variable ``AWS_REGION``; empty: not set.
        log_group: Region and name of its log group, if ECS does not create it; empty: none.
        development: its variables with values of development: ``DJANGO_DEBUG=1``, ``ALLOWED_HOSTS=*``, and words of
            its command: ``runserver``.
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
    secret_names: tuple[tuple[str, str], ...] = ()
    also_fetched: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    host_access: tuple[str, ...] = ()
    settings_module: str = ""
    region: str = ""
    log_group: tuple[str, ...] = ()
    development: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskDefinition:
    """The task definition of the service.

    Attributes:
        task_role: ARN of the application's role; empty: none.
        execution_role: ARN of the role with which ECS pulls the image and reads ``secrets``; empty: none.
    """

    arn: str
    task_role: str
    containers: tuple[Container, ...]
    execution_role: str = ""


#: arn:partition:secretsmanager:region:account:secret:name
SECRET_PARTS = 7

#: The ARN of a secret, also with key, label and version.
SECRET_ARN = re.compile(r"arn:[\w-]+:secretsmanager:[\w-]+:\d+:secret:[\w/+=.@:-]+")

#: Capabilities that give no access to the host.
HARMLESS_CAPABILITIES = {"NET_BIND_SERVICE", "SYS_PTRACE"}

MODULE = "DJANGO_SETTINGS_MODULE"

#: Variables that switch protection off.
DEVELOPMENT = re.compile(
    r"((DJANGO|APP|WEB|FLASK|WERKZEUG)_)?DEBUG=(1|true|yes|on)|(\w+_)?ALLOWED_HOSTS=(.*,\s*)?\*(,.*)?"
    r"|PYTHONHTTPSVERIFY=0|NODE_TLS_REJECT_UNAUTHORIZED=0",
    re.IGNORECASE,
)

#: Servers and options of development in a command, and the settings that a command has instead of its variable's.
OF_DEVELOPMENT = re.compile(r"(?<![\w/-])(runserver(_plus)?|--reload)(?![\w.-])")
OF_COMMAND = re.compile(rf"""(?:{MODULE}=|(?<!\S)--settings[= ])["']?(\w[\w.]*)""")

#: Ends of the names of variables that identify something.
OF_NAME = ("_NAME", "_ARN", "_ID")


@fact(actions=("ecs:DescribeTaskDefinition",))
def task_definition(ecs_service: Service | None, secret: SecretState, settings: Settings) -> TaskDefinition | None:
    if ecs_service is None:
        return None
    arn = ecs_service.task_definition
    with aws.translate_aws_errors("ecs:DescribeTaskDefinition", f"the task definition {arn}"):
        response: Any = aws.client("ecs", settings.region).describe_task_definition(taskDefinition=arn)
    credentials = credential_values(secret.document, all_fields(settings.presets, settings.secret_fields))
    values = {form.decode() for value in credentials.values() for form in encoded_forms(value)}
    definition = response["taskDefinition"]
    return TaskDefinition(
        definition["taskDefinitionArn"],
        definition.get("taskRoleArn", ""),
        tuple(
            replace(_container(item, values, secret.name), host_access=_host_access(item, definition))
            for item in definition["containerDefinitions"]
        ),
        definition.get("executionRoleArn", ""),
    )


@fact(actions=("logs:DescribeLogGroups",))
def log_groups(task_definition: TaskDefinition | None) -> frozenset[tuple[str, ...]] | None:
    """Region and name of those log groups of the containers that exist; None: not set."""
    if task_definition is None:
        return None
    wanted = {container.log_group for container in task_definition.containers if container.log_group}
    return frozenset((region, name) for region, name in wanted if name and name in read_log_groups([name], region))


@fact(actions=("ecs:DescribeTaskDefinition",))
def newest_settings_modules(task_definition: TaskDefinition | None, settings: Settings) -> Mapping[str, str] | None:
    """``DJANGO_SETTINGS_MODULE`` by container in the newest revision of the family, which is to be deployed next."""
    if task_definition is None:
        return None
    family = task_definition.arn.rpartition("/")[2].partition(":")[0]
    with aws.translate_aws_errors("ecs:DescribeTaskDefinition", f"the task definition {family}"):
        client = aws.client("ecs", settings.region)
        try:
            response: Any = client.describe_task_definition(taskDefinition=family)
        except client.exceptions.ClientException:  # The family has no active revision.
            return {}
    return {item["name"]: _settings_module(item) for item in response["taskDefinition"]["containerDefinitions"]}


def secret_arn(source: str) -> str:
    """Return the ARN of the secret in a ``valueFrom``, without key, label and version; a parameter is unchanged."""
    return ":".join(source.split(":")[:SECRET_PARTS]) if ":secretsmanager:" in source else source


def _container(item: Any, values: set[str], secret: str) -> Container:
    environment = _environment(item)
    log = item.get("logConfiguration") or {}
    registry = (item.get("repositoryCredentials") or {}).get("credentialsParameter")
    rest = {name: member for name, member in item.items() if name != "environment"}
    known = {name: value for name, value in environment.items() if value and _identifies_secret(value, secret)}
    named = {name: known.get(name, "") for name, value in environment.items() if value and _names_secret(name)} | known
    return Container(
        name=item["name"],
        image=item.get("image", ""),
        leaked=tuple(name for name, member in {**rest, **environment}.items() if _contains(member, values)),
        credentials=(
            *(name for name, value in environment.items() if name not in known and is_credential(name, value)),
            *dict.fromkeys(credentials_in(item)),
        ),
        secrets=tuple((secret["name"], secret["valueFrom"]) for secret in item.get("secrets") or ()),
        user=item.get("user"),
        is_privileged=item.get("privileged"),
        has_readonly_root=item.get("readonlyRootFilesystem"),
        log_driver=log.get("logDriver"),
        secret_names=tuple(named.items()),
        also_fetched=(
            *(option["valueFrom"] for option in log.get("secretOptions") or ()),
            *([registry] if registry else ()),
        ),
        environment_files=tuple(file["value"] for file in item.get("environmentFiles") or ()),
        settings_module=_settings_module(item),
        region=environment.get("AWS_REGION", ""),
        log_group=_log_group(log),
        development=(
            *sorted(text for pair in environment.items() if DEVELOPMENT.fullmatch(text := "=".join(pair))),
            *(f"{found[0]} in its command" for found in OF_DEVELOPMENT.finditer(_command(item))),
        ),
    )


def _log_group(log: Mapping[str, Any]) -> tuple[str, ...]:
    options = log.get("options") or {}
    if log.get("logDriver") != "awslogs" or options.get("awslogs-create-group") == "true":
        return ()
    return (options.get("awslogs-region", ""), options.get("awslogs-group", ""))


def _settings_module(item: Any) -> str:
    found = OF_COMMAND.search(_command(item))
    return found[1] if found else _environment(item).get(MODULE, "")


def _command(item: Any) -> str:
    return " ".join((*(item.get("entryPoint") or ()), *(item.get("command") or ())))


def _environment(item: Any) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in item.get("environment") or ()}


def _host_access(item: Any, definition: Any) -> tuple[str, ...]:
    linux = item.get("linuxParameters") or {}
    added = (linux.get("capabilities") or {}).get("add") or ()
    paths = {volume["name"]: (volume.get("host") or {}).get("sourcePath") for volume in definition.get("volumes") or ()}
    mounted = (paths.get(mount.get("sourceVolume")) for mount in item.get("mountPoints") or ())
    return (
        *(f"the capability {name}" for name in added if name not in HARMLESS_CAPABILITIES),
        *(f"the device {device.get('hostPath')}" for device in linux.get("devices") or ()),
        *(f"the directory {path} of the host" for path in mounted if path),
        *(
            f"the {mode} of the host"
            for mode in ("networkMode", "pidMode", "ipcMode")
            if definition.get(mode) == "host"
        ),
    )


def _contains(member: Any, values: set[str]) -> bool:
    """Whether any string in `member`, such as a command or a label, contains one of `values`."""
    if isinstance(member, Mapping):
        return any(_contains(part, values) for item in member.items() for part in item)
    if isinstance(member, list):
        return any(_contains(part, values) for part in member)
    return isinstance(member, str) and any(value in member for value in values)


def _identifies_secret(value: str, secret: str) -> bool:
    """Whether `value` is the ARN of any secret or the name of `secret`, which can be an ARN itself."""
    own = re.fullmatch(rf"{re.escape(value)}(-[A-Za-z0-9]{{6}})?", secret.rpartition(":")[2])
    return bool(own or SECRET_ARN.fullmatch(value))


def _names_secret(name: str) -> bool:
    return "SECRET" in name.upper() and name.upper().endswith(OF_NAME)


@dataclass(frozen=True)
class Deployment:
    """A service deployment.

    Attributes:
        status: ``SUCCESSFUL``, ``ROLLBACK_SUCCESSFUL``, ``IN_PROGRESS``, …; None: not in the AWS response.
        reason: ``statusReason``.
    """

    status: str | None
    created_at: datetime
    reason: str = ""


@fact(actions=("ecs:ListServiceDeployments",))
def ecs_deployment(ecs_service: Service | None, settings: Settings) -> Deployment | None:
    """The last deployment by ECS in the 90 days that ECS keeps; None: there is none."""
    if ecs_service is None or ecs_service.controller != "ECS":
        return None
    client, found = aws.client("ecs", settings.region), list[Any]()
    request: Any = {"service": ecs_service.name, "cluster": ecs_service.cluster}
    while True:
        with aws.translate_aws_errors("ecs:ListServiceDeployments", f"the service {ecs_service.name}"):
            response: Any = client.list_service_deployments(**request)
        found += [item for item in response.get("serviceDeployments") or () if "createdAt" in item]
        if not response.get("nextToken"):
            break
        request["nextToken"] = response["nextToken"]
    last = max(found, key=lambda item: item["createdAt"], default=None)
    return Deployment(last.get("status"), last["createdAt"], last.get("statusReason", "")) if last else None


@dataclass(frozen=True)
class Cluster:
    """The ECS cluster.

    Attributes:
        insights: the setting ``containerInsights``: ``disabled``, ``enabled``, ``enhanced``; None: not in the response.
    """

    name: str
    insights: str | None


@fact(actions=("ecs:DescribeClusters",))
def ecs_cluster(ecs_service: Service | None, settings: Settings) -> Cluster | None:
    if ecs_service is None:
        return None
    name = ecs_service.cluster
    with aws.translate_aws_errors("ecs:DescribeClusters", f"the cluster {name}"):
        response: Any = aws.client("ecs", settings.region).describe_clusters(clusters=[name], include=["SETTINGS"])
    if not response["clusters"]:
        raise NotFound(
            f"The ECS cluster {name} does not exist.", hint='Check DEPLOYTOOLS["ECS_CLUSTER"]: aws ecs list-clusters'
        )
    options = {item.get("name"): item.get("value") for item in response["clusters"][0].get("settings") or ()}
    return Cluster(name, options.get("containerInsights"))


@dataclass(frozen=True)
class Target:
    """A task as a target of a load balancer.

    Attributes:
        address: IP address and port.
        state: ``healthy``, ``draining``, …; None: not in the AWS response.
        reason: reason code of a target that is not healthy, for example ``Target.Timeout``.
    """

    address: str
    state: str | None
    reason: str = ""


@dataclass(frozen=True)
class TargetGroup:
    """The targets of one load balancer of the service.

    Attributes:
        arn: ARN of the target group; of the first one if a blue/green deployment swaps two.
        targets: the targets of all of them.
        codes: the HTTP codes that their health checks accept, for example ``200-399``; empty: they do not use HTTP.
    """

    arn: str
    targets: tuple[Target, ...]
    codes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.arn.split(":targetgroup/")[-1].split("/")[0]


@fact(actions=("elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeTargetGroups"))
def ecs_targets(ecs_service: Service | None, settings: Settings) -> tuple[TargetGroup, ...] | None:
    if ecs_service is None:
        return None
    return tuple(
        TargetGroup(
            arns[0],
            tuple(target for arn in arns for target in _targets(arn, settings.region)),
            _codes(arns, settings.region),
        )
        for arns in ecs_service.target_groups
    )


def _codes(arns: tuple[str, ...], region: str) -> tuple[str, ...]:
    with aws.translate_aws_errors("elasticloadbalancing:DescribeTargetGroups", f"the target group {arns[0]}"):
        response: Any = aws.client("elbv2", region).describe_target_groups(TargetGroupArns=list(arns))
    codes = ((group.get("Matcher") or {}).get("HttpCode") for group in response["TargetGroups"])
    return tuple(sorted(set(filter(None, codes))))


def _targets(arn: str, region: str) -> tuple[Target, ...]:
    with aws.translate_aws_errors("elasticloadbalancing:DescribeTargetHealth", f"the target group {arn}"):
        response: Any = aws.client("elbv2", region).describe_target_health(TargetGroupArn=arn)
    return tuple(sorted(map(_target, response["TargetHealthDescriptions"]), key=lambda target: target.address))


def _target(item: Any) -> Target:
    target, health = item.get("Target") or {}, item.get("TargetHealth") or {}
    port = f":{target['Port']}" if "Port" in target else ""
    return Target(f"{target.get('Id', '')}{port}", health.get("State"), health.get("Reason", ""))
