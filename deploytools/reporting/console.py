"""Plans and outcomes as text for people."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.databases.apply import Outcome
from deploytools.databases.plan import DatabasePlan


def database_plan(plan: DatabasePlan) -> str:
    """The steps of `plan`, tenant by tenant, and what is in the way."""
    lines = [f"  - {step}" for step in plan.role_steps]
    for tenant in plan.tenants:
        if tenant.obstacle:
            lines += [f"  ! {tenant.obstacle}", f"    Hint: {tenant.obstacle.hint}"]
        lines += [f"  - {step}" for step in tenant.steps]
    return "\n".join(lines)


def outcomes(results: Iterable[Outcome]) -> str:
    """One line a tenant, with a hint where it failed."""
    return "\n".join(line for result in results for line in _outcome_lines(result))


def _outcome_lines(result: Outcome) -> list[str]:
    name = result.tenant.name
    if result.error:
        return [f"✗ {name}: {result.error}", f"  Hint: {result.error.hint}"]
    done = f"{len(result.done)} steps done" if result.done else "nothing to do"
    return [f"✓ {name}: {done}; the application's role logs in and creates a table, PUBLIC is shut out"]
