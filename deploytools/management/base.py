"""What the commands share: options, the question before a change, and the one place where exit codes are raised.

Exit codes: 0 fine · 1 findings, drift or refused · 2 could not run, or could not look · 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError

from deploytools.errors import ConfigurationError, DeployError, Refused, explain

FINE, FINDINGS, COULD_NOT = 0, 1, 2


def seconds(text: str) -> float:
    """For argparse: a time that ends; 0, or at least a millisecond, because PostgreSQL counts in those."""
    number = float(text)
    if number != 0 and not 0.001 <= number < 1e6:
        raise ValueError(text)
    return number


def some_seconds(text: str) -> float:
    """As `seconds`, and not 0: where PostgreSQL takes that for ever."""
    number = seconds(text)
    if number == 0:
        raise ValueError(text)
    return number


class Error(CommandError):
    """What a command stops with; Django prints ``Error:`` and the text."""


class DeployCommand(BaseCommand):
    """A command that says in two lines what went wrong and what to do, and exits with what it means."""

    requires_system_checks = ("deploytools",)

    #: What Ctrl-C leaves, and what to do after it.
    left = "What was done stays and the rest is left"
    again = "run the same command again."

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run `handle`; `DeployError` and Ctrl-C become an exit code and, without ``--traceback``, no traceback.

        Raises:
            CommandError: with the exit code as ``returncode``.
        """
        try:
            return super().execute(*args, **options)
        except DeployError as error:
            self._show_traceback(options)
            raise Error(explain(error), returncode=error.exit_code) from error
        except SystemCheckError as error:
            error.returncode = COULD_NOT
            raise
        except KeyboardInterrupt:
            self.stderr.write("")  # The terminal has written ^C.
            raise Error(
                f"Interrupted.\nHint: {self.left}; {self.again}",
                returncode=130,
            ) from None

    def _show_traceback(self, options: dict[str, Any]) -> None:
        """With ``--traceback`` the whole chain; printed here, so that the exit code stays what it means."""
        if options.get("traceback"):
            self.stderr.write(traceback.format_exc(), ending="")

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's, but ``--traceback`` does not turn every exit code into 1."""
        try:
            super().run_from_argv(argv)
        except CommandError as error:
            self.stderr.write(f"{type(error).__name__}: {error}")
            sys.exit(error.returncode)

    # Options.

    def add_change_options(self, parser: CommandParser) -> None:
        """``--plan``, ``--check`` and ``--noinput``: for commands that change something."""
        parser.add_argument("--plan", action="store_true", help="Show what would be done and change nothing.")
        parser.add_argument(
            "--check", action="store_true", help="As --plan, and exit with 1 if anything would be done."
        )
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="Do not ask before a change. Needed where nobody is at a terminal.",
        )

    def add_report_options(self, parser: CommandParser) -> None:
        """``--format`` and ``--output``: for commands whose result is read by programs, too."""
        parser.add_argument("--format", choices=("text", "json"), default="text", help="How to report (default: text).")
        parser.add_argument("--output", type=Path, metavar="FILE", help="Write the report to FILE instead of stdout.")

    # Talking.

    def confirm(
        self, question: str, *, interactive: bool, hint: str = "Look at the plan with --plan, then say --noinput."
    ) -> None:
        """Ask on the terminal whether to go on.

        Args:
            hint: what to do where there is nobody to ask.

        Raises:
            Refused: the answer was not yes, or there is nobody to ask.
        """
        if not interactive:
            return
        if not sys.stdin.isatty():
            raise Refused(
                "Nothing was changed: this is not a terminal, so nobody could be asked.",
                hint=hint,
            )
        if not self.agrees(question):
            raise Refused("Nothing was changed: the answer was not yes.", hint="Run it again when it is.")

    def agrees(self, question: str) -> bool:
        """Whether the person at the terminal says yes."""
        self.stderr.write(f"{question} [y/N] ", ending="")
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def report(self, text: str, output: Path | None) -> None:
        """Write a report to stdout or to a file."""
        if output is None:
            self.stdout.write(text)
            return
        try:
            output.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"The report could not be written to {output}: {error.strerror}.", hint="Name another --output."
            ) from error


def exit_with(code: int) -> None:
    """End the command with `code`, when everything there is to say has been said."""
    if code != FINE:
        raise SystemExit(code)
