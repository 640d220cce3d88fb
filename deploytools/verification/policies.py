"""What IAM policy documents allow, by reading them. Pure, and simpler than IAM, on the side of suspicion.

It knows ``Action``, ``Resource``, their ``Not…``, wildcards and ``Deny``. A condition is taken to hold where
it allows and not to hold where it denies. Boundaries, service control policies and session policies are not looked at:
they can only take away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote


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


def allowed_by(policies: Iterable[Policy], action: str, resource: str) -> str:
    """Which statement allows `action` on `resource`; empty: none does, or one denies it."""
    return decision(policies, action, resource)[1]


def decision(policies: Iterable[Policy], action: str, resource: str) -> tuple[str, str]:
    """IAM's word, ``allowed``, ``implicitDeny`` or ``explicitDeny``, and which statement allows it.

    Args:
        resource: ``*``: any one; it is allowed then where it is allowed on some resource, and denied where on all.
    """
    by = ""
    for policy in policies:
        for index, statement in enumerate(policy.statements):
            if not _is_about(statement, action, resource):
                continue
            if statement.get("Effect") == "Deny" and not statement.get("Condition"):
                return "explicitDeny", ""
            if statement.get("Effect") == "Allow":
                by = by or f"policy {policy.name}, statement {statement.get('Sid') or index}"
    return ("allowed" if by else "implicitDeny"), by


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
    return [value] if isinstance(value, str) else list(value)
