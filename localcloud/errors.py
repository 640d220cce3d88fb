"""The one error of the local cloud."""

from __future__ import annotations

from pathlib import Path


class LocalCloudError(Exception):
    """The local cloud could not do what it was asked to.

    Args:
        message: one sentence, what happened.
        hint: one sentence, what to do next.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def last_lines(file: Path, count: int = 3) -> str:
    """The last `count` lines of a log that say something, in one line; empty when there is no such file."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join([line.strip() for line in lines if line.strip()][-count:])
