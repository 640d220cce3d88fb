"""Checks of the application's IAM role, and of the one that ECS starts it with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.least_privilege import decryption
from deploytools.verification.policies import (
    Policy,
    account_of,
    argument,
    binding_keys,
    name_of,
    only_for,
    principals,
    wide_actions,
)
from deploytools.verification.registry import check
from deploytools.verification.sources.ecs import TaskDefinition
from deploytools.verification.sources.iam import Role, fetched
from deploytools.verification.sources.powers import DECRYPT, ELSEWHERE, READ, Powers

CHECKLIST = "Security Checklist: AWS IAM permissions follow least privilege principle"
UNDECLARED = 'no role is declared (DEPLOYTOOLS["TASK_ROLE"], or a task role of ECS_SERVICE)'
#: The start of the application also asks when the secret changed, and for its labels.
DESCRIBE = "secretsmanager:DescribeSecret"
LOOK = "Read the conditions in its policies and boundary; that a task has started with them is the proof"
#: Conditions that say whose request it is that a service acts on.
SOURCES = {"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"}
SERVICES = ("ecs-tasks.amazonaws.com", "ec2.amazonaws.com", "lambda.amazonaws.com")
#: What AWS's own policies are called that allow all there is, or all of a service.
WIDE = re.compile(r"FullAccess|Admin|PowerUser")


def _trusting(role: Role, statements: Iterable[Mapping[str, Any]], remark: str) -> str:
    """The command that puts these statements in the place of those that say who may take the role."""
    return (
        f"Run: aws iam update-assume-role-policy --role-name {role.name} --policy-document {argument(statements)} "
        f"({remark})"
    )


def _for_services(role: Role) -> str:
    """The command that keeps AWS's services, and what denies; where no service is among them, for ECS."""
    kept = [said if said.get("Effect") != "Allow" else only_for(said, SERVICES) for said in role.trust]
    if any(said.get("Effect") == "Allow" for said in kept):
        return _trusting(role, filter(None, kept), "it leaves AWS's services in, and nobody else")
    ecs = {"Effect": "Allow", "Principal": {"Service": SERVICES[0]}, "Action": "sts:AssumeRole"}
    statements = [*_bound(ecs, account_of(role.arn)), *filter(None, kept)]
    return _trusting(role, statements, "if it is ECS's tasks that take it: nobody else may then")


def _bound(statement: Mapping[str, Any], account: str) -> list[Mapping[str, Any]]:
    """A statement that lets ECS take the role, for the account's tasks only; whom else it names, it names as before."""
    condition = statement.get("Condition") or {}
    bound = {
        **statement,
        "Principal": {"Service": SERVICES[0]},
        "Condition": {**condition, "StringEquals": {**condition.get("StringEquals", {}), "aws:SourceAccount": account}},
    }
    if others := only_for(statement, [name for name in principals(statement) if name != SERVICES[0]]):
        return [others, {member: said for member, said in bound.items() if member != "Sid"}]
    return [bound]


def _minimal(powers: Powers, also: tuple[str, ...] = ()) -> str:
    """The policy that is enough; `also` are actions that go with reading a secret."""
    resources: dict[str, list[str]] = {}
    for action, resource in powers.needed:
        resources.setdefault(action, []).append(resource)
    keys = resources.pop(DECRYPT, [])
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": [action, *also], "Resource": found[0] if len(found) == 1 else found}
        for action, found in resources.items()
    ]
    statements += [decryption(keys, resources[READ])] if keys else []
    return f"Enough is: {json.dumps({'Version': '2012-10-17', 'Statement': statements})}"


@check(
    "iam.reads-its-secret",
    title="The application's role may read its secret",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Allow the role secretsmanager:GetSecretValue on the secret",
)
def reads_its_secret(task_role_powers: Powers | None) -> Iterable[Verdict]:
    """Without it no process starts, and that the person who verifies may read it says nothing of the role."""
    if task_role_powers is None:
        return [not_applicable(UNDECLARED)]
    powers = task_role_powers
    lacking = _lacking(powers, _minimal(powers, also=(DESCRIBE,)))
    return lacking or [
        passed(f"by {next(iter(powers.needed.values()))} ({powers.how})", powers.role, measured=powers.without)
    ]


def _lacking(powers: Powers, enough: str) -> list[Verdict]:
    """What the role may not do of its work. Of a key its policies are not the last word: the key has one of its own."""
    found = []
    for (action, resource), by in powers.needed.items():
        unsure = f"whether it may {action} on {resource} hangs on a condition that is not known here ({powers.how})"
        if (action, resource) in powers.unsure:
            found.append((warned if action == DECRYPT else unknown)(unsure, f"{powers.role} {action} {resource}", LOOK))
        elif not by and action == DECRYPT:
            key = "the key that encrypts it" if resource == "*" else f"{resource}, which encrypts it"
            seen = f"none of its policies allows {DECRYPT} on {key} ({powers.how}); the key's own policy may"
            found.append(warned(seen, f"{powers.role} {action} {resource}", enough, measured=powers.without))
        elif not by:
            seen = f"nothing allows {action} on {resource} ({powers.how})"
            found.append(failed(seen, f"{powers.role} {action} {resource}", enough, measured=powers.without))
    return found


@check(
    "iam.least-privilege",
    title="The application's role may do nothing but its work",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Take the statement out of the role's policy",
    peers=("Prowler iam_policy_allows_privilege_escalation",),
)
def least_privilege(task_role_powers: Powers | None) -> Iterable[Verdict]:
    """What the role may do, an attacker in the application may do: read other secrets, delete the database."""
    if task_role_powers is None:
        return [not_applicable(UNDECLARED)]
    return _excess(task_role_powers, _minimal(task_role_powers, also=(DESCRIBE,)))


def _excess(powers: Powers, enough: str) -> list[Verdict]:
    return [
        failed(
            f"it may, by {by} ({powers.how})",
            f"{powers.role} {action} {'elsewhere' if by.endswith(ELSEWHERE) else resource}",
            enough,
            measured=powers.without,
        )
        for (action, resource), by in powers.allowed.items()
        if by
    ] or [
        passed(f"none of {len(powers.allowed)} dangerous actions ({powers.how})", powers.role, measured=powers.without)
    ]


@check(
    "iam.no-admin-policy",
    title="No policy of AWS's that allows everything is attached to the application's role",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws iam detach-role-policy",
    peers=(
        "Prowler iam_role_administratoraccess_policy",
        "Prowler iam_customer_attached_policy_no_administrative_privileges",
    ),
)
def no_admin_policy(task_role: Role | None) -> Iterable[Verdict]:
    """AdministratorAccess and the …FullAccess policies are what is attached "to see whether it works then"."""
    if task_role is None:
        return [not_applicable(UNDECLARED)]
    wide = [policy for policy in task_role.policies if _is_of_aws(policy) and WIDE.search(policy.name)]
    return [
        failed(
            f"{policy.name} is attached",
            f"{task_role.name} {policy.name}",
            f"Run: aws iam detach-role-policy --role-name {task_role.name} --policy-arn {policy.arn}",
        )
        for policy in wide
    ] or [passed(f"{len(task_role.policies)} policies, none of them", task_role.name)]


def _is_of_aws(policy: Policy) -> bool:
    return ":aws:policy/" in policy.arn


@check(
    "iam.no-wildcards",
    title="No policy of the application's role allows all actions of a service",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=CHECKLIST,
    hint="Name the actions that the application needs",
    peers=("FSBP IAM.1", "FSBP IAM.21", "Prowler iam_inline_policy_no_administrative_privileges"),
)
def no_wildcards(task_role: Role | None) -> Iterable[Verdict]:
    """What it allows grows with every action that AWS adds. AWS's own policies are judged by iam.no-admin-policy."""
    if task_role is None:
        return [not_applicable(UNDECLARED)]
    own = [policy for policy in task_role.policies if not _is_of_aws(policy)]
    found = []
    for name, statement in ((policy.name, statement) for policy in own for statement in policy.statements):
        if wide := wide_actions(statement):
            seen = f"policy {name} allows {wide}"
            resource = f"{task_role.name} {name} {name_of(statement)}"
            found.append((failed if "NotAction" in statement or wide == "*" else warned)(seen, resource))
    return found or [passed(f"{len(own)} policies, every action is named", task_role.name)]


@check(
    "iam.trust",
    title="Only AWS's services take the application's role",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws iam update-assume-role-policy",
)
def trust(task_role: Role | None) -> Iterable[Verdict]:
    """Whoever may take the role has the secret; a person or another account has no business with it."""
    if task_role is None:
        return [not_applicable(UNDECLARED)]
    hint = _for_services(task_role)
    allowing = [statement for statement in task_role.trust if statement.get("Effect") == "Allow"]
    found = []
    for principal, statement in ((name, said) for said in allowing for name in principals(said)):
        resource = f"{task_role.name} {principal} {name_of(statement)}"
        if principal == "*":
            found.append(failed("everybody may take it", resource, hint))
        elif principal not in SERVICES:
            found.append(warned(f"{principal} may take it", resource, hint))
    return found or [passed(f"{len(allowing)} statements, for AWS's services only", task_role.name)]


@check(
    "iam.confused-deputy",
    title="ECS takes the application's role for this account's tasks only",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws iam update-assume-role-policy, with a condition on aws:SourceAccount",
    peers=("Prowler iam_role_cross_service_confused_deputy_prevention",),
)
def confused_deputy(task_role: Role | None) -> Verdict:
    """ECS serves every account: a condition on whose task it is keeps it from being talked into using the role."""
    if task_role is None:
        return not_applicable(UNDECLARED)
    by_ecs = [said for said in task_role.trust if said.get("Effect") == "Allow" and SERVICES[0] in principals(said)]
    if not by_ecs:
        return not_applicable("ECS may not take it (see iam.trust)", task_role.name)
    unbound = [said for said in by_ecs if not SOURCES & {key.lower() for key in binding_keys(said)}]
    if not unbound:
        return passed("with a condition on whose tasks they are", task_role.name)
    account = account_of(task_role.arn)
    bound = [part for said in task_role.trust for part in (_bound(said, account) if said in unbound else [said])]
    hint = _trusting(task_role, bound, "it adds the condition; the other statements stay")
    return warned("no condition on aws:SourceAccount or aws:SourceArn", task_role.name, hint)


@check(
    "iam.execution-role",
    title="The role that starts the tasks may read the secrets that they are given, and nothing else",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Allow the execution role secretsmanager:GetSecretValue on the secrets that the task definition names",
)
def execution(execution_role_powers: Powers | None, task_definition: TaskDefinition | None) -> Iterable[Verdict]:
    """ECS fetches what a task definition names under secrets with that role: without the right no task starts."""
    if task_definition is None:
        return [not_applicable('no ECS service is declared (DEPLOYTOOLS["ECS_SERVICE"])')]
    if not fetched(task_definition):
        return [not_applicable("the task definition has no secrets: the application reads its own")]
    if execution_role_powers is None:
        return [failed("there are secrets to fetch, and executionRoleArn is not set", task_definition.arn)]
    powers, enough = execution_role_powers, _minimal(execution_role_powers)
    return [*_lacking(powers, enough), *_excess(powers, enough)]
