"""`migrate_tenants`: every tenant's database brought to the code's migrations (guide, Step 7)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.databases.access import read_secret, wanted_tenants
from deploytools.databases.fleet import (
    LOCK_TIMEOUT,
    STATEMENT_TIMEOUT,
    WAIT,
    FleetReport,
    Limits,
    Outcome,
    Shard,
    TenantResult,
    merged,
    parse_shard,
    shard_of,
)
from deploytools.databases.migrations import read_graph
from deploytools.databases.pool import Pool
from deploytools.databases.rollout import look, roll_out
from deploytools.errors import ConfigurationError
from deploytools.management.base import FINDINGS, FINE, DeployCommand, exit_with, seconds
from deploytools.management.stopping import ending_on_sigterm, stopping
from deploytools.reporting import fleet as reports

#: Processes that migrate at the same time, and connections that look: PostgreSQL does the work, on few cores.
JOBS = 4


class Command(DeployCommand):
    """Look at each tenant with one query, show, migrate those that need it, report."""

    help = (
        "Bring the databases of all tenants (DEPLOYTOOLS['TENANTS']) to the migrations of this code. A tenant with "
        "nothing to apply costs one query; the others are migrated each under a lock of its own, so that any number of "
        "these may be started at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Whom to migrate, how carefully, and how to report."""
        self.add_change_options(parser)
        add = parser.add_argument
        add("--tenant", nargs="+", action="extend", default=[], metavar="NAME", help="Only these tenants.")
        add("--canary", default="", metavar="NAME", help="This one first; the others only if it succeeded.")
        add("--keep-going", action="store_true", help="Start others after one failed (default: running ones end).")
        add(
            "--shard",
            metavar="I/N",
            help="Only each N-th tenant from the I-th on, from 0 (default: AWS Batch's or Kubernetes' array index).",
        )
        add("--jobs", type=whole, default=JOBS, metavar="N", help=f"How many at the same time (default: {JOBS}).")
        add("--wait", type=seconds, default=WAIT, metavar="SECONDS",
            help=f"How long to wait for another run at the same tenant (default: {WAIT:g}).")  # fmt: skip
        add("--lock-timeout", type=seconds, default=LOCK_TIMEOUT, metavar="SECONDS",
            help=f"How long a migration may wait for, and hold traffic up behind, a lock; 0: for ever (default: "
            f"{LOCK_TIMEOUT:g}).")  # fmt: skip
        add("--statement-timeout", type=seconds, default=STATEMENT_TIMEOUT, metavar="SECONDS",
            help=f"How long one of its statements may take; 0: for ever (default: {STATEMENT_TIMEOUT:g}).")  # fmt: skip
        add("--merge", nargs="+", type=Path, metavar="FILE", help="Only make one report of the JSON reports of shards.")
        self.add_report_options(parser)

    def handle(
        self, *, merge: list[Path] | None, plan: bool, check: bool, interactive: bool, shard: str | None, **options: Any
    ) -> None:
        """Look, show, ask, migrate, report."""
        if merge:
            self._merge(merge, **options)
            return
        started = time.monotonic()
        part = shard_of(os.environ) if shard is None else parse_shard(shard)

        def report(results: tuple[TenantResult, ...]) -> FleetReport:
            return FleetReport((part,), results, time.monotonic() - started)

        names = selected(part, options["tenant"], options["canary"])
        read_graph()
        limits = Limits(options["wait"], options["lock_timeout"], options["statement_timeout"])
        with ending_on_sigterm(), Pool(options["jobs"], limits, read_secret()) as pool:
            looked = look(pool, names)
            if plan or check or not any(result.outcome is Outcome.PENDING for result in looked):
                self._show(report(looked), **options)
                exit_with(report(looked).exit_code(pending=FINDINGS if check else FINE))
                return
            self.stderr.write(reports.to_text(report(looked)))
            self.confirm("Migrate?", interactive=interactive)
            results, interrupted = self._migrate(pool, looked, **options)
        self._show(report(results), **options)
        exit_with(interrupted or report(results).exit_code())

    def _migrate(
        self, pool: Pool, looked: tuple[TenantResult, ...], *, canary: str, keep_going: bool, **_: Any
    ) -> tuple[tuple[TenantResult, ...], int]:
        """The results, and the exit code of a signal that ended it early, or 0."""

        def told() -> None:
            names = ", ".join(pool.running) or "nothing"
            self.stderr.write(f"Stopping when {names} is done. The same again ends it now: it is rolled back.")
            pool.give_up_waiting()

        with stopping(told, pool.terminate) as stop:
            results = roll_out(
                looked,
                pool,
                canary=canary,
                keep_going=keep_going,
                is_stopping=lambda: bool(stop),
                progress=lambda result: self.stderr.write(reports.result_line(result)),
            )
        return results, stop.exit_code

    def _merge(self, files: list[Path], **options: Any) -> None:
        report = merged(_read(file) for file in files)
        self._show(report, **options)
        if report.missing:
            raise ConfigurationError(
                f"There is no report of shard {', '.join(map(str, report.missing))}.",
                hint="Run it, or name its report, too: --merge FILE…",
            )
        exit_with(report.exit_code())

    def _show(self, report: FleetReport, *, format: str, output: Path | None, traceback: bool, **_: Any) -> None:
        if traceback:
            for result in report.results:
                self.stderr.write(result.trace, ending="")
        self.report(reports.to_json(report) if format == "json" else reports.to_text(report), output)


def selected(shard: Shard, only: list[str], canary: str) -> tuple[str, ...]:
    """The tenants of this run. A canary is in every shard: each waits for it, and one migrates it.

    Raises:
        ConfigurationError: the settings do not name them.
    """
    names = [tenant.name for tenant in wanted_tenants()]
    unknown = [name for name in dict.fromkeys([*only, *filter(None, [canary])]) if name not in names]
    if unknown:
        raise ConfigurationError(
            f"The settings name no tenant {' or '.join(unknown)}.", hint=f"They name: {', '.join(names)}."
        )
    rest = [name for name in names if name != canary and (not only or name in only)]
    return (*filter(None, [canary]), *shard.of(rest))


def _read(file: Path) -> FleetReport:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}.", hint="Name reports of shards.") from None
    return reports.from_json(text, source=str(file))


def whole(text: str) -> int:
    """A number of processes."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
