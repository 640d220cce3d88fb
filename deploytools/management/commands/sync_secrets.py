"""`sync_secrets`: merge values into the secret without losing, leaking or overwriting any (guide, Steps 1 to 4)."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import configuration
from deploytools.errors import ConfigurationError, Refused
from deploytools.management.base import FINDINGS, DeployCommand, exit_with
from deploytools.reporting import console
from deploytools.secret.document import Document, parse
from deploytools.secret.store import SecretStore
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync
from deploytools.secret.value import Secret


class Command(DeployCommand):
    """Merge, show, write, prove."""

    help = (
        "Merge the values of a JSON file into the secret in AWS Secrets Manager. Keys that the file does not name stay "
        "as they are. Values are never shown; a write that would overwrite somebody else's is not made."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, and the options of every command that changes something."""
        parser.add_argument("file", metavar="FILE", help="JSON object with the keys to set; - reads standard input.")
        self.add_change_options(parser)

    def handle(self, *, file: str, plan: bool, check: bool, interactive: bool, **_: Any) -> None:
        """Read, plan, show, ask, write, read back."""
        given = read_document(file)
        store = SecretStore.connect(configuration.secret_name, configuration.region)

        def replan(state: SecretState) -> SyncPlan:
            return plan_sync(state, given, stage=configuration.stage)

        planned = replan(store.read())
        self.stdout.write(console.secret_plan(planned))
        if planned.is_empty:
            self.stdout.write("Nothing to change: every value given is there already. No version was created.")
            return
        if plan or check:
            exit_with(FINDINGS if check else 0)
            return
        self.confirm("Write these changes?", interactive=interactive)
        written = store.write(planned, replan)
        self.stdout.write(console.secret_written(written))
        if file != "-":
            self.stdout.write(f"The file still holds credentials. Delete it: rm {file}")


def read_document(file: str) -> Document:
    """The JSON object in `file`, or on standard input.

    Raises:
        ConfigurationError: it cannot be read.
        Refused: others than its owner may read it.
        SecretNotJson: it is not one JSON object.
    """
    if file == "-":
        return parse(Secret(sys.stdin.read()), source="Standard input")
    path = Path(file)
    try:
        mode = path.stat().st_mode
        text = Secret(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            f"{file} cannot be read: {reason}.", hint="Name a JSON file, or - for standard input."
        ) from None
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(f"{file} holds credentials and others may read it.", hint=f"Run: chmod 600 {file}")
    return parse(text, source=file)
