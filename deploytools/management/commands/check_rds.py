"""`check_rds`: the guide's five lines (Step 6), each a real check."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.management.base import exit_with
from deploytools.management.verifying import VerifyingCommand
from deploytools.reporting.findings import five_lines
from deploytools.verification.facts import Fact, Value
from deploytools.verification.registry import load_registry

#: What can heal by itself: a server that starts, a name that spreads, a network that comes up. Never a password.
HEALING = {
    ConnectionFailure.NO_SUCH_NAME,
    ConnectionFailure.REFUSED,
    ConnectionFailure.STARTING,
    ConnectionFailure.TIMEOUT,
}

#: Seconds between two looks: the first pause, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0


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
            type=float,
            default=0,
            metavar="SECONDS",
            help="Wait so long for a server that refuses, times out, starts up or has no name yet (default: 0).",
        )
        self.add_report_options(parser)

    def handle(self, *, wait: float, format: str, output: Path | None, **_: Any) -> None:
        """Look, look again while it can heal, report."""
        registry = load_registry()
        checks = registry.select(["connection"])
        deadline, pause = time.monotonic() + wait, FIRST_PAUSE
        facts = self.read(registry, checks)
        while (error := healing_error(facts)) and (left := deadline - time.monotonic()) > 0:
            self.stderr.write(f"Waiting for PostgreSQL ({error.kind}), {left:.0f} s left …")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)
            facts = self.read(registry, checks)
        report = self.judge(checks, facts)
        self.show(report, five_lines(report, self.paint), format=format, output=output)
        exit_with(report.exit_code)


def healing_error(facts: Mapping[str, Fact]) -> ConnectionFailed | None:
    """Why there is no connection, where waiting may help."""
    attempt = facts["connection_attempt"]
    error = attempt.value.error if isinstance(attempt, Value) else None
    return error if isinstance(error, ConnectionFailed) and error.kind in HEALING else None
