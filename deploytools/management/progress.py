"""How far a run is: a bar on a terminal, a line a tenant elsewhere."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deploytools.databases.apply import Outcome
from deploytools.databases.steps import Step
from deploytools.reporting.tenants import done

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper

WIDTH = 30


class Progress:
    """Tells `stream` how many of the tenants are through.

    Args:
        stream: the command's stderr.
        total: how many tenants there are.
        verbosity: 0 says nothing, from 2 on each step is told, too.
    """

    def __init__(self, stream: OutputWrapper, total: int, verbosity: int) -> None:
        self._stream, self._total, self._verbosity = stream, total, verbosity
        self._has_bar = verbosity == 1 and stream.isatty()
        self._through = 0
        self._lock = threading.Lock()

    def step_done(self, step: Step) -> None:
        """One step was carried out."""
        if self._verbosity > 1:
            self._stream.write(f"done: {step}")

    def tenant_done(self, outcome: Outcome) -> None:
        """One tenant is through; called from several threads."""
        with self._lock:
            self._through += 1
            if self._has_bar:
                self._draw(outcome.tenant.name)
            elif self._verbosity and outcome.done:
                said = "failed" if outcome.error else done(outcome)
                self._stream.write(f"[{self._through}/{self._total}] {outcome.tenant.name}: {said}")

    def _draw(self, name: str) -> None:
        filled = WIDTH * self._through // self._total
        bar = "█" * filled + "·" * (WIDTH - filled)
        end = "\n" if self._through == self._total else ""
        self._stream.write(f"\r{bar} {self._through}/{self._total} {name[:40]:<40}", ending=end)
        self._stream.flush()
