"""Checks of the application's IAM role."""

from __future__ import annotations

import json
from collections.abc import Iterable

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, warned
from deploytools.verification.policies import principals
from deploytools.verification.registry import check
from deploytools.verification.sources.iam import READ, Powers, Role

CHECKLIST = "Security Checklist: AWS IAM permissions follow least privilege principle"
UNDECLARED = 'no role is declared (DEPLOYTOOLS["TASK_ROLE"], or a task role of ECS_SERVICE)'
#: The start of the application also asks when the secret changed, and for its labels.
DESCRIBE = "secretsmanager:DescribeSecret"
SERVICES = ("ecs-tasks.amazonaws.com", "ec2.amazonaws.com", "lambda.amazonaws.com")
_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": SERVICES[0]}, "Action": "sts:AssumeRole"}],
    },
    separators=(",", ":"),
)


def _minimal(powers: Powers) -> str:
    """The policy that is enough."""
    secret = next(iter(powers.allowed))[1]
    statement = {"Effect": "Allow", "Action": [READ, DESCRIBE], "Resource": secret}
    return f"Enough is: {json.dumps({'Version': '2012-10-17', 'Statement': [statement]})}"


@check(
    "iam.reads-its-secret",
    title="The application's role may read its secret",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Allow the role secretsmanager:GetSecretValue on the secret",
)
def reads_its_secret(task_role_powers: Powers | None) -> Verdict:
    """Without it no process starts, and that the person who verifies may read it says nothing of the role."""
    if task_role_powers is None:
        return not_applicable(UNDECLARED)
    secret = next(iter(task_role_powers.allowed))
    by = task_role_powers.allowed[secret]
    if by:
        return passed(f"by {by} ({task_role_powers.how})", task_role_powers.role)
    return failed(
        f"nothing allows {READ} on it ({task_role_powers.how})", task_role_powers.role, _minimal(task_role_powers)
    )


@check(
    "iam.least-privilege",
    title="The application's role may do nothing but its work",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Take the statement out of the role's policy",
    peers=(
        "FSBP IAM.1",
        "FSBP IAM.21",
        "Prowler iam_inline_policy_no_administrative_privileges",
        "Prowler iam_policy_allows_privilege_escalation",
    ),
)
def least_privilege(task_role_powers: Powers | None) -> Iterable[Verdict]:
    """What the role may do, an attacker in the application may do: read other secrets, delete the database."""
    if task_role_powers is None:
        return [not_applicable(UNDECLARED)]
    powers = task_role_powers
    found = [
        failed(f"it may {action} on {resource}: {by} ({powers.how})", powers.role, _minimal(powers))
        for (action, resource), by in list(powers.allowed.items())[1:]
        if by
    ]
    return found or [passed(f"none of {len(powers.allowed) - 1} dangerous actions ({powers.how})", powers.role)]


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
    wide = [p for p in task_role.policies if ":aws:policy/" in p.arn and ("FullAccess" in p.name or "Admin" in p.name)]
    return [
        failed(
            f"{policy.name} is attached",
            task_role.name,
            f"Run: aws iam detach-role-policy --role-name {task_role.name} --policy-arn {policy.arn}",
        )
        for policy in wide
    ] or [passed(f"{len(task_role.policies)} policies, none of them", task_role.name)]


@check(
    "iam.trust",
    title="Only AWS's services take the application's role",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws iam update-assume-role-policy",
    peers=("Prowler iam_role_cross_service_confused_deputy_prevention",),
)
def trust(task_role: Role | None) -> Iterable[Verdict]:
    """Whoever may take the role has the secret; a person or another account has no business with it."""
    if task_role is None:
        return [not_applicable(UNDECLARED)]
    hint = (
        f"Run: aws iam update-assume-role-policy --role-name {task_role.name} --policy-document '{_TRUST}' "
        "(if it is ECS's tasks that take it)"
    )
    allowing = [statement for statement in task_role.trust if statement.get("Effect") == "Allow"]
    found = []
    for principal in (name for statement in allowing for name in principals(statement)):
        if principal == "*":
            found.append(failed("everybody may take it", task_role.name, hint))
        elif principal not in SERVICES:
            found.append(warned(f"{principal} may take it", task_role.name, hint))
    return found or [passed(f"{len(allowing)} statements, for AWS's services only", task_role.name)]
