"""The order in which tenants are migrated: canary first, busy tenants again after all others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from deploytools.rollout.workers import TaskKind, WorkerPool
from deploytools.tenants.lock_warnings import LockWarning, not_evaluated
from deploytools.tenants.tenant_migration import MigrationOutcome, MigrationResult


def read_warnings(pool: WorkerPool, inspected: Sequence[MigrationResult], canary: str) -> tuple[LockWarning, ...]:
    """Return the warnings for the pending migrations of the canary, or else of the first pending tenant."""
    pending = [result.tenant for result in inspected if result.outcome is MigrationOutcome.PENDING]
    measured = [canary] if canary in pending else pending[:1]
    return tuple(
        warning
        for result in pool.results(TaskKind.WARN, measured, lambda: True)
        for warning in (*result.warnings, *([not_evaluated(result.error)] if result.error else []))
    )


def migrate_pending(
    inspected: Sequence[MigrationResult],
    pool: WorkerPool,
    *,
    canary: str,
    keep_going: bool,
    is_stopping: Callable[[], bool],
    progress: Callable[[MigrationResult], None],
    pauses: Sequence[float] = (),
    sleep: Callable[[float], object] = time.sleep,
) -> tuple[MigrationResult, ...]:
    """Migrate the tenants that are pending in `inspected`.

    A tenant that fails because of another session's lock stays pending and is tried again after all others.

    Args:
        canary: tenant to migrate first and alone; if it fails, no other is started. Empty: none.
        keep_going: whether to start other tenants after one has failed, now or when it was inspected.
        progress: called with the result of each task.
        pauses: the pause before each retry, in seconds.

    Returns:
        One result for each tenant, in the order of `inspected`.
    """
    pending = [result.tenant for result in inspected if result.outcome is MigrationOutcome.PENDING]
    run = _Run({result.tenant: result for result in inspected}, pool, keep_going, is_stopping, progress)
    for batch in ([name for name in pending if name == canary], [name for name in pending if name != canary]):
        run.migrate(batch, is_last=not pauses)
        for left, pause in zip(reversed(range(len(pauses))), pauses, strict=True):
            busy = [name for name in batch if run.results[name].can_retry]
            if busy:
                _pause(pause, lambda: not run.may_start(), sleep)
                run.migrate(busy, is_last=left == 0)
        if canary and not run.results[canary].is_ok:
            break
    hint = ""
    if canary and not run.results[canary].is_ok:
        hint = "The canary failed. Fix it, then run the command again."
    elif not is_stopping() and not keep_going:
        hint = "A tenant failed. Fix it, or continue with the others: --keep-going"
    return tuple(_final(result, hint) for result in run.results.values())


@dataclass(frozen=True)
class _Run:
    """The latest result of each tenant, and what decides whether another one is started."""

    results: dict[str, MigrationResult]
    pool: WorkerPool
    keep_going: bool
    is_stopping: Callable[[], bool]
    progress: Callable[[MigrationResult], None]

    def may_start(self) -> bool:
        failures = {MigrationOutcome.FAILED, MigrationOutcome.REFUSED}
        has_failed = any(result.outcome in failures for result in self.results.values())
        return not self.is_stopping() and (self.keep_going or not has_failed)

    def migrate(self, batch: Sequence[str], *, is_last: bool) -> None:
        for result in self.pool.results(TaskKind.MIGRATE, batch, self.may_start):
            combined = _combined(self.results[result.tenant], result)
            if combined.can_retry and not is_last:
                combined = replace(combined, outcome=MigrationOutcome.PENDING)
            self.results[result.tenant] = combined
            self.progress(combined)


def _final(result: MigrationResult, hint: str) -> MigrationResult:
    """Return the final result of a tenant that the run did not start, or not again."""
    if result.outcome is not MigrationOutcome.PENDING:
        return result
    if result.error:
        return replace(result, outcome=MigrationOutcome.FAILED)
    return replace(result, outcome=MigrationOutcome.NOT_STARTED, hint=hint)


def _pause(seconds: float, is_over: Callable[[], bool], sleep: Callable[[float], object]) -> None:
    """Sleep in short parts: a signal ends the pause."""
    while seconds > 0 and not is_over():
        part = min(seconds, 0.2)
        sleep(part)
        seconds -= part


def _combined(earlier: MigrationResult, result: MigrationResult) -> MigrationResult:
    """Add what the inspection and earlier attempts found: the difference shows what another run applied in between."""
    result = replace(
        result,
        applied=earlier.applied + result.applied,
        seconds=earlier.seconds + result.seconds if earlier.error else result.seconds,
        retries=earlier.retries + bool(earlier.error),
    )
    if result.outcome is MigrationOutcome.UP_TO_DATE:
        return replace(result, before=earlier.before, after=result.before)
    return replace(result, before=earlier.before if earlier.error else result.before or earlier.before)
