"""What is planned for the tenants and what became of them, as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from deploytools.databases.apply import Outcome
from deploytools.databases.plan import DatabasePlan

#: Version of the JSON: it grows when a member changes its meaning or goes away.
VERSION = 1


def plan_text(plan: DatabasePlan) -> str:
    """The steps of `plan`, tenant by tenant, and what is in the way."""
    lines = [f"  - {step}" for step in (*plan.role_steps, *plan.template_steps)]
    for tenant in plan.tenants:
        if tenant.obstacle:
            lines += [f"  ! {tenant.obstacle}", f"    Hint: {tenant.obstacle.hint}"]
        lines += [f"  - {step}" for step in tenant.steps]
        lines += [f"  · {tenant.remark}"] if tenant.remark else []
    return "\n".join(lines)


def to_text(results: Iterable[Outcome], remarks: Sequence[str], proof: str) -> str:
    """One line a tenant, with a hint where it failed, then the remarks.

    Args:
        proof: what was shown of those that have no error.
    """
    lines = [line for result in results for line in _lines(result, proof)]
    return "\n".join([*lines, *(f"· {remark}" for remark in remarks)])


def _lines(result: Outcome, proof: str) -> list[str]:
    name = result.tenant.name
    if result.error:
        return [f"✗ {name}: {result.error}", f"  Hint: {result.error.hint}"]
    return [f"✓ {name}: {done(result)}; {proof}"]


def done(result: Outcome) -> str:
    """How much was done, in words."""
    count = len(result.done)
    return f"{count} step{'s' * (count > 1)} done" if count else "nothing to do"


def to_json(server: str, plan: DatabasePlan | None, results: Sequence[Outcome], remarks: Sequence[str]) -> str:
    """One JSON document: what was planned and, where it was applied or proved, what became of each tenant.

    Args:
        server: where, for a person.
        results: empty where nothing was applied or proved.
    """
    document: dict[str, object] = {"version": VERSION, "server": server}
    if plan is not None:
        document["role_steps"] = [str(step) for step in plan.role_steps]
        document["template_steps"] = [str(step) for step in plan.template_steps]
        document["plan"] = [
            {
                "tenant": tenant.tenant.name,
                "steps": [str(step) for step in tenant.steps],
                "obstacle": str(tenant.obstacle) if tenant.obstacle else None,
            }
            for tenant in plan.tenants
        ]
    document["tenants"] = [_result(result) for result in results]
    document["remarks"] = list(remarks)
    return json.dumps(document, indent=2, ensure_ascii=False)


def _result(result: Outcome) -> dict[str, object]:
    error = result.error
    return {
        "tenant": result.tenant.name,
        "status": "failed" if error else "proved",
        "done": [str(step) for step in result.done],
        "error": str(error) if error else None,
        "hint": error.hint if error else None,
    }
