"""Standard output and error that cannot show every character, or cannot be written to any more."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress

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


def discard_output() -> None:
    """Discard everything that is still buffered for standard output, so that the interpreter's exit does not fail."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
