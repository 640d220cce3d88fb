"""Formats of reports, and where each report goes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Report

#: A format and the file that it is written to; None is stdout.
Destination = tuple[str, Path | None]

#: Formats of a verification report; a module of this package renders each.
FORMATS = ("text", "json", "junit", "html", "github", "markdown")

SUFFIXES = {".txt": "text", ".json": "json", ".xml": "junit", ".html": "html", ".htm": "html", ".md": "markdown"}


def render(report: Report, format: str) -> str:
    """Return `report` in a format. Only the module of that format is imported."""
    name = "findings_text" if format == "text" else format
    text: str = getattr(import_module(f"deploytools.reports.{name}"), f"to_{format}")(report)
    return text


def destinations(
    formats: Sequence[str], outputs: Sequence[Path], available: Sequence[str] = FORMATS
) -> list[Destination]:
    """Return each format with the file that it is written to.

    The suffix of a file selects its format; a file with any other suffix has the one format that was requested, or
    text. A requested format that no file has goes to stdout.

    Args:
        available: formats that the command has.

    Raises:
        ConfigurationError: a file's format is unknown or not available, or two formats would go to stdout.
    """
    requested = list(dict.fromkeys(formats)) or ["text"]
    files: list[Destination] = [(_format_of(path, formats, available), path) for path in outputs]
    in_files = {format for format, _ in files}
    on_stdout = [format for format in requested if format not in in_files]
    if len(on_stdout) > 1:
        suffix = next((suffix for suffix, name in SUFFIXES.items() if name == on_stdout[1]), ".txt")
        raise ConfigurationError(
            f"Only one report can go to stdout, not {' and '.join(on_stdout)}.",
            hint=f"Write the others to files, for example: --output report{suffix}",
        )
    return files + [(format, None) for format in on_stdout]


def _format_of(path: Path, formats: Sequence[str], available: Sequence[str]) -> str:
    format = SUFFIXES.get(path.suffix.lower())
    suffixes = " ".join(suffix for suffix, name in SUFFIXES.items() if name in available)
    if format is None:
        if len(formats) <= 1:
            return formats[0] if formats else "text"
        raise ConfigurationError(
            f"The suffix of {path} does not select a format.",
            hint=f"Pass one --format, or use one of these suffixes: {suffixes}",
        )
    if format not in available:
        raise ConfigurationError(
            f"{path} selects the format {format}, which this command does not have.",
            hint=f"Use one of these suffixes: {suffixes}",
        )
    return format
