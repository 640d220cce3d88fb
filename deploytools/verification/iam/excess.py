"""What the policies of a role allow beyond what it needs, statement by statement. Pure.

Every Allow statement must be contained in the permissions that are needed or declared. Wildcards are compared as
patterns, so that an action that AWS adds later counts, too. A Deny statement and a permissions boundary reduce what a
statement allows; a condition whose value is unknown does not. IAM's policy simulator can decide such a condition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from deploytools.verification.iam.facts import Role
from deploytools.verification.iam.policies import Policy, account_of, as_list, condition_holds, name_of

#: What an attacker in the application gains with an action. From the catalogs of cloudsplaining and pathfinding.cloud.
DANGERS: Mapping[str, tuple[str, ...]] = {
    "changes permissions": (
        *(f"iam:{verb}*" for verb in ("Add", "Attach", "Create", "Delete", "Detach", "Put", "Remove", "Set", "Update")),
        *("organizations:*Policy", "sso:*PermissionSet*", "ram:*ResourceShare*"),
    ),
    "runs code with another role": (
        *("iam:PassRole", "lambda:Create*", "lambda:Update*", "lambda:AddPermission", "lambda:InvokeFunction"),
        *("ecs:RunTask", "ecs:StartTask", "ecs:ExecuteCommand", "ecs:RegisterTaskDefinition", "ecs:UpdateService"),
        *("ecs:CreateService", "ec2:RunInstances", "ec2:RequestSpotInstances", "ec2:*LaunchTemplate*"),
        *("ec2:ModifyInstanceAttribute", "ec2-instance-connect:*", "ssm:SendCommand", "ssm:StartSession"),
        *("ssm:StartAutomationExecution", "ssm:*Association*", "cloudformation:*Stack*", "cloudformation:*ChangeSet*"),
        *("codebuild:*Build*", "codebuild:*Project", "glue:*DevEndpoint*", "glue:*Job*", "sagemaker:Create*"),
        *("datapipeline:*Pipeline*", "apprunner:*Service", "bedrock-agentcore:*CodeInterpreter*", "states:Start*"),
    ),
    "assumes other roles": ("sts:AssumeRole*", "sts:GetFederationToken"),
    "reads other secrets": ("secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue", "ssm:GetParameter*"),
    "changes secrets": (
        *(f"secretsmanager:{verb}*" for verb in ("Put", "Update", "Delete", "Rotate", "Remove", "Replicate", "Cancel")),
        "ssm:PutParameter",
        "ssm:DeleteParameter*",
    ),
    "copies, changes or stops databases": (
        *(f"rds:{verb}*" for verb in ("Add", "Apply", "Copy", "Create", "Delete", "Failover", "Modify", "Promote")),
        *(
            f"rds:{verb}*"
            for verb in ("Purchase", "Reboot", "Remove", "Reset", "Restore", "Start", "Stop", "Switchover")
        ),
        *("rds:DownloadDBLogFilePortion", "rds:DownloadCompleteDBLogFile", "rds-db:connect", "rds-data:*"),
        *("dms:Create*", "dms:Start*", "backup:Delete*", "backup:Start*", "backup:Update*", "backup:Put*"),
    ),
    "changes the network": (
        *("ec2:Authorize*", "ec2:Revoke*", "ec2:*SecurityGroup*Rule*", "ec2:*Route", "ec2:*RouteTable", "ec2:*Gateway"),
        *("ec2:*NetworkAcl*", "ec2:*Peering*", "ec2:Terminate*", "ec2:StopInstances", "elasticloadbalancing:Modify*"),
        *("elasticloadbalancing:Delete*", "route53:Change*"),
    ),
    "disables keys": (
        *("kms:ScheduleKeyDeletion", "kms:DisableKey*", "kms:PutKeyPolicy", "kms:CreateGrant", "kms:ReEncrypt*"),
        "kms:DeleteImportedKeyMaterial",
    ),
    "stops logging or alarms": (
        *("cloudtrail:StopLogging", "cloudtrail:Delete*", "cloudtrail:Update*", "cloudtrail:Put*", "logs:Delete*"),
        *("cloudwatch:DeleteAlarms", "cloudwatch:DisableAlarmActions", "cloudwatch:PutMetricAlarm"),
        *("cloudwatch:SetAlarmState", "sns:Unsubscribe", "sns:DeleteTopic", "sns:SetTopicAttributes"),
        *("config:Stop*", "config:Delete*", "guardduty:Delete*", "guardduty:Update*", "guardduty:Disassociate*"),
    ),
    "changes or deletes buckets": ("s3:DeleteBucket*", "s3:PutBucket*", "s3:PutObject*Acl", "s3:PutLifecycle*"),
}

#: These are dangers on all resources only. On one resource, they are merely not declared.
DANGERS_IF_WIDE: Mapping[str, tuple[str, ...]] = {
    "decrypts with every key": ("kms:Decrypt",),
    "reads every bucket": ("s3:GetObject*",),
    "writes to every bucket": ("s3:PutObject", "s3:DeleteObject*"),
}

#: A resource that is all of its kind in a Region or an account.
WIDE = re.compile(r"\*+|arn:[^:]*:[^:]*:[^:]*:[^:]*:(key/|alias/)?\*+(/\*+)?")

#: Patterns that an evidence names before "and … more".
MAX_NAMED = 5

Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Permission:
    """An action on a resource, both as patterns, that a role may be allowed.

    Attributes:
        condition: the condition keys and the values to which it must be limited; none: no limit.
    """

    action: str
    resource: str
    condition: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Gain:
    """An action on a resource, both as patterns, that a statement allows beyond the needed permissions.

    Attributes:
        dangers: what it makes possible; none: it is merely not declared.
    """

    action: str
    resource: str
    dangers: tuple[str, ...]


@dataclass(frozen=True)
class Excess:
    """What one statement allows beyond the needed permissions.

    Attributes:
        statement: the policy and the statement.
        conditions: the condition keys that it depends on; none: it does not depend on a condition.
    """

    statement: str
    gains: tuple[Gain, ...]
    conditions: tuple[str, ...] = ()

    @property
    def actions(self) -> tuple[str, ...]:
        """The patterns of the actions, with the resource."""
        return tuple(f"{gain.action} on {gain.resource}" for gain in self.gains)

    @property
    def dangers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(danger for gain in self.gains for danger in gain.dangers))


@lru_cache(maxsize=100_000)
def overlaps(first: str, second: str) -> bool:
    """Return whether a string exists that both patterns match."""
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same] and first[same] not in "*?":
        same += 1
    first, second = first[same:], second[same:]
    if not first or not second:
        return not (first or second).strip("*")
    if first[0] == "*":
        return overlaps(first[1:], second) or overlaps(first, second[1:])
    if second[0] == "*":
        return overlaps(second, first)
    return (first[0] == second[0] or "?" in {first[0], second[0]}) and overlaps(first[1:], second[1:])


@lru_cache(maxsize=10_000)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "[^*]"}.get(letter, re.escape(letter)) for letter in pattern), re.DOTALL)


def contains(outer: str, inner: str) -> bool:
    """Return whether `outer` matches every string that the pattern `inner` matches."""
    return _expression(outer).fullmatch(inner) is not None


def example(action: str) -> str:
    """Return the action, or, for a pattern, a dangerous action that it matches; empty: none without a wildcard."""
    if not set(action) & {"*", "?"}:
        return action
    dangerous = (name for group in (DANGERS, DANGERS_IF_WIDE) for patterns in group.values() for name in patterns)
    return next((name for name in dangerous if "*" not in name and contains(action.lower(), name.lower())), "")


def _narrow(first: str, second: str) -> str:
    """Return the pattern that is contained in the other; the first if none is."""
    return second if contains(first, second) else first


def permissions(statements: Iterable[Statement]) -> list[Permission]:
    """Return the permissions of Allow statements without ``NotAction``."""
    return [
        Permission(action, resource, _condition_values(statement))
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]


def declared(actions: Mapping[str, object]) -> list[Permission]:
    """Return the permissions of ``DEPLOYTOOLS["TASK_ACTIONS"]``: actions, each with its resources."""
    return [Permission(action, resource, {}) for action, named in actions.items() for resource in as_list(named)]


def _condition_values(statement: Statement) -> dict[str, tuple[str, ...]]:
    """The values by condition key of the operators that require one of these values."""
    return {
        key.lower(): tuple(as_list(values))
        for operator, pairs in (statement.get("Condition") or {}).items()
        if operator.lower() in {"stringequals", "stringlike", "arnequals", "arnlike"}
        for key, values in pairs.items()
    }


def excess(role: Role, expected: Sequence[Permission]) -> list[Excess]:
    """Return what the statements of the role's policies allow and `expected` does not contain."""
    denying = [statement for policy in role.policies for statement in policy.statements if _denies(statement)]
    if role.boundary:
        denying += [statement for statement in role.boundary.statements if _denies(statement)]
    return [
        found
        for policy in role.policies
        for statement in policy.statements
        if statement.get("Effect") == "Allow"
        if (found := _excess(policy, statement, role.boundary, denying, expected, known_context(role)))
    ]


def _denies(statement: Statement) -> bool:
    return statement.get("Effect") == "Deny" and not statement.get("Condition")


def known_context(role: Role) -> dict[str, str]:
    """Return the values of condition keys that are the same in every request of a role to AWS."""
    return {
        "aws:SecureTransport": "true",
        "aws:PrincipalArn": role.arn,
        "aws:PrincipalAccount": account_of(role.arn),
        "aws:PrincipalType": "AssumedRole",
    }


def _excess(
    policy: Policy,
    statement: Statement,
    boundary: Policy | None,
    denying: list[Statement],
    expected: Sequence[Permission],
    context: Mapping[str, str],
) -> Excess | None:
    values, found, holds = _condition_values(statement), dict[Gain, None](), condition_holds(statement, context)
    for action, resource, excluded in _pairs(statement, boundary) if holds is not False else ():
        against = [*denying, *excluded]
        if _is_denied(action, resource, against):
            continue
        gained = dict.fromkeys(_dangers(action, resource, values, against, expected))
        if gained or not _is_expected(action, resource, values, expected):
            found[Gain(action, resource, tuple(gained))] = None
    keys = sorted({key for pairs in (statement.get("Condition") or {}).values() for key in pairs})
    return (
        Excess(f"{policy.name} {name_of(statement)}", tuple(found), tuple(keys if holds is None else ()))
        if found
        else None
    )


def _pairs(statement: Statement, boundary: Policy | None) -> Iterator[tuple[str, str, list[Statement]]]:
    """Yield each action and resource, as patterns within the boundary, and what is excluded from them."""
    limits = [s for s in boundary.statements if s.get("Effect") == "Allow"] if boundary else [ALL]
    for limit in limits:
        excluded = [*_excluded(statement), *_excluded(limit)]
        for action in _patterns(statement, "Action"):
            for within in (bound for bound in _patterns(limit, "Action") if overlaps(action.lower(), bound.lower())):
                narrowed = _narrow(action, within) if within.lower() != action.lower() else action
                for resource in _patterns(statement, "Resource"):
                    for place in (bound for bound in _patterns(limit, "Resource") if overlaps(resource, bound)):
                        yield narrowed, _narrow(resource, place), excluded


ALL: Statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def _patterns(statement: Statement, member: str) -> list[str]:
    return as_list(statement[member]) if member in statement else ["*"]


def _excluded(statement: Statement) -> list[Statement]:
    """Return what ``NotAction`` and ``NotResource`` of an Allow statement exclude, as Deny statements."""
    found = [{"Action": statement["NotAction"], "Resource": "*"}] if "NotAction" in statement else []
    return [*found, *([{"Action": "*", "Resource": statement["NotResource"]}] if "NotResource" in statement else [])]


def _is_denied(action: str, resource: str, denying: Iterable[Statement]) -> bool:
    return any(_is_within(d, "Action", action.lower()) and _is_within(d, "Resource", resource) for d in denying)


def _is_within(statement: Statement, member: str, pattern: str) -> bool:
    """Return whether a member of a Deny statement covers everything that `pattern` matches."""
    listed = [named.lower() if member == "Action" else named for named in _patterns(statement, f"Not{member}")]
    if f"Not{member}" in statement:
        return not any(overlaps(named, pattern) for named in listed)
    named = [item.lower() if member == "Action" else item for item in _patterns(statement, member)]
    return any(contains(outer, pattern) for outer in named)


def _is_expected(
    action: str, resource: str, values: Mapping[str, tuple[str, ...]], expected: Iterable[Permission]
) -> bool:
    return any(
        contains(permission.action.lower(), action.lower())
        and contains(permission.resource, resource)
        and _is_limited(values, permission.condition)
        for permission in expected
    )


def _is_limited(values: Mapping[str, tuple[str, ...]], required: Mapping[str, tuple[str, ...]]) -> bool:
    """Return whether one of the required condition keys limits a statement to the required values."""
    return not required or any(
        key in values and all(any(contains(outer, value) for outer in wanted) for value in values[key])
        for key, wanted in required.items()
    )


def _dangers(
    action: str,
    resource: str,
    values: Mapping[str, tuple[str, ...]],
    denying: list[Statement],
    expected: Iterable[Permission],
) -> Iterator[str]:
    """Yield what an action makes possible. A declared action with a wildcard does not permit a dangerous one."""
    exact = [permission for permission in expected if "*" not in permission.action]
    # NAME-* can match the ARN of another secret whose name starts with NAME-. That is merely not declared.
    exact += [replace(p, resource=f"{p.resource[:-6]}*") for p in exact if p.resource.endswith("-??????")]
    dangers = {**DANGERS, **(DANGERS_IF_WIDE if WIDE.fullmatch(resource) else {})}
    for danger, patterns in dangers.items():
        for pattern in (p for p in patterns if overlaps(p.lower(), action.lower())):
            narrowed = _narrow(action.lower(), pattern.lower())
            if not _is_denied(narrowed, resource, denying) and not _is_expected(narrowed, resource, values, exact):
                yield danger
                break
