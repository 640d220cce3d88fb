"""A simplified evaluation of IAM policy documents. Pure.

It evaluates ``Action``, ``Resource``, ``NotAction``, ``NotResource``, wildcards, ``Deny``, and conditions on keys whose
value is given. A decision that depends on another condition is ``conditional``. Service control policies and session
policies, which only reduce permissions, are ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

#: Operators that require the key; "ForAllValues" and "IfExists" also match a request without it.
BINDING_OPERATOR = re.compile(
    r"(ForAnyValue:)?(StringEquals(IgnoreCase)?|StringLike|ArnEquals|ArnLike|IpAddress)", re.IGNORECASE
)

#: Operators, also negated, that can be evaluated if the value of the key is known.
DECIDABLE = {"stringequals", "stringlike", "arnequals", "arnlike", "bool"}

#: Condition keys that AWS sets and that identify the caller.
BINDING_KEY = re.compile(
    r"aws:(Principal(Account|Arn|OrgID|OrgPaths)|Source(Account|Arn|OrgID|OrgPaths|Ip|Vpc|Vpce)|userid)", re.IGNORECASE
)

#: arn:partition:service:region:account:resource
ARN_COLONS = 5


#: Characters of the digest of a statement.
DIGEST = 8


@dataclass(frozen=True)
class Policy:
    """One policy document with its name.

    Attributes:
        arn: of a managed policy; empty: inline.
    """

    name: str
    statements: tuple[Mapping[str, Any], ...]
    arn: str = ""


def parse_policy(name: str, document: str | Mapping[str, Any], arn: str = "") -> Policy:
    """Return the policy of a document that AWS returned: parsed, or as text, which IAM URL-encodes."""
    read = json.loads(unquote(document)) if isinstance(document, str) else document
    statements = read.get("Statement", [])
    return Policy(name, tuple(statements if isinstance(statements, list) else [statements]), arn)


def argument(statements: Iterable[Mapping[str, Any]]) -> str:
    """Return a policy document with the statements, quoted as one shell argument."""
    # Without spaces, so that the HTML report recognizes the end of the command.
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, separators=(",", ":"))
    return shlex.quote(document.replace(" ", "\\u0020"))


def decision(
    policies: Iterable[Policy], action: str, resource: str, context: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Return the decision and the statement that allows the action.

    The decision is ``allowed``, ``implicitDeny``, ``explicitDeny``, or ``conditional``: it depends on a condition key
    that is not in `context`.

    Args:
        resource: ``*``: any resource; the action is allowed if it is on some resource, and denied if it is on all.
        context: values of condition keys.
    """
    allowing: dict[bool | None, str] = {}
    denying = set()
    for policy in policies:
        for index, statement in enumerate(policy.statements):
            if not _covers(statement, action, resource):
                continue
            holds = condition_holds(statement, context or {})
            if statement.get("Effect") == "Deny":
                denying.add(holds)
            elif statement.get("Effect") == "Allow":
                allowing.setdefault(holds, f"policy {policy.name}, statement {statement.get('Sid') or index}")
    by = allowing.get(True) or allowing.get(None, "")
    if True in denying:
        return "explicitDeny", ""
    if not by:
        return "implicitDeny", ""
    return ("allowed" if True in allowing and None not in denying else "conditional"), by


def source_context(arn: str) -> dict[str, str]:
    """Return the values of condition keys in a request of an AWS service on behalf of a resource."""
    account = account_of(arn)
    known = {"aws:SourceArn": arn, "aws:SourceAccount": account, "aws:SourceOwner": account}
    return {"aws:SecureTransport": "true", **(known if arn else {})}


def invocation(function: str, statements: Iterable[Mapping[str, Any]], service: str, source: str) -> str:
    """Return whether the policy of a function allows an AWS service to invoke it, as `decision` does.

    Args:
        statements: the statements of the policy; none: the function does not exist, or has no policy.
        source: ARN of the resource on whose behalf the service acts.
    """
    policy = Policy("function", tuple(item for item in statements if {service, "*"} & set(principals(item))))
    return decision([policy], "lambda:InvokeFunction", function, source_context(source))[0]


def condition_holds(statement: Mapping[str, Any], context: Mapping[str, str]) -> bool | None:
    """Return whether the condition of a statement is met; None: unknown."""
    known = {key.lower(): value for key, value in context.items()}
    held = {
        _is_met(operator.lower(), as_list(values), known.get(key.lower()))
        for operator, pairs in (statement.get("Condition") or {}).items()
        for key, values in pairs.items()
    }
    return False if False in held else None if None in held else True


def _is_met(operator: str, values: list[str], actual: str | None) -> bool | None:
    if actual is None or operator.replace("not", "") not in DECIDABLE:
        return None
    if operator == "bool":
        return actual.lower() in {value.lower() for value in values}
    is_literal = operator in {"stringequals", "stringnotequals"}
    return (actual in values if is_literal else any(_matches_pattern(value, actual, "") for value in values)) != (
        "not" in operator
    )


def principals(statement: Mapping[str, Any]) -> list[str]:
    """Return the principals of a statement; ``*``: everyone, also for ``NotPrincipal``."""
    if "NotPrincipal" in statement:
        return ["*"]
    principal = statement.get("Principal", {})
    values = [principal] if isinstance(principal, str) else list(principal.values())
    return [name for value in values for name in as_list(value)]


def name_of(statement: Mapping[str, Any]) -> str:
    """Return the ``Sid`` of a statement, if any, and a digest of its content, so that a change gives another name."""
    digest = hashlib.sha256(json.dumps(statement, sort_keys=True).encode()).hexdigest()[:DIGEST]
    return f"{statement.get('Sid') or 'statement'} {digest}"


def only_for(statement: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    """Return the statement with only those of its principals that are in `names`; empty: none is."""
    principal = statement.get("Principal", {})
    meant, kinds = set(names), {} if isinstance(principal, str) else principal
    kept = {kind: [name for name in as_list(listed) if name in meant] for kind, listed in kinds.items()}
    return {**statement, "Principal": {kind: left for kind, left in kept.items() if left}} if any(kept.values()) else {}


def account_of(principal: str) -> str:
    """Return the account of a principal, from its ARN or ID; empty: a service, or the ID of a deleted principal."""
    return principal if principal.isdigit() else "".join(principal.split(":")[4:5])


def binding_conditions(statement: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the conditions (key and values) that limit a statement for everyone to known callers.

    A key counts if the caller cannot choose it, the operator requires it, and the value is fixed.
    """
    return [
        (key, as_list(values))
        for operator, pairs in (statement.get("Condition") or {}).items()
        if BINDING_OPERATOR.fullmatch(operator)
        for key, values in pairs.items()
        if BINDING_KEY.fullmatch(key) and all(_is_fixed(key, value) for value in as_list(values))
    ]


def _is_fixed(key: str, value: str) -> bool:
    """Return whether a value identifies an account, an organization, a network other than the internet, …"""
    if key.lower().endswith("account"):
        return value.isdigit()
    if key.lower().endswith("arn"):
        return value.count(":") >= ARN_COLONS and "*" not in value.split(":")[4]
    return bool(value.strip("*?")) and not value.endswith("/0")


def _covers(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if not _matches_member(statement, "Action", action.lower()):
        return False
    return _covers_any(statement) if resource == "*" else _matches_member(statement, "Resource", resource)


def _covers_any(statement: Mapping[str, Any]) -> bool:
    """Return whether an Allow statement covers any resource, or a Deny statement all resources."""
    if statement.get("Effect") == "Deny":
        return "*" in as_list(statement.get("Resource", ()))
    return bool(statement.get("Resource")) or "*" not in as_list(statement.get("NotResource", "*"))


def _matches_member(statement: Mapping[str, Any], member: str, value: str) -> bool:
    """Return whether ``Action`` or ``Resource`` of a statement, or ``NotAction`` or ``NotResource``, covers `value`."""
    if member in statement:
        return any(_matches_pattern(pattern, value, member) for pattern in as_list(statement[member]))
    if f"Not{member}" in statement:
        return not any(_matches_pattern(pattern, value, member) for pattern in as_list(statement[f"Not{member}"]))
    return False


def _matches_pattern(pattern: str, value: str, member: str) -> bool:
    """Match IAM's wildcards; actions are case-insensitive."""
    pattern = pattern.lower() if member == "Action" else pattern
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, value) is not None


def as_list(value: Any) -> list[str]:
    """Return the values of a member, which can be one value or a list."""
    values = value if isinstance(value, list | tuple) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]
