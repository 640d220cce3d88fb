"""Checks of the connections of the ECS service: from the load balancer, and to the database."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from ipaddress import ip_network

from deploytools.conf import Settings
from deploytools.verification.ecs.checks import (
    NO_OWN_NETWORK,
    REPLACES_TASKS,
    container_check,
    deploy_hint,
    service_check,
)
from deploytools.verification.ecs.facts import Service, TargetGroup
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.network.checks import allow_hint, missing_groups
from deploytools.verification.network.facts import HostGroups, Network, PrefixLists, SecurityGroup
from deploytools.verification.network.subnets import Subnets
from deploytools.verification.rds.facts import RdsInstance

#: The first HTTP code of an error, and a code in the matcher of a target group.
FIRST_ERROR, NUMBER = 400, re.compile(r"\d+")

#: States of a target that should receive requests and does not. A draining target is being stopped.
BROKEN = {"unhealthy", "unused", "unavailable"}

#: The usual cause for each reason code of a target.
CAUSES = {
    "Target.Timeout": "no response: allow the load balancer's security group on the container's port",
    "Target.FailedHealthChecks": "the connection is refused or closed: read the container's log",
    "Target.ResponseCodeMismatch": "check the response of the health check path: 400 means that ALLOWED_HOSTS rejects "
    "the task's address, 301 means SECURE_SSL_REDIRECT",
    "Target.NotInUse": "no listener forwards to the target group, or the load balancer is not in the task's zone",
}

#: The name of the security group that AWS creates with every VPC.
DEFAULT = "default"


@container_check(
    "ecs.targets-healthy",
    title="Load balancer targets of the ECS service are healthy, and no error counts as healthy",
    severity=Severity.HIGH,
    hint="Read the reason of each target: aws elbv2 describe-target-health --target-group-arn ARN",
)
def targets_healthy(ecs_targets: tuple[TargetGroup, ...], ecs_service: Service) -> Iterable[Verdict]:
    """A task that fails the load balancer's health check receives no requests, and ECS restarts it repeatedly."""
    tasks = ecs_service.running or 0
    return [_evaluate_targets(group, tasks) for group in ecs_targets] or [not_applicable("it has no target group")]


def _evaluate_targets(group: TargetGroup, tasks: int) -> Verdict:
    states = Counter(target.state or "" for target in group.targets)
    broken = [target for target in group.targets if target.state in BROKEN]
    hint = f"Run: aws elbv2 describe-target-health --target-group-arn {group.arn}"
    if "" in states:
        return unknown("the AWS response has no TargetHealth.State", group.name)
    if not states:
        return failed("no target is registered", group.name, hint)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    if broken:
        seen = ", ".join(f"{target.address} is {target.state} ({target.reason or 'no reason'})" for target in broken)
        causes = dict.fromkeys(CAUSES[target.reason] for target in broken if target.reason in CAUSES)
        return failed(f"{counts}: {seen}", group.name, f"{hint} ({'; '.join(causes)})" if causes else hint)
    if "healthy" not in states:
        return failed(f"none is healthy: {counts}", group.name, hint)
    if "initial" in states:
        return warned(f"{counts}: health checks are not complete yet", group.name, hint)
    if len(group.targets) < tasks:
        return warned(f"{counts}, but {tasks} tasks run: the others receive no requests", group.name, hint)
    if wide := [codes for codes in group.codes if max(map(int, NUMBER.findall(codes))) >= FIRST_ERROR]:
        modify = f"Run: aws elbv2 modify-target-group --target-group-arn {group.arn} --matcher HttpCode=200"
        note = "first check that the health check path returns 200, also with the task's address as Host"
        return warned(f"the health check accepts {', '.join(wide)}: errors, too", group.name, f"{modify} ({note})")
    return passed(counts, group.name)


@service_check(
    "ecs.reaches-database",
    title="Security groups and network ACLs allow the ECS service to connect to the database",
    severity=Severity.HIGH,
    guide="Security Checklist: RDS security group only allows access from backend application",
    hint="Run: aws ecs update-service --cluster CLUSTER --service SERVICE --network-configuration …, with the "
    "application's security group",
)
def reaches_database(
    ecs_service: Service,
    rds_instance: RdsInstance,
    network: Network,
    settings: Settings,
    subnets: Subnets,
    task_groups: HostGroups,
    prefix_lists: PrefixLists,
) -> Verdict:
    """If the database allows none of the service's security groups, no task can connect."""
    service, own = ecs_service, ecs_service.security_groups
    if own is None:
        return not_applicable(NO_OWN_NETWORK)
    port = rds_instance.port
    if port is None:
        return unknown("the AWS response has no Endpoint.Port", rds_instance.identifier)
    allowed = {
        group.identifier: group for group in _allowed_groups(network, port) if _is_application_group(group, settings)
    }
    if in_use := sorted(set(allowed) & set(own)):
        blocked = _blocked(service, rds_instance, port, subnets)
        to_database = [subnets[name].cidr for name in rds_instance.subnets if name in subnets]
        lists = {**prefix_lists, **task_groups.prefix_lists}
        if not blocked and not _allows_egress(task_groups.groups, network.of_database, to_database, port, lists):
            hint = (
                f"Run: aws ec2 authorize-security-group-egress --group-id {in_use[0]} --ip-permissions 'IpProtocol=tcp,"
                f"FromPort={port},ToPort={port},UserIdGroupPairs=[{{GroupId={network.of_database[0]}}}]'"
            )
            return failed(f"no egress rule of its security groups allows port {port} of the database", hint=hint)
        return blocked or passed(f"the database allows {', '.join(in_use)}")
    if missing := missing_groups(network.of_database, network.groups):
        return missing[0]
    hint = _assign_hint(service, sorted(allowed)) if allowed else _authorize_hint(service, network, settings, port)
    default = [name for name, group in allowed.items() if group.name == DEFAULT]
    if default and not own:
        evidence = f"it uses the default group of its VPC, which might be {default[0]}; the database allows that group"
        return unknown(evidence, hint=hint)
    expected = 'both in DEPLOYTOOLS["APP_SECURITY_GROUPS"] and ' if settings.app_security_groups else ""
    groups = ", ".join(own) or "the default one of the VPC"
    return failed(f"none of its security groups ({groups}) is {expected}allowed by the database", hint=hint)


def _allows_egress(
    groups: Iterable[SecurityGroup],
    of_database: Collection[str],
    ranges: Iterable[str],
    port: int,
    lists: PrefixLists,
) -> bool:
    """Return whether the egress rules allow a security group of the database, or a part of each of its subnets."""
    rules = [rule for group in groups for rule in group.egress if rule.covers(port)]
    cidrs = [cidr for rule in rules for cidr in ((rule.cidr,) if rule.cidr else lists.get(rule.prefix_list, ()))]
    networks = [ip_network(cidr) for cidr in cidrs]
    return any(rule.group in of_database for rule in rules) or all(
        any(network.overlaps(ip_network(subnet)) for network in networks) for subnet in ranges
    )


def _blocked(service: Service, instance: RdsInstance, port: int, subnets: Subnets) -> Verdict | None:
    """Return a failure if the network ACLs block connections between two of the subnets; unknown: one was not read."""
    for name in (*service.subnets, *instance.subnets):
        if name not in subnets or not subnets[name].acl:
            return unknown(f"the AWS response has no subnet {name} with its network ACL")
    ends = ((subnets[task], subnets[database]) for task in service.subnets for database in instance.subnets)
    for task, database in ends:
        if not task.allows(database, port):
            names = f"{task.identifier},{database.identifier}"
            hint = f"Run: aws ec2 describe-network-acls --filters Name=association.subnet-id,Values={names}"
            evidence = f"the network ACLs block port {port} from {task.identifier} to {database.identifier}"
            return failed(f"{evidence}, or the responses", hint=f"{hint} (and allow both directions)")
    return None


def _allowed_groups(network: Network, port: int) -> list[SecurityGroup]:
    own = [network.groups[group] for group in network.of_database if group in network.groups]
    allowed = {rule.group for group in own for rule in group.rules if rule.covers(port) and not rule.account}
    return [group for group in network.groups.values() if group.identifier in allowed]


def _is_application_group(group: SecurityGroup, settings: Settings) -> bool:
    """Whether the settings list the group; if they list none, whether it is not the bastion host's."""
    if settings.app_security_groups:
        return group.is_one_of(settings.app_security_groups)
    return not group.is_one_of(settings.bastion_security_groups)


def _assign_hint(service: Service, allowed: list[str]) -> str:
    groups = ",".join([*(service.security_groups or ()), allowed[0]])
    if service.controller != "ECS":
        return f"{deploy_hint(service)}, with the security groups {groups} in its network configuration"
    address = {None: "", True: ",assignPublicIp=ENABLED", False: ",assignPublicIp=DISABLED"}
    return (
        f"Run: aws ecs update-service --cluster {service.cluster} --service {service.name} --network-configuration "
        f'"awsvpcConfiguration={{subnets=[{",".join(service.subnets)}],securityGroups=[{groups}]'
        f'{address[service.has_public_address]}}}" ({REPLACES_TASKS})'
    )


def _authorize_hint(service: Service, network: Network, settings: Settings, port: int) -> str:
    """How to allow the application's group; without the settings it is not known which group that is."""
    named = network.named(settings.app_security_groups)
    if not named or not network.of_database:
        return 'Set DEPLOYTOOLS["APP_SECURITY_GROUPS"] to the application\'s group, and allow it on the database'
    own = [name for name in named if name in (service.security_groups or ())]
    then = "" if own else " (then run verify_deploy again, which reports how to assign it to the service)"
    return allow_hint(network, port, (own or named)[0]) + then
