"""What `check_rds` and `verify_deploy` share: reading facts, judging them, reporting the findings."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploytools.management.base import DeployCommand
from deploytools.reporting import findings as reports
from deploytools.verification.facts import Fact
from deploytools.verification.findings import Report, Status
from deploytools.verification.registry import Check, Registry
from deploytools.verification.runner import judge_all, read_facts


class VerifyingCommand(DeployCommand):
    """A command whose result is a report of findings."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Remember when it began: a report says how long it took."""
        self.started = time.monotonic()
        return super().execute(*args, **options)

    def read(self, registry: Registry, checks: tuple[Check, ...]) -> Mapping[str, Fact]:
        """The facts that `checks` need."""
        return read_facts(registry.sources_for(checks))

    def judge(self, checks: tuple[Check, ...], facts: Mapping[str, Fact]) -> Report:
        """The report of `checks` on `facts`."""
        module = os.environ.get("DJANGO_SETTINGS_MODULE", "settings without a module")
        return Report(judge_all(checks, facts), time.monotonic() - self.started, module)

    def show(self, report: Report, text: str, *, format: str, output: Path | None) -> None:
        """Write `report` in `format`; `text` is what people read."""
        self.report(reports.to_json(report) if format == "json" else text, output)

    def paint(self, status: Status, line: str) -> str:
        """`line` in the colour of `status`, where Django's colours are on."""
        styles = {
            Status.PASS: self.style.SUCCESS,
            Status.WARN: self.style.WARNING,
            Status.UNKNOWN: self.style.NOTICE,
            Status.FAIL: self.style.ERROR,
        }
        return styles[status](line) if status in styles else line
