"""What IAM policy documents allow, by reading them. Pure, and simpler than IAM, on the side of suspicion.

It knows ``Action``, ``Resource``, their ``Not…``, wildcards and ``Deny``. Of conditions it knows those that ask for a
value that it is told; where a decision hangs on another, it says so. Service control policies and session policies are
not looked at: they can only take away.
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

#: Operators under which a key has to be there; "ForAllValues" and "IfExists" also hold where it is not.
BINDING_OPERATOR = re.compile(
    r"(ForAnyValue:)?(StringEquals(IgnoreCase)?|StringLike|ArnEquals|ArnLike|IpAddress)", re.IGNORECASE
)

#: Operators, and their ``…Not…``, that are decided where the value of their key is known.
DECIDABLE = {"stringequals", "stringlike", "arnequals", "arnlike", "bool"}

#: Keys that AWS itself sets, and that differ from caller to caller.
BINDING_KEY = re.compile(
    r"aws:(Principal(Account|Arn|OrgID|OrgPaths)|Source(Account|Arn|OrgID|OrgPaths|Ip|Vpc|Vpce)|userid)", re.IGNORECASE
)

#: All actions, or all of a service.
WIDE_ACTION = re.compile(r"\*+|[\w-]+:\*+")

#: arn:partition:service:region:account:resource
ARN_COLONS = 5


#: Characters that tell a role's statements apart.
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
    """The policy that AWS returned, as text (which IAM quotes as in a URL) or already read."""
    read = json.loads(unquote(document)) if isinstance(document, str) else document
    statements = read.get("Statement", [])
    return Policy(name, tuple(statements if isinstance(statements, list) else [statements]), arn)


def argument(statements: Iterable[Mapping[str, Any]]) -> str:
    """A policy of these statements as one word of a command line."""
    # No space, not even in a text: a report copies a command up to what looks like the end of the sentence.
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, separators=(",", ":"))
    return shlex.quote(document.replace(" ", "\\u0020"))


def allowed_by(policies: Iterable[Policy], action: str, resource: str) -> str:
    """Which statement allows `action` on `resource`, on a condition perhaps; empty: none does, or one denies it."""
    return decision(policies, action, resource)[1]


def decision(
    policies: Iterable[Policy], action: str, resource: str, context: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """IAM's word, ``allowed``, ``implicitDeny`` or ``explicitDeny``, and which statement allows it.

    ``conditional``: whether the one that allows it holds, or one that denies it, hangs on what `context` does not say.

    Args:
        resource: ``*``: any one; it is allowed then where it is allowed on some resource, and denied where on all.
        context: values of condition keys.
    """
    allowing: dict[bool | None, str] = {}
    denying = set()
    for policy in policies:
        for index, statement in enumerate(policy.statements):
            if not _is_about(statement, action, resource):
                continue
            holds = _holds(statement, context or {})
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


def _holds(statement: Mapping[str, Any], context: Mapping[str, str]) -> bool | None:
    """Whether the condition of a statement holds; None: that is not known."""
    known = {key.lower(): value for key, value in context.items()}
    held = {
        _is_met(operator.lower(), _listed(values), known.get(key.lower()))
        for operator, pairs in (statement.get("Condition") or {}).items()
        for key, values in pairs.items()
    }
    return False if False in held else None if None in held else True


def _is_met(operator: str, values: list[str], actual: str | None) -> bool | None:
    if actual is None or operator.replace("not", "") not in DECIDABLE:
        return None
    is_literal = operator in {"stringequals", "stringnotequals", "bool"}
    return (actual in values if is_literal else any(_fits(value, actual, "") for value in values)) != (
        "not" in operator
    )


def principals(statement: Mapping[str, Any]) -> list[str]:
    """Whom a statement of a policy is about; ``*``: everybody, which is also who ``NotPrincipal`` is about."""
    if "NotPrincipal" in statement:
        return ["*"]
    said = statement.get("Principal", {})
    values = [said] if isinstance(said, str) else list(said.values())
    return [name for value in values for name in _listed(value)]


def name_of(statement: Mapping[str, Any]) -> str:
    """Its ``Sid``, where it has one, and a digest of all that it says: changed, it is another statement."""
    digest = hashlib.sha256(json.dumps(statement, sort_keys=True).encode()).hexdigest()[:DIGEST]
    return f"{statement.get('Sid') or 'statement'} {digest}"


def only_for(statement: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    """The statement with no other principals than `names`; empty: it names none of them."""
    said = statement.get("Principal", {})
    meant, kinds = set(names), {} if isinstance(said, str) else said
    kept = {kind: [name for name in _listed(listed) if name in meant] for kind, listed in kinds.items()}
    return {**statement, "Principal": {kind: left for kind, left in kept.items() if left}} if any(kept.values()) else {}


def account_of(principal: str) -> str:
    """The account of a principal, by its ARN or its number; empty: a service, or an id that nobody bears any more."""
    return principal if principal.isdigit() else "".join(principal.split(":")[4:5])


def binding_keys(statement: Mapping[str, Any]) -> list[str]:
    """The keys of the condition that keep strangers out of a statement that is about everybody.

    Only a key that a stranger cannot choose counts, where it has to be there and to have a value that is fixed.
    """
    return [
        key
        for operator, pairs in (statement.get("Condition") or {}).items()
        if BINDING_OPERATOR.fullmatch(operator)
        for key, values in pairs.items()
        if BINDING_KEY.fullmatch(key) and all(_is_fixed(key, value) for value in _listed(values))
    ]


def wide_actions(statement: Mapping[str, Any]) -> str:
    """How a statement allows all actions, or all of a service; empty: it names them."""
    if statement.get("Effect") != "Allow":
        return ""
    if "NotAction" in statement:
        return f"everything but {', '.join(_listed(statement['NotAction']))}"
    return next((named for named in _listed(statement.get("Action", ())) if WIDE_ACTION.fullmatch(named)), "")


def _is_fixed(key: str, value: str) -> bool:
    """An ARN with its account, an organisation, a network that is not the whole internet, …"""
    if key.lower().endswith("arn"):
        return value.count(":") >= ARN_COLONS and "*" not in value.split(":")[4]
    return bool(value.strip("*?")) and not value.endswith("/0")


def _is_about(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if not _matches(statement, "Action", action.lower()):
        return False
    return _is_about_any(statement) if resource == "*" else _matches(statement, "Resource", resource)


def _is_about_any(statement: Mapping[str, Any]) -> bool:
    """Whether it allows something, or denies everything."""
    if statement.get("Effect") == "Deny":
        return "*" in _listed(statement.get("Resource", ()))
    return bool(statement.get("Resource")) or "*" not in _listed(statement.get("NotResource", "*"))


def _matches(statement: Mapping[str, Any], member: str, value: str) -> bool:
    """Whether ``Action`` (or ``NotAction``, …) of a statement takes `value` in."""
    if member in statement:
        return any(_fits(pattern, value, member) for pattern in _listed(statement[member]))
    if f"Not{member}" in statement:
        return not any(_fits(pattern, value, member) for pattern in _listed(statement[f"Not{member}"]))
    return False


def _fits(pattern: str, value: str, member: str) -> bool:
    """``*`` and ``?`` as IAM has them; actions know no case."""
    pattern = pattern.lower() if member == "Action" else pattern
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, value) is not None


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]
