"""`create_tenant_dbs`: the tenants' role and databases, made, shut to PUBLIC and proved (guide, Step 5)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import configuration
from deploytools.databases.access import application_login, read_secret, wanted_tenants
from deploytools.databases.apply import Outcome, apply_plan
from deploytools.databases.catalogue import read_state
from deploytools.databases.plan import DatabasePlan, Wanted, plan_databases
from deploytools.databases.server import Connection, Login, locked, server_version, session
from deploytools.databases.steps import Step
from deploytools.management.base import FINDINGS, DeployCommand, exit_with
from deploytools.management.master import master_login
from deploytools.reporting import console


class Command(DeployCommand):
    """Look, plan, show, apply, prove."""

    help = (
        "Create the role and the databases of all tenants (DEPLOYTOOLS['TENANTS']) on the RDS instance, shut PUBLIC "
        "out, and prove it by logging in. Runs as the master user. What is in place is left alone; nothing is "
        "ever dropped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options of every command that changes something, and who to be."""
        self.add_change_options(parser)
        parser.add_argument("--adopt", action="store_true", help="Take over databases that somebody else made.")
        parser.add_argument(
            "--master-username",
            metavar="NAME",
            help="Master user (default: the secret's master_username, DB_MASTER_USERNAME, postgres).",
        )
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=60,
            metavar="SECONDS",
            help="How long to wait for another run to finish (default: 60).",
        )

    def handle(
        self,
        *,
        plan: bool,
        check: bool,
        interactive: bool,
        adopt: bool,
        master_username: str | None,
        lock_timeout: float,
        **_: Any,
    ) -> None:
        """Everything after the question happens in one session that holds the lock."""
        secret = read_secret()
        app = application_login(secret)
        master = master_login(secret, username=master_username, interactive=interactive)
        wanted = Wanted(app.user, wanted_tenants(), locale=configuration.locale, adopt=adopt)
        look_only = plan or check
        with session(master) if look_only else locked(master, wait=lock_timeout) as connection:
            planned = self._show_plan(connection, wanted, app)
            if look_only:
                exit_with(FINDINGS if check and not (planned.is_empty and not planned.obstacles) else 0)
                return
            if not planned.is_empty:
                self.confirm("Apply this plan?", interactive=interactive)
            results = apply_plan(connection, planned, app, self._progress)
        self.stdout.write(console.outcomes(results))
        exit_with(_exit_code(results))

    def _show_plan(self, connection: Connection, wanted: Wanted, app: Login) -> DatabasePlan:
        self.stdout.write(f"PostgreSQL {server_version(connection)} at {app.address}, as {connection.info.user}:")
        planned = plan_databases(wanted, read_state(connection, wanted, app))
        self.stdout.write(console.database_plan(planned) or "  Everything is in place.")
        return planned

    def _progress(self, step: Step) -> None:
        self.stderr.write(f"done: {step}")


def _exit_code(results: tuple[Outcome, ...]) -> int:
    return max((result.error.exit_code for result in results if result.error), default=0)
