"""The result for one tenant, and how verifications change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from deploytools.errors import DatabaseError, DeployError
from deploytools.tenants.database_operations import ReassignObjects
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import Tenant
from deploytools.tenants.plan import TenantPlan
from deploytools.wording import count


@dataclass(frozen=True)
class ProvisioningResult:
    """The result for one tenant.

    Attributes:
        done: the steps that were applied.
        error: why it failed, or None if the tenant was verified.
        notes: information from the verification.
    """

    tenant: Tenant
    done: tuple[Operation, ...] = ()
    error: DeployError | None = None
    notes: tuple[str, ...] = ()


def updated(result: ProvisioningResult, verify: Callable[[], tuple[str, ...] | None]) -> ProvisioningResult:
    """Return `result` with the notes or the error of `verify`; a failed result is unchanged."""
    if result.error:
        return result
    try:
        return replace(result, notes=(*result.notes, *(verify() or ())))
    except DeployError as error:
        return replace(result, error=error)


def verify_all(
    results: tuple[ProvisioningResult, ...], verify: Callable[[], tuple[ProvisioningResult, ...]]
) -> tuple[ProvisioningResult, ...]:
    """Return the results of `verify`; if it fails, every tenant stays in the report, marked as not verified."""
    try:
        return verify()
    except DeployError as error:
        return tuple(result if result.error else _not_verified(result, error) for result in results)


def _not_verified(result: ProvisioningResult, error: DeployError) -> ProvisioningResult:
    sentence = f"{result.tenant.name} was not verified: {error}"
    hint = "Verify it: python manage.py create_tenant_dbs --verify"
    return replace(result, error=DatabaseError(sentence, hint=hint))


def require_complete(plan: TenantPlan) -> tuple[str, ...]:
    """Return notes on objects that processes of a previous owner have created since the transfer.

    Raises:
        DeployError: any other step is left.
    """
    if plan.error:
        raise plan.error
    created = [step for step in plan.steps if isinstance(step, ReassignObjects) and step.previous in plan.transferring]
    if len(created) < len(plan.steps):
        raise DatabaseError(
            f"{plan.tenant.name} is incomplete. Remaining step: {plan.steps[0]}.",
            hint="Run: python manage.py create_tenant_dbs",
        )
    return tuple(
        f"{step.previous} has created {count(step.count, 'object')} in {step.database} since the transfer; the next "
        f"run transfers {'it' if step.count == 1 else 'them'} to {step.to}"
        for step in created
    )
