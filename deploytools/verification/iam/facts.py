"""Facts of the application's IAM role and of the ECS execution role: trust policies and permissions policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.verification.ecs.facts import TaskDefinition, secret_arn
from deploytools.verification.iam.policies import Policy, parse_policy
from deploytools.verification.registry import fact

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient


@dataclass(frozen=True)
class Role:
    """An IAM role with its policies.

    Attributes:
        trust: statements of the trust policy.
        policies: attached and inline policies.
        boundary: the permissions boundary; None: not set.
    """

    name: str
    arn: str
    trust: tuple[Mapping[str, Any], ...]
    policies: tuple[Policy, ...]
    boundary: Policy | None = None


@fact()
def task_role_name(settings: Settings, task_definition: TaskDefinition | None) -> str:
    """The name of the application's role, from the settings or the task definition; empty: not set."""
    named = settings.task_role or (task_definition.task_role if task_definition else "")
    return named.rpartition("/")[2]


#: IAM actions that reading a role with its policies needs.
ROLE_ACTIONS = (
    "iam:GetRole",
    "iam:ListAttachedRolePolicies",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:ListRolePolicies",
    "iam:GetRolePolicy",
)


@fact(actions=ROLE_ACTIONS, deadline=30)
def task_role(task_role_name: str, settings: Settings) -> Role | None:
    """The application's role; None: not set."""
    return read_role(task_role_name, settings.region) if task_role_name else None


@fact(actions=ROLE_ACTIONS, deadline=30)
def execution_role(task_definition: TaskDefinition | None, settings: Settings) -> Role | None:
    """The task execution role of ECS; None: not set, or it injects no secret."""
    if task_definition is None or not task_definition.execution_role or not injected_secrets(task_definition):
        return None
    return read_role(task_definition.execution_role.rpartition("/")[2], settings.region)


def injected_secrets(definition: TaskDefinition) -> tuple[str, ...]:
    """Return the ARNs of the secrets and parameters that ECS injects; a parameter can be named without its ARN."""
    given = [arn for container in definition.containers for _, arn in container.secrets]
    besides = [arn for container in definition.containers for arn in container.also_fetched]
    return tuple(dict.fromkeys(map(secret_arn, [*given, *besides])))


def read_role(name: str, region: str) -> Role:
    """Return a role with its policies."""
    client, where = aws.client("iam", region), f"the role {name}"
    with aws.translate_aws_errors("iam:GetRole", where):
        found: Any = client.get_role(RoleName=name)["Role"]
    trust = parse_policy("trust", found["AssumeRolePolicyDocument"]).statements
    limit = (found.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", "")
    boundary = _managed(client, limit.rpartition("/")[2], limit) if limit else None
    return Role(name, found["Arn"], trust, (*_attached(client, name, where), *_inline(client, name, where)), boundary)


def _attached(client: IAMClient, role: str, where: str) -> tuple[Policy, ...]:
    with aws.translate_aws_errors("iam:ListAttachedRolePolicies", where):
        pages = client.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = pages.build_full_result()["AttachedPolicies"]
    attached = sorted(attached, key=lambda found: found.get("PolicyArn", ""))
    return tuple(_managed(client, item.get("PolicyName", ""), item.get("PolicyArn", "")) for item in attached)


def _managed(client: IAMClient, name: str, arn: str) -> Policy:
    with aws.translate_aws_errors("iam:GetPolicy", f"the policy {name}"):
        version = client.get_policy(PolicyArn=arn)["Policy"].get("DefaultVersionId", "")
    with aws.translate_aws_errors("iam:GetPolicyVersion", f"the policy {name}"):
        document: Any = client.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return parse_policy(name, document, arn)


def _inline(client: IAMClient, role: str, where: str) -> tuple[Policy, ...]:
    with aws.translate_aws_errors("iam:ListRolePolicies", where):
        names = client.get_paginator("list_role_policies").paginate(RoleName=role).build_full_result()["PolicyNames"]
    found = []
    for name in sorted(names):
        with aws.translate_aws_errors("iam:GetRolePolicy", f"the policy {name}"):
            document: Any = client.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        found.append(parse_policy(name, document))
    return tuple(found)
