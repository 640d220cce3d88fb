"""Facts of the application's IAM role, and of the one that ECS starts it with: who may take them, their policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.verification.policies import Policy, parse_policy
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.ecs import TaskDefinition, whole_secret

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient


@dataclass(frozen=True)
class Role:
    """A role, with what says who may take it and what it may do.

    Attributes:
        trust: the statements that say who may take it.
        policies: what is attached to it and written into it.
        boundary: what it may do at most; None: there is no permissions boundary.
    """

    name: str
    arn: str
    trust: tuple[Mapping[str, Any], ...]
    policies: tuple[Policy, ...]
    boundary: Policy | None = None


@fact()
def task_role_name(expectation: Expectation, task_definition: TaskDefinition | None) -> str:
    """The role's name: the settings' word, else the task definition's; empty: nobody says."""
    named = expectation.task_role or (task_definition.task_role if task_definition else "")
    return named.rpartition("/")[2]


#: What it takes to read a role with its policies.
ROLE_ACTIONS = (
    "iam:GetRole",
    "iam:ListAttachedRolePolicies",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:ListRolePolicies",
    "iam:GetRolePolicy",
)


@fact(actions=ROLE_ACTIONS, deadline=30)
def task_role(task_role_name: str) -> Role | None:
    """The role with its policies; None where nobody names one."""
    return _role(task_role_name) if task_role_name else None


@fact(actions=ROLE_ACTIONS, deadline=30)
def execution_role(task_definition: TaskDefinition | None) -> Role | None:
    """The role that ECS takes to start the tasks; None where it has no secret to fetch, or there is none."""
    if task_definition is None or not task_definition.execution_role or not fetched(task_definition):
        return None
    return _role(task_definition.execution_role.rpartition("/")[2])


def fetched(definition: TaskDefinition) -> tuple[str, ...]:
    """ARNs of the secrets and parameters that ECS fetches before a task starts; a parameter may be named without."""
    given = [arn for container in definition.containers for _, arn in container.secrets]
    besides = [arn for container in definition.containers for arn in container.also_fetched]
    return tuple(dict.fromkeys(map(whole_secret, [*given, *besides])))


def _role(name: str) -> Role:
    client, where = aws.client("iam", configuration.region), f"the role {name}"
    with aws.calling("iam:GetRole", where):
        said: Any = client.get_role(RoleName=name)["Role"]
    trust = parse_policy("trust", said["AssumeRolePolicyDocument"]).statements
    limit = (said.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", "")
    boundary = _managed(client, limit.rpartition("/")[2], limit) if limit else None
    return Role(name, said["Arn"], trust, (*_attached(client, name, where), *_inline(client, name, where)), boundary)


def _attached(client: IAMClient, role: str, where: str) -> tuple[Policy, ...]:
    with aws.calling("iam:ListAttachedRolePolicies", where):
        pages = client.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = pages.build_full_result()["AttachedPolicies"]
    attached = sorted(attached, key=lambda said: said.get("PolicyArn", ""))
    return tuple(_managed(client, item.get("PolicyName", ""), item.get("PolicyArn", "")) for item in attached)


def _managed(client: IAMClient, name: str, arn: str) -> Policy:
    with aws.calling("iam:GetPolicy", f"the policy {name}"):
        version = client.get_policy(PolicyArn=arn)["Policy"].get("DefaultVersionId", "")
    with aws.calling("iam:GetPolicyVersion", f"the policy {name}"):
        document: Any = client.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return parse_policy(name, document, arn)


def _inline(client: IAMClient, role: str, where: str) -> tuple[Policy, ...]:
    with aws.calling("iam:ListRolePolicies", where):
        names = client.get_paginator("list_role_policies").paginate(RoleName=role).build_full_result()["PolicyNames"]
    found = []
    for name in sorted(names):
        with aws.calling("iam:GetRolePolicy", f"the policy {name}"):
            document: Any = client.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        found.append(parse_policy(name, document))
    return tuple(found)
