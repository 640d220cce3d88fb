"""What became of tenants, judged once more after the work; who has failed already stays so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from deploytools.databases.apply import Outcome
from deploytools.databases.plan import TenantPlan
from deploytools.databases.state import SecretNeed
from deploytools.errors import DatabaseError, DeployError


def judged(outcome: Outcome, judge: Callable[[], tuple[str, ...] | None]) -> Outcome:
    """`outcome` with what `judge` remarks, or with the error that it raises."""
    try:
        return replace(outcome, remarks=judge() or ())
    except DeployError as error:
        return replace(outcome, error=error)


def or_unproved(outcomes: tuple[Outcome, ...], prove_all: Callable[[], tuple[Outcome, ...]]) -> tuple[Outcome, ...]:
    """Nobody is lost from the report because the proof ended early."""
    try:
        return prove_all()
    except DeployError as error:
        return tuple(outcome if outcome.error else _unproved(outcome, error) for outcome in outcomes)


def _unproved(outcome: Outcome, error: DeployError) -> Outcome:
    sentence = f"{outcome.tenant.name} was not proved: {error}"
    hint = "Prove it: python manage.py create_tenant_dbs --verify"
    return replace(outcome, error=DatabaseError(sentence, hint=hint))


def unreadable(need: SecretNeed) -> DatabaseError:
    """The error of a tenant whose login was not tried elsewhere."""
    return DatabaseError(
        f"The secret {need.secret} has no password any more, so its login was not tried at other tenants' databases.",
        hint="Look at who took it out (CloudTrail), then: python manage.py create_tenant_dbs",
    )


def require_nothing_left(plan: TenantPlan) -> None:
    """Raises what is in the way of a tenant, or DatabaseError where something is to be done for it."""
    if plan.obstacle:
        raise plan.obstacle
    if plan.steps:
        raise DatabaseError(
            f"{plan.tenant.name} is not as it must be; left to do: {plan.steps[0]}.",
            hint="Run: python manage.py create_tenant_dbs",
        )
