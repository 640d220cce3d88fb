"""What `migrate_tenants` does to whom: shards, one result a tenant, reports that merge. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from deploytools.databases.history import History, Migration
from deploytools.errors import ConfigurationError

#: Seconds that a run waits for another one that migrates the same tenant, that a statement waits for somebody's lock,
#: and that a statement may take.
WAIT, LOCK_TIMEOUT, STATEMENT_TIMEOUT = 600.0, 5.0, 300.0

#: What engines that run a job many times tell each of them: index and size. Both count from 0. Kubernetes sets the
#: index only; JOB_COMPLETIONS is for the job's manifest to set.
ARRAYS = (
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
)


@dataclass(frozen=True)
class Limits:
    """Seconds; 0 is no limit.

    Attributes:
        wait: for another run that migrates the same tenant.
        lock: that one statement of a migration waits for somebody's lock; meanwhile everybody else queues behind it.
        statement: that one statement of a migration may take.
    """

    wait: float = WAIT
    lock: float = LOCK_TIMEOUT
    statement: float = STATEMENT_TIMEOUT


@dataclass(frozen=True)
class Shard:
    """One part of the tenants: every `size`-th, from the `index`-th on (from 0)."""

    index: int = 0
    size: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.size}"

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        """This shard's part of `names`."""
        return tuple(names[self.index :: self.size])


def parse_shard(text: str) -> Shard:
    """The shard that ``I/N`` names.

    Raises:
        ConfigurationError: it names none.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if shard.index >= shard.size:
        raise ConfigurationError(
            f'"{text}" is not a shard.', hint="Write I/N with I from 0 to N - 1, for example: --shard 0/4"
        )
    return shard


def shard_of(environment: Mapping[str, str]) -> Shard:
    """The shard that AWS Batch or Kubernetes assigned to this process; everything, where neither did.

    Raises:
        ConfigurationError: there is an index and no size: each process would do everything.
    """
    for index, size in ARRAYS:
        if environment.get(index):
            if not environment.get(size):
                raise ConfigurationError(
                    f"{index} is set and {size} is not, so nobody knows into how many parts the tenants are divided.",
                    hint=f"Set {size} to the job's number of completions, or say it: --shard ${index}/N",
                )
            return parse_shard(f"{environment[index]}/{environment[size]}")
    return Shard()


class Outcome(StrEnum):
    """What became of one tenant, the worst last."""

    UP_TO_DATE = "up to date"
    MIGRATED = "migrated"
    PENDING = "to migrate"
    NOT_STARTED = "not started"
    REFUSED = "refused"
    FAILED = "failed"


EXIT_CODES = {Outcome.NOT_STARTED: 1, Outcome.REFUSED: 1, Outcome.FAILED: 2}


@dataclass(frozen=True)
class TenantResult:
    """One tenant, before and after.

    Attributes:
        before: what its database was to the code; None: it could not be looked at.
        after: what it is now, where that was read again; None: as before, or not known.
        applied: the migrations that this run applied.
        seconds: how long it took, waiting for another run included.
        error: one sentence: why it was refused, or failed.
        hint: what to do next.
        trace: the traceback of a failure, for ``--traceback``.
    """

    tenant: str
    outcome: Outcome
    before: History | None = None
    after: History | None = None
    applied: tuple[Migration, ...] = ()
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    trace: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether the next tenant may be started."""
        return self.outcome in {Outcome.UP_TO_DATE, Outcome.MIGRATED}


@dataclass(frozen=True)
class FleetReport:
    """What one run did, or several did together.

    Attributes:
        shards: which parts of the tenants it is about.
        results: one a tenant, in the order of the settings.
        seconds: wall time; of several, the longest.
    """

    shards: tuple[Shard, ...]
    results: tuple[TenantResult, ...]
    seconds: float

    def exit_code(self, *, pending: int = 1) -> int:
        """0 fine, 1 refused or left to do, 2 failed.

        Args:
            pending: what a tenant counts as that is to be migrated: not at all, in a plan.
        """
        codes = EXIT_CODES | {Outcome.PENDING: pending}
        return max((codes.get(result.outcome, 0) for result in self.results), default=0)

    @property
    def missing(self) -> tuple[Shard, ...]:
        """The shards of which there is no report."""
        sizes = {shard.size for shard in self.shards}
        wanted = {Shard(index, size) for size in sizes for index in range(size)}
        return tuple(sorted(wanted - set(self.shards), key=str))


def merged(reports: Iterable[FleetReport]) -> FleetReport:
    """One report of several shards. A tenant in several of them (a canary is in each) counts as the worst says."""
    reports = tuple(reports)
    order = list(Outcome)
    results: dict[str, TenantResult] = {}
    for result in (result for report in reports for result in report.results):
        known = results.setdefault(result.tenant, result)
        if order.index(result.outcome) > order.index(known.outcome):
            results[result.tenant] = result
    shards = dict.fromkeys(shard for report in reports for shard in report.shards)
    seconds = max((report.seconds for report in reports), default=0.0)
    return FleetReport(tuple(shards), tuple(results.values()), seconds)


def judged(tenant: str, before: History, seconds: float = 0.0) -> TenantResult:
    """What is to be done for a tenant: nothing, something, or nothing that could be right."""
    if not before.inconsistent:
        return TenantResult(
            tenant, Outcome.PENDING if before.is_pending else Outcome.UP_TO_DATE, before, None, (), seconds
        )
    (applied, missing), *_ = before.inconsistent
    return TenantResult(
        tenant,
        Outcome.REFUSED,
        before,
        seconds=seconds,
        error=f"Its history is inconsistent: {'.'.join(applied)} is applied and {'.'.join(missing)}, which it needs, "
        "is not.",
        hint=f"Compare it with the code: DATABASE_NAME={tenant} python manage.py showmigrations",
    )
