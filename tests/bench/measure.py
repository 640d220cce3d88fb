"""Measure cases in turns in one run, so that noise of the machine affects all of them alike."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median


def in_turns(
    cases: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    average: Callable[[Sequence[float]], float] = median,
) -> dict[str, float]:
    """Return the wall time of each case.

    Args:
        cases: what to measure, by name.
        rounds: number of rounds; the first one is a warm-up and does not count if there are others.
        average: of a case's times; use the mean if a cost occurs only in some rounds.

    Returns:
        Seconds by name, in the order of `cases`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            seconds[name].append(timed(case))
    return {name: average(times[1:] or times) for name, times in seconds.items()}


def timed(case: Callable[[], object]) -> float:
    """Return the wall time of one call, in seconds."""
    started = time.perf_counter()
    case()
    return time.perf_counter() - started


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def environment_line(*versions: str) -> str:
    """Return the date, the machine, its load and the versions of a measurement.

    Args:
        versions: names with versions, for example ``PostgreSQL 16.4``.
    """
    today = datetime.now(UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    load = f"load average {os.getloadavg()[0]:.0f}"
    return f"{today}; {', '.join([machine, *versions, load])}."
