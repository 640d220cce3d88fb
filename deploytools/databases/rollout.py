"""Looks at all tenants, then has a pool bring forward those that need it: a canary first, until something fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deploytools.databases.fleet import Outcome, TenantResult
from deploytools.databases.pool import Deed, Pool


def look(pool: Pool, tenants: Sequence[str]) -> tuple[TenantResult, ...]:
    """What each tenant's database is to the code, in the order of `tenants`."""
    results = {result.tenant: result for result in pool.results(Deed.LOOK, tenants, lambda: True)}
    return tuple(results[tenant] for tenant in tenants)


def roll_out(
    looked: Sequence[TenantResult],
    pool: Pool,
    *,
    canary: str,
    keep_going: bool,
    is_stopping: Callable[[], bool],
    progress: Callable[[TenantResult], None],
) -> tuple[TenantResult, ...]:
    """Bring forward what `looked` says is to be.

    Args:
        canary: the tenant that goes first and alone; empty: none. Where it fails, no other is started.
        keep_going: whether a failure of one, seen now or while looking, leaves the others to be started.
        is_stopping: whether none is to be started any more.
        progress: called with each result.

    Returns:
        One result a tenant, in the order of `looked`.
    """
    results = {result.tenant: result for result in looked}
    pending = [result.tenant for result in looked if result.outcome is Outcome.PENDING]

    def may_start() -> bool:
        failed = any(result.outcome in {Outcome.FAILED, Outcome.REFUSED} for result in results.values())
        return not is_stopping() and (keep_going or not failed)

    for stage in ([name for name in pending if name == canary], [name for name in pending if name != canary]):
        for result in pool.results(Deed.MIGRATE, stage, may_start):
            results[result.tenant] = _together(results[result.tenant], result)
            progress(results[result.tenant])
        if canary and not results[canary].is_fine:
            break
    return tuple(_left(result) for result in results.values())


def _together(looked: TenantResult, result: TenantResult) -> TenantResult:
    """What another run did meanwhile is seen in the two looks."""
    if result.outcome is Outcome.UP_TO_DATE:
        return replace(result, before=looked.before, after=result.before)
    return replace(result, before=result.before or looked.before)


def _left(result: TenantResult) -> TenantResult:
    return replace(result, outcome=Outcome.NOT_STARTED) if result.outcome is Outcome.PENDING else result
