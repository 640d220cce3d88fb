"""`sync_secrets`: merge values into the secret without losing, leaking or overwriting any (guide, Steps 1 to 4)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import configuration
from deploytools.errors import SecretEmpty, SecretError, SecretNotFound
from deploytools.management.secret_file import check_output, delete, is_deletable, removal
from deploytools.management.secret_looking import LookingCommand, Options
from deploytools.management.secret_options import add_modes, add_values, mode_of
from deploytools.reporting import secret as text
from deploytools.reporting import secret_json as documents
from deploytools.secret import host
from deploytools.secret.document import Document
from deploytools.secret.request import Request, assignments
from deploytools.secret.rollback import plan_rollback
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync


class Command(LookingCommand):
    """Merge, show, write, prove; go back; or only look."""

    help = (
        "Merge values into the secret in AWS Secrets Manager. Keys that are not named stay as they are. Values are "
        "never shown; a write that would overwrite somebody else's is not made."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The ways to give values, what else can be done, and the options of every command that changes something."""
        add_values(parser)
        add_modes(parser)
        self.add_change_options(parser)
        self.add_report_options(parser)

    def handle(self, **options: Any) -> None:
        """One of the modes; each plans, shows, asks, writes and reads back, or only looks."""
        self.fields = host.contract()
        modes: dict[str, Callable[[Options], None]] = {
            "sync": self.sync,
            "show": self.show,
            "template": self.write_template,
            "validate": self.validate,
            "schema": self.print_schema,
            "rollback": self.roll_back,
            "restore": self.restore,
            "iam_policy": self.print_policy,
        }
        mode = mode_of(options)
        check_output(options["output"], options["file"])
        modes[mode](options)

    def sync(self, options: Options) -> None:
        """Read, plan, show, ask, write, read back."""
        request = self.request(options)
        planned = self.plan(request, self.base(options))
        is_new = not planned.state.version
        if options["create"] and not is_new and not planned.is_empty:
            raise self.store.taken()
        report = partial(documents.sync_plan, planned)
        if not self.decide(options, text.sync_plan(planned), report, is_empty=planned.is_empty and not is_new):
            return
        if is_new:
            self.create(options, planned)
        else:
            self.write(options, request, planned)
        self.finish_file(options)

    def base(self, options: Options) -> SecretState:
        """The secret as it is; nothing at all where it is to be created."""
        try:
            return self.store.read()
        except (SecretNotFound, SecretEmpty) as error:
            if not options["create"]:
                raise
            exists = isinstance(error, SecretEmpty)
            if exists and (options["tag"] or options["kms_key_id"]):
                raise self.store.not_new() from error
            return SecretState(configuration.secret_name, configuration.region, "", Document({}), exists=exists)

    def plan(self, request: Request, state: SecretState) -> SyncPlan:
        """What `request` changes in `state`."""
        return plan_sync(
            state, request.given, unset=request.unset, fills=request.fills, made=request.made, **self.judging
        )

    def create(self, options: Options, planned: SyncPlan) -> None:
        """Create the secret, read it back, say so."""
        tags = assignments("--tag", options["tag"])
        current = self.store.create(planned.after, tags=tags, kms_key_id=options["kms_key_id"])
        document = documents.sync_plan(planned, outcome="created", current=current)
        self.conclude(options, document, text.written(current, ""))

    def write(self, options: Options, request: Request, planned: SyncPlan) -> None:
        """Write, read back, say so; an empty plan writes nothing, and is refused where a rotation would undo it."""
        applied = self.store.write(planned, partial(self.plan, request))
        base = applied.state.version
        if applied.is_empty:
            outcome, said = ("unchanged", text.NOTHING_TO_CHANGE) if planned.is_empty else ("overtaken", text.OVERTAKEN)
            self.conclude(options, documents.sync_plan(applied, outcome=outcome, current=base), said)
            return
        document = documents.sync_plan(applied, outcome="written", current=applied.token)
        self.conclude(options, document, text.written(applied.token, base))

    def finish_file(self, options: Options) -> None:
        """Delete FILE, or offer to; never before what it holds has been read back."""
        file = options["file"]
        if not is_deletable(file):
            return
        may_ask = options["interactive"] and sys.stdin.isatty()
        if options["delete_file"] or (may_ask and self.agrees(f"Delete {file}, which still holds credentials?")):
            delete(file, self.file)
            self.say(options, f"{file} is deleted.")
        else:
            self.say(options, f"The file still holds credentials. Delete it: {removal(file)}")

    def roll_back(self, options: Options) -> None:
        """Make an earlier version the current one again: plan, show, ask, move the label, read back."""
        state = self.store.read()
        version = options["rollback"] or state.previous_version
        if version is None:
            raise SecretError(
                f"{state.name} has no previous version: it was written once.", hint="Set the values anew instead."
            )
        planned = plan_rollback(state, version, self.store.read_version(version), **self.judging)
        report = partial(documents.rollback_plan, planned)
        if not self.decide(options, text.rollback_plan(planned), report, is_empty=planned.is_empty):
            return
        self.again = f"run: python manage.py sync_secrets --rollback {version}"
        self.store.roll_back(planned)
        outcome = "unchanged" if planned.is_empty else "rolled back"
        said = f"Nothing to change: {version} is current." if planned.is_empty else text.written(version, state.version)
        self.conclude(options, report(outcome=outcome, current=version), said)

    def restore(self, options: Options) -> None:
        """Undo the deletion that the secret is scheduled for."""
        name, region = configuration.secret_name, configuration.region
        is_deleted = self.store.is_deleted()
        shown = f"Secret {name} in {region} is {'' if is_deleted else 'not '}scheduled for deletion."
        if not self.decide(options, shown, partial(documents.restoration, name, region), is_empty=not is_deleted):
            return
        is_restored = self.store.restore()
        document = documents.restoration(name, region, outcome="restored" if is_restored else "unchanged")
        self.conclude(options, document, "It is restored." if is_restored else "Nothing to change.")
