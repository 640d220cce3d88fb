"""Standard output and error that cannot show every character, or cannot be written to any more."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from django.core.management.base import OutputWrapper

#: What is written instead of characters that the encoding of a terminal lacks.
ASCII = {"→": "->", "…": "...", "✓": "OK", "✗": "X", "·": "-", "–": "-", "—": "-", "’": "'"}


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(ASCII.get(char) or char.encode("ascii", "backslashreplace").decode() for char in text), error.end


def tolerate_ascii() -> None:
    """Replace characters that standard output or error cannot encode, instead of raising `UnicodeEncodeError`."""
    codecs.register_error("deploytools", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors="deploytools")


def discard_output(stream: TextIO | None = None) -> None:
    """Discard everything that is still buffered for `stream`, so that the interpreter's exit does not fail.

    Args:
        stream: standard output or error; None: standard output.
    """
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, (stream or sys.stdout).fileno())
        os.close(null)


class OptionalOutput(OutputWrapper):
    """Standard error. What cannot be written is discarded: the exit code of the command still counts."""

    def write(self, *args: Any, **options: Any) -> None:  # type: ignore[override]  # as that of Django
        """Write as Django does."""
        try:
            super().write(*args, **options)
            self.flush()
        except OSError:
            discard_output(sys.stderr)
