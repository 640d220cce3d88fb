"""`migrate_tenants`: migrate the databases of all tenants."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import read_settings
from deploytools.errors import ConfigurationError
from deploytools.management.base import FINDINGS, OK, DeployCommand, raise_unless_ok, read_report, seconds
from deploytools.management.modes import Modes, refuse_idle_options, with_defaults
from deploytools.postgres.retries import RETRIES, backoff
from deploytools.reports import rollout_report as reports
from deploytools.rollout.fleet import inspect_tenants, read_fleet
from deploytools.rollout.results import (
    RolloutReport,
    merge_reports,
    parse_shard,
    refuse_unmanaged,
    select_tenants,
    shard_from_environment,
)
from deploytools.rollout.schedule import migrate_pending, read_warnings
from deploytools.rollout.workers import WorkerPool
from deploytools.signals import graceful_shutdown
from deploytools.tenants.lock_warnings import LockWarning
from deploytools.tenants.options import configured_tenants
from deploytools.tenants.tenant_migration import MigrationLimits, MigrationOutcome, MigrationResult

LIMITS = MigrationLimits()

#: Defaults of options. PostgreSQL does most of the work, and an instance has few cores.
DEFAULTS: Mapping[str, Any] = {
    "canary": "",
    "jobs": 4,
    "lock_retries": RETRIES,
    "lock_timeout": LIMITS.lock_timeout,
    "statement_timeout": LIMITS.statement_timeout,
    "wait_for_lock": LIMITS.wait_for_lock,
}

_REPORT = ("format", "output")
_PLANNED = ("plan", "check", "canary", "jobs", "shard", "tenant", "unmanaged", *_REPORT)

#: Modes other than a normal run: the options that each accepts, and a hint.
MODES: Modes = {
    "merge": (_REPORT, "--merge only reads reports. Remove one of the two options."),
    "plan": (_PLANNED, "--plan migrates nothing. Remove one of the two options."),
    "check": (_PLANNED, "--check migrates nothing. Remove one of the two options."),
}

#: Seconds of the longest pause before the first retry.
FIRST_PAUSE = 2.0


class Command(DeployCommand):
    """Inspect every tenant, show the plan, migrate the pending tenants, report."""

    help = (
        "Migrate the databases of all tenants (DEPLOYTOOLS['TENANTS']) to the migrations of this code. A tenant that "
        "is up to date costs one query. Each tenant is migrated under its own lock, so any number of runs can be "
        "started at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_change_options(parser)
        self.add_tenant_option(parser)
        add = parser.add_argument
        add("--canary", metavar="NAME", help="Migrate this tenant first; the others only if it succeeds.")
        add("--keep-going", action="store_true", help="Continue after a failure (default: stop starting new tenants).")
        add(
            "--shard",
            metavar="I/N",
            help="Only every N-th tenant, starting at I, which counts from 0 (default: the array index that AWS Batch "
            "or Kubernetes sets).",
        )
        add("--jobs", type=positive_int, metavar="N",
            help="Number of tenants to inspect or to migrate at the same time (default: "
            f"{DEFAULTS['jobs']}).")  # fmt: skip
        self.add_wait_for_lock_option(parser, default=DEFAULTS["wait_for_lock"])
        add("--lock-timeout", type=seconds, metavar="SECONDS",
            help="PostgreSQL's lock_timeout for migrations: other sessions queue behind a migration that waits for a "
            f"lock. 0: no limit (default: {DEFAULTS['lock_timeout']:g}).")  # fmt: skip
        add("--statement-timeout", type=seconds, metavar="SECONDS",
            help="PostgreSQL's statement_timeout for migrations. 0: no limit (default: "
            f"{DEFAULTS['statement_timeout']:g}).")  # fmt: skip
        add("--lock-retries", type=natural_number, metavar="N",
            help="Retries of a migration that another session's lock or transaction stopped. The tenant is tried again "
            f"after the others (default: {DEFAULTS['lock_retries']}).")  # fmt: skip
        add("--unmanaged", action="store_true",
            help="Migrate also databases that create_tenant_dbs did not create or adopt.")  # fmt: skip
        add("--merge", nargs="+", type=Path, metavar="FILE",
            help="Merge the JSON reports of several shards and exit.")  # fmt: skip
        self.add_report_options(parser)

    def handle(
        self, *, merge: list[Path] | None, plan: bool, check: bool, interactive: bool, shard: str | None, **options: Any
    ) -> None:
        given = {"merge": merge, "plan": plan, "check": check, "shard": shard, **options}
        refuse_idle_options(MODES, given)
        options = with_defaults(options, DEFAULTS)
        if merge:
            self._merge(merge, **options)
            return
        started = time.monotonic()
        part = shard_from_environment(os.environ) if shard is None else parse_shard(shard)

        def report(results: tuple[MigrationResult, ...], warnings: tuple[LockWarning, ...] = ()) -> RolloutReport:
            return RolloutReport((part,), results, time.monotonic() - started, warnings)

        settings = read_settings()
        names = [tenant.name for tenant in configured_tenants(settings)]
        selected = select_tenants(names, part, only=options["tenant"], canary=options["canary"])
        limits = MigrationLimits(options["wait_for_lock"], options["lock_timeout"], options["statement_timeout"])
        fleet = read_fleet(settings)
        inspected = inspect_tenants(fleet, selected, options["jobs"])
        if not options["unmanaged"]:
            inspected = tuple(map(refuse_unmanaged, inspected))
        with WorkerPool(options["jobs"], limits, fleet, self.stderr.write) as pool:
            planned = report(inspected, read_warnings(pool, inspected, options["canary"]))
            if plan or check or not any(result.outcome is MigrationOutcome.PENDING for result in inspected):
                self._end(planned, pending=FINDINGS if check else OK, is_plan=plan or check, **options)
                return
            self.stderr.write(reports.to_text(planned, is_plan=True, verbosity=options["verbosity"]))
            self.confirm("Migrate?", interactive=interactive)
            results, signal_code = self._migrate(pool, inspected, **options)
        self._end(report(results), signal_code=signal_code, **options)

    def _migrate(
        self,
        pool: WorkerPool,
        inspected: tuple[MigrationResult, ...],
        *,
        canary: str,
        keep_going: bool,
        lock_retries: int,
        **_: Any,
    ) -> tuple[tuple[MigrationResult, ...], int]:
        """Return the results, and the exit code of the signal that stopped the run early, or 0."""

        def announce() -> None:
            self.stderr.write(reports.stopping_line(pool.running))
            pool.cancel_lock_waits()

        has_result = not self.prints_text
        with graceful_shutdown(on_first=announce, on_repeat=pool.terminate) as shutdown:
            results = migrate_pending(
                inspected,
                pool,
                canary=canary,
                keep_going=keep_going,
                is_stopping=lambda: bool(shutdown),
                progress=lambda result: self.stderr.write(reports.progress_line(result, has_result=has_result)),
                pauses=tuple(backoff(lock_retries, FIRST_PAUSE)),
            )
        return results, shutdown.exit_code

    def _merge(self, files: list[Path], **options: Any) -> None:
        report = merge_reports(
            reports.from_json(read_report(file, "migrate_tenants"), source=str(file)) for file in files
        )
        if report.missing:
            self._show(report, **options)
            raise ConfigurationError(
                f"The report of shard {', '.join(map(str, report.missing))} is missing.",
                hint="Run that shard, or add its report: --merge FILE…",
            )
        self._end(report, **options)

    def _end(self, report: RolloutReport, *, pending: int = FINDINGS, signal_code: int = 0, **options: Any) -> None:
        self._show(report, **options)
        raise_unless_ok(signal_code or report.exit_code(pending=pending), reports.counts_line(report))

    def _show(self, report: RolloutReport, *, traceback: bool, verbosity: int, is_plan: bool = False, **_: Any) -> None:
        if traceback:
            for result in report.results:
                self.stderr.write(result.trace, ending="")
        for format, path in self.destinations:
            text = reports.to_text(report, is_plan=is_plan, verbosity=verbosity)
            self.report(reports.to_json(report) if format == "json" else text, path)


def natural_number(text: str) -> int:
    """Parse an option's number of at least 0."""
    return positive_int(text) if text != "0" else 0


def positive_int(text: str) -> int:
    """Parse an option's number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
