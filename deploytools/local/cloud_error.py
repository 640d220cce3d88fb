"""The error of the local cloud."""

from __future__ import annotations

from pathlib import Path

from deploytools.errors import DeployError


class LocalCloudError(DeployError):
    """The local cloud, or the command in it, could not be started."""


def last_lines(file: Path, count: int = 3) -> str:
    """Return the last `count` non-empty lines of a log as one line; an empty string if the file does not exist."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join([line.strip() for line in lines if line.strip()][-count:])
