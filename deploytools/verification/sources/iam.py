"""Facts of the application's IAM role, and of the one that ECS starts it with: who may take them, what they may do."""

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
from deploytools.verification.sources.ecs import TaskDefinition, whole_secret
from deploytools.verification.sources.rds import instance_identifier
from deploytools.verification.sources.secret import SecretDescription

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_iam.type_defs import ContextEntryTypeDef

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
READ_PARAMETER = "ssm:GetParameters"
DECRYPT = "kms:Decrypt"


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
    return Role(name, said["Arn"], trust, (*_attached(client, name, where), *_inline(client, name, where)))


def _attached(client: IAMClient, role: str, where: str) -> tuple[Policy, ...]:
    with aws.calling("iam:ListAttachedRolePolicies", where):
        pages = client.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = pages.build_full_result()["AttachedPolicies"]
    found = []
    for item in sorted(attached, key=lambda said: said.get("PolicyArn", "")):
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
    for name in sorted(names):
        with aws.calling("iam:GetRolePolicy", f"the policy {name}"):
            document: Any = client.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        found.append(parse_policy(name, document))
    return tuple(found)


@dataclass(frozen=True)
class Powers:
    """What a role may do.

    Attributes:
        role: its name.
        how: by which means it is known: IAM's own simulation, or the reading of its policies.
        needed: for each question, (action, resource), about its work what allows it; empty: nothing does.
        allowed: likewise for what is none of its work.
        without: why IAM's simulation was not to be had; empty: it was.
    """

    role: str
    how: str
    needed: dict[tuple[str, str], str]
    allowed: dict[tuple[str, str], str]
    without: str = ""


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=30)
def task_role_powers(
    task_role: Role | None, secret_description: SecretDescription, secret: SecretState
) -> Powers | None:
    """What the role may do, by IAM's simulation; where that is not to be had, by reading its policies."""
    if task_role is None:
        return None
    needed = _with_key([(READ, secret_description.arn)], secret_description)
    return _powers(task_role, needed, questions_about(secret_description.arn, instance_identifier(secret)))


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=30)
def execution_role_powers(
    execution_role: Role | None,
    task_definition: TaskDefinition | None,
    secret_description: SecretDescription,
    secret: SecretState,
) -> Powers | None:
    """The same of the role that ECS takes; None where it has no secret to fetch, or there is none."""
    if execution_role is None or task_definition is None:
        return None
    asked = [_fetching(arn, secret_description.arn) for arn in fetched(task_definition)]
    needed = _with_key(asked, secret_description)
    return _powers(execution_role, needed, questions_about(secret_description.arn, instance_identifier(secret)))


def _with_key(questions: list[tuple[str, str]], description: SecretDescription) -> list[tuple[str, str]]:
    """With the key of this secret, where it is read and has one; whose the keys of others are is not known."""
    key = key_arn(description) if (READ, description.arn) in questions else ""
    return [*questions, *([(DECRYPT, key)] if key else [])]


def _fetching(arn: str, beside: str) -> tuple[str, str]:
    """How ECS asks for a secret, or for a parameter, which may be named without its ARN."""
    if ":secretsmanager:" in arn:
        return READ, arn
    place = beside.rpartition(":secret:")[0].replace(":secretsmanager:", ":ssm:")
    return READ_PARAMETER, arn if arn.startswith("arn:") else f"{place}:parameter/{arn.lstrip('/')}"


def key_arn(description: SecretDescription) -> str:
    """ARN of the customer-managed key; ``*`` where only its alias is known; empty: there is none."""
    if not description.key or description.key.startswith("arn:"):
        return "*" if ":alias/" in description.key else description.key
    place = description.arn.rpartition(":secret:")[0].replace(":secretsmanager:", ":kms:")
    return "*" if description.key.startswith("alias/") else f"{place}:key/{description.key}"


def questions_about(secret: str, instance: str) -> list[tuple[str, str]]:
    """What is asked of a role that is none of its work: another secret, and what no application needs.

    Args:
        secret: ARN of the secret.
        instance: identifier of the RDS instance; empty: not known.
    """
    prefix = secret.rpartition(":")[0]
    place = prefix.replace(":secretsmanager:", ":rds:").removesuffix(":secret")
    own = {"secretsmanager": secret, "rds": f"{place}:db:{instance}" if instance else "*"}
    dangerous = ((action, own.get(action.partition(":")[0], "*")) for action in DANGEROUS)
    return [(READ, f"{prefix}:somebody-elses-AbCdEf"), *dangerous]


def _powers(role: Role, needed: list[tuple[str, str]], others: list[tuple[str, str]]) -> Powers:
    questions = [*needed, *others]
    without = ""
    try:
        how, allowed = "IAM's simulation", _simulate(role, questions)
    except (NoCredentials, Unreachable):
        raise
    except AwsError as error:
        how, without = "reading its policies", f"not by IAM's simulation: {str(error).rstrip('.')}"
        allowed = {q: _power(role, *q, *decision(role.policies, *q)) for q in questions}
    return Powers(role.name, how, {q: allowed[q] for q in needed}, {q: allowed[q] for q in others}, without)


def _power(role: Role, action: str, resource: str, decided: str, by: str) -> str:
    """What allows the action; where any resource will do, or none should, also on one that nobody asked about."""
    if decided != "implicitDeny" or (action not in DANGEROUS and resource != "*"):
        return by
    elsewhere = allowed_by(role.policies, action, "*")
    return f"{elsewhere}, for other resources" if elsewhere else ""


def _simulate(role: Role, questions: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    client = aws.client("iam", configuration.region)
    allowed = {}
    for action, resource in questions:
        with aws.calling("iam:SimulatePrincipalPolicy", f"the role {role.name}"):
            said: Any = client.simulate_principal_policy(
                PolicySourceArn=role.arn, ActionNames=[action], ResourceArns=[resource], ContextEntries=_context(action)
            )
        result = said["EvaluationResults"][0]
        by = ", ".join(str(item.get("SourcePolicyId", "")) for item in result.get("MatchedStatements") or ())
        decided = str(result["EvalDecision"])
        named = (f"policy {by}" if by else "a policy") if decided == "allowed" else ""
        allowed[action, resource] = _power(role, action, resource, decided, named)
    return allowed


def _context(action: str) -> list[ContextEntryTypeDef]:
    """That it is Secrets Manager which asks for the key, as a policy may well demand."""
    if action != DECRYPT:
        return []
    value = f"secretsmanager.{configuration.region}.amazonaws.com"
    return [{"ContextKeyName": "kms:ViaService", "ContextKeyValues": [value], "ContextKeyType": "string"}]
