"""What a container does before it serves: check the connection, migrate where it may, verify, become the server.

One process for all of it: Django and the secret are loaded once, and at the end `exec` puts the server in its place, so
that signals reach it. All that is said goes to stderr through the project's logging, as JSON where LOG_FORMAT says so.
"""

from __future__ import annotations

import io
import logging
import logging.config
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from deploytools.errors import ConfigurationError, DeployError, explain
from StartupWebApp.logs import logging_configuration

logger = logging.getLogger("entrypoint")

COULD_NOT, CANNOT_RUN, NO_SUCH_COMMAND = 2, 126, 127
ENDED = {128 + signal.SIGINT, 128 + signal.SIGTERM}
LEVELS = ("low", "medium", "high", "critical")
#: What becomes of migrations that are not applied: RUN_MIGRATIONS and the arguments of `migrate_tenants`.
MIGRATIONS = {
    "0": ("--check", "--tenant", "{tenant}"),
    "1": ("--noinput", "--tenant", "{tenant}"),
    "all": ("--noinput",),
    "skip": (),
}


@dataclass(frozen=True)
class Step:
    """One management command of deploytools with its arguments."""

    command: str
    arguments: tuple[str, ...]


def planned_steps(environment: Mapping[str, str]) -> tuple[Step, ...]:
    """What to do before the start. Pure.

    Raises:
        ConfigurationError: a variable has a value that it cannot have.
    """
    wait = environment.get("WAIT_SECONDS") or "30"
    if not wait.isdecimal():
        raise _wrong("WAIT_SECONDS", wait, "a number of seconds, for example 60")
    migrate = environment.get("RUN_MIGRATIONS") or "0"
    if migrate not in MIGRATIONS:
        raise _wrong("RUN_MIGRATIONS", migrate, "0 (none may be missing), 1 (this tenant), all (tenants) or skip")
    level = environment.get("FAIL_ON") or "high"
    if level not in LEVELS:
        raise _wrong("FAIL_ON", level, f"one of {', '.join(LEVELS)}")
    tenant = environment.get("DATABASE_NAME", "")
    arguments = tuple(word.format(tenant=tenant) for word in MIGRATIONS[migrate])
    return (
        Step("check_rds", ("--wait", wait)),
        *([Step("migrate_tenants", arguments)] if arguments else []),
        Step("verify_deploy", ("--tag", "startup", "--fail-level", level)),
    )


def _wrong(name: str, value: str, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {value!r}, which it cannot be.", hint=f"It must be {wanted}.")


class Lines(io.TextIOBase):
    """A stream whose lines are log records: what a command writes reads like all else in a container's log."""

    def __init__(self, name: str, level: int) -> None:
        self._logger, self._level, self._rest = logging.getLogger(name), level, ""

    def write(self, text: str) -> int:
        """Log every line that is whole."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._logger.log(self._level, "%s", line.rstrip())
        return len(text)

    def close(self) -> None:
        """Log what has no end of line."""
        self.write("\n" if self._rest else "")
        super().close()


def main(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Do all steps, then become `command`. A step that fails ends this process with its exit code."""
    began = time.monotonic()
    level, style = environment.get("LOG_LEVEL", "INFO"), environment.get("LOG_FORMAT", "text")
    logging.config.dictConfig(logging_configuration(level=level, style=style))
    stopping = _end_at_once(began)
    try:
        if not command:
            raise ConfigurationError(
                "No command to start was given.", hint="For example: scripts/entrypoint gunicorn …"
            )
        steps = planned_steps(environment)
    except ConfigurationError as error:
        logger.error("%s", explain(error))
        sys.exit(COULD_NOT)
    for name, action in (("settings", _load_settings), *((step.command, _runner(step)) for step in steps)):
        stopping.step = name
        code = _timed(name, action)
        if code in ENDED:
            logging.shutdown()
            os._exit(code)  # Whatever threads still wait for.
        if code:
            sys.exit(code)
    logger.info("Starting %s.", command[0], extra={"fields": {"seconds": round(time.monotonic() - began, 3)}})
    _become(command)


@dataclass
class _Stopping:
    step: str = "its beginning"


def _end_at_once(began: float) -> _Stopping:
    """On SIGTERM and SIGINT this process is gone, whatever its threads wait for; the server undoes what is open."""
    stopping = _Stopping()

    def end(number: int, frame: FrameType | None) -> NoReturn:
        name, seconds = signal.Signals(number).name, time.monotonic() - began
        try:
            logger.warning("Ended by %s during %s, after %.1f s.", name, stopping.step, seconds)
        finally:
            os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return stopping


def _timed(name: str, action: Callable[[], int]) -> int:
    started = time.monotonic()
    code = action()
    seconds = round(time.monotonic() - started, 3)
    level, text = (logging.ERROR, f"failed with exit code {code}") if code else (logging.INFO, "done")
    fields = {"step": name, "seconds": seconds, "exit_code": code}
    logger.log(level, "%s: %s in %.2f s.", name, text, seconds, extra={"fields": fields})
    return code


def _load_settings() -> int:
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except DeployError as error:
        logger.error("%s", explain(error))
        return error.exit_code
    except ImproperlyConfigured as error:
        logger.error("%s\nHint: See .env.example for what the environment must hold.", error)
        return COULD_NOT
    return 0


def _runner(step: Step) -> Callable[[], int]:
    return lambda: run_step(step)


def run_step(step: Step) -> int:
    """Run one command in this process. Returns the exit code that it would have had in one of its own."""
    from django.core.management import CommandError, call_command

    name = f"entrypoint.{step.command}"
    with Lines(name, logging.INFO) as out, Lines(name, logging.WARNING) as err:
        try:
            call_command(step.command, *step.arguments, stdout=out, stderr=err)
        except CommandError as error:
            logger.error("%s", error)
            return error.returncode
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else COULD_NOT
        except Exception:
            logger.exception("%s raised what nobody expected.", step.command)
            return COULD_NOT
    return 0


def _become(command: Sequence[str]) -> NoReturn:
    logging.shutdown()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], [*command])  # noqa: S606  # no shell is what is wanted
    except FileNotFoundError:
        logger.error("There is no command %s.\nHint: See the image's CMD, or the task definition's.", command[0])
        sys.exit(NO_SUCH_COMMAND)
    except OSError as error:
        logger.error("%s cannot be run: %s.\nHint: Is it executable?", command[0], error.strerror)
        sys.exit(CANNOT_RUN)
