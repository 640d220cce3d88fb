"""Plans as text for people."""

from __future__ import annotations

from deploytools.databases.plan import DatabasePlan


def database_plan(plan: DatabasePlan) -> str:
    """The steps of `plan`, tenant by tenant, and what is in the way."""
    lines = [f"  - {step}" for step in (*plan.role_steps, *plan.template_steps)]
    for tenant in plan.tenants:
        if tenant.obstacle:
            lines += [f"  ! {tenant.obstacle}", f"    Hint: {tenant.obstacle.hint}"]
        lines += [f"  - {step}" for step in tenant.steps]
        lines += [f"  · {tenant.remark}"] if tenant.remark else []
    return "\n".join(lines)
