"""Checks of what is around the ECS service: its last deployment, its cluster, its targets, its way to the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from deploytools.verification.checks.ecs import GUIDE, REPLACED, UNDECLARED, redeployment
from deploytools.verification.checks.network import authorize, unanswered
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.ecs import Service
from deploytools.verification.sources.ecs_surroundings import Cluster, Deployment, TargetGroup
from deploytools.verification.sources.network import Network, SecurityGroup
from deploytools.verification.sources.rds import RdsInstance

#: What a target is that takes no request and should; one that drains is on its way out, as it should be.
BROKEN = {"unhealthy", "unused", "unavailable"}

#: What the group is called that AWS makes with every VPC; no other may be.
DEFAULT = "default"

#: What usually is behind the reason that the load balancer gives.
CAUSES = {
    "Target.Timeout": "nothing answers: let the load balancer's security group in on the container's port",
    "Target.FailedHealthChecks": "nothing listens there, or it closes the connection: read the container's log",
    "Target.ResponseCodeMismatch": "see what the health check's path answers: 400 is ALLOWED_HOSTS, for the load "
    "balancer asks by address; 301 is SECURE_SSL_REDIRECT",
    "Target.NotInUse": "no listener leads to the target group, or the task's zone is not the load balancer's",
}


@check(
    "ecs.not-rolled-back",
    title="The last deployment of the ECS service was not taken back",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Run: aws ecs list-service-deployments, and read why",
)
def not_rolled_back(ecs_service: Service | None, ecs_deployment: Deployment | None) -> Verdict:
    """Once it is taken back the service looks well again, and runs the code from before: who deployed may not know."""
    if ecs_service is None:
        return not_applicable(UNDECLARED)
    service, deployment = ecs_service, ecs_deployment
    if service.controller != "ECS":
        return not_applicable(f"its deployments are made by {service.controller}", service.name)
    if deployment is None:
        return not_applicable("ECS made none in the 90 days that it remembers", service.name)
    if deployment.status is None:
        return unknown("AWS's answer does not say (serviceDeployments: status)", service.name)
    seen = f"that of {deployment.created_at:%Y-%m-%d} is {deployment.status}"
    if deployment.status == "SUCCESSFUL":
        return passed(seen, service.name)
    if deployment.status in {"PENDING", "IN_PROGRESS"}:
        return not_applicable(f"{seen} (see ecs.rolled-out)", service.name)
    hint = f"Run: aws ecs list-service-deployments --cluster {service.cluster} --service {service.name} (and mend it)"
    return failed(f"{seen}: {deployment.reason}" if deployment.reason else seen, service.name, hint)


@check(
    "ecs.container-insights",
    title="Container Insights watches the ECS cluster",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=GUIDE,
    hint="Run: aws ecs update-cluster-settings --settings name=containerInsights,value=enabled",
    peers=("FSBP ECS.12", "Prowler ecs_cluster_container_insights_enabled", "checkov CKV_AWS_65"),
)
def container_insights(ecs_cluster: Cluster | None) -> Verdict:
    """Without it nobody sees which container ran out of memory or was started again. CloudWatch bills its metrics."""
    if ecs_cluster is None:
        return not_applicable(UNDECLARED)
    cluster = ecs_cluster
    if cluster.insights is None:
        return unknown("AWS's answer does not say (settings: containerInsights)", cluster.name)
    if cluster.insights in {"enabled", "enhanced"}:
        return passed(f"containerInsights is {cluster.insights}", cluster.name)
    hint = (
        f"Run: aws ecs update-cluster-settings --cluster {cluster.name} "
        "--settings name=containerInsights,value=enabled (CloudWatch bills its metrics)"
    )
    return warned(f"containerInsights is {cluster.insights}", cluster.name, hint)


@check(
    "ecs.targets-healthy",
    title="The load balancer sends requests to every task of the ECS service",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=GUIDE,
    hint="Run: aws elbv2 describe-target-health, and look at each target's reason",
)
def targets_healthy(ecs_targets: tuple[TargetGroup, ...] | None) -> Iterable[Verdict]:
    """A task that runs and fails the load balancer's health check serves nobody, and ECS starts it again and again."""
    if ecs_targets is None:
        return [not_applicable(UNDECLARED)]
    return [_judge(group) for group in ecs_targets] or [not_applicable("it has no target group")]


def _judge(group: TargetGroup) -> Verdict:
    states = Counter(target.state or "" for target in group.targets)
    broken = [target for target in group.targets if target.state in BROKEN]
    hint = f"Run: aws elbv2 describe-target-health --target-group-arn {group.arn}"
    if "" in states:
        return unknown("AWS's answer does not say (TargetHealth.State)", group.name)
    if not states:
        return failed("no target is registered", group.name, hint)
    evidence = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    if broken:
        seen = ", ".join(f"{target.address} is {target.state} ({target.reason or 'no reason'})" for target in broken)
        causes = dict.fromkeys(CAUSES[target.reason] for target in broken if target.reason in CAUSES)
        return failed(f"{evidence}: {seen}", group.name, f"{hint} ({'; '.join(causes)})" if causes else hint)
    if "healthy" not in states:
        return failed(f"none is healthy: {evidence}", group.name, hint)
    if "initial" in states:
        return warned(f"{evidence}: not all health checks are through yet", group.name, hint)
    return passed(evidence, group.name)


@check(
    "ecs.reaches-database",
    title="The ECS service has a security group that the database lets in",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Run: aws ecs update-service --network-configuration, with the application's security group",
)
def reaches_database(
    ecs_service: Service | None, rds_instance: RdsInstance, network: Network, expectation: Expectation
) -> Verdict:
    """The settings may name the right group and the service have another: then no task gets to the database."""
    if ecs_service is None:
        return not_applicable(UNDECLARED)
    service, own = ecs_service, ecs_service.security_groups
    if own is None:
        return not_applicable("its tasks have no network of their own (not awsvpc)", service.name)
    port = rds_instance.port
    if port is None:
        return unknown("AWS's answer does not say (Endpoint.Port)", rds_instance.identifier)
    admitted = _let_in(network, port)
    reaching = {group.identifier: group for group in admitted if _is_the_application_s(group, expectation)}
    if through := sorted(set(reaching) & set(own)):
        return passed(f"{', '.join(through)}, which the database lets in", service.name)
    if missing := unanswered(network.of_database, network.groups):
        return missing[0]
    hint = _way_in(service, sorted(reaching)) if reaching else _opening(service, network, expectation, port)
    default = [name for name, group in reaching.items() if group.name == DEFAULT]
    if default and not own:
        seen = f"it has its VPC's default group; nobody says whether that is {default[0]}, which is let in"
        return unknown(seen, service.name, hint)
    evidence = f"of its groups ({', '.join(own) or 'the VPC’s default one'}) the database lets in none"
    evidence += " that APP_SECURITY_GROUPS names" if expectation.app_groups else ""
    return failed(evidence, service.name, hint)


def _let_in(network: Network, port: int) -> list[SecurityGroup]:
    """The groups that the database's own rules name."""
    own = [network.groups[group] for group in network.of_database if group in network.groups]
    names = {rule.group for group in own for rule in group.rules if rule.covers(port) and not rule.account}
    return [group for group in network.groups.values() if group.identifier in names]


def _is_the_application_s(group: SecurityGroup, expectation: Expectation) -> bool:
    """By the settings' word; where they have none, any group but the bastion host's is taken for it."""
    if expectation.app_groups:
        return group.is_one_of(expectation.app_groups)
    return not group.is_one_of(expectation.bastion_groups)


def _way_in(service: Service, reaching: list[str]) -> str:
    """How to give the service a group that is let in."""
    groups = ",".join([*(service.security_groups or ()), reaching[0]])
    if service.controller != "ECS":
        return f"It takes {redeployment(service)}, with the security groups {groups} in its network configuration"
    address = {None: "", True: ",assignPublicIp=ENABLED", False: ",assignPublicIp=DISABLED"}
    return (
        f"Run: aws ecs update-service --cluster {service.cluster} --service {service.name} --network-configuration "
        f'"awsvpcConfiguration={{subnets=[{",".join(service.subnets)}],securityGroups=[{groups}]'
        f'{address[service.has_public_address]}}}" ({REPLACED})'
    )


def _opening(service: Service, network: Network, expectation: Expectation, port: int) -> str:
    """The command that lets the application's group in, for none is; only one that the settings name is meant to be."""
    named = [name for name, group in network.groups.items() if group.is_one_of(expectation.app_groups)]
    if not named or not network.of_database:
        return 'Name the application\'s group in DEPLOYTOOLS["APP_SECURITY_GROUPS"], and let it in to the database'
    own = [name for name in named if name in (service.security_groups or ())]
    then = "" if own else " (and give it to the service; verify_deploy says how, once it is let in)"
    return authorize(network, port, (own or named)[0]) + then
