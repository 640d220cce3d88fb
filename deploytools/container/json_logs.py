"""Logging to stderr: text for people, one JSON object per line for a log service (``LOG_FORMAT=json``)."""

from __future__ import annotations

import copy
import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deploytools.errors import ConfigurationError
from deploytools.wording import count, one_line

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
STYLES = ("text", "json")

#: Fields of ``request`` in a record of gunicorn's access log, with gunicorn's names. The path has no query string.
ACCESS = {
    "method": "m",
    "path": "U",
    "status": "s",
    "bytes": "B",
    "milliseconds": "M",
    "client": "{x-forwarded-for}i",
    "user_agent": "a",
}
#: Seconds in which the traceback of an error is logged once.
TRACEBACK_SECONDS = 60.0


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object: ``time`` (UTC), ``level``, ``logger``, ``message``, ``exception`` if any.

    A record of a request has ``request_id``, and one of gunicorn's access log ``request``. Fields passed as
    ``extra={"fields": {…}}`` are added.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.name == "gunicorn.access" and isinstance(record.args, Mapping):
            values = {name: record.args.get(atom) for name, atom in ACCESS.items()}
            fields["request"] = values | {
                "status": int(str(values["status"])),
                "client": values["client"] or record.args.get("h"),
            }
            fields["request_id"] = record.args.get("{x-request-id}o")
        elif request_id := _request_id(record):
            fields["request_id"] = request_id
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _request_id(record: logging.LogRecord) -> str:
    if found := getattr(getattr(record, "request", None), "request_id", ""):
        return str(found)  # Django logs the status of a response when all middleware has returned.
    module = sys.modules.get("deploytools.container.request_id")  # Django is not imported for the log.
    return str(module.current.get()) if module else ""


class LimitedTracebacks(logging.StreamHandler[Any]):
    """Log to stderr. Of equal errors, one traceback a minute is logged: an outage must not flood the log.

    Errors are equal if they have the same logger and class, and were raised at the same line.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, type, str, int], tuple[float, int]] = {}

    def format(self, record: logging.LogRecord) -> str:
        """Format the record; without a traceback, it has the class and the message of the error."""
        if not record.exc_info or not (error := record.exc_info[1]):
            return super().format(record)
        frames = traceback.extract_tb(error.__traceback__, limit=-1)
        place = (frames[0].filename, frames[0].lineno or 0) if frames else ("", 0)
        kind, now = (record.name, type(error), *place), time.monotonic()
        due, omitted = self._kinds.get(kind, (0.0, 0))
        record = copy.copy(record)
        if now >= due:
            self._kinds[kind] = (now + TRACEBACK_SECONDS, 0)
            more = f" ({count(omitted, 'equal traceback')} omitted)" if omitted else ""
        else:
            self._kinds[kind] = (due, omitted + 1)
            record.exc_info = record.exc_text = None
            more = f" ({type(error).__name__}: {one_line(str(error))})"
        record.msg, record.args = f"{record.getMessage()}{more}", None
        return super().format(record)


class OneLine(logging.Filter):
    """Make a record a warning without a traceback: anyone can cause it with an invalid request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; keep it."""
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
        return True


def logging_configuration(*, level: str, style: str) -> dict[str, Any]:
    """Return a value for Django's ``LOGGING`` setting.

    Args:
        level: lowest level that is logged, in upper or lower case; empty: ``INFO``.
        style: ``text`` or ``json``; empty: ``text``.

    Raises:
        ConfigurationError: a value is not one of these.
    """
    level, formatter = level.upper() or "INFO", style.lower() or "text"
    for name, value, values in (("LOG_LEVEL", level, LEVELS), ("LOG_FORMAT", formatter, STYLES)):
        if value not in values:
            raise ConfigurationError(
                f"{name} must be one of {', '.join(values)}, got {value!r}.", hint=f"For example: {name}={values[1]}"
            )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
            "json": {"()": "deploytools.container.json_logs.JsonFormatter"},
        },
        "filters": {"one_line": {"()": "deploytools.container.json_logs.OneLine"}},
        "handlers": {"stderr": {"class": "deploytools.container.json_logs.LimitedTracebacks", "formatter": formatter}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.security.DisallowedHost": {"filters": ["one_line"]},
            "botocore": {"level": "WARNING"},
            # It warns of each HEAD request: Django leaves it to the server to omit the body.
            "gunicorn.http.wsgi": {"level": "ERROR"},
            "environ": {"level": "WARNING"},  # It logs at each start that there is no .env file.
        },
    }
