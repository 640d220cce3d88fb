"""The commands. Without psycopg and its libpq none can start, which is reported here, before a command's imports."""

from __future__ import annotations

import sys

from deploytools.errors import ConfigurationError, format_error

try:
    import deploytools.postgres.connections  # noqa: F401
except ImportError as error:
    failure = ConfigurationError(
        f"psycopg cannot be loaded: {str(error).splitlines()[0]}",
        hint="Install it with libpq: pip install 'psycopg[binary]'. Or install libpq (Debian: apt install libpq5).",
    )
    sys.stderr.write(f"Error: {format_error(failure)}\n")
    raise SystemExit(failure.exit_code) from None
