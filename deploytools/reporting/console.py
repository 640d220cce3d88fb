"""Plans as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from deploytools.databases.plan import DatabasePlan
from deploytools.reporting.text import wrapped
from deploytools.secret.contract import Problem
from deploytools.secret.document import ChangeKind
from deploytools.secret.sync import SyncPlan


def secret_plan(plan: SyncPlan) -> str:
    """What `plan` does to each key; never a value."""
    state = plan.state
    width = max((len(kind) for kind in ChangeKind), default=0)
    touched = [f"  {change.kind:<{width}}  {change.key}" for change in plan.changes if change.kind != ChangeKind.KEPT]
    kept = [change.key for change in plan.changes if change.kind == ChangeKind.KEPT]
    lines = [f"Secret {state.name} in {state.region}, version {state.version}:", *touched]
    if kept:
        label = f"  {ChangeKind.KEPT:<{width}}  "
        lines += wrapped(f"{len(kept)} other keys: {', '.join(kept)}", indent=label)
    lines += problem_lines("Allowed at this stage, to be replaced before launch:", plan.warnings)
    lines += problem_lines("Still to be put right, in keys that were not given:", plan.remaining)
    return "\n".join(lines)


def secret_written(plan: SyncPlan) -> str:
    """What carries which label, once `plan` has been applied and proved."""
    return (
        "Written and read back.\n"
        f"  AWSCURRENT   {plan.token}\n"
        f"  AWSPREVIOUS  {plan.state.version} (what was there before)"
    )


def problem_lines(heading: str, problems: Sequence[Problem]) -> list[str]:
    """A heading and a line a problem; nothing where there are none."""
    if not problems:
        return []
    texts = (f"{item.key} {item.sentence} (good: {item.shape})" for item in problems)
    return [heading, *(line for text in texts for line in wrapped(text, indent="  ", hanging="  "))]


def database_plan(plan: DatabasePlan) -> str:
    """The steps of `plan`, tenant by tenant, and what is in the way."""
    lines = [f"  - {step}" for step in plan.role_steps]
    for tenant in plan.tenants:
        if tenant.obstacle:
            lines += [f"  ! {tenant.obstacle}", f"    Hint: {tenant.obstacle.hint}"]
        lines += [f"  - {step}" for step in tenant.steps]
        lines += [f"  · {tenant.remark}"] if tenant.remark else []
    return "\n".join(lines)
