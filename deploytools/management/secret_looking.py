"""The part of `sync_secrets` that only looks, and how all of it reads, asks and reports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploytools.conf import configuration
from deploytools.errors import ConfigurationError, SecretDeleted, SecretEmpty, SecretNotFound
from deploytools.management.base import FINDINGS, FINE, DeployCommand, exit_with
from deploytools.management.secret_file import STANDARD_INPUT, read_document, write_private
from deploytools.management.secret_options import ValueOptions
from deploytools.management.secret_values import gather
from deploytools.reporting import secret as text
from deploytools.reporting import secret_json as documents
from deploytools.secret.contract import Field, missing, normalise, problems
from deploytools.secret.document import Document
from deploytools.secret.inspection import inspect, template
from deploytools.secret.policy import policy
from deploytools.secret.request import NOTHING, Request
from deploytools.secret.schema import SCHEMA, schema

if TYPE_CHECKING:
    from deploytools.secret.store import SecretStore

Options = dict[str, Any]

#: The outcomes of what changed something.
DONE = {"written", "created", "rolled back", "restored"}

ARN = re.compile("arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]+:secret:.+")


class LookingCommand(DeployCommand):
    """What changes nothing.

    Attributes:
        fields: the rows of the contract.
        file: what FILE holds, once it has been read.
    """

    fields: tuple[Field, ...]
    file: Document = NOTHING

    # Reading.

    @cached_property
    def store(self) -> SecretStore:
        """The secret of the settings. botocore takes its time, so it is imported only where AWS is asked."""
        from deploytools.secret.store import SecretStore

        return SecretStore.connect(configuration.secret_name, configuration.region)

    @property
    def judging(self) -> dict[str, Any]:
        """What a document is judged by."""
        return {"stage": configuration.stage, "required": configuration.required_keys, "fields": self.fields}

    def request(self, options: Options) -> Request:
        """Everything that was asked for."""
        if options["file"]:
            self.file = read_document(options["file"])
        return gather(
            ValueOptions.of(options),
            self.file.without({SCHEMA}) if options["file"] else None,
            self.fields,
            region=configuration.region,
            interactive=options["interactive"],
            read_other=_read_other,
        )

    # Looking.

    def show(self, options: Options) -> None:
        """Every key's state, length and fingerprint."""
        found = inspect(self.store.read(), **self.judging)
        self.conclude(options, documents.inspection(found), text.inspection(found))

    def write_template(self, options: Options) -> None:
        """A file to fill in, with what is missing or a placeholder."""
        try:
            document = self.store.read().document
        except (SecretNotFound, SecretEmpty):
            document = NOTHING
        made = template(document, **self.judging)
        filled = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        if options["template"] == STANDARD_INPUT:
            self.stdout.write(filled, ending="")
            return
        write_private(Path(options["template"]), filled)
        self.stdout.write(
            f"{options['template']}: {len(made)} keys to fill in; delete the lines of what you do not have yet. "
            "Nobody but you may read it."
        )

    def validate(self, options: Options) -> None:
        """Judge what is given, as far as that goes without the secret."""
        given = normalise(self.request(options).given, {}, fields=self.fields)
        found = problems(given, stage=configuration.stage, fields=self.fields)
        absent = missing(given, configuration.required_keys, stage=configuration.stage, fields=self.fields)
        self.conclude(options, documents.verdict(found, absent), text.verdict(found, given, absent))
        exit_with(FINE if all(item.is_warning for item in found) else FINDINGS)

    def print_schema(self, options: Options) -> None:
        """The contract as JSON Schema."""
        self.conclude(options, schema(self.fields))

    def print_policy(self, options: Options) -> None:
        """The least that this command needs to be allowed."""
        made = policy(
            configuration.secret_name,
            configuration.region,
            with_life=options["create"],
            kms_key_arn=options["kms_key_id"],
        )
        self.conclude(options, made)

    # Talking.

    def decide(self, options: Options, shown: str, report: Callable[..., dict[str, Any]], *, is_empty: bool) -> bool:
        """Show a plan and ask whether it is to be applied; False where only a look was asked for."""
        self.shown = shown
        self.say(options, shown)
        if options["plan"] or options["check"]:
            if options["format"] == "json" or options["output"]:
                self.conclude(options, report(outcome="planned"), "")
            exit_with(FINDINGS if options["check"] and not is_empty else FINE)
            return False
        if not is_empty:
            self.confirm("Write these changes?", interactive=options["interactive"])
        return True

    def say(self, options: Options, line: str) -> None:
        """Tell it on stdout; on stderr where stdout or a file is for the report."""
        is_report_elsewhere = options["format"] == "json" or options["output"]
        (self.stderr if is_report_elsewhere else self.stdout).write(line)

    def conclude(self, options: Options, document: dict[str, Any], said: str | None = None) -> None:
        """The report: one JSON document, or what was shown and what came of it.

        Args:
            said: the text; None where there is only JSON.
        """
        if options["format"] == "json" or said is None:
            self._deliver(json.dumps(document, indent=2, ensure_ascii=False), options, document)
        elif options["output"]:
            self._deliver("\n".join(filter(None, (self.shown, said))), options, document)
        else:
            self.stdout.write(said)

    def _deliver(self, report: str, options: Options, document: dict[str, Any]) -> None:
        """Write a report; where that fails, say what has been done nevertheless."""
        try:
            self.report(report, options["output"])
        except ConfigurationError as error:
            outcome = document.get("outcome")
            if outcome not in DONE:
                raise
            raise ConfigurationError(f"The secret is {outcome}. {error}", hint=error.hint) from error

    shown = ""


def _read_other(name: str) -> Document:
    """The current document of another secret; an ARN says which Region it is in."""
    from deploytools.secret.reader import SecretReader

    match = ARN.fullmatch(name)
    if name.startswith("arn:") and not match:
        raise ConfigurationError(
            f"{name} is no ARN of a secret.",
            hint="For example: arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/mail-AbCdEf",
        )
    region = match[1] if match else configuration.region
    try:
        return SecretReader.connect(name, region).read_current()[1]
    except (SecretNotFound, SecretEmpty, SecretDeleted) as error:  # Their hints are for the secret of the settings.
        error.hint = f"Look at it: aws secretsmanager describe-secret --secret-id {name} --region {region}"
        raise
