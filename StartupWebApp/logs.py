"""Logging: lines of text for people, lines of JSON for a log service (``LOG_FORMAT=json``), always on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: What a line of gunicorn's access log has as fields of its own, by gunicorn's name; path without its query string.
ACCESS = {"method": "m", "path": "U", "status": "s", "bytes": "B", "milliseconds": "M", "client": "{x-forwarded-for}i"}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: ``time`` (UTC), ``level``, ``logger``, ``message`` and, if any, ``exception``.

    A record of gunicorn's access log has ``request`` besides: `ACCESS`. What is logged with ``extra={"fields": {…}}``
    has those, too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.name == "gunicorn.access" and isinstance(record.args, Mapping):
            values = {name: record.args.get(atom) for name, atom in ACCESS.items()}
            fields["request"] = values | {"status": int(str(values["status"]))}
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def logging_configuration(*, level: str, style: str) -> dict[str, Any]:
    """The value of Django's ``LOGGING``.

    Args:
        level: least severe level that is written, for example ``INFO``.
        style: ``json``; anything else is text.
    """
    formatter = "json" if style == "json" else "text"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
            "json": {"()": "StartupWebApp.logs.JsonFormatter"},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": formatter}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "botocore": {"level": "WARNING"},
            "environ": {"level": "WARNING"},  # It says of every start that there is no .env.
        },
    }
