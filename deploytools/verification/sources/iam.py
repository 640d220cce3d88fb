"""Facts of the application's IAM role: who may take it, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import AwsError, NoCredentials, Unreachable
from deploytools.secret.sync import SecretState
from deploytools.verification.policies import Policy, allowed_by, decision, parse_policy
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.ecs import TaskDefinition
from deploytools.verification.sources.rds import instance_identifier
from deploytools.verification.sources.secret import SecretDescription

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

#: What an application never needs, and what an attacker in it would do first.
DANGEROUS = (
    "secretsmanager:PutSecretValue",
    "secretsmanager:DeleteSecret",
    "rds:DeleteDBInstance",
    "rds:ModifyDBInstance",
    "ec2:AuthorizeSecurityGroupIngress",
    "iam:PassRole",
    "kms:ScheduleKeyDeletion",
    "s3:DeleteBucket",
)
READ = "secretsmanager:GetSecretValue"


@dataclass(frozen=True)
class Role:
    """The application's role.

    Attributes:
        trust: the statements that say who may take it.
        policies: what is attached to it and written into it.
    """

    name: str
    arn: str
    trust: tuple[Mapping[str, Any], ...]
    policies: tuple[Policy, ...]


@fact()
def task_role_name(expectation: Expectation, task_definition: TaskDefinition | None) -> str:
    """The role's name: the settings' word, else the task definition's; empty: nobody says."""
    named = expectation.task_role or (task_definition.task_role if task_definition else "")
    return named.rpartition("/")[2]


@fact(
    actions=(
        "iam:GetRole",
        "iam:ListAttachedRolePolicies",
        "iam:GetPolicy",
        "iam:GetPolicyVersion",
        "iam:ListRolePolicies",
        "iam:GetRolePolicy",
    ),
    deadline=30,
)
def task_role(task_role_name: str) -> Role | None:
    """The role with its policies; None where nobody names one."""
    if not task_role_name:
        return None
    client, where = aws.client("iam", configuration.region), f"the role {task_role_name}"
    with aws.calling("iam:GetRole", where):
        said: Any = client.get_role(RoleName=task_role_name)["Role"]
    trust = parse_policy("trust", said["AssumeRolePolicyDocument"]).statements
    policies = (*_attached(client, task_role_name, where), *_inline(client, task_role_name, where))
    return Role(task_role_name, said["Arn"], trust, policies)


def _attached(client: IAMClient, role: str, where: str) -> tuple[Policy, ...]:
    with aws.calling("iam:ListAttachedRolePolicies", where):
        pages = client.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = pages.build_full_result()["AttachedPolicies"]
    found = []
    for item in attached:
        name, arn = item.get("PolicyName", ""), item.get("PolicyArn", "")
        with aws.calling("iam:GetPolicy", f"the policy {name}"):
            version = client.get_policy(PolicyArn=arn)["Policy"].get("DefaultVersionId", "")
        with aws.calling("iam:GetPolicyVersion", f"the policy {name}"):
            document: Any = client.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        found.append(parse_policy(name, document, arn))
    return tuple(found)


def _inline(client: IAMClient, role: str, where: str) -> tuple[Policy, ...]:
    with aws.calling("iam:ListRolePolicies", where):
        names = client.get_paginator("list_role_policies").paginate(RoleName=role).build_full_result()["PolicyNames"]
    found = []
    for name in names:
        with aws.calling("iam:GetRolePolicy", f"the policy {name}"):
            document: Any = client.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        found.append(parse_policy(name, document))
    return tuple(found)


@dataclass(frozen=True)
class Powers:
    """What the role may do.

    Attributes:
        role: its name.
        how: by which means it is known: IAM's own simulation, or the reading of its policies.
        allowed: for each question, (action, resource), what allows it; empty: nothing does.
    """

    role: str
    how: str
    allowed: dict[tuple[str, str], str]


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=30)
def task_role_powers(
    task_role: Role | None, secret_description: SecretDescription, secret: SecretState
) -> Powers | None:
    """What the role may do, by IAM's simulation; where that is not to be had, by reading its policies."""
    if task_role is None:
        return None
    questions = questions_about(secret_description.arn, instance_identifier(secret))
    try:
        return Powers(task_role.name, "IAM's simulation", _simulate(task_role, questions))
    except (NoCredentials, Unreachable):
        raise
    except AwsError as error:
        how = f"reading its policies, for {str(error).rstrip('.')}"
        read = {q: _power(task_role, q[0], *decision(task_role.policies, *q)) for q in questions}
        return Powers(task_role.name, how, read)


def questions_about(secret: str, instance: str) -> list[tuple[str, str]]:
    """What is asked of the role: its own secret, another one, and what no application needs.

    Args:
        secret: ARN of the secret.
        instance: identifier of the RDS instance; empty: not known.
    """
    prefix = secret.rpartition(":")[0]
    place = prefix.replace(":secretsmanager:", ":rds:").removesuffix(":secret")
    own = {"secretsmanager": secret, "rds": f"{place}:db:{instance}" if instance else "*"}
    dangerous = ((action, own.get(action.partition(":")[0], "*")) for action in DANGEROUS)
    return [(READ, secret), (READ, f"{prefix}:somebody-elses-AbCdEf"), *dangerous]


def _power(role: Role, action: str, decided: str, by: str) -> str:
    """What allows the action; one that no application needs also on any resource that nobody asked about."""
    if action not in DANGEROUS or decided != "implicitDeny":
        return by
    elsewhere = allowed_by(role.policies, action, "*")
    return f"{elsewhere}, for other resources" if elsewhere else ""


def _simulate(role: Role, questions: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    client = aws.client("iam", configuration.region)
    allowed = {}
    for action, resource in questions:
        with aws.calling("iam:SimulatePrincipalPolicy", f"the role {role.name}"):
            said: Any = client.simulate_principal_policy(
                PolicySourceArn=role.arn, ActionNames=[action], ResourceArns=[resource]
            )
        result = said["EvaluationResults"][0]
        by = ", ".join(str(item.get("SourcePolicyId", "")) for item in result.get("MatchedStatements") or ())
        decided = str(result["EvalDecision"])
        named = (f"policy {by}" if by else "a policy") if decided == "allowed" else ""
        allowed[action, resource] = _power(role, action, decided, named)
    return allowed
