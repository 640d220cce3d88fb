"""The entrypoint of a container: check the connection, apply migrations, verify, then exec the server.

All steps run in one process, so Django and the secret are loaded once. At the end `exec` replaces the process with the
server, which then receives the container's signals. All output goes to stderr through Django's logging, as JSON if
LOG_FORMAT is ``json``.
"""

from __future__ import annotations

import io
import json
import logging
import logging.config
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from deploytools.container.json_logs import logging_configuration
from deploytools.errors import ConfigurationError, DeployError, format_error
from deploytools.signals import exit_process_on
from deploytools.wording import one_line

logger = logging.getLogger("entrypoint")

USAGE = """\
usage: python -m deploytools.container COMMAND [ARGUMENT…]

Checks the deployment in four steps, then replaces itself with COMMAND, for example gunicorn:

  1. load the Django settings (DJANGO_SETTINGS_MODULE)
  2. check_rds --wait WAIT_SECONDS
  3. migrate_tenants, depending on RUN_MIGRATIONS
  4. verify_deploy --tag startup --fail-level FAIL_LEVEL

A step that fails ends the container with the exit code of its command.

environment variables:
  WAIT_SECONDS     seconds to wait until PostgreSQL accepts connections (default: 30)
  RUN_MIGRATIONS   check: fail if migrations of this tenant are not applied (default)
                   tenant: apply the migrations of this tenant (DATABASE_NAME)
                   all: apply the migrations of all tenants
                   skip: do not check
  FAIL_LEVEL       lowest severity of failures that prevents the start:
                   low, medium, high or critical (default: high)
  LOG_FORMAT       text or json (default: text)
  LOG_LEVEL        DEBUG, INFO, WARNING, ERROR or CRITICAL (default: INFO)
"""

EXIT_ERROR, EXIT_CANNOT_EXECUTE, EXIT_NOT_FOUND = 2, 126, 127
EXIT_SIGNALS = {128 + signal.SIGINT, 128 + signal.SIGTERM}
SEVERITIES = ("low", "medium", "high", "critical")
#: The level of a finding's log record by its status.
FINDING_LEVELS = {
    "not applicable": logging.DEBUG,
    "pass": logging.INFO,
    "waived": logging.INFO,
    "warn": logging.WARNING,
    "unknown": logging.ERROR,
    "fail": logging.ERROR,
}
#: The integers of `deploytools.container.gunicorn_config` and their ranges.
NUMBERS = {"PORT": range(1, 65536), "WEB_CONCURRENCY": range(1, 1001), "WEB_THREADS": range(1, 1001)}
#: The arguments of `migrate_tenants` for each value of RUN_MIGRATIONS; None: the step is skipped.
MIGRATIONS: Mapping[str, tuple[str, ...] | None] = {
    "check": ("--check", "--tenant", "{tenant}"),
    "tenant": ("--noinput", "--tenant", "{tenant}"),
    "all": ("--noinput",),
    "skip": None,
}


@dataclass(frozen=True)
class Step:
    """A management command and its arguments."""

    command: str
    arguments: tuple[str, ...]

    @property
    def is_verification(self) -> bool:
        """Whether the output is a report of findings."""
        return self.command != "migrate_tenants"


def plan_steps(environment: Mapping[str, str]) -> tuple[Step, ...]:
    """Return the commands to run before the server starts."""
    wait = environment.get("WAIT_SECONDS") or "30"
    if not wait.isdecimal():
        raise _invalid("WAIT_SECONDS", wait, "a number of seconds", example="60")
    migrations = environment.get("RUN_MIGRATIONS") or "check"
    if migrations not in MIGRATIONS:
        raise _invalid("RUN_MIGRATIONS", migrations, f"one of {', '.join(MIGRATIONS)}", example="check")
    level = environment.get("FAIL_LEVEL", "").lower() or "high"
    if level not in SEVERITIES:
        raise _invalid("FAIL_LEVEL", level, f"one of {', '.join(SEVERITIES)}", example="high")
    for name, allowed in NUMBERS.items():
        value = environment.get(name, "")
        if value and not (value.isdecimal() and len(value) < 6 and int(value) in allowed):
            expected = f"a number from {allowed[0]} to {allowed[-1]}"
            raise _invalid(name, value, expected, example="8000" if name == "PORT" else "4")
    timeout = environment.get("WEB_QUERY_TIMEOUT", "")
    if timeout and not timeout.replace(".", "", 1).isdecimal():
        raise _invalid("WEB_QUERY_TIMEOUT", timeout, "a number of seconds", example="15")
    steps = [Step("check_rds", ("--wait", wait))]
    if (arguments := MIGRATIONS[migrations]) is not None:
        tenant = environment.get("DATABASE_NAME", "")
        steps.append(Step("migrate_tenants", tuple(word.format(tenant=tenant) for word in arguments)))
    return (*steps, Step("verify_deploy", ("--tag", "startup", "--fail-level", level)))


def _invalid(name: str, value: str, expected: str, *, example: str) -> ConfigurationError:
    return ConfigurationError(f"{name} must be {expected}, got {value!r}.", hint=f"For example: {name}={example}")


class LogStream(io.TextIOBase):
    """A text stream that logs each line as a warning, so that a command's output has the format of the log."""

    def __init__(self, name: str) -> None:
        self._logger, self._incomplete = logging.getLogger(name), ""

    def write(self, text: str) -> int:
        """Log all complete lines; keep an incomplete one until the rest of it is written."""
        *lines, self._incomplete = (self._incomplete + text).split("\n")
        for line in filter(str.strip, lines):
            self._logger.warning("%s", line.rstrip())
        return len(text)

    def close(self) -> None:
        """Log an incomplete last line."""
        self.write("\n" if self._incomplete else "")
        super().close()


def main(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Run all steps, then replace this process with `command`.

    A step that fails ends the process with the step's exit code.
    """
    if list(command) in ([], ["-h"], ["--help"]):
        (sys.stdout if command else sys.stderr).write(USAGE)
        sys.exit(0 if command else EXIT_ERROR)
    started = time.monotonic()
    progress = _Progress(started)
    exit_process_on(signal.SIGTERM, signal.SIGINT, report=progress.log_signal)
    actions: list[tuple[str, Callable[[], int]]] = [("settings", _load_settings)]
    try:
        _configure_logging(environment)
        actions += [(step.command, partial(run_step, step)) for step in plan_steps(environment)]
    except ConfigurationError as error:
        logger.error("%s", format_error(error))
        sys.exit(EXIT_ERROR)
    for name, action in actions:
        progress.step = name
        code = _run_timed(name, action)
        if code in EXIT_SIGNALS:
            logging.shutdown()
            os._exit(code)  # Do not wait for threads that are still blocked.
        if code:
            sys.exit(code)
    logger.info("Starting %s.", command[0], extra={"fields": {"seconds": round(time.monotonic() - started, 3)}})
    _execute(command)


def _configure_logging(environment: Mapping[str, str]) -> None:
    level, style = environment.get("LOG_LEVEL", ""), environment.get("LOG_FORMAT", "")
    logging.captureWarnings(True)
    default = logging_configuration(level="", style=style if style.lower() == "json" else "")
    logging.config.dictConfig(default)  # For the error of an invalid value.
    logging.config.dictConfig(logging_configuration(level=level, style=style))


@dataclass
class _Progress:
    started: float
    step: str = "startup"

    def log_signal(self, number: int) -> None:
        name, seconds = signal.Signals(number).name, time.monotonic() - self.started
        logging.raiseExceptions = False  # The signal can interrupt the log record that is being written.
        logger.warning("Terminated by %s during %s after %.1f s.", name, self.step, seconds)


def _run_timed(name: str, action: Callable[[], int]) -> int:
    started = time.monotonic()
    code = action()
    seconds = round(time.monotonic() - started, 3)
    level, text = (logging.ERROR, f"failed with exit code {code}") if code else (logging.INFO, "completed")
    fields = {"step": name, "seconds": seconds, "exit_code": code}
    logger.log(level, "%s: %s in %.2f s.", name, text, seconds, extra={"fields": fields})
    return code


def _load_settings() -> int:
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except DeployError as error:
        logger.error("%s", format_error(error))
        return error.exit_code
    except ImproperlyConfigured as error:
        logger.error("%s\nHint: Check the environment variables of the container.", error)
        return EXIT_ERROR
    except Exception as error:
        module, reason = os.environ.get("DJANGO_SETTINGS_MODULE", ""), one_line(str(error))
        hint = "Check the environment variables of the container. LOG_LEVEL=DEBUG logs the traceback."
        logger.error("Cannot load the settings %s: %s: %s\nHint: %s", module, type(error).__name__, reason, hint)
        logger.debug("Traceback of the settings.", exc_info=True)
        return EXIT_ERROR
    return 0


def run_step(step: Step) -> int:
    """Run one command in this process; return the exit code that ``python manage.py`` would have."""
    output = io.StringIO()
    code = _call(step, output)
    text = output.getvalue()
    try:
        document = json.loads(text) if step.is_verification else {}
    except ValueError:
        document = {}
    if document:
        log_findings(step.command, document, os.environ.get("DATABASE_NAME", ""))
    else:
        level = logging.ERROR if code else logging.INFO
        for line in filter(str.strip, text.splitlines()):
            logging.getLogger(f"entrypoint.{step.command}").log(level, "%s", line.rstrip())
    return code


def _call(step: Step, output: io.StringIO) -> int:
    from django.core.management import CommandError, call_command

    format = ("--format", "json") if step.is_verification else ()
    with LogStream(f"entrypoint.{step.command}") as errors:
        try:
            call_command(step.command, *step.arguments, *format, stdout=output, stderr=errors, skip_checks=False)
        except CommandError as error:
            if str(error) and not output.getvalue():
                logger.error("%s", error)
            return error.returncode
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else EXIT_ERROR
        except Exception:
            logger.exception("Unexpected error in %s.", step.command)
            return EXIT_ERROR
    return 0


def log_findings(command: str, report: Mapping[str, Any], tenant: str) -> None:
    """Log each finding of a report as one record, with its fields, and then the verdict."""
    found = logging.getLogger(f"entrypoint.{command}")
    for finding in report["findings"]:
        names = ("check", "status", "severity", "resource", "hint", "waiver")
        fields = {"tenant": tenant} | {name: finding[name] for name in names if finding[name]}
        hint = f"\nHint: {finding['hint']}" if finding["hint"] else ""
        level = FINDING_LEVELS[finding["status"]]
        subject = finding["title"] if level <= logging.INFO else f"{finding['check']} ({finding['status']})"
        found.log(level, "%s: %s%s", subject, finding["evidence"], hint, extra={"fields": fields})
    found.log(logging.ERROR if report["exit_code"] else logging.INFO, "%s", report["verdict"])


def _execute(command: Sequence[str]) -> NoReturn:
    logging.shutdown()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], [*command])  # noqa: S606  # exec without a shell is intended
    except FileNotFoundError:
        logger.error("Command not found: %s.\nHint: Check the CMD of the image or the task definition.", command[0])
        sys.exit(EXIT_NOT_FOUND)
    except OSError as error:
        logger.error("Cannot execute %s: %s.\nHint: Check that the file is executable.", command[0], error.strerror)
        sys.exit(EXIT_CANNOT_EXECUTE)
