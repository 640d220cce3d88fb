"""The plan and the results of create_tenant_dbs as JSON. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from deploytools.errors import DeployError
from deploytools.reports.tenants_text import plan_status, result_status
from deploytools.tenants.operations import Operation
from deploytools.tenants.plan import DatabasePlan, TenantPlan
from deploytools.tenants.provisioning import ProvisioningResult

#: Version of the document; it is incremented when a member or an action changes its meaning or is removed.
VERSION = 1

#: Fields of operations that name what a step changes, and the role that it concerns; the first that exists counts.
OBJECTS, ROLES = ("secret", "database", "role", "login"), ("to", "previous", "owner", "role", "tenant")


def to_json(
    server: str, plan: DatabasePlan | None, results: Sequence[ProvisioningResult], notes: Iterable[tuple[str, str]]
) -> str:
    """Return one JSON document with the plan and the result of each tenant.

    Args:
        plan: None if the tenants were only verified.
        results: empty if nothing was applied or verified.
        notes: the tenant of each note, or an empty string, and the note.
    """
    statuses = map(result_status, results) if results or plan is None else map(plan_status, plan.tenants)
    document: dict[str, object] = {"version": VERSION, "server": server, "counts": Counter(statuses)}
    if plan is not None:
        document["role_steps"] = _steps(plan.role_steps)
        document["template_steps"] = _steps(plan.template_steps)
        document["plan"] = list(map(_planned, plan.tenants))
    document["tenants"] = list(map(_result, results))
    document["notes"] = [note for _, note in notes]
    return json.dumps(document, indent=2, ensure_ascii=False)


def action(operation: type[Operation]) -> str:
    """Return the code of a kind of operation: ``create_database``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation.__name__).lower()


def _steps(steps: Iterable[Operation]) -> list[dict[str, object]]:
    return [
        {
            "action": action(type(step)),
            "object": _first(step, OBJECTS),
            "role": _first(step, ROLES),
            "description": str(step),
        }
        for step in steps
    ]


def _first(step: Operation, fields: Sequence[str]) -> object:
    values = vars(step)
    return next((values[field] for field in fields if field in values), None)


def _planned(plan: TenantPlan) -> dict[str, object]:
    return {
        "tenant": plan.tenant.name,
        "status": plan_status(plan),
        "steps": _steps(plan.steps),
        "notes": list(plan.notes),
        **_error(plan.error),
    }


def _result(result: ProvisioningResult) -> dict[str, object]:
    return {
        "tenant": result.tenant.name,
        "status": result_status(result),
        "done": _steps(result.done),
        **_error(result.error),
    }


def _error(error: DeployError | None) -> dict[str, object]:
    return {"error": str(error) if error else None, "hint": error.hint if error else None}
