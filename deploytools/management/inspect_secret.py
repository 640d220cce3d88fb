"""What `sync_secrets` does without changing the secret, and how it reports: also if standard output is closed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.management.base import CommandError, CommandParser

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError, SecretEmpty, SecretNotFound
from deploytools.management.base import COULD_NOT_RUN, FINDINGS, OK, DeployCommand, Error, raise_unless_ok
from deploytools.management.private_files import STANDARD_INPUT, check_output, read_document, write_private
from deploytools.management.secret_values import read_request
from deploytools.management.standard_streams import discard_output
from deploytools.reports import secret_json, secret_text
from deploytools.secrets.contract import Field, find_missing, find_problems, normalize
from deploytools.secrets.document import EMPTY, Document
from deploytools.secrets.iam_policy import policy
from deploytools.secrets.inputs import Request
from deploytools.secrets.inspection import inspect, template
from deploytools.secrets.plan_details import owner_notices
from deploytools.secrets.progress import NOTHING_CHANGED, ChangeProgress

if TYPE_CHECKING:
    from deploytools.secrets.consumers import EcsService
    from deploytools.secrets.store import SecretStore

Options = dict[str, Any]

#: Exit codes of SIGHUP and SIGTERM.
TERMINATED = (129, 143)


class InspectSecretCommand(DeployCommand):
    """Base of `sync_secrets`: the modes that change nothing, the report, and the messages of a run that did not end.

    Attributes:
        shown: the text report so far.
        is_concluded: whether the JSON document has been written.
        can_write: whether it was checked that the files of the report can be written.
    """

    settings: Settings
    fields: tuple[Field, ...]
    file: Document = EMPTY
    shown: list[str]
    is_concluded = False
    can_write = False
    arguments: Sequence[str] = ()

    @cached_property
    def store(self) -> SecretStore:
        """The secret of the settings. boto3 takes long to import, so only modes that query AWS import it."""
        from deploytools.secrets.store import SecretStore

        return SecretStore.connect(self.settings.secret_name, self.settings.region)

    @property
    def progress(self) -> ChangeProgress:
        """How far the change of this run got."""
        store = self.__dict__.get("store")
        return store.progress if store else ChangeProgress("", "")

    @property
    def contract(self) -> dict[str, Any]:
        return {"stage": self.settings.stage, "fields": self.fields}

    @property
    def service(self) -> EcsService | None:
        """The ECS service of the settings."""
        from deploytools.secrets.consumers import EcsService

        name, cluster = self.settings.ecs_service, self.settings.ecs_cluster or "default"
        return EcsService(name, cluster, self.settings.region) if name else None

    # Runs that do not end as planned.

    def run_from_argv(self, argv: list[str]) -> None:
        """As the base's; keep the arguments for `create_parser`."""
        self.arguments = argv[2:]
        super().run_from_argv(argv)

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """As Django's, but the error of an invalid argument has no value; with ``--format json`` it is one document."""
        parser = super().create_parser(prog_name, subcommand, **options)
        print_usage_and_exit: Callable[[str], NoReturn] = parser.error

        def error(message: str) -> NoReturn:
            message = _without_values(message, self.arguments)
            if {"--format=json", "json"} & set(self.arguments) and "--output" not in self.arguments:
                hint = f"List the options: python manage.py {subcommand} --help"
                document = secret_json.failure(ChangeProgress("", ""), message, hint, COULD_NOT_RUN)
                self.stdout.write(json.dumps(document, indent=2))
            print_usage_and_exit(message)

        parser.error = error  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As the base's, and with JSON every outcome is one document."""
        self.shown, self.is_concluded, self.can_write = [], False, False
        self.__dict__.pop("store", None)
        if sys.stdout is None:
            message = f"Standard output is closed. {NOTHING_CHANGED}\nHint: Redirect it to a file, or to /dev/null."
            raise Error(message, returncode=COULD_NOT_RUN)
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            message, _, hint = str(error).partition("\nHint: ")
            self.conclude_failure(message, hint, error.returncode)
            raise
        except SystemExit as error:
            if error.code in TERMINATED:
                message, hint = f"Terminated. {self.after_interrupt}", self.resume_hint
                self.stderr.write(f"Error: {message}\nHint: {hint}")
                self.conclude_failure(message, hint, int(error.code))
            raise

    @property
    def after_interrupt(self) -> str:  # type: ignore[override]
        return self.progress.sentence

    @property
    def resume_hint(self) -> str:  # type: ignore[override]
        return self.progress.next_step or "Run the command again."

    def conclude_failure(self, message: str, hint: str, code: int) -> None:
        """Write the JSON document of a run that failed, unless one has been written."""
        if self.is_concluded:
            return
        document = secret_json.failure(self.progress, message, hint, code)
        for format, path in getattr(self, "destinations", ()):
            if format == "json" and (path is None or self.can_write):
                with suppress(ConfigurationError, OSError):
                    self.report(json.dumps(document, indent=2), path)
        self.is_concluded = True

    # Reporting.

    def say(self, text: str) -> None:
        """Show text of the report, and keep it for a file. A warning is colored on a terminal."""
        self.shown.append(text)
        stream = self.text_stream
        style = self.style.WARNING if stream.isatty() else str
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
                self.stderr.write(f"{message} {sentence}", str)

    def conclude(self, document: dict[str, Any], text: str | None = None) -> None:
        """Write the report; `text` is what follows the plan. Without it there is only JSON."""
        if text and self.prints_text:
            self.say(text)
        elif text:
            self.shown.append(text)
        for format, path in self.destinations:
            if format == "json" or text is None:
                self.write_report(json.dumps(document, indent=2), path)
            elif path:
                self.write_report("\n".join(self.shown), path)
        self.is_concluded = True

    def write_report(self, report: str, path: Path | None) -> None:
        with self.standard_output():
            self.report(report, path)
            self.stdout.flush()

    # Modes that change nothing.

    def show(self, options: Options) -> None:
        found = inspect(self.store.read(), **self.contract)
        notices = tuple(owner_notices(found.state, found.state.document, set()))
        self.conclude(secret_json.inspection(found, notices), secret_text.inspection(found, notices))

    def show_history(self, options: Options) -> None:
        from deploytools.secrets.history import read_history

        found = read_history(self.store)
        self.conclude(secret_json.history(found), secret_text.history(found))

    def write_template(self, options: Options) -> None:
        try:
            document = self.store.read().document
        except (SecretNotFound, SecretEmpty):
            document = EMPTY
        content = template(document, **self.contract)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        if options["template"] == STANDARD_INPUT:
            with self.standard_output():
                self.stdout.write(text, ending="")
                self.stdout.flush()
            return
        write_private(Path(options["template"]), text)
        self.say(secret_text.template_written(options["template"], len(content)))

    def validate(self, options: Options) -> None:
        """Check the given values without the secret."""
        given = normalize(self.read_request(options).given, {}, fields=self.fields)
        problems, missing = find_problems(given, **self.contract), find_missing(given, **self.contract)
        unrecognized = [key for key in given if key not in {field.name for field in self.fields}]
        self.conclude(
            secret_json.validation(problems, missing, unrecognized),
            secret_text.validation(problems, given, missing, unrecognized),
        )
        is_valid = all(item.is_warning for item in problems)
        raise_unless_ok(OK if is_valid else FINDINGS, "The values are not valid.")

    def check_outputs(self, options: Options) -> None:
        """Check before a change that the files of the report can be written."""
        for _, path in self.destinations:
            if path:
                check_output(path, options["file"])
        self.can_write = True

    def print_policy(self, options: Options) -> None:
        name, region = self.settings.secret_name, self.settings.region
        document = policy(
            name,
            region,
            with_create=options["create"],
            kms_key_arn=options["kms_key_id"] or "",
            ecs=(self.settings.ecs_cluster or "default", self.settings.ecs_service),
        )
        self.conclude(document)

    def read_request(self, options: Options) -> Request:
        self.file = read_document(options["file"]) if options["file"] else EMPTY
        return read_request(
            options, self.file, self.fields, region=self.settings.region, interactive=options["interactive"]
        )


def _without_values(message: str, arguments: Sequence[str]) -> str:
    """Return argparse's `message` without the values that it quotes: one might be a credential in the wrong place."""
    for argument in sorted(arguments, key=len, reverse=True):
        name, is_assignment, _ = argument.partition("=")
        if is_assignment:
            message = message.replace(argument, f"{name}=…")
        elif argument and not argument.startswith("-") and message.startswith("unrecognized arguments: "):
            message = message.replace(f" {argument}", " …")
    return message
