"""The report of `migrate_tenants` as text and JSON, and back from JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from deploytools.errors import ConfigurationError
from deploytools.reports.tenant_groups import group_tenants, tenant_counts
from deploytools.rollout.results import RolloutReport, parse_shard
from deploytools.tenants.lock_warnings import LockWarning
from deploytools.tenants.migration_history import History, Migration, dotted
from deploytools.tenants.tenant_migration import MigrationOutcome, MigrationResult
from deploytools.wording import count, join_names, wrapped

#: Version of the JSON schema: it grows when a member is removed or changes its meaning.
VERSION = 1

SYMBOLS = {
    MigrationOutcome.UP_TO_DATE: "✓",
    MigrationOutcome.MIGRATED: "✓",
    MigrationOutcome.PENDING: "-",
    MigrationOutcome.NOT_STARTED: "-",
    MigrationOutcome.REFUSED: "✗",
    MigrationOutcome.FAILED: "✗",
}

#: For migrations that block the application.
LOCK_HINT = (
    "Migrate when few users are active, or use AddIndexConcurrently, AddConstraintNotValid and ValidateConstraint of "
    "django.contrib.postgres.operations"
)

#: Of a tenant that has all migrations, but whose last run was interrupted before it completed post_migrate.
INTERRUPTED = "post_migrate was not completed"
COMPLETED = "post_migrate completed"


def to_text(report: RolloutReport, *, is_plan: bool = False, verbosity: int = 1) -> str:
    """Return the report as text: tenants with the same result on one line, the worst last.

    Args:
        is_plan: whether the counts are first, not last.
        verbosity: from 2 on, tenants with the same result are not grouped.
    """
    lines: list[str] = []
    for outcome in MigrationOutcome:
        results = [result for result in report.results if result.outcome is outcome]
        texts = ((result.tenant, f"{description(result)}\n{result.hint}") for result in results)
        for names, text in group_tenants(texts, separately=verbosity > 1):
            sentence, _, hint = text.partition("\n")
            lines += wrapped(f"{join_names(names)}: {sentence}", indent=f"{SYMBOLS[outcome]} ")
            lines += wrapped(f"Hint: {hint}", indent="  ") if hint else []
    for migration, group in groupby(report.warnings, key=_measured):
        reasons = "; ".join(warning.reason for warning in group)
        lines += wrapped(f"{migration}: {reasons}.", indent="! ")
    lines += wrapped(f"Hint: {LOCK_HINT}", indent="  ") if report.warnings else []
    counts = counts_line(report)
    return "\n".join([counts, *lines] if is_plan else [*lines, counts])


def _measured(warning: LockWarning) -> str:
    """The migration, and the table with its size, of a warning."""
    if not warning.table:
        return warning.migration
    rows = f", about {warning.rows:,} rows" if warning.rows > 0 else ""
    size = f"{warning.size / 1e9:.1f} GB" if warning.size >= 1e9 else f"{warning.size / 1e6:.0f} MB"
    return f"{warning.migration}, table {warning.table} ({size}{rows} in {warning.tenant})"


def progress_line(result: MigrationResult, *, has_result: bool) -> str:
    """Return the progress line of one tenant.

    Args:
        has_result: whether the line has the result, because no text report has it.
    """
    is_busy = result.outcome is MigrationOutcome.PENDING
    text = f": {description(result)}" if has_result or is_busy else ""
    return f"{SYMBOLS[result.outcome]} {result.tenant}{text} ({result.seconds:.1f} s)"


def stopping_line(running: Sequence[str]) -> str:
    """Return the message of the first Ctrl-C or SIGTERM."""
    if not running:
        return "Stopping: no further tenant is started."
    return f"Stopping after {', '.join(running)}. Press Ctrl-C again to cancel (the migration is rolled back)."


def description(result: MigrationResult) -> str:
    """Return what a report says about a tenant, without its name."""
    before = result.before or History()
    current = result.after or before
    ahead = f"; ahead of this code: {migrations(current.unknown)}" if current.unknown else ""
    applied = migrations(result.applied)
    tries = f" (after {count(result.retries, 'retry', 'retries')})" if result.retries else ""
    if result.error:
        next_step = "; to be tried again" if result.outcome is MigrationOutcome.PENDING else ""
        kept = f"; applied before the error: {applied}" if applied else ""
        more = tries + kept + next_step + ahead
        return result.error.removesuffix(".") + more if more else result.error
    if result.outcome is MigrationOutcome.MIGRATED:
        recorded = _counted(tuple(one for one in before.unrecorded if one not in current.unrecorded), "recorded")
        return (", ".join([*_counted(result.applied, "applied"), *recorded]) or COMPLETED) + tries + ahead
    if result.outcome is MigrationOutcome.UP_TO_DATE:
        return ("migrated by another run" if before.is_pending else "up to date") + ahead
    pending = [*_counted(before.unapplied, "unapplied"), *_counted(before.unrecorded, "to record")]
    return f"{result.outcome}: {', '.join(pending) or INTERRUPTED}{ahead}"


def _counted(names: Sequence[Migration], state: str) -> list[str]:
    return [f"{len(names)} {state}: {migrations(names)}"] if names else []


def migrations(names: Sequence[Migration]) -> str:
    """Return the first few of `names`, dotted."""
    return join_names([dotted(name) for name in names])


def counts_line(report: RolloutReport) -> str:
    """Return how many tenants have each outcome, and how long the run took."""
    is_whole = [shard.size for shard in report.shards] == [1]
    shards = "" if is_whole else f", shard {join_names(list(map(str, report.shards)))}"
    counts = tenant_counts((result.outcome for result in report.results), MigrationOutcome)
    return f"{counts}; {report.seconds:.1f} s{shards}"


def to_json(report: RolloutReport) -> str:
    """Return the report as one JSON document."""
    document = {
        "version": VERSION,
        "shards": [str(shard) for shard in report.shards],
        "seconds": round(report.seconds, 3),
        "counts": Counter(result.outcome for result in report.results),
        "tenants": [_tenant(result) for result in report.results],
        "warnings": [asdict(warning) for warning in report.warnings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _tenant(result: MigrationResult) -> dict[str, object]:
    return {
        "tenant": result.tenant,
        "outcome": result.outcome,
        "description": description(result),
        "before": _history(result.before),
        "after": _history(result.after or (result.before if result.is_ok else None)),
        "applied": [dotted(migration) for migration in result.applied],
        "seconds": round(result.seconds, 3),
        "retries": result.retries,
        "error": result.error,
        "hint": result.hint,
    }


def _history(history: History | None) -> dict[str, object] | None:
    if history is None:
        return None
    return {
        "state": history.state,
        "unapplied": [dotted(migration) for migration in history.unapplied],
        "unknown": [dotted(migration) for migration in history.unknown],
        "inconsistent": [[dotted(one) for one in pair] for pair in history.inconsistent],
        "unfinished": history.is_unfinished,
        "unrecorded": [dotted(migration) for migration in history.unrecorded],
    }


def from_json(text: str, *, source: str) -> RolloutReport:
    """Return the report that `to_json` wrote.

    Raises:
        ConfigurationError: `text` is not such a report, or has another version.
    """
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']} is not supported")
        shards = tuple(map(parse_shard, document["shards"]))
        warnings = tuple(LockWarning(**entry) for entry in document["warnings"])
        return RolloutReport(shards, tuple(map(_result, document["tenants"])), float(document["seconds"]), warnings)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigurationError) as error:
        raise ConfigurationError(
            f"{source} is not a report of migrate_tenants: {type(error).__name__}: {error}.",
            hint=f"Write a report of version {VERSION}: python manage.py migrate_tenants --format json --output FILE",
        ) from None


def _result(entry: dict[str, Any]) -> MigrationResult:
    return MigrationResult(
        tenant=str(entry["tenant"]),
        outcome=MigrationOutcome(entry["outcome"]),
        before=_read_history(entry["before"]),
        after=_read_history(entry["after"]),
        applied=_pairs(entry["applied"]),
        seconds=float(entry["seconds"]),
        retries=int(entry["retries"]),
        error=str(entry["error"]),
        hint=str(entry["hint"]),
    )


def _read_history(entry: dict[str, Any] | None) -> History | None:
    if entry is None:
        return None
    broken = tuple((_pair(one), _pair(other)) for one, other in entry["inconsistent"])
    unapplied, unknown = _pairs(entry["unapplied"]), _pairs(entry["unknown"])
    return History(unapplied, unknown, broken, bool(entry["unfinished"]), _pairs(entry["unrecorded"]))


def _pairs(names: Iterable[str]) -> tuple[Migration, ...]:
    return tuple(map(_pair, names))


def _pair(name: str) -> Migration:
    app, _, migration = name.partition(".")
    return app, migration
