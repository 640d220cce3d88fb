"""How the benchmarks measure: cases by turns in one run, so that a noisy machine is as noisy for all of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median


def by_turns(
    cases: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    middle: Callable[[Sequence[float]], float] = median,
) -> dict[str, float]:
    """Wall time of each case: the median, unless another `middle` is asked for.

    Args:
        cases: what to measure, by name; run one after the other, `rounds` times.
        rounds: how often; the first round warms up and does not count where there is more than one.
        middle: of a case's times; the mean, where a cost comes with some rounds only and each must bear its share.

    Returns:
        Seconds by name, in the order of `cases`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            seconds[name].append(timed(case))
    return {name: middle(times[1:] or times) for name, times in seconds.items()}


def timed(case: Callable[[], object]) -> float:
    """Wall time of one call, in seconds."""
    started = time.perf_counter()
    case()
    return time.perf_counter() - started


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def circumstances(*versions: str) -> str:
    """One sentence of when and on what it was measured.

    Args:
        versions: of what was measured, for example ``PostgreSQL 16.4``.
    """
    today = datetime.now(UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"{today}; {', '.join([machine, *versions])}."
