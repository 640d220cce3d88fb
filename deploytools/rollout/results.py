"""Shards, and the merged report of all tenants of a run. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from deploytools.errors import ConfigurationError
from deploytools.tenants.lock_warnings import LockWarning
from deploytools.tenants.options import require_configured
from deploytools.tenants.tenant_migration import MigrationOutcome, MigrationResult

#: Environment variables in which AWS Batch and Kubernetes set a job's index and size. Both count from 0. Kubernetes
#: sets only the index; the job's manifest must set JOB_COMPLETIONS.
ARRAYS = (
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
)

EXIT_CODES = {MigrationOutcome.NOT_STARTED: 1, MigrationOutcome.REFUSED: 1, MigrationOutcome.FAILED: 2}


@dataclass(frozen=True)
class Shard:
    """One part of the tenants: every `size`-th tenant, starting at `index`, which counts from 0."""

    index: int = 0
    size: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.size}"

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return this shard's part of `names`."""
        return tuple(names[self.index :: self.size])


def parse_shard(text: str) -> Shard:
    """Parse ``I/N``."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if shard.index >= shard.size:
        raise ConfigurationError(
            f'"{text}" is not a shard.', hint="Write I/N with I from 0 to N - 1, for example: --shard 0/4"
        )
    return shard


def shard_from_environment(environment: Mapping[str, str]) -> Shard:
    """Return the shard that AWS Batch or Kubernetes assigned to this process; all tenants if neither did.

    Raises:
        ConfigurationError: the index is set without the size, so that each process would migrate all tenants.
    """
    for index, size in ARRAYS:
        if environment.get(index):
            if not environment.get(size):
                raise ConfigurationError(
                    f"{index} is set but {size} is not: the number of shards is unknown.",
                    hint=f"Set {size} to the job's number of completions, or add --shard ${index}/N",
                )
            return parse_shard(f"{environment[index]}/{environment[size]}")
    return Shard()


def select_tenants(names: Sequence[str], shard: Shard, *, only: Sequence[str], canary: str) -> tuple[str, ...]:
    """Return the tenants of a run, the canary first.

    The canary is in every shard: one of them migrates it, and the others wait for that.

    Args:
        only: if not empty, no other tenants than these.
        canary: the tenant to migrate first; empty: none.

    Raises:
        ConfigurationError: `only` or `canary` is not one of `names`.
    """
    first = [canary] if canary else []
    require_configured([*only, *first], names)
    rest = [name for name in names if name != canary and (not only or name in only)]
    return (*first, *shard.of(rest))


def refuse_unmanaged(result: MigrationResult) -> MigrationResult:
    """Refuse a tenant that has to be migrated, but that create_tenant_dbs did not create or adopt."""
    if result.is_managed or result.outcome is not MigrationOutcome.PENDING:
        return result
    return replace(
        result,
        outcome=MigrationOutcome.REFUSED,
        error="The database is not managed by deploytools.",
        hint="If it belongs to this tenant, review and adopt it: python manage.py create_tenant_dbs --adopt --plan. "
        "To migrate it without that, add --unmanaged.",
    )


@dataclass(frozen=True)
class RolloutReport:
    """The report of one run, or of several shards merged.

    Attributes:
        results: one for each tenant, in the order of the settings.
        seconds: wall time; of several shards, the longest.
        warnings: pending migrations that block the application for long.
    """

    shards: tuple[Shard, ...]
    results: tuple[MigrationResult, ...]
    seconds: float
    warnings: tuple[LockWarning, ...] = ()

    def exit_code(self, *, pending: int = 1) -> int:
        """Return 0 for success, 1 if tenants were refused or are not up to date, 2 if one failed.

        Args:
            pending: exit code for a tenant that has to be migrated; 0 in a plan.
        """
        codes = EXIT_CODES | {MigrationOutcome.PENDING: pending}
        return max((codes.get(result.outcome, 0) for result in self.results), default=0)

    @property
    def missing(self) -> tuple[Shard, ...]:
        """The shards without a report."""
        sizes = {shard.size for shard in self.shards}
        expected = {Shard(index, size) for size in sizes for index in range(size)}
        return tuple(sorted(expected - set(self.shards), key=str))


def merge_reports(reports: Iterable[RolloutReport]) -> RolloutReport:
    """Merge the reports of several shards; of a tenant in several (the canary), the worst outcome counts."""
    reports = tuple(reports)
    order = list(MigrationOutcome)
    results: dict[str, MigrationResult] = {}
    for result in (result for report in reports for result in report.results):
        known = results.setdefault(result.tenant, result)
        if order.index(result.outcome) > order.index(known.outcome):
            results[result.tenant] = result
    shards = dict.fromkeys(shard for report in reports for shard in report.shards)
    seconds = max((report.seconds for report in reports), default=0.0)
    warnings = dict.fromkeys(warning for report in reports for warning in report.warnings)
    return RolloutReport(tuple(shards), tuple(results.values()), seconds, tuple(warnings))
