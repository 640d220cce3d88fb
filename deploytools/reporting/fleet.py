"""A report of `migrate_tenants` as text for people and as JSON for programs, and back from JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from deploytools.databases.fleet import FleetReport, Outcome, TenantResult, parse_shard
from deploytools.databases.history import History, Migration, dotted
from deploytools.errors import ConfigurationError
from deploytools.reporting.text import wrapped

#: Version of the JSON: it grows when a member changes its meaning or goes away.
VERSION = 1

SYMBOLS = {
    Outcome.UP_TO_DATE: "✓",
    Outcome.MIGRATED: "✓",
    Outcome.PENDING: "-",
    Outcome.NOT_STARTED: "-",
    Outcome.REFUSED: "✗",
    Outcome.FAILED: "✗",
}

#: Of a tenant that has all migrations, and of which a run began and was lost.
LOST = "the last migration did not end (post_migrate)"
ENDED = "post_migrate run again, which the last migration did not get to"

#: Tenants and migrations that a line names before it says "and … more".
MOST_NAMES = 8


def to_text(report: FleetReport) -> str:
    """Tenants of which the same is to be said together, the worst last, then the counts."""
    order = list(Outcome)
    results = sorted(report.results, key=lambda result: (order.index(result.outcome), said(result)))
    lines: list[str] = []
    for sentence, group in groupby(results, key=said):
        alike = list(group)
        names = listed([result.tenant for result in alike])
        lines += wrapped(f"{names}: {sentence}", indent=f"{SYMBOLS[alike[0].outcome]} ")
        lines += wrapped(f"Hint: {alike[0].hint}", indent="  ") if alike[0].hint else []
    return "\n".join([*lines, counts_line(report)])


def result_line(result: TenantResult) -> str:
    """One tenant, while others are still at work."""
    return f"{SYMBOLS[result.outcome]} {result.tenant}: {said(result)} ({result.seconds:.1f} s)"


def said(result: TenantResult) -> str:
    """What is to be said of a tenant, without its name."""
    before, now = result.before or History(), result.after or result.before or History()
    ahead = f"; ahead of this code: {migrations(now.unknown)}" if now.unknown else ""
    if result.error:
        return result.error + (f" Applied before that: {migrations(result.applied)}" if result.applied else "") + ahead
    if result.outcome is Outcome.MIGRATED:
        return (f"{len(result.applied)} applied: {migrations(result.applied)}" if result.applied else ENDED) + ahead
    if result.outcome is Outcome.UP_TO_DATE:
        return ("another run applied what was missing" if before.is_pending else "up to date") + ahead
    left = f"{len(before.unapplied)} to apply: {migrations(before.unapplied)}" if before.unapplied else LOST
    return f"{result.outcome}: {left}{ahead}"


def migrations(names: Sequence[Migration]) -> str:
    """Dotted names, the first few."""
    return listed([dotted(name) for name in names])


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def counts_line(report: FleetReport) -> str:
    """How many tenants of each outcome, and how long it took."""
    counts = Counter(result.outcome for result in report.results)
    parts = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    number = len(report.results)
    shards = (
        "" if [shard.size for shard in report.shards] == [1] else f", shard {listed(list(map(str, report.shards)))}"
    )
    return (
        f"{number} tenant{'' if number == 1 else 's'}: {parts or 'none in this shard'}; {report.seconds:.1f} s{shards}"
    )


def to_json(report: FleetReport) -> str:
    """The report as one JSON document."""
    document = {
        "version": VERSION,
        "shards": [str(shard) for shard in report.shards],
        "seconds": round(report.seconds, 3),
        "counts": Counter(result.outcome for result in report.results),
        "tenants": [_tenant(result) for result in report.results],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _tenant(result: TenantResult) -> dict[str, object]:
    return {
        "tenant": result.tenant,
        "outcome": result.outcome,
        "before": _history(result.before),
        "after": _history(result.after or (result.before if result.is_fine else None)),
        "applied": [dotted(migration) for migration in result.applied],
        "seconds": round(result.seconds, 3),
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
    }


def from_json(text: str, *, source: str) -> FleetReport:
    """The report that `to_json` wrote.

    Raises:
        ConfigurationError: it did not write this, or another version of it did.
    """
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise ValueError(f"it is of version {document['version']}")
        shards = tuple(map(parse_shard, document["shards"]))
        return FleetReport(shards, tuple(map(_result, document["tenants"])), float(document["seconds"]))
    except (ValueError, KeyError, TypeError, AttributeError, ConfigurationError) as error:
        raise ConfigurationError(
            f"{source} is no report of migrate_tenants: {type(error).__name__}: {error}.",
            hint=f"Write one with: migrate_tenants --format json --output FILE (version {VERSION}).",
        ) from None


def _result(entry: dict[str, Any]) -> TenantResult:
    return TenantResult(
        tenant=str(entry["tenant"]),
        outcome=Outcome(entry["outcome"]),
        before=_read_history(entry["before"]),
        after=_read_history(entry["after"]),
        applied=_pairs(entry["applied"]),
        seconds=float(entry["seconds"]),
        error=str(entry["error"]),
        hint=str(entry["hint"]),
    )


def _read_history(entry: dict[str, Any] | None) -> History | None:
    if entry is None:
        return None
    broken = tuple((_pair(one), _pair(other)) for one, other in entry["inconsistent"])
    unapplied, unknown = _pairs(entry["unapplied"]), _pairs(entry["unknown"])
    return History(unapplied, unknown, broken, bool(entry.get("unfinished")))


def _pairs(names: Iterable[str]) -> tuple[Migration, ...]:
    return tuple(map(_pair, names))


def _pair(name: str) -> Migration:
    app, _, migration = name.partition(".")
    return app, migration
