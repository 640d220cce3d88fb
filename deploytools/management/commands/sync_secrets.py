"""`sync_secrets`: merge values into the secret, show it, or roll it back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.core.management.base import CommandParser
from django.utils import timezone

from deploytools.conf import read_settings
from deploytools.errors import ConfigurationError, DeployError, Refused, SecretEmpty, SecretError, SecretNotFound
from deploytools.loader import require_keys
from deploytools.management.base import FINDINGS, OK, raise_unless_ok
from deploytools.management.inspect_secret import InspectSecretCommand, Options
from deploytools.management.private_files import delete, delete_command, is_deletable
from deploytools.management.secret_options import (
    add_creation_options,
    add_mode_options,
    add_value_options,
    mode_of,
)
from deploytools.reports import secret_json, secret_text
from deploytools.secrets.contract import FALLBACKS_KEY, ROTATED_AT, Field, by_name, is_placeholder
from deploytools.secrets.custom_fields import all_fields
from deploytools.secrets.document import EMPTY, ChangeKind, Document, Secret, value_of
from deploytools.secrets.inputs import Request, parse_assignments, refuse_absent, refuse_unknown
from deploytools.secrets.plan import (
    CREDENTIALS,
    RollbackPlan,
    SecretPlan,
    SecretState,
    SyncPlan,
    kept_keys,
    plan_rollback,
    plan_sync,
    refuse_rotated,
    with_dates,
)
from deploytools.secrets.plan_details import plan_details
from deploytools.secrets.progress import Live
from deploytools.secrets.versions import parse_age, short_id, version_at
from deploytools.tenants.catalog import password_works, read_expiry
from deploytools.wording import printable, quote_name

WITH_LOGIN = "--with-login"

Plan = TypeVar("Plan", SyncPlan, RollbackPlan)


class Command(InspectSecretCommand):
    """Plan, show, ask, write and verify; or show, validate or roll back."""

    help = (
        "Merge values into the secret in AWS Secrets Manager. All other keys stay unchanged. Values are never printed. "
        "A change by another writer is never overwritten."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_value_options(parser)
        add_mode_options(parser)
        add_creation_options(parser)
        self.add_change_options(parser)
        self.add_report_options(parser)

    def handle(self, **options: Any) -> None:
        self.settings = read_settings()
        self.fields = all_fields(self.settings.presets, self.settings.secret_fields)
        modes: dict[str, Callable[[Options], None]] = {
            "sync": self.sync,
            "show": self.show,
            "history": self.show_history,
            "template": self.write_template,
            "validate": self.validate,
            "rollback": self.roll_back,
            "restart": self.restart_only,
            "iam_policy": self.print_policy,
        }
        mode = mode_of(options)
        if options["restart"] and self.service is None:
            raise ConfigurationError(
                '--restart requires DEPLOYTOOLS["ECS_SERVICE"].', hint="Set it, or restart the processes yourself."
            )
        self.check_outputs(options)
        try:
            modes[mode](options)
        except DeployError as error:
            if self.progress.live is not Live.NO:
                self.progress.explain(error)
            raise

    # Writing.

    def sync(self, options: Options) -> None:
        request = replace(self.read_request(options), now=datetime.now(UTC).isoformat(timespec="seconds"))
        state = self.read_state(options)
        known = {field.name for field in self.fields} | state.document.keys()
        refuse_unknown(request.given, known, options["new_key"])
        self.check_removals(request.unset, state)
        self.apply(options, request, state)
        self.delete_file(options)

    def check_removals(self, keys: tuple[str, ...], state: SecretState) -> None:
        """Refuse to remove keys that are absent, or that the task definition of the ECS service references."""
        refuse_absent(keys, state.document)
        references = self.service.references(state.name) if keys and self.service else {}
        if used := [key for key in keys if key in references]:
            raise Refused(
                f"The task definition of the ECS service {self.settings.ecs_service} references "
                f"{', '.join(f'{printable(key)} (container {references[key]})' for key in used)}: new tasks would not "
                "start. Nothing was changed.",
                hint="Remove it from the task definition and deploy that first.",
            )

    def apply(self, options: Options, request: Request, state: SecretState) -> None:
        """Plan, show, ask, write and report."""
        make_plan = partial(self.plan, request, is_leaked=options["leaked"])
        first = make_plan(state)
        is_new = not state.version
        if options["create"] and not is_new and not first.is_empty:
            raise self.store.already_exists_error()
        plan = self.agree(options, first, make_plan)
        if plan is None:
            return
        if is_new:
            tags = parse_assignments("--secret-tag", options["secret_tag"])
            self.store.create(plan.after, tags=tags, kms_key_id=options["kms_key_id"] or "")
            self.finish(options, plan, "created")
            return
        applied = self.store.write(plan, make_plan)  # An empty plan, too: it is refused during a rotation.
        if not applied.is_empty:
            is_merged = applied.state.version != plan.state.version
            self.finish(options, applied, "written", secret_text.MERGED if is_merged else "")
            return
        outcome, text = ("unchanged", secret_text.NO_CHANGES)
        if not plan.is_empty:
            outcome, text = ("superseded", secret_text.SUPERSEDED)
        if options["restart"]:
            self.restart(text)
            text = secret_text.RESTARTED
        details = plan_details(applied, self.fields)
        self.conclude(secret_json.plan(applied, details, outcome=outcome, current=applied.state.version), text)

    def read_state(self, options: Options) -> SecretState:
        """Read the secret. With ``--create`` it might not exist or have no value."""
        try:
            return self.store.read()
        except (SecretNotFound, SecretEmpty) as error:
            if not options["create"]:
                raise
            exists = isinstance(error, SecretEmpty)
            if exists and (options["secret_tag"] or options["kms_key_id"]):
                raise self.store.exists_without_value_error() from error
            return SecretState(self.settings.secret_name, self.settings.region, "", EMPTY, exists=exists)

    def plan(self, request: Request, state: SecretState, *, is_leaked: bool = False) -> SyncPlan:
        return plan_sync(
            state,
            request.given,
            unset=request.unset,
            is_leaked=is_leaked,
            defaults=request.defaults,
            generated=request.generated,
            now=request.now,
            **self.contract,
        )

    def agree(self, options: Options, plan: Plan, make_plan: Callable[[SecretState], Plan]) -> Plan | None:
        """Show a plan and ask; return the plan for the secret as it is after the answer, or None: change nothing.

        If the secret has changed so that the plan is another one, that one is shown, and the question is asked again.
        """
        while True:
            details = plan_details(plan, self.fields)
            self.say(secret_text.plan(plan, details))
            is_new = not plan.state.version
            is_empty = plan.is_empty and not is_new
            if options["plan"] or options["check"]:
                self.conclude(secret_json.plan(plan, details, outcome="planned"), "")
                raise_unless_ok(FINDINGS if options["check"] and not is_empty else OK, "Changes are pending.")
                return None
            self.store.require_writable(plan.state)
            if options["restart"] and plan.changes_password:
                raise Refused(
                    f"--restart is not possible with another password: new processes could not log in. "
                    f"{self.progress.sentence}",
                    hint="Run the command without --restart, then create_tenant_dbs, then sync_secrets --restart.",
                )
            if is_empty or not options["interactive"]:
                return plan
            self.confirm("Write these changes?", interactive=True)
            if is_new:
                return plan
            fresh = make_plan(self.store.read())
            if self.shown_of(fresh) == self.shown_of(plan):
                return fresh
            self.say(secret_text.CHANGED_MEANWHILE)
            plan = fresh

    def shown_of(self, plan: SecretPlan) -> object:
        """Return what the user confirms: changed keys, warnings, missing keys, the rotation's state."""
        details = plan_details(plan, self.fields)
        changes = [item for item in details.changes if item.change.kind is not ChangeKind.UNCHANGED]
        return changes, details.notices, plan.missing, plan.state.pending_version

    def finish(self, options: Options, plan: SyncPlan | RollbackPlan, outcome: str, note: str = "") -> None:
        """Report a change that is live and what to do next, and restart the service if that was requested."""
        current, base = self.progress.current, plan.state.version
        command = self.service.restart_command if self.service else ""
        details, restarts = plan_details(plan, self.fields), bool(options["restart"])
        needs_role = plan.changes_password
        text = secret_text.written(current, base, note)
        steps = secret_text.next_steps(
            base, command, needs_role=needs_role, is_restarted=restarts, restore=_restore_options(plan, self.fields)
        )
        if restarts:
            self.restart(text)
            text = secret_text.RESTARTED
        document = secret_json.plan(plan, details, outcome=outcome, current=current) | {
            "next": secret_json.next_steps(base, command, needs_role=needs_role, is_restarted=restarts)
        }
        self.conclude(document, f"{text}\n{steps}")

    def restart(self, text: str = "") -> None:
        """Show `text`, restart the processes of the ECS service, and wait until all of them are new."""
        if service := self.service:
            self.say("\n".join(filter(None, (text, secret_text.restarting(service.name)))))
            service.restart()

    def restart_only(self, options: Options) -> None:
        if options["plan"] or options["check"]:
            self.conclude(
                secret_json.restart(self.settings, "planned"), secret_text.restarting(self.settings.ecs_service)
            )
            return
        self.confirm(f"Restart the ECS service {self.settings.ecs_service}?", interactive=options["interactive"])
        self.restart()
        self.conclude(secret_json.restart(self.settings, "restarted"), secret_text.RESTARTED)

    def delete_file(self, options: Options) -> None:
        """Delete FILE after the write, if requested; otherwise offer to."""
        file = options["file"]
        if options["plan"] or options["check"] or not is_deletable(file):
            return
        can_ask = options["interactive"] and sys.stdin.isatty()
        if options["delete_file"] or (can_ask and self.prompt_yes_no(f"Delete {file}, which contains credentials?")):
            delete(file, self.file)
            self.say(f"{file} was deleted.")
        else:
            self.say(f"{file} contains credentials. Delete it: {delete_command(file)}")

    # Going back.

    def roll_back(self, options: Options) -> None:
        """Plan, show the plan, ask, move AWSCURRENT and verify.

        With ``--key``, or if keys are kept, the values of the other version are written to a new one.
        """
        state = self.store.read()
        content = self.store.read_version(self.version_to_restore(options["rollback"], state))
        then = content.document
        if options["key"]:
            keys = dict.fromkeys(options["key"])
            refuse_absent([key for key in keys if key not in then], state.document)
            refuse_rotated(state, content.version, then, keys)
            if "master_password" in keys:
                restored = state.document.without(keys).merge({key: then[key] for key in keys if key in then})
                self.require_login(content.version, _master_login(restored), "--key master_password")
            then = with_dates(state.document, then, {*state.document, *then} - {*keys})
            self.restore(options, state, then, [*keys, ROTATED_AT])
            return
        if options["with_login"]:
            self.require_login(content.version, then)
        if kept := kept_keys(state.document, then, with_login=options["with_login"]):
            self.say(f"Not rolled back: {printable(*kept)}.")
            then = with_dates(state.document, then, kept)
            self.restore(options, state, then, [key for key in {**state.document, **then} if key not in kept])
            return

        def make_plan(state: SecretState) -> RollbackPlan:
            return plan_rollback(state, content.version, then, created=content.created, **self.contract)

        plan = self.agree(options, make_plan(state), make_plan)
        if plan is None:
            return
        self.store.roll_back(plan)
        if not plan.is_empty:
            self.finish(options, plan, "rolled back")
            return
        document = secret_json.plan(plan, plan_details(plan, self.fields), outcome="unchanged", current=plan.version)
        self.conclude(document, f"No changes: {short_id(plan.version)} is current.")

    def restore(self, options: Options, state: SecretState, then: Document, keys: Iterable[str]) -> None:
        """Write the values that these keys have in `then`."""
        changed = [key for key in keys if state.document.get(key) != then.get(key)]
        given = then.without([key for key in then if key not in changed])
        unset = tuple(key for key in changed if key not in given)
        self.check_removals(unset, state)
        self.apply(options, Request(given, unset, EMPTY, ()), state)

    def require_login(self, version: str, then: Document, option: str = WITH_LOGIN) -> None:
        """Log in to PostgreSQL as the login in `then`.

        Args:
            then: the document with the restored values.
            option: the option that restores it.

        Raises:
            Refused: the server does not accept it, or only until a time that ``rotate_credentials --grace`` has set.
        """
        from deploytools.tenants.credentials import REQUIRED, login_with  # Imports boto3: not for every mode.

        require_keys(then, REQUIRED, name=self.store.name)
        login = login_with(self.settings, then, then)
        if not password_works(login):
            raise Refused(
                f"The login {login.user} of version {short_id(version)} does not work. Nothing was changed.",
                hint=f"Run the command without {option}: the login stays as it is.",
            )
        if until := read_expiry(login):
            raise Refused(
                f"The password of {login.user} of version {short_id(version)} expires at {until} (VALID UNTIL). "
                "Nothing was changed.",
                hint="To return to it without the expiry date, run: python manage.py rotate_credentials password --back"
                if option == WITH_LOGIN
                else f"Remove the expiry date: ALTER ROLE {quote_name(login.user)} VALID UNTIL 'infinity'",
            )

    def version_to_restore(self, given: str, state: SecretState) -> str:
        """Return the version of ``--rollback``: an ID, the beginning of one, or an age; empty: the previous version."""
        age = parse_age(given)
        if age is not None:
            return version_at(timezone.now() - age, self.store.list_versions(), name=state.name)
        if given:
            return self.store.find_version(given, state)
        if state.previous_version is None:
            raise SecretError(
                f"{state.name} has no previous version to roll back to.",
                hint="Write the values instead: python manage.py sync_secrets FILE",
            )
        return state.previous_version


def _master_login(document: Document) -> Document:
    """Return `document` with the master user as the login."""
    user, password = value_of(document, "master_username") or "postgres", value_of(document, "master_password")
    return document.merge({"username": Secret(user), "password": Secret(password)})


def _restore_options(plan: SyncPlan | RollbackPlan, fields: Sequence[Field]) -> str:
    """Return the options of ``--rollback`` that restore the credentials that it would keep."""
    before, known = plan.state.document, by_name(fields)
    kept = {
        key
        for key in kept_keys(plan.after, before, with_login=False)
        if (former := value_of(before, key)) and not is_placeholder(former, known.get(key))
    }
    if "password" in kept:
        return f" {WITH_LOGIN}"
    if not kept.intersection(CREDENTIALS):
        return ""
    changed = [item.key for item in plan.changes if item.kind is not ChangeKind.UNCHANGED]
    return "".join(f" --key {key}" for key in changed if key not in (ROTATED_AT, FALLBACKS_KEY))
