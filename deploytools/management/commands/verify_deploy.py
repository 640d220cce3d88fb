"""`verify_deploy`: what is true of this deployment, and what could not be looked at (guide, Step 11 and checklist)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.errors import ConfigurationError
from deploytools.management.base import exit_with
from deploytools.management.verifying import VerifyingCommand
from deploytools.reporting.findings import check_list, to_text
from deploytools.verification.registry import load_registry


class Command(VerifyingCommand):
    """Read the facts, judge them, report."""

    help = (
        "Verify the deployment: secret, Django settings, tenants' databases, RDS instance. Exit code 0: nothing fails; "
        "1: something does; 2: something could not be looked at."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which checks, and how to report."""
        parser.add_argument(
            "--tag", action="append", default=[], metavar="TAG", help="Only checks with this tag; may be repeated."
        )
        parser.add_argument("--list", action="store_true", help="Print the checks and look at nothing.")
        self.add_report_options(parser)

    def handle(self, *, tag: list[str], list: bool, format: str, output: Path | None, **_: Any) -> None:
        """Select, read, judge, report."""
        registry = load_registry()
        checks = registry.select(tag)
        unknown = [name for name in tag if name not in registry.tags]
        if unknown:
            raise ConfigurationError(
                f"No check bears the tag {' or '.join(unknown)}.", hint=f"The tags are: {', '.join(registry.tags)}."
            )
        if list:
            self.report(check_list(checks), output)
            return
        report = self.judge(checks, self.read(registry, checks))
        self.show(report, to_text(report, self.paint), format=format, output=output)
        exit_with(report.exit_code)
