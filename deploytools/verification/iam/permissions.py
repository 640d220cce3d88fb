"""Facts of the permissions of the application's role and of the execution role.

They come from IAM's policy simulator. If it is not allowed or fails, the policies of the role are evaluated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.errors import AccessDenied, AwsError, NoCredentials, Throttled, Unreachable
from deploytools.verification.ecs.facts import TaskDefinition
from deploytools.verification.iam.excess import example, known_context
from deploytools.verification.iam.facts import Role, injected_secrets
from deploytools.verification.iam.policies import Policy, account_of, as_list, condition_holds, decision, principals
from deploytools.verification.registry import fact
from deploytools.verification.secret.facts import ResourcePolicy, SecretDescription

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_iam.type_defs import ContextEntryTypeDef

READ = "secretsmanager:GetSecretValue"
READ_PARAMETER = "ssm:GetParameters"
DECRYPT = "kms:Decrypt"

#: Conditional permissions that the policy simulator is asked about. Others stay undecided.
MAX_QUESTIONS = 50


@dataclass(frozen=True)
class RolePermissions:
    """The permissions of a role.

    Attributes:
        how: the source: IAM's policy simulator, or the evaluation of the policies.
        needed: for each (action, resource) that the role needs, the statement that allows it; empty: none.
        unsure: those of `needed` that depend on a condition whose value is unknown.
        without: why the policy simulator was not used; empty: it was used.
    """

    role: str
    how: str
    needed: dict[tuple[str, str], str]
    unsure: tuple[tuple[str, str], ...] = ()
    without: str = ""


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=30)
def task_role_permissions(
    task_role: Role | None,
    secret_description: SecretDescription,
    secret_policy: ResourcePolicy,
) -> RolePermissions | None:
    """The permissions of the application's role; None: the role is not set."""
    if task_role is None:
        return None
    needed = _with_key([(READ, secret_description.arn)], secret_description)
    return _role_permissions(task_role, needed, (secret_description.arn, secret_policy))


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=30)
def execution_role_permissions(
    execution_role: Role | None,
    task_definition: TaskDefinition | None,
    secret_description: SecretDescription,
    secret_policy: ResourcePolicy,
) -> RolePermissions | None:
    """The permissions of the execution role; None: not set, or it injects no secret."""
    if execution_role is None or task_definition is None:
        return None
    questions = [_read_question(arn, secret_description.arn) for arn in injected_secrets(task_definition)]
    needed = _with_key(questions, secret_description)
    return _role_permissions(execution_role, needed, (secret_description.arn, secret_policy))


@dataclass(frozen=True)
class Simulations:
    """What IAM's policy simulator decides about actions that a statement allows under a condition.

    Attributes:
        decisions: by role, action and resource: ``allowed``, ``denied``, or ``conditional``: it depends on a value that
            is not known here.
        without: why the policy simulator was not used; empty: it was used, or there is no such statement.
    """

    decisions: Mapping[tuple[str, str, str], str]
    without: str = ""


@fact(actions=("iam:SimulatePrincipalPolicy",), deadline=60)
def simulated_conditions(task_role: Role | None, execution_role: Role | None, settings: Settings) -> Simulations:
    """The decisions about the conditional statements of both roles."""
    questions = {
        (role.name, *pair): role for role in (task_role, execution_role) if role for pair in _conditional(role)
    }
    client, decisions = aws.client("iam", settings.region), dict[tuple[str, str, str], str]()
    for (name, action, resource), role in list(questions.items())[:MAX_QUESTIONS]:
        try:
            decisions[name, action, resource] = _decide(client, role, action, resource)
        except (NoCredentials, Unreachable):
            raise
        except (AccessDenied, Throttled) as error:
            return Simulations(decisions, _not_used(error))
        except AwsError:  # The simulator does not know the action: it stays undecided.
            continue
    return Simulations(decisions)


def _conditional(role: Role) -> list[tuple[str, str]]:
    """Return the actions and resources whose permission depends on an unknown condition of an Allow statement."""
    context = known_context(role)
    return [
        (action, resource)
        for policy in role.policies
        for statement in policy.statements
        if statement.get("Effect") == "Allow" and condition_holds(statement, context) is None
        if not _depends_on_time(statement)
        for action in as_list(statement.get("Action", ()))
        for resource in as_list(statement.get("Resource", ()))
        if example(action)
    ]


def _depends_on_time(statement: Mapping[str, Any]) -> bool:
    """Return whether the condition can have another result at another time."""
    conditions = statement["Condition"].items()
    keys = {key.lower() for _, pairs in conditions for key in pairs}
    return "aws:epochtime" in keys or any("date" in operator.lower() for operator, _ in conditions)


def _decide(client: IAMClient, role: Role, action: str, resource: str) -> str:
    """Ask the simulator. For a pattern, it decides about one of the actions or resources: others can be allowed."""
    place = resource if resource == "*" else resource.replace("*", "x").replace("?", "x")
    result = _simulation(client, role, example(action), place, known_context(role))
    if str(result["EvalDecision"]) == "allowed":
        return "allowed"
    return "conditional" if _lacks_values(result) or (place, example(action)) != (resource, action) else "denied"


def _with_key(questions: list[tuple[str, str]], description: SecretDescription) -> list[tuple[str, str]]:
    """Add kms:Decrypt on the key of this secret, if the secret is read. The keys of other secrets are unknown."""
    key = key_arn(description) if (READ, description.arn) in questions else ""
    return [*questions, *([(DECRYPT, key)] if key else [])]


def _read_question(arn: str, beside: str) -> tuple[str, str]:
    """The action and the resource with which ECS reads a secret or a parameter."""
    if ":secretsmanager:" in arn:
        return READ, arn
    place = beside.rpartition(":secret:")[0].replace(":secretsmanager:", ":ssm:")
    return READ_PARAMETER, arn if arn.startswith("arn:") else f"{place}:parameter/{arn.lstrip('/')}"


def key_arn(description: SecretDescription) -> str:
    """Return the ARN of the customer-managed key; ``*``: only its alias is known; empty: there is none."""
    if not description.key or description.key.startswith("arn:"):
        return "*" if ":alias/" in description.key else description.key
    place = description.arn.rpartition(":secret:")[0].replace(":secretsmanager:", ":kms:")
    return "*" if description.key.startswith("alias/") else f"{place}:key/{description.key}"


def _role_permissions(
    role: Role,
    needed: list[tuple[str, str]],
    of_secret: tuple[str, ResourcePolicy],
) -> RolePermissions:
    """Evaluate the questions with the policy simulator, or else with the role's policies, and the secret's policy.

    Args:
        of_secret: the ARN and the resource policy of the secret.
    """
    secret, policy = of_secret
    contexts = {q: _context(q[0], secret) for q in needed}
    without = ""
    client = aws.client("iam", _region(secret))
    try:
        how, found = "IAM's policy simulator", {q: _simulate(client, role, *q, contexts[q]) for q in needed}
    except (NoCredentials, Unreachable):
        raise
    except AwsError as error:
        how, without = "evaluation of its policies", _not_used(error)
        found = {q: _evaluate_policies(role, *q, contexts[q]) for q in needed}
    found = {q: _on_any_key(role, *q, decided, contexts[q]) for q, decided in found.items()}
    if found.get((READ, secret), ("",))[0] == "implicitDeny":
        found[READ, secret] = _by_resource_policy(role, secret, policy)
    if found.get((READ, secret), ("",))[0] == "allowed":
        found[READ, secret] = _not_denied(role, secret, policy, found[READ, secret])
    unsure = {q for q, (decided, _) in found.items() if decided == "conditional"}
    return RolePermissions(
        role.name,
        how,
        {q: "" if q in unsure else found[q][1] for q in needed},
        tuple(q for q in needed if q in unsure),
        without,
    )


def _context(action: str, secret: str) -> dict[str, str]:
    """The values of condition keys: TLS is used, and Secrets Manager uses the key for the secret."""
    service = f"secretsmanager.{_region(secret)}.amazonaws.com"
    of_key = {"kms:ViaService": service, "kms:EncryptionContext:SecretARN": secret}
    return {"aws:SecureTransport": "true", **(of_key if action == DECRYPT else {})}


def _region(arn: str) -> str:
    return arn.split(":")[3]


def _evaluate_policies(role: Role, action: str, resource: str, context: Mapping[str, str]) -> tuple[str, str]:
    """Evaluate the policies of the role, limited by its permissions boundary."""
    context = {**context, "aws:PrincipalArn": role.arn, "aws:PrincipalAccount": account_of(role.arn)}
    decided, by = decision(role.policies, action, resource, context)
    if role.boundary is None or not by:
        return decided, by
    within, also = decision([role.boundary], action, resource, context)
    return (decided if within == "allowed" else within), (by if also else "")


def _on_any_key(
    role: Role, action: str, resource: str, decided: tuple[str, str], context: Mapping[str, str]
) -> tuple[str, str]:
    """Return the decision for any key if the ARN of the key is unknown: the simulator tries only a policy for all."""
    if decided[0] != "implicitDeny" or resource != "*":
        return decided
    return _evaluate_policies(role, action, resource, context)


def _by_resource_policy(role: Role, secret: str, policy: ResourcePolicy) -> tuple[str, str]:
    """Evaluate the secret's resource policy, which the policy simulator ignores."""
    own = tuple(statement for statement in policy.statements if role.arn in principals(statement))
    by_policy = replace(role, policies=(Policy("of the secret", own),))
    decided, by = _evaluate_policies(by_policy, READ, secret, _context(READ, secret))
    return decided, by.replace("policy of the secret", "the resource policy of the secret")


def _not_denied(role: Role, secret: str, policy: ResourcePolicy, allowed: tuple[str, str]) -> tuple[str, str]:
    """Return the decision after the Deny statements of the secret's resource policy, which the simulator ignores."""
    denying = [item for item in policy.statements if item.get("Effect") == "Deny" and _names(item, role)]
    allow_all = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    by_policy = replace(role, policies=(Policy("of the secret", (allow_all, *denying)),), boundary=None)
    decided, _ = _evaluate_policies(by_policy, READ, secret, _context(READ, secret))
    return allowed if decided == "allowed" else (decided, "")


def _names(statement: Mapping[str, Any], role: Role) -> bool:
    """Return whether a statement applies to the role."""
    if "NotPrincipal" in statement:
        return not {"*", role.arn} & set(principals({"Principal": statement["NotPrincipal"]}))
    own = {"*", role.arn, account_of(role.arn), f"arn:aws:iam::{account_of(role.arn)}:root"}
    return bool(own & set(principals(statement)))


def _not_used(error: AwsError) -> str:
    return f"policy simulator not used: {str(error).rstrip('.')}"


def _simulate(client: IAMClient, role: Role, action: str, resource: str, context: Mapping[str, str]) -> tuple[str, str]:
    """Return the simulator's decision, or ``conditional`` if it depends on a condition key without a value."""
    result = _simulation(client, role, action, resource, context)
    if _lacks_values(result):
        decided, by = _evaluate_policies(role, action, resource, context)
        if decided == "conditional":
            return decided, by
    by = ", ".join(str(item.get("SourcePolicyId", "")) for item in result.get("MatchedStatements") or ())
    decided = str(result["EvalDecision"])
    return decided, (f"policy {by}" if by else "a policy") if decided == "allowed" else ""


def _simulation(client: IAMClient, role: Role, action: str, resource: str, context: Mapping[str, str]) -> Any:
    with aws.translate_aws_errors("iam:SimulatePrincipalPolicy", f"the role {role.name}"):
        response: Any = client.simulate_principal_policy(
            PolicySourceArn=role.arn,
            ActionNames=[action],
            ResourceArns=[resource],
            ContextEntries=_entries(context),
        )
    return response["EvaluationResults"][0]


def _lacks_values(result: Any) -> bool:
    """Return whether the simulator had no value for a condition key."""
    return any(item.get("MissingContextValues") for item in (result, *(result.get("ResourceSpecificResults") or ())))


def _entries(context: Mapping[str, str]) -> list[ContextEntryTypeDef]:
    return [
        {
            "ContextKeyName": key,
            "ContextKeyValues": [value],
            "ContextKeyType": "boolean" if value == "true" else "string",
        }
        for key, value in context.items()
    ]
