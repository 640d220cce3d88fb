"""Facts of what the application's role may do, and that which ECS takes: IAM's simulation, or its policies read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import AwsError, NoCredentials, Unreachable
from deploytools.secret.sync import SecretState
from deploytools.verification.policies import Policy, account_of, decision, principals
from deploytools.verification.registry import fact
from deploytools.verification.sources.ecs import TaskDefinition
from deploytools.verification.sources.iam import Role, fetched
from deploytools.verification.sources.rds import instance_identifier
from deploytools.verification.sources.secret import ResourcePolicy, SecretDescription

if TYPE_CHECKING:
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

#: Ends what allows an action, where it does not on what was asked about.
ELSEWHERE = ", for other resources"


@dataclass(frozen=True)
class Powers:
    """What a role may do.

    Attributes:
        role: its name.
        how: by which means it is known: IAM's own simulation, or the reading of its policies.
        needed: for each question, (action, resource), about its work what allows it; empty: nothing does.
        allowed: likewise for what is none of its work; on a condition is allowed, too.
        unsure: of `needed` what hangs on a condition that nobody knows here.
        without: why IAM's simulation was not to be had; empty: it was.
    """

    role: str
    how: str
    needed: dict[tuple[str, str], str]
    allowed: dict[tuple[str, str], str]
    unsure: tuple[tuple[str, str], ...] = ()
    without: str = ""


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=30)
def task_role_powers(
    task_role: Role | None, secret_description: SecretDescription, secret_policy: ResourcePolicy, secret: SecretState
) -> Powers | None:
    """What the role may do, by IAM's simulation; where that is not to be had, by reading its policies."""
    if task_role is None:
        return None
    needed = _with_key([(READ, secret_description.arn)], secret_description)
    others = questions_about(secret_description.arn, instance_identifier(secret))
    return _powers(task_role, needed, others, (secret_description.arn, secret_policy))


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=30)
def execution_role_powers(
    execution_role: Role | None,
    task_definition: TaskDefinition | None,
    secret_description: SecretDescription,
    secret_policy: ResourcePolicy,
    secret: SecretState,
) -> Powers | None:
    """The same of the role that ECS takes; None where it has no secret to fetch, or there is none."""
    if execution_role is None or task_definition is None:
        return None
    asked = [_fetching(arn, secret_description.arn) for arn in fetched(task_definition)]
    needed = _with_key(asked, secret_description)
    others = questions_about(secret_description.arn, instance_identifier(secret))
    return _powers(execution_role, needed, others, (secret_description.arn, secret_policy))


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


def _powers(
    role: Role,
    needed: list[tuple[str, str]],
    others: list[tuple[str, str]],
    of_secret: tuple[str, ResourcePolicy],
) -> Powers:
    """What IAM says of the questions, or else the role's policies; and the secret's own, which may let it in, too.

    Args:
        of_secret: the ARN and the policy of the secret.
    """
    questions, (secret, policy) = [*needed, *others], of_secret
    contexts = {q: _context(q[0], secret) for q in questions}
    without = ""
    try:
        how, found = "IAM's simulation", {q: _simulated(role, *q, contexts[q]) for q in questions}
    except (NoCredentials, Unreachable):
        raise
    except AwsError as error:
        how, without = "reading its policies", f"not by IAM's simulation: {str(error).rstrip('.')}"
        found = {q: _read(role, *q, contexts[q]) for q in questions}
    found = {q: _anywhere(role, *q, said, contexts[q]) for q, said in found.items()}
    if found.get((READ, secret), ("",))[0] == "implicitDeny":
        found[READ, secret] = _granted(role, secret, policy)
    unsure = {q for q, (decided, _) in found.items() if decided == "conditional"}
    return Powers(
        role.name,
        how,
        {q: "" if q in unsure else found[q][1] for q in needed},
        {q: found[q][1] + (", on a condition" if q in unsure else "") for q in others},
        tuple(q for q in needed if q in unsure),
        without,
    )


def _context(action: str, secret: str) -> dict[str, str]:
    """What conditions may ask for: TLS, and that it is Secrets Manager which asks for the key, and for which secret."""
    service = f"secretsmanager.{configuration.region}.amazonaws.com"
    of_key = {"kms:ViaService": service, "kms:EncryptionContext:SecretARN": secret}
    return {"aws:SecureTransport": "true", **(of_key if action == DECRYPT else {})}


def _read(role: Role, action: str, resource: str, context: Mapping[str, str]) -> tuple[str, str]:
    """The decision by the role's policies, within its boundary."""
    context = {**context, "aws:PrincipalArn": role.arn, "aws:PrincipalAccount": account_of(role.arn)}
    decided, by = decision(role.policies, action, resource, context)
    if role.boundary is None or not by:
        return decided, by
    within, also = decision([role.boundary], action, resource, context)
    return (decided if within == "allowed" else within), (by if also else "")


def _anywhere(
    role: Role, action: str, resource: str, said: tuple[str, str], context: Mapping[str, str]
) -> tuple[str, str]:
    """`said`; where any resource will do, or none should, what is true of one that nobody asked about."""
    if said[0] != "implicitDeny" or (action not in DANGEROUS and resource != "*"):
        return said
    decided, by = _read(role, action, "*", context)
    return decided, f"{by}{ELSEWHERE}" if by else ""


def _granted(role: Role, secret: str, policy: ResourcePolicy) -> tuple[str, str]:
    """The decision by the secret's own policy, of which IAM's simulation of a role takes no notice."""
    own = tuple(statement for statement in policy.statements if role.arn in principals(statement))
    decided, by = _read(replace(role, policies=(Policy("of the secret", own),)), READ, secret, _context(READ, secret))
    return decided, by.replace("policy of the secret", "the secret's own policy")


def _simulated(role: Role, action: str, resource: str, context: Mapping[str, str]) -> tuple[str, str]:
    """IAM's decision; where a condition had no value, which IAM takes for an answer, whether it hangs on that."""
    with aws.calling("iam:SimulatePrincipalPolicy", f"the role {role.name}"):
        said: Any = aws.client("iam", configuration.region).simulate_principal_policy(
            PolicySourceArn=role.arn,
            ActionNames=[action],
            ResourceArns=[resource],
            ContextEntries=_entries(context),
        )
    result = said["EvaluationResults"][0]
    if any(item.get("MissingContextValues") for item in (result, *(result.get("ResourceSpecificResults") or ()))):
        decided, by = _read(role, action, resource, context)
        if decided == "conditional":
            return decided, by
    by = ", ".join(str(item.get("SourcePolicyId", "")) for item in result.get("MatchedStatements") or ())
    decided = str(result["EvalDecision"])
    return decided, (f"policy {by}" if by else "a policy") if decided == "allowed" else ""


def _entries(context: Mapping[str, str]) -> list[ContextEntryTypeDef]:
    return [
        {
            "ContextKeyName": key,
            "ContextKeyValues": [value],
            "ContextKeyType": "boolean" if value == "true" else "string",
        }
        for key, value in context.items()
    ]
