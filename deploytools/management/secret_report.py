"""The report of a run of `sync_secrets`: also if the run fails, or standard output is closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploytools.errors import ConfigurationError
from deploytools.management.base import DeployCommand
from deploytools.management.private_files import check_output
from deploytools.management.standard_streams import discard_output
from deploytools.reports import secret_json, secret_text
from deploytools.secrets.progress import NOTHING_CHANGED, ChangeProgress


class SecretReport:
    """What one run has shown and written.

    Attributes:
        progress: how far the change of this run got.
        shown: the text report so far.
        is_concluded: whether the JSON document has been written.
        can_write: whether it was checked that the files of the report can be written.
    """

    def __init__(self, command: DeployCommand) -> None:
        self.command, self.progress = command, ChangeProgress("", "")
        self.shown: list[str] = []
        self.is_concluded = self.can_write = False

    def check_outputs(self, file: str | None) -> None:
        """Check before a change that the files of the report can be written, and that none of them is `file`."""
        for _, path in self.command.destinations:
            if path:
                check_output(path, file)
        self.can_write = True

    def say(self, text: str) -> None:
        """Show text of the report, and keep it for a file. A warning is colored on a terminal."""
        self.shown.append(text)
        stream = self.command.text_stream
        style = self.command.style.WARNING if stream.isatty() else str
        lines = [style(line) if line.startswith(secret_text.WARNING) else line for line in text.split("\n")]
        with self.standard_output():
            stream.write("\n".join(lines), str)
            stream.flush()

    @contextmanager
    def standard_output(self) -> Iterator[None]:
        """Tolerate that standard output is closed or full: before a change that is an error, afterwards a note."""
        try:
            yield
        except OSError as error:
            discard_output()
            message, sentence = f"Standard output cannot be written to: {error.strerror}.", self.progress.sentence
            if sentence == NOTHING_CHANGED:
                raise ConfigurationError(f"{message} {sentence}", hint="Redirect it to a file with space.") from error
            with suppress(OSError):
                self.command.stderr.write(f"{message} {sentence}", str)

    def conclude(self, document: dict[str, Any], text: str | None = None) -> None:
        """Write the report; `text` is what follows the plan. Without it there is only JSON."""
        if text and self.command.prints_text:
            self.say(text)
        elif text:
            self.shown.append(text)
        for format, path in self.command.destinations:
            if format == "json" or text is None:
                self._write(json.dumps(document, indent=2), path)
            elif path:
                self._write("\n".join(self.shown), path)
        self.is_concluded = True

    def conclude_failure(self, message: str, hint: str, code: int) -> None:
        """Write the JSON document of a run that failed, unless one has been written."""
        if self.is_concluded:
            return
        document = secret_json.failure(self.progress, message, hint, code)
        for format, path in getattr(self.command, "destinations", ()):
            if format == "json" and (path is None or self.can_write):
                with suppress(ConfigurationError, OSError):
                    self.command.report(json.dumps(document, indent=2), path)
        self.is_concluded = True

    def _write(self, report: str, path: Path | None) -> None:
        with self.standard_output():
            self.command.report(report, path)
