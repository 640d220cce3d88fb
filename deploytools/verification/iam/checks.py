"""Checks of the application's IAM role and of the ECS execution role."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

from deploytools.conf import Settings
from deploytools.verification.ecs.facts import TaskDefinition
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.iam.excess import MAX_NAMED, Permission, declared, excess, permissions
from deploytools.verification.iam.facts import Role, injected_secrets
from deploytools.verification.iam.permissions import DECRYPT, READ, RolePermissions, Simulations, key_arn
from deploytools.verification.iam.policies import (
    account_of,
    argument,
    binding_conditions,
    name_of,
    only_for,
    principals,
)
from deploytools.verification.least_privilege import SCOPES, decryption, policy
from deploytools.verification.registry import check
from deploytools.verification.secret.facts import SecretDescription
from deploytools.wording import join_names

CHECKLIST = "Security Checklist: AWS IAM permissions follow least privilege principle"
NOT_SET = 'the IAM role is not set (DEPLOYTOOLS["TASK_ROLE"], or the task role of ECS_SERVICE)'
#: The application also reads when the secret was changed, and its staging labels.
DESCRIBE = "secretsmanager:DescribeSecret"
READ_CONDITIONS = "Check the conditions in its policies and in its permissions boundary"
#: Condition keys for the resource on whose behalf a service acts.
SOURCES = {"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"}
ECS, SERVICE_DOMAINS = "ecs-tasks.amazonaws.com", (".amazonaws.com", ".amazonaws.com.cn")
#: Not a service but an identity provider, through which users assume a role.
IDENTITY_PROVIDERS = ("cognito-identity.amazonaws.com", "cognito-identity-us-gov.amazonaws.com")

#: Why the policy simulator did not decide a condition.
UNDECIDED = "the policy simulator has no value for it, or the action has a wildcard"

permissions_check = partial(check, guide=CHECKLIST, not_set=NOT_SET, setting="TASK_ROLE")
role_check = partial(permissions_check, resource_of=attrgetter("name"))


@permissions_check(
    "iam.secret-access",
    title="Application role can read its secret",
    severity=Severity.CRITICAL,
    hint="Allow the role secretsmanager:GetSecretValue on the secret",
)
def secret_access(
    task_role_permissions: RolePermissions, task_definition: TaskDefinition | None, settings: Settings
) -> Iterable[Verdict]:
    """Without this permission no process of the application starts."""
    role = task_role_permissions
    allowed = passed(f"by {next(iter(role.needed.values()))} ({role.how})", role.role, measured=role.without)
    used = task_definition.task_role.rpartition("/")[2] if task_definition else role.role
    if settings.task_role and used != role.role:
        evidence = f"the task role of the task definition is {used or 'not set'}, but this role is checked"
        return [failed(evidence, role.role, 'Correct taskRoleArn in the task definition, or DEPLOYTOOLS["TASK_ROLE"]')]
    return _missing_permissions(role, _sufficient_policy(role, also=(DESCRIBE,))) or [allowed]


def _sufficient_policy(role: RolePermissions, also: tuple[str, ...] = ()) -> str:
    """Return a hint with the policy that is sufficient.

    Args:
        also: actions that are allowed together with reading the secret.
    """
    resources: dict[str, list[str]] = {}
    for action, resource in role.needed:
        resources.setdefault(action, []).append(resource)
    keys = resources.pop(DECRYPT, [])
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": [action, *also], "Resource": found[0] if len(found) == 1 else found}
        for action, found in resources.items()
    ]
    statements += [decryption(keys, resources[READ])] if keys else []
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return f"Replace the statements about the secret with this policy; keep those about other services: {policy}"


def _missing_permissions(role: RolePermissions, hint: str) -> list[Verdict]:
    """Return a verdict for each missing permission. On a KMS key it only warns: the key policy can allow the use."""
    found = []
    for (action, resource), by in role.needed.items():
        about = f"{role.role} {action} {resource}"
        if (action, resource) in role.unsure:
            evidence = f"{action} on {resource} depends on a condition that cannot be evaluated here ({role.how})"
            found.append((warned if action == DECRYPT else unknown)(evidence, about, READ_CONDITIONS))
        elif not by and action == DECRYPT:
            key = "the key that encrypts the secret" if resource == "*" else f"{resource}, which encrypts the secret"
            evidence = f"no policy of the role allows {DECRYPT} on {key} ({role.how}); the key policy might"
            found.append(warned(evidence, about, hint, measured=role.without))
        elif not by:
            evidence = f"no policy allows {action} on {resource} ({role.how})"
            found.append(failed(evidence, about, hint, measured=role.without))
    return found


@role_check(
    "iam.least-privilege",
    title="Application role is allowed only needed and declared actions",
    severity=Severity.HIGH,
    hint='Delete the statement, or list its actions with their resources in DEPLOYTOOLS["TASK_ACTIONS"]',
    references=(
        *("FSBP IAM.1", "FSBP IAM.21", "Prowler iam_policy_allows_privilege_escalation"),
        *("Prowler iam_role_administratoraccess_policy", "cloudsplaining privilege-escalation"),
    ),
)
def least_privilege(
    task_role: Role, secret_description: SecretDescription, settings: Settings, simulated_conditions: Simulations
) -> Iterable[Verdict]:
    """An attacker in the application has the role's permissions. Some of them lead to every other permission."""
    needed = permissions(policy(set().union(*SCOPES.values()), settings)["Statement"])
    needed += [Permission(action, secret_description.arn, {}) for action in (READ, DESCRIBE)]
    needed += _decryption(secret_description)
    expected = [*needed, *declared(settings.task_actions)]
    return excess_permissions(task_role, expected, simulated_conditions, "needed or declared")


def _decryption(description: SecretDescription) -> list[Permission]:
    key = key_arn(description)
    return [Permission(DECRYPT, key, {})] if key.startswith("arn:") else []


def excess_permissions(role: Role, expected: Sequence[Permission], simulated: Simulations, what: str) -> list[Verdict]:
    """Return a verdict for each statement with excess: a failure for a dangerous action, else a warning.

    If the only dangerous actions depend on an undecided condition, the verdict is unknown. Actions that the policy
    simulator denies do not count.
    """
    found = []
    for item in excess(role, expected):
        decisions = {gain: simulated.decisions.get((role.name, gain.action, gain.resource)) for gain in item.gains}
        left = replace(item, gains=tuple(gain for gain in item.gains if decisions[gain] != "denied"))
        is_decided = not item.conditions or "allowed" in {decisions[gain] for gain in left.gains if gain.dangers}
        if not left.gains:
            continue
        keys = join_names(item.conditions, MAX_NAMED)
        reason = ", ".join(left.dangers) if left.dangers else f"not {what}"
        evidence = f"allows{f' under a condition on {keys}' if keys else ''} {join_names(left.actions, MAX_NAMED)}"
        verdict = warned if not left.dangers else failed if is_decided else unknown
        note = "" if is_decided else simulated.without or UNDECIDED
        found.append(verdict(f"{evidence} ({reason})", f"{role.name} {item.statement}", measured=note))
    evidence = f"policies: {len(role.policies)}; every allowed action is {what}"
    return found or [passed(evidence, role.name)]


@role_check(
    "iam.trust-policy",
    title="Only AWS services can assume the application role",
    severity=Severity.HIGH,
    hint="Run: aws iam update-assume-role-policy --role-name ROLE --policy-document file://FILE",
)
def trust_policy(task_role: Role) -> Iterable[Verdict]:
    """Any principal that can assume the role can read the secret."""
    hint = _services_only(task_role)
    allowing = [statement for statement in task_role.trust if statement.get("Effect") == "Allow"]
    found = []
    for principal, statement in ((name, allowed) for allowed in allowing for name in principals(allowed)):
        resource = f"{task_role.name} {principal} {name_of(statement)}"
        if principal == "*":
            found.append(failed("any AWS principal can assume it", resource, hint))
        elif not _is_service(principal):
            found.append(warned(f"{principal} can assume it", resource, hint))
    return found or [passed(f"statements: {len(allowing)}, all for AWS services")]


def _is_service(principal: str) -> bool:
    return principal.endswith(SERVICE_DOMAINS) and principal not in IDENTITY_PROVIDERS


def _services(statement: Mapping[str, Any]) -> list[str]:
    return [name for name in principals(statement) if _is_service(name)]


def _services_only(role: Role) -> str:
    """Return the command for a trust policy that keeps AWS services and Deny statements, or else allows ECS."""
    kept = [
        statement if statement.get("Effect") != "Allow" else only_for(statement, _services(statement))
        for statement in role.trust
    ]
    if any(statement.get("Effect") == "Allow" for statement in kept):
        return _update_trust_policy(role, filter(None, kept), "other principals lose access")
    ecs = {"Effect": "Allow", "Principal": {"Service": ECS}, "Action": "sts:AssumeRole"}
    statements = [*_for_account(ecs, account_of(role.arn)), *filter(None, kept)]
    return _update_trust_policy(role, statements, "if ECS tasks use the role; other principals lose access")


def _update_trust_policy(role: Role, statements: Iterable[Mapping[str, Any]], note: str) -> str:
    return (
        f"Run: aws iam update-assume-role-policy --role-name {role.name} --policy-document {argument(statements)} "
        f"({note})"
    )


@role_check(
    "iam.confused-deputy",
    title="ECS can assume the application role only for tasks of this account",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    hint="Run: aws iam update-assume-role-policy --role-name ROLE --policy-document file://FILE, with a condition "
    "on aws:SourceAccount",
    references=("Prowler iam_role_cross_service_confused_deputy_prevention",),
)
def confused_deputy(task_role: Role) -> Verdict:
    """Without a condition on the source account, another account could make ECS use the role."""
    by_ecs = [
        statement
        for statement in task_role.trust
        if statement.get("Effect") == "Allow" and ECS in principals(statement)
    ]
    if not by_ecs:
        return not_applicable("ECS cannot assume it (see iam.trust-policy)")
    account = account_of(task_role.arn)
    unbound = [statement for statement in by_ecs if not _is_for_account(statement, account)]
    if not unbound:
        return passed("the trust policy has a condition on the source account")
    statements = [
        part
        for statement in task_role.trust
        for part in (_for_account(statement, account) if statement in unbound else [statement])
    ]
    hint = _update_trust_policy(task_role, statements, "this adds the condition and keeps the other statements")
    return warned("no condition on aws:SourceAccount or aws:SourceArn has only this account", hint=hint)


def _is_for_account(statement: Mapping[str, Any], account: str) -> bool:
    """Whether a condition on the source has only this account, or an organization."""
    return any(
        key.lower() in SOURCES and ("org" in key.lower() or {account} == set(map(account_of, values)))
        for key, values in binding_conditions(statement)
    )


def _for_account(statement: Mapping[str, Any], account: str) -> list[Mapping[str, Any]]:
    """Return the statement with ECS limited to tasks of the account, and its other principals unchanged."""
    condition = statement.get("Condition") or {}
    limited = {
        **statement,
        "Principal": {"Service": ECS},
        "Condition": {**condition, "StringEquals": {**condition.get("StringEquals", {}), "aws:SourceAccount": account}},
    }
    if others := only_for(statement, [name for name in principals(statement) if name != ECS]):
        return [others, {member: value for member, value in limited.items() if member != "Sid"}]
    return [limited]


#: The permissions of AmazonECSTaskExecutionRolePolicy, and of the option awslogs-create-group.
OF_ECS = tuple(
    Permission(action, "*", {})
    for action in (
        *("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"),
        *("ecr:BatchGetImage", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
    )
)


@permissions_check(
    "iam.execution-role",
    title="ECS execution role is allowed to read the injected secrets, and only what ECS needs",
    severity=Severity.HIGH,
    hint="Delete the statement. ECS needs AmazonECSTaskExecutionRolePolicy and the secrets of the task definition",
    not_set='DEPLOYTOOLS["ECS_SERVICE"] is not set',
    setting="ECS_SERVICE",
)
def execution_role(
    task_definition: TaskDefinition,
    execution_role: Role | None,
    execution_role_permissions: RolePermissions | None,
    secret_description: SecretDescription,
    simulated_conditions: Simulations,
) -> Iterable[Verdict]:
    """ECS reads the secrets of a task definition with this role; without the permission no task starts."""
    if not injected_secrets(task_definition):
        return [not_applicable("the task definition has no secrets: the application reads its own")]
    if execution_role is None or execution_role_permissions is None:
        return [failed("the task definition has secrets, but executionRoleArn is not set", task_definition.arn)]
    files = [file for container in task_definition.containers for file in container.environment_files]
    expected = [
        *OF_ECS,
        *_decryption(secret_description),
        *(Permission(action, resource, {}) for action, resource in execution_role_permissions.needed),
        *(Permission("s3:GetObject", file, {}) for file in files),
        *permissions([decryption(["*"], [secret_description.arn])]),
    ]
    return [
        *_missing_permissions(execution_role_permissions, _sufficient_policy(execution_role_permissions)),
        *excess_permissions(execution_role, expected, simulated_conditions, "needed by ECS"),
    ]
