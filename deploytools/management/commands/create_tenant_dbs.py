"""`create_tenant_dbs`: create, isolate and verify the roles and databases of all tenants."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.db import connections

from deploytools.conf import Settings, read_settings
from deploytools.errors import ConfigurationError, DeployError, Refused, format_error
from deploytools.management.base import FINDINGS, FINISH_HELP, OK, DeployCommand, raise_unless_ok
from deploytools.management.modes import Modes, refuse_idle_options, with_defaults
from deploytools.management.private_files import write_private
from deploytools.postgres.connections import Login, locked_session, server_version, session
from deploytools.postgres.server_identity import read_identity, require_expected_server
from deploytools.reports import tenants_json, tenants_text
from deploytools.secrets.document import Document
from deploytools.secrets.store import SecretStore
from deploytools.tenants.credentials import (
    CONCURRENT_READS,
    application_login,
    owner_role,
    read_secret,
    read_when_not_rotating,
    tenant_secrets,
)
from deploytools.tenants.logins import TenantLogins
from deploytools.tenants.master import find_master
from deploytools.tenants.migration_graph import read_graph
from deploytools.tenants.operations import WriteSecret
from deploytools.tenants.options import DesiredState, configured_tenants, require_configured
from deploytools.tenants.plan import DatabasePlan
from deploytools.tenants.provisioning import ProvisioningResult, TenantProvisioner
from deploytools.tenants.sql_script import sql_script
from deploytools.tenants.superuser import read_account
from deploytools.tenants.tables import template_name
from deploytools.tenants.templates import drop_steps

STDOUT = "-"

Options = dict[str, Any]

#: Defaults of options; `wait_for_lock`: seconds to wait for another run.
DEFAULTS: Mapping[str, Any] = {"wait_for_lock": 60.0}

_SERVER = ("master_secret", "master_username", "expect_system_identifier")
_PLANNED = ("plan", "check", "prune_templates", "adopt", "finish", "migrate", "no_template", "superuser")
_REPORT = ("tenant", "format", "output")

#: Modes other than a normal run: the options that each accepts, and a hint.
MODES: Modes = {
    "sql": (("tenant",), "The script creates empty databases. Run it in psql, then run the command without --sql."),
    "verify": (("finish", "superuser", *_REPORT, *_SERVER), "--verify changes nothing. Remove one of the two options."),
    "prune_templates": (
        ("plan", "check", "no_template", "wait_for_lock", *_SERVER),
        "--prune-templates only drops templates. Remove one of the two options.",
    ),
    "plan": ((*_PLANNED, *_REPORT, *_SERVER), "--plan changes nothing. Remove one of the two options."),
    "check": ((*_PLANNED, *_REPORT, *_SERVER), "--check changes nothing. Remove one of the two options."),
}


class Command(DeployCommand):
    """Read the state of the server, plan, show the plan, apply it, verify."""

    help = (
        "Create the roles and databases of all tenants (DEPLOYTOOLS['TENANTS']) on the RDS instance, revoke access "
        "from PUBLIC and other tenants, and verify it by logging in. Connects as the master user. Steps that are up to "
        "date are skipped; a tenant's database is never dropped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_change_options(parser)
        self.add_tenant_option(parser)
        self.add_report_options(parser)
        self.add_wait_for_lock_option(parser, default=DEFAULTS["wait_for_lock"])
        for option, text in (
            ("--verify", "Verify existing databases without changing anything."),
            ("--adopt", "Adopt databases that were not created by this command."),
            ("--finish", FINISH_HELP),
            (
                "--migrate",
                "Create the tables of new tenants by copying a template database that is migrated once. For existing "
                "tenants use migrate_tenants.",
            ),
            ("--no-template", "With --migrate: run the migrations in each new database instead."),
            ("--superuser", "Create the superuser from the secret (superuser_*) in each tenant that does not have it."),
            ("--prune-templates", "Drop outdated templates and exit; with --no-template drop the current one, too."),
        ):
            parser.add_argument(option, action="store_true", help=text)
        self._add_value_options(parser)

    def _add_value_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--sql",
            nargs="?",
            const=STDOUT,
            metavar="FILE",
            help="Write a SQL script for psql (mode 0600, no plaintext passwords) without connecting.",
        )
        self.add_master_options(parser)
        parser.add_argument(
            "--expect-system-identifier",
            metavar="NUMBER",
            help="Refuse to change any server that has another system_identifier.",
        )

    def handle(self, **options: Any) -> None:
        """Run in one session that holds the lock, unless nothing is to be changed."""
        _check_options(options)
        options = with_defaults(options, DEFAULTS)
        options["read_only"] = options["plan"] or options["check"] or options["verify"]
        self._started = time.monotonic()
        self._settings = read_settings()
        secret = read_secret(self._settings)
        desired = _desired_state(self._settings, secret, options)
        if options["sql"] is not None:
            self._write_script(secret, desired, options["sql"], interactive=options["interactive"])
            return
        with self._provisioner(secret, desired, options) as provisioner:
            if options["verify"]:
                self._report(provisioner, None, provisioner.verify(), options["verbosity"])
            elif options["prune_templates"]:
                self._prune(provisioner, options)
            else:
                self._apply(provisioner, options)

    @contextmanager
    def _provisioner(self, secret: Document, desired: DesiredState, options: Options) -> Iterator[TenantProvisioner]:
        master = find_master(
            self._settings,
            secret,
            username=options["master_username"],
            named=options["master_secret"],
            interactive=options["interactive"],
        )
        app = application_login(self._settings, secret)
        login, read_only = master.login, options["read_only"]
        with session(login) if read_only else locked_session(login, wait=options["wait_for_lock"]) as connection:
            server = f"PostgreSQL {server_version(connection)} at {app.address}"
            self._server = f"{server}, as {login.user}"
            identity = read_identity(connection)
            self.text_stream.write(
                f"{server}\n"
                f"  Master user: {login.user} (password: {master.source})\n"
                f"  system_identifier: {identity.system_identifier or 'unknown'}"
            )
            try:
                require_expected_server(identity, app.address, options["expect_system_identifier"])
            except Refused as refusal:
                if not read_only:
                    raise
                self.stderr.write(format_error(refusal))
            own = tenant_secrets(self._settings, secret, master.arn)
            store = SecretStore.connect(self._settings.secret_name, self._settings.region)
            yield TenantProvisioner(
                connection,
                TenantLogins(login, app, desired, own, store),
                graph=read_graph() if desired.migrate else None,
                account=read_account(secret) if options["superuser"] else None,
            )

    def _apply(self, provisioner: TenantProvisioner, options: Options) -> None:
        plan = provisioner.plan()
        text = tenants_text.to_plan_text(plan, options["verbosity"])
        self.text_stream.write(text)
        if options["read_only"]:
            for format, path in self.destinations:
                if format == "json":
                    self.report(tenants_json.to_json(self._server, plan, (), ()), path)
                elif path:
                    self.report(text, path)
            has_changes = not plan.is_empty or bool(plan.blocked)
            raise_unless_ok(FINDINGS if options["check"] and has_changes else OK, "Changes are pending.")
            return
        if not plan.is_empty:
            self.confirm("Apply this plan?", interactive=options["interactive"])
        progress = tenants_text.Progress(
            self.stderr, len(plan.tenants), options["verbosity"], has_results=not self.prints_text
        )
        self._report(provisioner, plan, provisioner.apply(plan, progress), options["verbosity"])

    def _report(
        self,
        provisioner: TenantProvisioner,
        plan: DatabasePlan | None,
        results: Sequence[ProvisioningResult],
        verbosity: int,
    ) -> None:
        server_notes, code = _server_notes(provisioner, verbosity)
        notes = [*((result.tenant.name, note) for result in results for note in result.notes), *server_notes]
        seconds = time.monotonic() - self._started
        for format, path in self.destinations:
            if format == "json":
                self.report(tenants_json.to_json(self._server, plan, results, notes), path)
            else:
                text = tenants_text.to_text(
                    results, notes, is_shared=self._settings.is_shared, seconds=seconds, verbosity=verbosity
                )
                self.report(text, path)
        failed = [result.error.exit_code for result in results if result.error]
        message = f"Failed tenants: {len(failed)}." if failed else "The state of the server could not be read."
        raise_unless_ok(max(failed, default=OK) or code, message)

    def _prune(self, provisioner: TenantProvisioner, options: Options) -> None:
        steps = tuple(drop_steps(provisioner.old_templates()))
        lines = map(tenants_text.step_line, steps)
        self.stderr.write("\n".join(lines) or "  No changes: there are no outdated templates.")
        if not steps or options["read_only"]:
            raise_unless_ok(FINDINGS if options["check"] and steps else OK, "There are outdated templates.")
            return
        self.confirm("Drop these templates?", interactive=options["interactive"])
        provisioner.prune(steps, tenants_text.Progress(self.stderr, 0, verbosity=2))

    # --sql

    def _write_script(self, secret: Document, desired: DesiredState, file: str, *, interactive: bool) -> None:
        """Write the script; missing secrets of tenants are created first, because it needs their passwords."""
        script = sql_script(desired, self._script_logins(secret, desired, interactive=interactive))
        if file == STDOUT:
            self.stdout.write(script, ending="")
            return
        write_private(Path(file), script, replace=True)
        self.stderr.write(f"Wrote {file}. Run it as the master user: psql … --file {file}. Then delete it.")

    def _script_logins(self, secret: Document, desired: DesiredState, *, interactive: bool) -> Mapping[str, Login]:
        secrets = tenant_secrets(self._settings, secret)
        if secrets is None:
            store = SecretStore.connect(self._settings.secret_name, self._settings.region)
            login = application_login(self._settings, read_when_not_rotating(store))
            return {login.user: login}
        changes, logins = secrets.read(desired.tenants)
        for change in changes.values():
            if change.error:
                raise change.error
        steps = [WriteSecret(c.secret, name, c.keys, c.is_new) for name, c in changes.items() if c.keys]
        if steps:
            self.stderr.write("\n".join(map(tenants_text.step_line, steps)))
            self.confirm("The script needs these passwords. Write these secrets?", interactive=interactive)
        written = {step.tenant: secrets.write(step) for step in steps}
        unchanged = [name for name in logins if name not in written]
        with ThreadPoolExecutor(CONCURRENT_READS) as pool:
            return dict(zip(unchanged, pool.map(secrets.login_when_not_rotating, unchanged), strict=True)) | written


def _check_options(options: Options) -> None:
    refuse_idle_options(MODES, options)
    if options["no_template"] and not (options["migrate"] or options["prune_templates"]):
        raise ConfigurationError("--no-template requires --migrate or --prune-templates.", hint="Add --migrate.")


def _desired_state(settings: Settings, secret: Document, options: Options) -> DesiredState:
    tenants, only = configured_tenants(settings), options["tenant"]
    require_configured(only, [tenant.name for tenant in tenants])
    desired = DesiredState(
        owner_role(settings, secret),
        tuple(tenant for tenant in tenants if not only or tenant.name in only),
        locale=settings.locale,
        adopt=options["adopt"],
        is_shared=settings.is_shared,
        finish=options["finish"],
        migrate=options["migrate"],
        timezone=connections["default"].timezone_name,  # TIME_ZONE, or UTC with USE_TZ.
        login=application_login(settings, secret).user,
        other_tenants=tuple(tenant for tenant in tenants if only and tenant.name not in only),
    )
    has_template = (options["migrate"] or options["prune_templates"]) and not options["no_template"]
    return dataclasses.replace(desired, template=template_name(desired)) if has_template else desired


def _server_notes(provisioner: TenantProvisioner, verbosity: int) -> tuple[list[tuple[str, str]], int]:
    """Return notes on the server, and the exit code if they cannot be read; the tenants are reported in any case."""
    try:
        return provisioner.notes(with_master=verbosity > 1), OK
    except DeployError as error:
        return [("", f"Cannot read which other roles can connect: {error}")], error.exit_code
