"""`sync_secrets`: merge values into the secret, show it, or roll it back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from deploytools.conf import read_settings
from deploytools.errors import ConfigurationError, DeployError, Refused, SecretEmpty, SecretNotFound
from deploytools.loader import LOGIN_KEYS, require_keys
from deploytools.management.base import COULD_NOT_RUN, FINDINGS, OK, DeployCommand, Error, raise_unless_ok
from deploytools.management.private_files import (
    STANDARD_INPUT,
    delete,
    delete_command,
    is_deletable,
    read_document,
    write_private,
)
from deploytools.management.secret_options import (
    add_creation_options,
    add_mode_options,
    add_value_options,
    mode_of,
    without_values,
)
from deploytools.management.secret_report import SecretReport
from deploytools.management.secret_values import read_request
from deploytools.reports import secret_json, secret_text
from deploytools.secrets.contract import (
    FALLBACKS_KEY,
    ROTATED_AT,
    Field,
    by_name,
    find_missing,
    find_problems,
    is_placeholder,
    normalize,
)
from deploytools.secrets.custom_fields import all_fields
from deploytools.secrets.document import EMPTY, ChangeKind, Document, Secret, value_of
from deploytools.secrets.iam_policy import policy
from deploytools.secrets.inputs import Request, parse_assignments, refuse_absent, refuse_unknown
from deploytools.secrets.inspection import inspect, template
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
from deploytools.secrets.plan_details import owner_notices, plan_details
from deploytools.secrets.progress import NOTHING_CHANGED, ChangeProgress, Live
from deploytools.secrets.versions import short_id
from deploytools.tenants.catalog import password_works, read_expiry
from deploytools.wording import printable, quote_name

if TYPE_CHECKING:
    from deploytools.secrets.consumers import EcsService
    from deploytools.secrets.store import SecretStore

Options = dict[str, Any]

#: Exit codes of SIGHUP and SIGTERM.
TERMINATED = (129, 143)

WITH_LOGIN = "--with-login"

Plan = TypeVar("Plan", SyncPlan, RollbackPlan)


class Command(DeployCommand):
    """Plan, show, ask, write and verify; or show, validate or roll back."""

    help = (
        "Merge values into the secret in AWS Secrets Manager. All other keys stay unchanged. Values are never printed. "
        "A change by another writer is never overwritten."
    )

    output: SecretReport
    arguments: Sequence[str] = ()

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
        self.output.check_outputs(options["file"])
        try:
            modes[mode](options)
        except DeployError as error:
            if self.output.progress.live is not Live.NO:
                self.output.progress.explain(error)
            raise

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
            message = without_values(message, self.arguments)
            if {"--format=json", "json"} & set(self.arguments) and "--output" not in self.arguments:
                hint = f"List the options: python manage.py {subcommand} --help"
                document = secret_json.failure(ChangeProgress("", ""), message, hint, COULD_NOT_RUN)
                self.stdout.write(json.dumps(document, indent=2))
            print_usage_and_exit(message)

        parser.error = error  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As the base's, and with JSON every outcome is one document."""
        self.output = SecretReport(self)
        self.__dict__.pop("store", None)
        if sys.stdout is None:
            message = f"Standard output is closed. {NOTHING_CHANGED}\nHint: Redirect it to a file, or to /dev/null."
            raise Error(message, returncode=COULD_NOT_RUN)
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            message, _, hint = str(error).partition("\nHint: ")
            self.output.conclude_failure(message, hint, error.returncode)
            raise
        except SystemExit as error:
            if error.code in TERMINATED:
                message, hint = f"Terminated. {self.after_interrupt}", self.resume_hint
                self.stderr.write(f"Error: {message}\nHint: {hint}")
                self.output.conclude_failure(message, hint, int(error.code))
            raise

    @property
    def after_interrupt(self) -> str:  # type: ignore[override]
        return self.output.progress.sentence

    @property
    def resume_hint(self) -> str:  # type: ignore[override]
        return self.output.progress.next_step or "Run the command again."

    # What the modes share.

    @cached_property
    def store(self) -> SecretStore:
        """The secret of the settings. boto3 takes long to import, so only modes that query AWS import it."""
        from deploytools.secrets.store import SecretStore

        store = SecretStore.connect(self.settings.secret_name, self.settings.region)
        self.output.progress = store.progress
        return store

    @property
    def contract(self) -> dict[str, Any]:
        return {"stage": self.settings.stage, "fields": self.fields}

    @property
    def service(self) -> EcsService | None:
        """The ECS service of the settings."""
        from deploytools.secrets.consumers import EcsService

        name, cluster = self.settings.ecs_service, self.settings.ecs_cluster or "default"
        return EcsService(name, cluster, self.settings.region) if name else None

    def read_request(self, options: Options) -> Request:
        self.file = read_document(options["file"]) if options["file"] else EMPTY
        return read_request(
            options, self.file, self.fields, region=self.settings.region, interactive=options["interactive"]
        )

    # Modes that change nothing.

    def show(self, options: Options) -> None:
        found = inspect(self.store.read(), **self.contract)
        notices = tuple(owner_notices(found.state, found.state.document, set()))
        self.output.conclude(secret_json.inspection(found, notices), secret_text.inspection(found, notices))

    def show_history(self, options: Options) -> None:
        from deploytools.secrets.history import read_history

        found = read_history(self.store)
        self.output.conclude(secret_json.history(found), secret_text.history(found))

    def write_template(self, options: Options) -> None:
        try:
            document = self.store.read().document
        except (SecretNotFound, SecretEmpty):
            document = EMPTY
        content = template(document, **self.contract)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        if options["template"] == STANDARD_INPUT:
            with self.output.standard_output():
                self.stdout.write(text, ending="")
                self.stdout.flush()
            return
        write_private(Path(options["template"]), text)
        self.output.say(secret_text.template_written(options["template"], len(content)))

    def validate(self, options: Options) -> None:
        """Check the given values without the secret."""
        given = normalize(self.read_request(options).given, {}, fields=self.fields)
        problems, missing = find_problems(given, **self.contract), find_missing(given, **self.contract)
        unrecognized = [key for key in given if key not in {field.name for field in self.fields}]
        self.output.conclude(
            secret_json.validation(problems, missing, unrecognized),
            secret_text.validation(problems, given, missing, unrecognized),
        )
        is_valid = all(item.is_warning for item in problems)
        raise_unless_ok(OK if is_valid else FINDINGS, "The values are not valid.")

    def print_policy(self, options: Options) -> None:
        name, region = self.settings.secret_name, self.settings.region
        document = policy(
            name,
            region,
            with_create=options["create"],
            kms_key_arn=options["kms_key_id"] or "",
            ecs=(self.settings.ecs_cluster or "default", self.settings.ecs_service),
        )
        self.output.conclude(document)

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
        self.output.conclude(secret_json.plan(applied, details, outcome=outcome, current=applied.state.version), text)

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
            self.output.say(secret_text.plan(plan, details))
            is_new = not plan.state.version
            is_empty = plan.is_empty and not is_new
            if options["plan"] or options["check"]:
                self.output.conclude(secret_json.plan(plan, details, outcome="planned"), "")
                raise_unless_ok(FINDINGS if options["check"] and not is_empty else OK, "Changes are pending.")
                return None
            self.store.require_writable(plan.state)
            if options["restart"] and plan.changes_password:
                raise Refused(
                    f"--restart is not possible with another password: new processes could not log in. "
                    f"{self.output.progress.sentence}",
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
            self.output.say(secret_text.CHANGED_MEANWHILE)
            plan = fresh

    def shown_of(self, plan: SecretPlan) -> object:
        """Return what the user confirms: changed keys, warnings, missing keys, the rotation's state."""
        details = plan_details(plan, self.fields)
        changes = [item for item in details.changes if item.change.kind is not ChangeKind.UNCHANGED]
        return changes, details.notices, plan.missing, plan.state.pending_version

    def finish(self, options: Options, plan: SyncPlan | RollbackPlan, outcome: str, note: str = "") -> None:
        """Report a change that is live and what to do next, and restart the service if that was requested."""
        current, base = self.output.progress.current, plan.state.version
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
        self.output.conclude(document, f"{text}\n{steps}")

    def restart(self, text: str = "") -> None:
        """Show `text`, restart the processes of the ECS service, and wait until all of them are new."""
        if service := self.service:
            self.output.say("\n".join(filter(None, (text, secret_text.restarting(service.name)))))
            service.restart()

    def restart_only(self, options: Options) -> None:
        if options["plan"] or options["check"]:
            self.output.conclude(
                secret_json.restart(self.settings, "planned"), secret_text.restarting(self.settings.ecs_service)
            )
            return
        self.confirm(f"Restart the ECS service {self.settings.ecs_service}?", interactive=options["interactive"])
        self.restart()
        self.output.conclude(secret_json.restart(self.settings, "restarted"), secret_text.RESTARTED)

    def delete_file(self, options: Options) -> None:
        """Delete FILE after the write, if requested; otherwise offer to."""
        file = options["file"]
        if options["plan"] or options["check"] or not is_deletable(file):
            return
        can_ask = options["interactive"] and sys.stdin.isatty()
        if options["delete_file"] or (can_ask and self.prompt_yes_no(f"Delete {file}, which contains credentials?")):
            delete(file, self.file)
            self.output.say(f"{file} was deleted.")
        else:
            self.output.say(f"{file} contains credentials. Delete it: {delete_command(file)}")

    # Going back.

    def roll_back(self, options: Options) -> None:
        """Plan, show the plan, ask, move AWSCURRENT and verify.

        With ``--key``, or if keys are kept, the values of the other version are written to a new one.
        """
        state = self.store.read()
        content = self.store.read_version(self.store.find_version(options["rollback"], state, timezone.now()))
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
            self.output.say(f"Not rolled back: {printable(*kept)}.")
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
        self.output.conclude(document, f"No changes: {short_id(plan.version)} is current.")

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
        from deploytools.tenants.credentials import login_with  # Imports boto3: not for every mode.

        require_keys(then, LOGIN_KEYS, name=self.store.name)
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


def _master_login(document: Document) -> Document:
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
