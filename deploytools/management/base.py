"""Options, confirmation, reports and exit codes that all commands share.

Exit codes: 0 success · 1 findings, drift or refused · 2 could not run, or could not check · 130 interrupted.
"""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper, SystemCheckError

import deploytools
from deploytools.errors import ConfigurationError, DeployError, Refused, format_error
from deploytools.management.standard_streams import OptionalOutput, discard_output, tolerate_ascii
from deploytools.reports.formats import Destination, destinations
from deploytools.signals import exit_on_signals

OK, FINDINGS, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130


def seconds(text: str) -> float:
    """Parse an option's finite number of seconds: 0, or at least a millisecond, PostgreSQL's unit."""
    number = float(text)
    if number != 0 and not 0.001 <= number < 1e6:
        raise ValueError(text)
    return number


def positive_seconds(text: str) -> float:
    """Parse as `seconds` does and reject 0, which PostgreSQL's time-outs take for "no limit"."""
    number = seconds(text)
    if number == 0:
        raise ValueError(text)
    return number


#: Options that are lists on the command line; `call_command` may pass one value.
REPEATABLE = {"format", "output", "tenant"}


LEAKED_HELP = "Replace django_secret_key so that no former key stays valid: all users are logged out."
FINISH_HELP = (
    "After a change of ISOLATION, an adoption or a rotation, once the application has moved to the new role: revoke "
    "access from the previous owner or login."
)


IAM_POLICY_HELP = "Print the least-privilege IAM policy for this command."


def read_report(path: Path, command: str) -> str:
    """Return the text of an earlier report of `command`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = f"Create it: python manage.py {command} --format json --output {path}"
        raise unreadable_file(path, error, hint) from None


def unreadable_file(path: Path, error: OSError | UnicodeDecodeError, hint: str) -> ConfigurationError:
    """Return the error of a text file that could not be read."""
    reason = getattr(error, "strerror", "not a text file")
    return ConfigurationError(f"{path} could not be read: {reason}.", hint=hint)


class Error(CommandError):
    """A failed command; Django prints ``Error:`` and the message."""


class FindingsReported(CommandError):
    """A command whose report has been written and whose exit code is not 0; nothing more is printed.

    The message is the verdict, for programs that use `django.core.management.call_command`.
    """


def raise_unless_ok(returncode: int, message: str) -> None:
    """Raise `FindingsReported` with `message`, unless `returncode` is `OK`."""
    if returncode != OK:
        raise FindingsReported(message, returncode=returncode)


class DeployCommand(BaseCommand):
    """Base of the commands: errors are two lines, the second a hint, and every error has its exit code.

    Attributes:
        formats: formats of the report; the choices of ``--format``.
        destinations: where the report goes, from ``--format`` and ``--output``.
        after_interrupt: what Ctrl-C leaves, as a sentence.
        resume_hint: what to do after Ctrl-C.
    """

    requires_system_checks: tuple[str, ...] = ("deploytools",)
    formats: tuple[str, ...] = ("text", "json")
    destinations: list[Destination]
    after_interrupt = "Completed steps are kept."
    resume_hint = "Run the command again to continue."

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None, **options: bool) -> None:
        """As Django's, with a standard error that can be closed or full."""
        super().__init__(stdout, stderr, **options)
        style = self.stderr.style_func
        self.stderr = OptionalOutput(stderr or sys.stderr or io.StringIO())
        self.stderr.style_func = style

    def get_version(self) -> str:
        return deploytools.__version__

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run `handle`; turn `DeployError` and Ctrl-C into `CommandError`; end on SIGTERM and SIGHUP."""
        tolerate_ascii()
        try:
            for name in options.keys() & REPEATABLE:  # Tolerate call_command(…, format="json").
                if isinstance(options[name], str | Path):
                    options[name] = [options[name]]
            outputs = [Path(output) for output in options.get("output") or ()]
            self.destinations = destinations(options.get("format") or (), outputs, self.formats)
            with exit_on_signals():
                return super().execute(*args, **options)
        except FindingsReported as error:
            if getattr(self, "_called_from_command_line", False):  # Django's own flag.
                sys.exit(error.returncode)
            raise
        except DeployError as error:
            if options.get("traceback"):  # Django's own option would change the exit code.
                self.stderr.write(traceback.format_exc(), ending="")
            raise Error(format_error(error), returncode=error.exit_code) from error
        except SystemCheckError as error:
            error.returncode = COULD_NOT_RUN
            raise
        except KeyboardInterrupt:
            self.stderr.write("")  # The terminal has printed ^C.
            message = f"Interrupted. {self.after_interrupt}\nHint: {self.resume_hint}"
            raise Error(message, returncode=INTERRUPTED) from None

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's, but ``--traceback`` keeps the exit code."""
        try:
            super().run_from_argv(argv)
        except CommandError as error:
            self.stderr.write(f"{type(error).__name__}: {error}")
            sys.exit(error.returncode)

    # Options. An option has the same meaning in all commands.

    def add_change_options(self, parser: CommandParser, *, with_check: bool = True) -> None:
        """Add ``--plan``, ``--check`` and ``--noinput``: for commands that change something."""
        parser.add_argument("--plan", action="store_true", help="Show the plan and change nothing.")
        if with_check:
            text = "Show the plan, change nothing, and exit with code 1 if there are changes."
            parser.add_argument("--check", action="store_true", help=text)
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="Do not prompt. Required for a change if stdin is not a terminal.",
        )

    def add_report_options(self, parser: CommandParser) -> None:
        """Add ``--format`` and ``--output``. `execute` turns them into `destinations`."""
        parser.add_argument(
            "--format",
            action="append",
            choices=self.formats,
            default=[],
            help="Format of the report on stdout (default: text). Formats that are written to an --output file are not "
            "printed to stdout. Repeatable.",
        )
        parser.add_argument(
            "--output",
            action="append",
            type=Path,
            default=[],
            metavar="FILE",
            help="Write a report to FILE. The suffix selects one of the formats of --format: .txt, .json, .xml "
            "(JUnit), .html or .md. For any other suffix, --format selects the format. Repeatable.",
        )

    def add_tenant_option(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--tenant",
            action="append",
            default=[],
            metavar="NAME",
            help="Only this tenant. Repeatable, except in check_rds and rotate_credentials.",
        )

    def add_wait_for_lock_option(self, parser: CommandParser, default: float) -> None:
        """Add ``--wait-for-lock``, which is None if it is not given: for commands that hold an advisory lock."""
        parser.add_argument(
            "--wait-for-lock",
            type=positive_seconds,
            metavar="SECONDS",
            help=f"Seconds to wait for another run that holds the lock (default: {default:g}).",
        )

    def add_master_options(self, parser: CommandParser) -> None:
        """Add ``--master-secret`` and ``--master-username``: for commands that connect as the master user."""
        parser.add_argument("--master-secret", metavar="NAME_OR_ARN", help="Secret with the master user's credentials.")
        parser.add_argument(
            "--master-username",
            metavar="NAME",
            help="Master user (default: from the secret, DEPLOYTOOLS_MASTER_USERNAME, or postgres).",
        )

    # Input and output.

    def confirm(self, question: str, *, interactive: bool) -> None:
        """Ask on the terminal whether to continue; with ``--noinput`` do not ask.

        Raises:
            Refused: the answer was not yes, or stdin is not a terminal.
        """
        if not interactive:
            return
        if not sys.stdin.isatty():
            raise Refused(
                "Confirmation required, but stdin is not a terminal. Nothing was changed.",
                hint="Check the plan with --plan, then run the command with --noinput.",
            )
        try:
            is_confirmed = self.prompt_yes_no(question)
        except KeyboardInterrupt:
            self.stderr.write("")  # The terminal has printed ^C.
            message = "Interrupted. Nothing was changed.\nHint: Run the command again."
            raise Error(message, returncode=INTERRUPTED) from None
        if not is_confirmed:
            raise Refused("Canceled. Nothing was changed.", hint="Run the command again and answer yes.")

    def prompt_yes_no(self, question: str) -> bool:
        """Ask on the terminal; return whether the answer is yes."""
        self.stderr.write(f"{question} [y/N] ", str, ending="")
        self.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:  # Ctrl-D.
            self.stderr.write("")
        return answer.strip().lower() in {"y", "yes"}

    @property
    def prints_text(self) -> bool:
        """Whether the text report goes to stdout."""
        return ("text", None) in self.destinations

    @property
    def text_stream(self) -> OutputWrapper:
        """The stream for text about the run: stdout if the text report goes there, else stderr."""
        return self.stdout if self.prints_text else self.stderr

    def report(self, text: str, output: Path | None) -> None:
        """Write a report to a file, or to stdout."""
        try:
            if output is None:
                self.stdout.write(text)
                self.stdout.flush()
            else:
                output.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        except OSError as error:
            if output is None:
                discard_output()
            where = output or "standard output"
            hint = "Specify another --output." if output else "Redirect it to a file with space, or use --output."
            message = f"The report could not be written to {where}: {error.strerror}."
            raise ConfigurationError(message, hint=hint) from error
