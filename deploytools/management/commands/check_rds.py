"""`check_rds`: the connection to the database and Django's own, step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError, ConnectionFailed, ConnectionFailure
from deploytools.management.base import raise_unless_ok, seconds
from deploytools.management.verification_command import VerificationCommand
from deploytools.reports.findings_text import check_rds_lines, waiting_line
from deploytools.tenants.options import tenant_name
from deploytools.verification.fact_result import Fact, Value
from deploytools.verification.findings import Check
from deploytools.verification.registry import Registry, load_registry

#: Failures worth retrying: a starting server, a new DNS name, a network that comes up. A wrong password is not one.
TRANSIENT = {
    ConnectionFailure.NO_SUCH_NAME,
    ConnectionFailure.REFUSED,
    ConnectionFailure.STARTING,
    ConnectionFailure.TIMEOUT,
}

#: Seconds between two attempts: the first pause, its growth factor and the longest pause.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.5, 1.5, 5.0


class Command(VerificationCommand):
    """Check secret, configuration, connection, query, Django's own connection, apps and tables."""

    help = (
        "Check that this process can reach its database: secret, configuration, connection, query, Django's own "
        "connection, apps, tables. Run it with the settings and the environment of the application."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wait",
            type=seconds,
            default=0,
            metavar="SECONDS",
            help="Seconds to retry while the server is unreachable or starting (default: 0).",
        )
        self.add_verification_options(parser)

    def handle(self, *, wait: float, tenant: list[str], stage: str | None, **_: Any) -> None:
        if len(tenant) > 1:
            raise ConfigurationError(
                f"check_rds checks one tenant's database, not {len(tenant)}.", hint="Pass --tenant once."
            )
        registry = load_registry(
            "deploytools.verification.secret.facts",
            "deploytools.verification.connection.checks",
            "deploytools.verification.databases.checks",
        )
        settings = self.settings_with_options(tenants=tenant, stage=stage)
        names = [name for name in map(tenant_name, settings.tenants) if name == settings.database]
        tables = [registry.named("databases.table-privileges")] if names else []
        checks = self.with_references([*registry.select(["connection"]), *tables], settings)
        facts, account = self._read_with_retries(registry, checks, settings, wait)
        if tables and not isinstance(facts["connection"], Value):
            checks = checks[:-1]  # connection.connect reports why there is no connection.
        report = self.evaluate(checks, facts, settings, account, only=names)
        self.publish(report, check_rds_lines)
        raise_unless_ok(report.exit_code, report.verdict)

    def _read_with_retries(
        self, registry: Registry, checks: Sequence[Check], settings: Settings, wait: float
    ) -> tuple[Mapping[str, Fact], str]:
        deadline, pause = time.monotonic() + wait, FIRST_PAUSE
        read = partial(
            self.read, registry, checks, settings, always_check_account=False,
            given={"tenants": (settings.database,)},  # Only this tenant's tables are checked.
        )  # fmt: skip
        facts, account = read()
        while (error := transient_error(facts)) and (left := deadline - time.monotonic()) > 0:
            self.print_status(waiting_line(error.kind, left))
            time.sleep(min(pause, left))
            pause = min(pause * GROWTH, LONGEST_PAUSE)
            facts, account = read()
        return facts, account


def transient_error(facts: Mapping[str, Fact]) -> ConnectionFailed | None:
    """Return the connection error, if a retry can help. Django's own connection fails for good."""
    for name, fact in facts.items():
        if name == "django_connection":
            continue
        error = getattr(fact.value, "error", None) if isinstance(fact, Value) else getattr(fact, "error", None)
        if isinstance(error, ConnectionFailed) and error.kind in TRANSIENT:
            return error
    return None
