"""`check_rds`: the guide's five lines (Step 6), each a real check."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import configuration
from deploytools.errors import ConnectionFailed, ConnectionFailure, DeployError
from deploytools.management.base import exit_with, seconds
from deploytools.management.verifying import VerifyingCommand
from deploytools.reporting.findings import five_lines
from deploytools.reporting.formats import destinations
from deploytools.verification.facts import Fact, Failed, Value
from deploytools.verification.registry import Check, Registry, load_registry
from deploytools.verification.replay import Snapshot

#: What can heal by itself: a server that starts, a name that spreads, a network that comes up. Never a password.
HEALING = {
    ConnectionFailure.NO_SUCH_NAME,
    ConnectionFailure.REFUSED,
    ConnectionFailure.STARTING,
    ConnectionFailure.TIMEOUT,
}

#: Seconds between two looks: the first pause, what it grows by, and the longest.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.5, 1.5, 5.0


class Command(VerifyingCommand):
    """Secret, configuration, connection, query, apps."""

    help = (
        "Check that this process can reach its database: secret, configuration, connection, query, apps. Run it with "
        "the settings and the environment that the application runs with."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How long to wait, and how to report."""
        parser.add_argument(
            "--wait",
            type=seconds,
            default=0,
            metavar="SECONDS",
            help="Wait so long for a server that refuses, times out, starts up or has no name yet (default: 0).",
        )
        self.add_verifying_options(parser)

    def handle(
        self, *, wait: float, format: list[str], output: list[Path], tenant: str | None, stage: str | None, **_: Any
    ) -> None:
        """Look, look again while it can heal, report."""
        registry = load_registry("connection")
        checks = registry.select(["connection"])
        places = destinations(format, output)
        with configuration.overriding(**self.overrides(tenant=tenant, stage=stage)):
            report = self.judge(checks, self._look_until_healed(registry, checks, wait))
        self.publish(report, places, five_lines)
        exit_with(report.exit_code)

    def _look_until_healed(self, registry: Registry, checks: Sequence[Check], wait: float) -> Snapshot:
        deadline, pause = time.monotonic() + wait, FIRST_PAUSE
        snapshot = self.look(registry, checks, prove=False)
        while (error := healing_error(snapshot.facts)) and (left := deadline - time.monotonic()) > 0:
            self.tell(f"Waiting for PostgreSQL ({error.kind}), {math.ceil(left)} s left …")
            time.sleep(min(pause, left))
            pause = min(pause * GROWTH, LONGEST_PAUSE)
            snapshot = self.look(registry, checks, prove=False)
        return snapshot


def healing_error(facts: Mapping[str, Fact]) -> ConnectionFailed | None:
    """Why there is no connection, where waiting may help."""
    for fact in facts.values():
        error = _error_of(fact)
        if isinstance(error, ConnectionFailed) and error.kind in HEALING:
            return error
    return None


def _error_of(fact: Fact) -> DeployError | None:
    if isinstance(fact, Value):
        found = getattr(fact.value, "error", None)
        return found if isinstance(found, DeployError) else None
    return fact.error if isinstance(fact, Failed) else None
