"""Checks of the ECS service: deployment, task definition, cluster, load balancer targets and database access."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter

from deploytools.secrets.plan import SecretState
from deploytools.verification.connection.database_settings import DatabaseSettings
from deploytools.verification.ecs.facts import (
    Cluster,
    Container,
    Deployment,
    Service,
    TaskDefinition,
    secret_arn,
)
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.network.subnets import Subnets
from deploytools.verification.project.facts import ProjectReport
from deploytools.verification.registry import check
from deploytools.verification.secret.facts import SecretDescription
from deploytools.verification.secret.rotation_facts import RotationDates
from deploytools.wording import count

GUIDE = "Next Steps: Phase 10"
IN_SECRETS_MANAGER = "Security Checklist: All production secrets stored in AWS Secrets Manager (not in code)"
NO_SERVICE = 'DEPLOYTOOLS["ECS_SERVICE"] is not set'
NO_OWN_NETWORK = "its tasks do not use the awsvpc network mode"

#: A completed deployment: `rolloutState` of a deployment, `stabilityStatus` of a task set.
DONE = {"COMPLETED", "STEADY_STATE"}
#: Length of the suffix of a secret's ARN: a hyphen and six characters.
SUFFIX = 7
#: Label or ID of a version at the end of a ``valueFrom``: ARN:KEY:LABEL:ID.
VERSION = re.compile(r":secret:[^:]+:[^:]*:(?!(?:AWSCURRENT)?:?$)")

#: The effect of a new deployment.
REPLACES_TASKS = "replaces all running tasks"
#: How to deploy a service whose deployment controller is not ECS: UpdateService is refused.
OTHER_CONTROLLERS = {
    "CODE_DEPLOY": "Create a new deployment with CodeDeploy (aws deploy create-deployment)",
    "EXTERNAL": "Create a new task set (aws ecs create-task-set)",
}

container_check = partial(check, guide=GUIDE, not_set=NO_SERVICE, setting="ECS_SERVICE")
service_check = partial(container_check, resource_of=attrgetter("name"))


def _each(definition: TaskDefinition, evaluate: Callable[[Container], Verdict]) -> list[Verdict]:
    return [replace(evaluate(container), resource=container.name) for container in definition.containers]


def deploy_hint(service: Service) -> str:
    return OTHER_CONTROLLERS.get(service.controller, f"Create a new deployment with {service.controller}")


@service_check(
    "ecs.deployment-complete",
    title="Last deployment of the ECS service is complete",
    severity=Severity.HIGH,
    hint="Read the service's events: aws ecs describe-services --cluster CLUSTER --services SERVICE",
)
def deployment_complete(ecs_service: Service) -> Verdict:
    """After a failed deployment, the tasks still run the previous version."""
    service = ecs_service
    hint = f"Read its events: aws ecs describe-services --cluster {service.cluster} --services {service.name}"
    if service.status is None or service.desired is None or service.running is None:
        return unknown("the AWS response has no status, desiredCount or runningCount")
    if service.status != "ACTIVE":
        return failed(f"its status is {service.status}", hint=hint)
    rollout = f"rollout {service.rollout}" if service.rollout else f"deployments: {service.deployments or 'none'}"
    evidence, is_complete = f"{service.running} of {service.desired} tasks running, {rollout}", _is_complete(service)
    if service.running < service.desired or not service.desired or is_complete is False:
        return failed(evidence, hint=hint)
    return passed(evidence) if is_complete else unknown(evidence, hint=hint)


def _is_complete(service: Service) -> bool | None:
    """Whether no deployment is in progress; None: not in the AWS response.

    Behind a Classic Load Balancer, ECS returns no rollout state. As for ``aws ecs wait services-stable``, a single
    deployment is then complete.
    """
    if service.rollout:
        return service.rollout in DONE
    if service.controller != "ECS" or not service.deployments:
        return None
    return service.deployments == 1


@service_check(
    "ecs.deployed-since-rotation",
    title="ECS tasks were started after the last rotation of a key that they read at their start",
    severity=Severity.HIGH,
    hint="Run: aws ecs update-service --cluster CLUSTER --service SERVICE --force-new-deployment, after each rotation",
)
def deployed_since_rotation(
    ecs_service: Service,
    secret_description: SecretDescription,
    rotation_dates: RotationDates,
    login_rotation_dates: RotationDates,
    database_settings: DatabaseSettings | None,
) -> Verdict:
    """A task keeps the keys that it read at its start. Only deploytools.backend reads the database login again."""
    dates = {key: date for key, date in rotation_dates.items() if key not in ("password", "master_password")}
    if not (database_settings and database_settings.recovers):
        others = {"password": login_rotation_dates.get("password"), "the secret": secret_description.rotated_at}
        dates = {key: date for key, date in others.items() if date} | dates
    service, key = ecs_service, max(dates, key=lambda name: dates[name], default="")
    if not key:
        return not_applicable("no key that is read at the start was rotated")
    rotated, name = dates[key], key.removesuffix("_announced")
    if service.deployed_at is None:
        return unknown("the AWS response has no createdAt of the deployment")
    deployed = service.deployed_at
    evidence = f"deployed {deployed:%Y-%m-%d %H:%M%z}, {name} rotated {rotated:%Y-%m-%d %H:%M%z}"
    if rotated <= deployed:
        return passed(evidence)
    automate = "to automate it, add an EventBridge rule for RotationSucceeded"
    command = f"aws ecs update-service --cluster {service.cluster} --service {service.name} --force-new-deployment"
    start = f"Run: {command}" if service.controller == "ECS" else deploy_hint(service)
    return warned(evidence, hint=f"{start} ({REPLACES_TASKS}; {automate})")


@service_check(
    "ecs.circuit-breaker",
    title="Failed deployments of the ECS service are rolled back automatically",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Run: aws ecs update-service --cluster CLUSTER --service SERVICE --deployment-configuration "
    "'deploymentCircuitBreaker={enable=true,rollback=true}'",
)
def circuit_breaker(ecs_service: Service) -> Verdict:
    """Without the circuit breaker, ECS restarts a failing task for hours."""
    if ecs_service.controller != "ECS":
        return not_applicable(f"its deployment controller is {ecs_service.controller}")
    if ecs_service.has_circuit_breaker and ecs_service.rolls_back:
        return passed("deploymentCircuitBreaker is enabled with rollback")
    hint = (
        f"Run: aws ecs update-service --cluster {ecs_service.cluster} --service {ecs_service.name} "
        '--deployment-configuration "deploymentCircuitBreaker={enable=true,rollback=true}"'
    )
    state = "enabled without rollback" if ecs_service.has_circuit_breaker else "disabled"
    return warned(f"deploymentCircuitBreaker is {state}", hint=hint)


@service_check(
    "ecs.redundant",
    title="ECS service runs at least two tasks in at least two Availability Zones, also during a deployment",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Run: aws ecs update-service --cluster CLUSTER --service SERVICE --desired-count 2, with "
    "a subnet of each zone",
)
def redundant(ecs_service: Service, least_tasks: int | None, subnets: Subnets) -> Verdict:
    """If the only task or its zone fails, the application is down until ECS has started another task."""
    service, desired, least = ecs_service, ecs_service.desired, least_tasks
    if desired is None:
        return unknown("the AWS response has no desiredCount")
    if service.min_healthy == 0 and service.controller == "ECS":
        hint = "Set minimumHealthyPercent to 50 or more in the deployment configuration of the service"
        return warned("minimumHealthyPercent is 0: a deployment can stop all tasks first", hint=hint)
    if service.is_spot:
        hint = "Add the capacity provider FARGATE with a base of 1 or more to the service"
        return warned("all tasks run on Fargate Spot, where AWS can stop them all at any time", hint=hint)
    if least is not None and least < 2 <= desired:
        hint = "Run: aws application-autoscaling register-scalable-target with --min-capacity 2"
        return warned(f"Application Auto Scaling can reduce {count(desired, 'task')} to {least}", hint=hint)
    if unread := [name for name in service.subnets if name not in subnets]:
        return unknown(f"the AWS response has no subnet {unread[0]}")
    used = {subnets[name].zone for name in service.subnets}
    zones = len(used) if service.security_groups is not None else None
    where = f" in {count(zones, 'Availability Zone')}" if zones is not None else ""
    verdict = warned if desired < 2 or (zones is not None and zones < 2) else passed
    return verdict(f"{count(desired, 'task')}{where}")


@service_check(
    "ecs.no-public-address",
    title="ECS tasks have no public IP address",
    severity=Severity.HIGH,
    hint="Set assignPublicIp to DISABLED in the service's network configuration",
    references=("FSBP ECS.2", "Prowler ecs_service_no_assign_public_ip"),
)
def no_public_address(ecs_service: Service) -> Verdict:
    """A request to a public address bypasses the load balancer, its TLS and its firewall."""
    if ecs_service.has_public_address is None:
        return not_applicable(NO_OWN_NETWORK)
    evidence = f"assignPublicIp is {'ENABLED' if ecs_service.has_public_address else 'DISABLED'}"
    return (failed if ecs_service.has_public_address else passed)(evidence)


@container_check(
    "ecs.no-plaintext-secrets",
    title="Task definition has no value of the secret and nothing that looks like a credential",
    severity=Severity.CRITICAL,
    guide=IN_SECRETS_MANAGER,
    hint="Remove it from the task definition. Let the application read the secret, or use secrets with valueFrom",
    references=("FSBP ECS.8", "Prowler ecs_task_definitions_no_environment_secrets"),
)
def no_plaintext_secrets(task_definition: TaskDefinition) -> Iterable[Verdict]:
    """Any principal with ecs:DescribeTaskDefinition can read it, also in old revisions."""
    return [verdict for container in task_definition.containers for verdict in _plaintext(container)]


def _plaintext(container: Container) -> list[Verdict]:
    found = dict.fromkeys(container.credentials, "it has a plaintext value")
    found |= dict.fromkeys(container.leaked, "it contains a value of the secret")
    if found:
        return [failed(problem, f"{container.name} {name}") for name, problem in found.items()]
    if container.environment_files:
        files = ", ".join(container.environment_files)
        hint = "Check these files, and move each credential to secrets with valueFrom"
        return [unknown(f"environment files are not read: {files}", container.name, hint)]
    return [passed("no value of the secret, and nothing that looks like a credential", container.name)]


@container_check(
    "ecs.expected-secret",
    title="Task definition uses the secret and the settings of this deployment, not those of development",
    severity=Severity.HIGH,
    guide=IN_SECRETS_MANAGER,
    hint="Set the variable that names the secret, and each valueFrom, to the secret of this deployment",
)
def expected_secret(
    task_definition: TaskDefinition,
    secret_description: SecretDescription,
    secret: SecretState,
    project: ProjectReport,
    newest_settings_modules: Mapping[str, str],
) -> Iterable[Verdict]:
    """Otherwise the application reads another secret, or has other settings, than those that are checked."""
    arn, module = secret_description.arn, project.settings_module

    def used(container: Container) -> list[str]:
        injected = {secret_arn(source) for _, source in container.secrets if ":secretsmanager:" in source}
        return sorted({*injected, *(value or f"the one of {variable}" for variable, value in container.secret_names)})

    def is_own(name: str) -> bool:
        return name == secret.name or _is_same(name, arn)

    is_named = any(is_own(value) for container in task_definition.containers for _, value in container.secret_names)

    def evaluate(container: Container) -> Verdict:
        names = used(container)
        if container.settings_module not in {"", module}:
            found = f"DJANGO_SETTINGS_MODULE is {container.settings_module}, expected {module}"
            if newest_settings_modules.get(container.name) == module:
                return warned(f"{found}, as in the newest revision", hint="Deploy the newest revision")
            return failed(found, hint=f"Set DJANGO_SETTINGS_MODULE to {module}, or run the command with its settings")
        if container.development:
            return failed(f"it has {', '.join(container.development)}", hint="Remove it from the task definition")
        own = {name: source for name, source in container.secrets if is_own(secret_arn(source))}
        if former := [variable for variable, source in own.items() if VERSION.search(source)]:
            return failed(
                f"valueFrom of {', '.join(former)} names a version of the secret other than AWSCURRENT",
                hint="Remove label and ID of the version from valueFrom",
            )
        if container.secret_names and container.region not in {"", secret.region}:
            return failed(
                f"AWS_REGION is {container.region}, expected {secret.region}", hint=f"Set AWS_REGION to {secret.region}"
            )
        for variable, value in container.secret_names:
            if not is_named and not is_own(value):
                found = f"is {value}, expected" if value else "is not"
                return failed(f"{variable} {found} {secret.name}")
        if other := [name for name in names if not is_own(name)]:
            return warned(f"it uses values of other secrets: {', '.join(other)}")
        if not names and container.environment_files:
            return unknown("the name of the secret might be in its environment files, which are not read")
        return passed(secret.name) if names else not_applicable("it uses no secret")

    return _each(task_definition, evaluate)


def _is_same(name: str, arn: str) -> bool:
    """Compare by name or ARN; the ARN can be without the suffix that AWS appends to the name."""
    whole = name if name.startswith("arn:") else f"{arn.rpartition(':')[0]}:{name}"
    return arn in {whole, f"{whole}{arn[-SUFFIX:]}"}


@container_check(
    "ecs.image-pinned",
    title="Container images are pinned by digest",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Use REPOSITORY@sha256:…; to show the digest: aws ecr describe-images --repository-name REPOSITORY",
    references=("FSBP ECR.2",),
)
def image_pinned(task_definition: TaskDefinition) -> Iterable[Verdict]:
    """A tag can be moved to another image: tasks of one service then run different code."""
    return _each(task_definition, lambda found: (passed if "@sha256:" in found.image else warned)(found.image))


@container_check(
    "ecs.logs",
    title="Every container has a log driver, and its log group exists",
    severity=Severity.MEDIUM,
    hint="Set logConfiguration with the driver awslogs",
    references=("FSBP ECS.9",),
)
def logs(task_definition: TaskDefinition, log_groups: frozenset[tuple[str, ...]]) -> Iterable[Verdict]:
    """Output that no log driver sends is lost when the task stops. Without its log group, no task starts."""

    def evaluate(container: Container) -> Verdict:
        if container.log_driver in {None, "", "none"}:
            return failed("it has no log driver")
        if container.log_group and container.log_group not in log_groups:
            region, name = container.log_group
            hint = f"Run: aws logs create-log-group --log-group-name {name or 'NAME'} --region {region or 'REGION'}"
            return failed(f"the log group {name or '(not set)'} does not exist", hint=hint)
        return passed(str(container.log_driver))

    return _each(task_definition, evaluate)


@container_check(
    "ecs.unprivileged",
    title="Containers run as an unprivileged user with a read-only root file system, without access to the host",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Set user, readonlyRootFilesystem: true and privileged: false in the task definition",
    references=("FSBP ECS.4", "FSBP ECS.5", "FSBP ECS.20", "Prowler ecs_task_definitions_containers_readonly_access"),
)
def unprivileged(task_definition: TaskDefinition) -> Iterable[Verdict]:
    """An attacker in the application can then change neither its code nor the host."""

    def evaluate(container: Container) -> Verdict:
        if container.is_privileged:
            return failed("it is privileged")
        if container.host_access:
            return failed(f"it has {', '.join(container.host_access)}")
        if _is_root(container.user or ""):
            return failed(f"its user is {container.user}, which is root")
        problems = [] if container.user else ["its user is the one of the image"]
        problems += [] if container.has_readonly_root else ["its root file system is writable"]
        if problems:
            return warned(", ".join(problems))
        return passed(f"user {container.user}")

    return _each(task_definition, evaluate)


def _is_root(user: str) -> bool:
    """Whether ``USER`` or ``USER:GROUP`` is root, by name or by any spelling of zero."""
    name = user.partition(":")[0].strip()
    return name == "root" or re.fullmatch(r"[+-]?0+", name) is not None


@service_check(
    "ecs.not-rolled-back",
    title="Last deployment of the ECS service was not rolled back",
    severity=Severity.HIGH,
    hint="Read the reason: aws ecs list-service-deployments --cluster CLUSTER --service SERVICE",
)
def not_rolled_back(ecs_service: Service, ecs_deployment: Deployment | None) -> Verdict:
    """After a rollback the service is healthy again, but runs the previous version."""
    service, deployment = ecs_service, ecs_deployment
    if service.controller != "ECS":
        return not_applicable(f"its deployment controller is {service.controller}")
    if deployment is None:
        return not_applicable("no deployment in the last 90 days")
    if deployment.status is None:
        return unknown("the AWS response has no status of the deployment")
    evidence = f"the deployment of {deployment.created_at:%Y-%m-%d} is {deployment.status}"
    if deployment.status == "SUCCESSFUL":
        return passed(evidence)
    if deployment.status in {"PENDING", "IN_PROGRESS"}:
        return not_applicable(f"{evidence} (see ecs.deployment-complete)")
    hint = (
        f"Read the reason, fix it and deploy again. Run: aws ecs list-service-deployments --cluster {service.cluster} "
        f"--service {service.name}"
    )
    return failed(f"{evidence}: {deployment.reason}" if deployment.reason else evidence, hint=hint)


@service_check(
    "ecs.container-insights",
    title="Container Insights is enabled on the ECS cluster",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Run: aws ecs update-cluster-settings --cluster CLUSTER --settings name=containerInsights,value=enabled",
    references=("FSBP ECS.12", "Prowler ecs_cluster_container_insights_enabled", "checkov CKV_AWS_65"),
)
def container_insights(ecs_cluster: Cluster) -> Verdict:
    """Without it, CloudWatch has no memory and restart metrics of the containers. CloudWatch charges for them."""
    if ecs_cluster.insights is None:
        return unknown("the AWS response has no setting containerInsights")
    if ecs_cluster.insights in {"enabled", "enhanced"}:
        return passed(f"containerInsights is {ecs_cluster.insights}")
    hint = (
        f"Run: aws ecs update-cluster-settings --cluster {ecs_cluster.name} "
        "--settings name=containerInsights,value=enabled (CloudWatch charges for the metrics)"
    )
    return warned(f"containerInsights is {ecs_cluster.insights}", hint=hint)
