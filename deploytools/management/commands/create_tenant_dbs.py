"""`create_tenant_dbs`: the tenants' roles and databases, made, shut to PUBLIC and proved (guide, Step 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import configuration
from deploytools.databases.access import application_login, read_secret, wanted_tenants
from deploytools.databases.apply import Outcome
from deploytools.databases.identity import read_identity, require_meant
from deploytools.databases.migrations import read_graph
from deploytools.databases.plan import DatabasePlan
from deploytools.databases.script import READERS, Reader
from deploytools.databases.server import locked, server_version, session
from deploytools.databases.state import Wanted
from deploytools.databases.superuser import read_account
from deploytools.databases.tenancy import Tenancy
from deploytools.databases.tenant_secrets import tenant_secrets
from deploytools.errors import ConfigurationError, DeployError, Refused, explain
from deploytools.management.base import FINDINGS, DeployCommand, exit_with, some_seconds
from deploytools.management.master import find_master
from deploytools.management.progress import Progress
from deploytools.management.script import STDOUT, write_script
from deploytools.management.tables import add_tables_options, prune, with_tables
from deploytools.reporting import tenants
from deploytools.secret.document import Document
from deploytools.secret.store import SecretStore

SHOWN = "the application's role logs in and creates a table, PUBLIC is shut out"
SHOWN_APART = "its own role logs in and creates a table, PUBLIC and other tenants' roles are shut out"


class Command(DeployCommand):
    """Look, plan, show, apply, prove."""

    help = (
        "Create the roles and the databases of all tenants (DEPLOYTOOLS['TENANTS']) on the RDS instance, shut PUBLIC "
        "and other tenants out, and prove it by logging in. Runs as the master user. What is in place is left alone; "
        "no tenant's database is ever dropped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options of every command that changes something, and who to be."""
        self.add_change_options(parser)
        self.add_report_options(parser)
        parser.add_argument("--verify", action="store_true", help="Prove what is there; change nothing.")
        parser.add_argument(
            "--sql",
            nargs="?",
            const=STDOUT,
            metavar="FILE",
            help="Write the work as a script (mode 0600, no password in it) and ask no server.",
        )
        parser.add_argument(
            "--sql-for",
            choices=READERS,
            help="Who runs the script: psql (the default), or a query editor, which runs it statement by statement.",
        )
        add_tables_options(parser)
        parser.add_argument("--adopt", action="store_true", help="Take over databases that somebody else made.")
        parser.add_argument(
            "--finish",
            action="store_true",
            help="After a change of ISOLATION and a restart of the application: shut the former roles out.",
        )
        parser.add_argument("--master-secret", metavar="NAME_OR_ARN", help="Secret with the master's credentials.")
        parser.add_argument(
            "--master-username",
            metavar="NAME",
            help="Master user (default: as in the secret, DB_MASTER_USERNAME, postgres).",
        )
        parser.add_argument(
            "--expect-system-identifier",
            metavar="NUMBER",
            help="Refuse to write to any server but the one with this system_identifier.",
        )
        parser.add_argument(
            "--lock-timeout",
            type=some_seconds,
            default=60,
            metavar="SECONDS",
            help="How long to wait for another run to finish (default: 60).",
        )

    def handle(self, *, plan: bool, check: bool, verify: bool, interactive: bool, **options: Any) -> None:
        """Everything after the question happens in one session that holds the lock."""
        self._format, self._output = options["format"], options["output"]
        look_only = plan or check or verify
        if options["sql_for"] and options["sql"] is None:
            raise ConfigurationError("--sql-for says who runs the script of --sql.", hint="Say --sql FILE, too.")
        if options["sql"] is not None and look_only:
            raise ConfigurationError(
                "--sql writes a script (and missing tenants' secrets); --plan, --check and --verify only look.",
                hint="Leave --sql out to look.",
            )
        secret = read_secret()
        wanted = with_tables(self._wanted(application_login(secret).user, **options), **options)
        if options["sql"] is not None:
            reader: Reader = options["sql_for"] or "psql"
            write_script(self, secret, wanted, options["sql"], reader, interactive=interactive)
            return
        with self._tenancy(secret, wanted, look_only=look_only, interactive=interactive, **options) as tenancy:
            if verify:
                self._end(tenancy, None, tenancy.verify())
                return
            if options["prune_templates"]:
                prune(self, tenancy, look_only=look_only, check=check, interactive=interactive)
                return
            planned = tenancy.plan()
            self._say(tenants.plan_text(planned) or "  Everything is in place.")
            if look_only:
                self._report_plan(planned)
                exit_with(FINDINGS if check and not (planned.is_empty and not planned.obstacles) else 0)
                return
            if not planned.is_empty:
                self.confirm("Apply this plan?", interactive=interactive)
            progress = Progress(self.stderr, len(planned.tenants), options["verbosity"])
            self._end(tenancy, planned, tenancy.apply(planned, progress))

    def _wanted(self, app_role: str, *, adopt: bool, finish: bool, **_: Any) -> Wanted:
        return Wanted(
            app_role,
            wanted_tenants(),
            locale=configuration.locale,
            adopt=adopt,
            is_shared=configuration.is_shared,
            finish=finish,
        )

    @contextmanager
    def _tenancy(
        self, secret: Document, wanted: Wanted, *, look_only: bool, interactive: bool, **options: Any
    ) -> Iterator[Tenancy]:
        """The wanted tenants on the server that is meant, in a session of the master's."""
        master = find_master(
            secret, username=options["master_username"], named=options["master_secret"], interactive=interactive
        )
        app = application_login(secret)
        shared_secret = SecretStore.connect(configuration.secret_name, configuration.region)
        login = master.login
        with session(login) if look_only else locked(login, wait=options["lock_timeout"]) as connection:
            self._server = f"PostgreSQL {server_version(connection)} at {app.address}, as {login.user}"
            identity = read_identity(connection)
            self._say(f"{self._server} (password: {master.source}; system_identifier {identity.system_identifier}):")
            try:
                require_meant(identity, app.address, options["expect_system_identifier"])
            except Refused as doubt:
                if not look_only:
                    raise
                self.stderr.write(explain(doubt))
            secrets, graph = tenant_secrets(secret, master.arn), read_graph() if wanted.migrate else None
            account = read_account(secret) if options["superuser"] else None
            yield Tenancy(connection, login, app, wanted, secrets, shared_secret, graph, account)

    def _say(self, text: str) -> None:
        """To people: on stdout, unless that is for one JSON document."""
        (self.stderr if self._format == "json" else self.stdout).write(text)

    def _report_plan(self, plan: DatabasePlan) -> None:
        if self._format == "json":
            self.report(tenants.to_json(self._server, plan, (), ()), self._output)

    def _end(self, tenancy: Tenancy, plan: DatabasePlan | None, results: Sequence[Outcome]) -> None:
        remarks, code = _remarks(tenancy)
        remarks = [*(remark for result in results for remark in result.remarks), *remarks]
        if self._format == "json":
            text = tenants.to_json(self._server, plan, results, remarks)
        else:
            text = tenants.to_text(results, remarks, SHOWN if configuration.is_shared else SHOWN_APART)
        self.report(text, self._output)
        exit_with(max((result.error.exit_code for result in results if result.error), default=0) or code)


def _remarks(tenancy: Tenancy) -> tuple[list[str], int]:
    """What else there is to know, and the exit code of not knowing it; the report of the tenants comes either way."""
    try:
        return tenancy.remarks(), 0
    except DeployError as error:
        return [f"Who else may connect is not known: {error}"], error.exit_code
