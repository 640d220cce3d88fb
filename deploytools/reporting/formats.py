"""Which format a report is written in, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Report

#: Each format with the module here that writes it.
FORMATS: Mapping[str, str] = {
    "text": "findings",
    "json": "json",
    "junit": "junit",
    "html": "html",
    "github": "github",
    "markdown": "markdown",
}

#: What a file's ending says about its format.
ENDINGS = {
    ".txt": "text",
    ".json": "json",
    ".xml": "junit",
    ".html": "html",
    ".htm": "html",
    ".md": "markdown",
}


def written(report: Report, format: str) -> str:
    """`report` in that format; of what writes them only this is loaded."""
    text: str = getattr(import_module(f"deploytools.reporting.{FORMATS[format]}"), f"to_{format}")(report)
    return text


def destinations(formats: Sequence[str], outputs: Sequence[Path]) -> list[tuple[str, Path | None]]:
    """Each format with the file that it goes to; None is stdout.

    A file gets the format that its ending names, or, with another ending, the one format that was asked for, or text.
    A format that was asked for and that no file gets goes to stdout.

    Args:
        formats: what was asked for; nothing: text.

    Raises:
        ConfigurationError: a file's format is not known, or two formats would go to stdout.
    """
    wanted = list(dict.fromkeys(formats)) or ["text"]
    files: list[tuple[str, Path | None]] = [(_format_of(path, formats), path) for path in outputs]
    taken = {format for format, _ in files}
    left = [format for format in wanted if format not in taken]
    if len(left) > 1:
        raise ConfigurationError(
            f"Stdout can take one report, not {' and '.join(left)}.",
            hint=f"Write the others into files, for example: --output report{_ending(left[1])}",
        )
    return files + [(format, None) for format in left]


def _format_of(path: Path, formats: Sequence[str]) -> str:
    if path.suffix.lower() in ENDINGS:
        return ENDINGS[path.suffix.lower()]
    if len(formats) <= 1:
        return formats[0] if formats else "text"
    raise ConfigurationError(
        f"The ending of {path} does not tell which format it is to have.",
        hint=f"Name --format, or a file that ends with one of: {' '.join(ENDINGS)}",
    )


def _ending(format: str) -> str:
    return next((ending for ending, name in ENDINGS.items() if name == format), ".txt")
