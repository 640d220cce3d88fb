"""Checks of the ECS service, where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from deploytools.secret.sync import SecretState
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.ecs import Container, Service, TaskDefinition, whole_secret
from deploytools.verification.sources.secret import SecretDescription

GUIDE = "Next Steps: Phase 10"
#: The deployment is through: ECS's own word, and that of a task set.
DONE = {"COMPLETED", "STEADY_STATE"}
#: Of a secret's ARN: a hyphen and six characters.
SUFFIX = 7
UNDECLARED = 'no ECS service is declared (DEPLOYTOOLS["ECS_SERVICE"])'

#: What a deployment does.
REPLACED = "it puts new tasks in the place of all that run"
#: What a service is deployed by where ECS itself does not do it, and UpdateService is refused.
ELSEWHERE = {
    "CODE_DEPLOY": "a new deployment by CodeDeploy (aws deploy create-deployment)",
    "EXTERNAL": "a new task set (aws ecs create-task-set)",
}


def redeployment(service: Service) -> str:
    """What it takes to deploy a service that ECS itself does not deploy."""
    return ELSEWHERE.get(service.controller, f"a new deployment by {service.controller}")


def _each(definition: TaskDefinition | None, judge: Callable[[Container], Verdict]) -> Iterable[Verdict]:
    if definition is None:
        return [not_applicable(UNDECLARED)]
    return [judge(container) for container in definition.containers]


@check(
    "ecs.rolled-out",
    title="The ECS service runs what was deployed last",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Run: aws ecs describe-services, and read its events",
)
def rolled_out(ecs_service: Service | None) -> Verdict:
    """A deployment that failed leaves the old code running, and looks fine from outside."""
    if ecs_service is None:
        return not_applicable(UNDECLARED)
    service = ecs_service
    hint = f"Read its events: aws ecs describe-services --cluster {service.cluster} --services {service.name}"
    if service.status is None or service.wanted is None or service.running is None:
        return unknown("AWS's answer does not say (status, desiredCount, runningCount)", service.name)
    if service.status != "ACTIVE":
        return failed(f"its status is {service.status}", service.name, hint)
    rollout = f"rollout {service.rollout}" if service.rollout else f"{service.deployments or 'no'} deployments"
    evidence, is_done = f"{service.running} of {service.wanted} tasks run, {rollout}", _is_done(service)
    if service.running < service.wanted or not service.wanted or is_done is False:
        return failed(evidence, service.name, hint)
    return passed(evidence, service.name) if is_done else unknown(evidence, service.name, hint)


def _is_done(service: Service) -> bool | None:
    """Whether nothing is being rolled out; None: AWS does not say.

    Behind a Classic load balancer ECS tells no state of the rollout: one deployment is then none under way, as it is
    for ``aws ecs wait services-stable``.
    """
    if service.rollout:
        return service.rollout in DONE
    if service.controller != "ECS" or not service.deployments:
        return None
    return service.deployments == 1


@check(
    "ecs.since-rotation",
    title="The ECS service's tasks were started since the secret was last rotated",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Run: aws ecs update-service --force-new-deployment, after each rotation",
)
def since_rotation(ecs_service: Service | None, secret_description: SecretDescription) -> Verdict:
    """A task reads the secret when it starts: after a rotation its next connection is refused."""
    if ecs_service is None:
        return not_applicable(UNDECLARED)
    service, rotated = ecs_service, secret_description.rotated_at
    if rotated is None:
        return not_applicable("Secrets Manager has not rotated the secret", service.name)
    if service.deployed_at is None:
        return unknown("AWS's answer does not say (deployments.createdAt)", service.name)
    deployed = service.deployed_at
    evidence = f"deployed {deployed:%Y-%m-%d %H:%M%z}, the secret was rotated {rotated:%Y-%m-%d %H:%M%z}"
    if rotated <= deployed:
        return passed(evidence, service.name)
    also = "let each rotation do it: an EventBridge rule on RotationSucceeded"
    hint = (
        f"Run: aws ecs update-service --cluster {service.cluster} --service {service.name} --force-new-deployment "
        f"({REPLACED}; and {also})"
    )
    if service.controller != "ECS":
        hint = f"It takes {redeployment(service)}: {REPLACED}. And {also}"
    return warned(evidence, service.name, hint)


@check(
    "ecs.circuit-breaker",
    title="A failed deployment of the ECS service is taken back by itself",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=GUIDE,
    hint="Run: aws ecs update-service --deployment-configuration",
)
def circuit_breaker(ecs_service: Service | None) -> Verdict:
    """Without it ECS starts a broken task again and again, for hours."""
    if ecs_service is None:
        return not_applicable(UNDECLARED)
    if ecs_service.controller != "ECS":
        return not_applicable(f"its deployments are made by {ecs_service.controller}", ecs_service.name)
    if ecs_service.breaks_circuit and ecs_service.rolls_back:
        return passed("deploymentCircuitBreaker is on, and rolls back", ecs_service.name)
    hint = (
        f"Run: aws ecs update-service --cluster {ecs_service.cluster} --service {ecs_service.name} "
        '--deployment-configuration "deploymentCircuitBreaker={enable=true,rollback=true}"'
    )
    seen = "on, and does not roll back" if ecs_service.breaks_circuit else "off"
    return warned(f"deploymentCircuitBreaker is {seen}", ecs_service.name, hint)


@check(
    "ecs.no-public-address",
    title="The ECS service's tasks have no public address",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Set assignPublicIp to DISABLED in the service's network configuration",
    peers=("FSBP ECS.2", "Prowler ecs_service_no_assign_public_ip"),
)
def no_public_address(ecs_service: Service | None) -> Verdict:
    """What has a public address is reached past the load balancer, its TLS and its firewall."""
    if ecs_service is None:
        return not_applicable(UNDECLARED)
    if ecs_service.has_public_address is None:
        return not_applicable("its tasks have no network of their own (not awsvpc)", ecs_service.name)
    evidence = f"assignPublicIp is {'ENABLED' if ecs_service.has_public_address else 'DISABLED'}"
    return (failed if ecs_service.has_public_address else passed)(evidence, ecs_service.name)


@check(
    "ecs.no-literal-secrets",
    title="No credential is written into the task definition",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: All production secrets stored in AWS Secrets Manager (not in code)",
    hint="Take it out of there; the application reads the secret itself, or name it under secrets with valueFrom",
    peers=("FSBP ECS.8", "Prowler ecs_task_definitions_no_environment_secrets"),
)
def no_literal_secrets(task_definition: TaskDefinition | None) -> Iterable[Verdict]:
    """Whoever may describe a task definition reads it, and every old revision keeps it."""
    if task_definition is None:
        return [not_applicable(UNDECLARED)]
    return [verdict for container in task_definition.containers for verdict in _literals(container)]


def _literals(container: Container) -> list[Verdict]:
    seen = dict.fromkeys(container.credentials, "it has a literal value")
    seen |= dict.fromkeys(container.leaked, "it holds a value of the secret")
    if seen:
        return [failed(said, f"{container.name} {name}") for name, said in seen.items()]
    if container.environment_files:
        files = ", ".join(container.environment_files)
        hint = "Look into them, and name under secrets, with valueFrom, what is a credential in there"
        return [unknown(f"more of its environment is in files that were not read: {files}", container.name, hint)]
    return [passed("no value of the secret is in it, and no credential in its environment", container.name)]


@check(
    "ecs.this-secret",
    title="The task definition names this deployment's secret",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: All production secrets stored in AWS Secrets Manager (not in code)",
    hint="Set DB_SECRET_NAME, and each valueFrom, to the secret of this deployment",
)
def this_secret(
    task_definition: TaskDefinition | None, secret_description: SecretDescription, secret: SecretState
) -> Iterable[Verdict]:
    """Else what is judged here is a secret that the application does not read."""
    arn = secret_description.arn

    def judge(container: Container) -> Verdict:
        named = container.secret_name
        fetched = sorted({whole_secret(source) for _, source in container.secrets if ":secretsmanager:" in source})
        other = [source for source in fetched if not _is_same(source, arn)]
        if named and named != secret.name and not _is_same(named, arn):
            return failed(f"DB_SECRET_NAME is {named}, not {secret.name}", container.name)
        if other:
            return warned(f"it is given values of another secret: {', '.join(other)}", container.name)
        if not named and container.environment_files:
            return unknown("its DB_SECRET_NAME may be in the files of its environment, not read", container.name)
        if not named and not fetched:
            return not_applicable("it names no secret", container.name)
        return passed(f"{secret.name}", container.name)

    return _each(task_definition, judge)


def _is_same(named: str, arn: str) -> bool:
    """By name, or by ARN, which may lack the six characters that AWS puts behind the name."""
    whole = named if named.startswith("arn:") else f"{arn.rpartition(':')[0]}:{named}"
    return arn in {whole, f"{whole}{arn[-SUFFIX:]}"}


@check(
    "ecs.image-pinned",
    title="The task definition names its images by digest",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=GUIDE,
    hint="Name it by digest: REPOSITORY@sha256:…; aws ecr describe-images shows it",
    peers=("FSBP ECR.2",),
)
def image_pinned(task_definition: TaskDefinition | None) -> Iterable[Verdict]:
    """A tag may point to other code tomorrow: tasks of one service then run different code."""
    return _each(
        task_definition,
        lambda container: (passed if "@sha256:" in container.image else warned)(container.image, container.name),
    )


@check(
    "ecs.logs",
    title="Every container's output is kept",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Set logConfiguration with the driver awslogs",
    peers=("FSBP ECS.9",),
)
def logs(task_definition: TaskDefinition | None) -> Iterable[Verdict]:
    """On Fargate what is not sent elsewhere is gone with the task."""
    return _each(
        task_definition,
        lambda container: (
            passed(f"by {container.log_driver}", container.name)
            if container.log_driver and container.log_driver != "none"
            else failed("it has no log driver", container.name)
        ),
    )


@check(
    "ecs.unprivileged",
    title="Every container runs as an ordinary user on a file system that it cannot change",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=GUIDE,
    hint="Set user, readonlyRootFilesystem: true and privileged: false in the task definition",
    peers=("FSBP ECS.4", "FSBP ECS.5", "FSBP ECS.20", "Prowler ecs_task_definitions_containers_readonly_access"),
)
def unprivileged(task_definition: TaskDefinition | None) -> Iterable[Verdict]:
    """Whoever breaks into the application can then change neither its code nor the host."""

    def judge(container: Container) -> Verdict:
        if container.is_privileged:
            return failed("it is privileged", container.name)
        if _is_root(container.user or ""):
            return failed(f"its user is {container.user}, which is root", container.name)
        wrong = [] if container.user else ["its user is the image’s"]
        wrong += [] if container.has_readonly_root else ["its root file system can be written"]
        return warned(", ".join(wrong), container.name) if wrong else passed(f"as {container.user}", container.name)

    return _each(task_definition, judge)


def _is_root(user: str) -> bool:
    """``USER``, ``USER:GROUP``, by name or by number: it is root whatever the group, and however zero is written."""
    name = user.partition(":")[0].strip()
    return name == "root" or re.fullmatch(r"[+-]?0+", name) is not None
