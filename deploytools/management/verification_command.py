"""What `check_rds` and `verify_deploy` share: read facts, evaluate checks, write the report."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandParser

from deploytools.aws import sharing_clients
from deploytools.conf import STAGES, Settings, read_settings
from deploytools.errors import ConfigurationError, NoCredentials
from deploytools.management.base import DeployCommand
from deploytools.reports.findings_text import Paint, plain
from deploytools.reports.formats import FORMATS, render
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.tenants.options import parse_tenants, require_configured
from deploytools.verification.account import verify_account
from deploytools.verification.fact_result import Fact, Failed, Value
from deploytools.verification.findings import Check, Report, Severity, Stage, Status
from deploytools.verification.registry import SETTINGS, Registry
from deploytools.verification.runner import evaluate_checks, read_facts, seconds_of_checks
from deploytools.verification.waivers import Waiver, apply_waivers, parse_waivers


class VerificationCommand(DeployCommand):
    """A read-only command whose result is a report of findings."""

    formats = FORMATS
    #: The secrets that were read, to redact them in tracebacks.
    documents: tuple[Document, ...] = ()
    #: How long the facts of each check were read.
    seconds_of_checks: Mapping[str, float] = MappingProxyType({})
    after_interrupt = "Nothing was changed."
    resume_hint = "Run the command again."

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's, without garbage collection of the modules that are loaded by now."""
        gc.freeze()
        try:
            super().run_from_argv(argv)
        finally:
            gc.unfreeze()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As `DeployCommand.execute`; record the start time and print tracebacks on request."""
        self.started = time.monotonic()
        if not options.get("traceback"):
            return super().execute(*args, **options)
        from deploytools.management.redacted_traceback import format_redacted, recorded_errors  # Rarely needed.

        with recorded_errors() as errors:
            try:
                return super().execute(*args, **options)
            finally:
                for text in dict.fromkeys(format_redacted(error, self.documents) for error in errors):
                    self.stderr.write(text, str, ending="")

    def add_verification_options(self, parser: CommandParser) -> None:
        """Add ``--tenant``, ``--stage``, ``--format`` and ``--output``."""
        self.add_tenant_option(parser)
        parser.add_argument("--stage", choices=STAGES, help='Override DEPLOYTOOLS["STAGE"].')
        self.add_report_options(parser)

    def settings_with_options(self, *, tenants: Sequence[str], stage: str | None, url: str | None = None) -> Settings:
        """Return the settings, with the values of the options.

        Args:
            tenants: names from ``--tenant``; the connection checks log in to the first.

        Raises:
            ConfigurationError: a tenant is not configured.
        """
        settings = read_settings()
        require_configured(tenants, tenant_names(settings))
        return replace(
            settings,
            database=next(iter(tenants), settings.database),
            stage=stage or settings.stage,
            url=(url or settings.url).rstrip("/"),
        )

    @staticmethod
    def with_references(checks: Iterable[Check], settings: Settings) -> tuple[Check, ...]:
        """Return `checks`, without their references to the guide unless reports group by it."""
        if settings.group_by == "guide":
            return tuple(checks)
        return tuple(replace(check, guide="") for check in checks)

    def read(
        self,
        registry: Registry,
        checks: Sequence[Check],
        settings: Settings,
        *,
        always_check_account: bool = True,
        given: Mapping[str, object] | None = None,
    ) -> tuple[Mapping[str, Fact], str]:
        """Read the facts of `checks`; first the AWS account, if any fact is read from AWS.

        Args:
            given: values of facts that are not read, by name.
            always_check_account: read it even if ``DEPLOYTOOLS["ACCOUNT"]`` is not set.

        Returns:
            The facts by name, and the AWS account ID; empty if it was not read.

        Raises:
            WrongAccount: the credentials belong to another account; no fact was read.
        """
        given = {SETTINGS: settings, **(given or {})}
        sources = {name: source for name, source in registry.sources_for(checks).items() if name not in given}
        account = ""
        with sharing_clients():
            reads_aws = any(source.actions for source in sources.values())
            if reads_aws and (always_check_account or settings.account):
                account = verify_account(settings.region, expected=settings.account)
            facts = read_facts(sources, given)
        self.seconds_of_checks = seconds_of_checks(checks, sources, facts)
        values = [fact.value for fact in facts.values() if isinstance(fact, Value)]
        self.documents = tuple(value.document for value in values if isinstance(value, SecretState))
        for fact in facts.values():
            if isinstance(fact, Failed) and isinstance(fact.error, NoCredentials):
                raise fact.error
        return facts, account

    def evaluate(
        self,
        checks: Sequence[Check],
        facts: Mapping[str, Fact],
        settings: Settings,
        account: str,
        *,
        only: Sequence[str] = (),
        waivers: Sequence[Waiver] = (),
        fail_level: Severity = Severity.LOW,
    ) -> Report:
        """Return the report of `checks` on `facts`.

        Args:
            only: tenants from ``--tenant``; findings about other tenants are left out.
        """
        stage, names = Stage(settings.stage), tenant_names(settings)
        others = set(names) - set(only) if only else set()
        findings = apply_waivers(evaluate_checks(checks, facts, stage), waivers, today())
        return Report(
            tuple(finding for finding in findings if finding.tenant not in others),
            time.monotonic() - self.started,
            os.environ.get("DJANGO_SETTINGS_MODULE", "settings without a module"),
            stage,
            account,
            tuple(name for name in names if name not in others),
            fail_level,
            presets=tuple(settings.presets),
            seconds_of_checks=self.seconds_of_checks,
            name=urlsplit(settings.url).hostname or settings.secret_name,
            release=_release(facts),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def waivers(self, registry: Registry, settings: Settings) -> tuple[Waiver, ...]:
        """Return the waivers of the settings.

        Raises:
            ConfigurationError: a waiver is malformed, or its check does not exist.
        """
        found = parse_waivers(settings.waivers, today())
        for waiver in found:
            registry.named(waiver.check)
        return found

    def publish(self, report: Report, to_text: Callable[[Report, Paint], str]) -> None:
        """Write `report` to all destinations."""
        for format, path in self.destinations:
            if format == "text":
                self.report(to_text(report, plain if path else self.paint), path)
            else:
                self.report(render(report, format), path)
            if format == "github":
                _append_job_summary(report)
            if path is not None:
                self.print_status(f"Wrote {path}. {report.verdict}")

    def print_status(self, line: str) -> None:
        """Print a line to stderr, without Django's color of errors."""
        self.stderr.write(line, str)

    def paint(self, status: Status, line: str) -> str:
        """Return `line` in the color of `status`, if colors are on."""
        styles = {
            Status.PASS: self.style.SUCCESS,
            Status.WAIVED: self.style.WARNING,
            Status.WARN: self.style.WARNING,
            Status.UNKNOWN: self.style.NOTICE,
            Status.FAIL: self.style.ERROR,
        }
        return styles[status](line) if status in styles else line


def _append_job_summary(report: Report) -> None:
    """Append the Markdown report to the job summary of GitHub Actions, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    from deploytools.reports.github import truncate_summary  # With --format github only.

    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(truncate_summary(render(report, "markdown")))
    except OSError as error:
        raise ConfigurationError(
            f"The job summary could not be written to {path}: {error.strerror}.", hint="Unset GITHUB_STEP_SUMMARY."
        ) from error


def tenant_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all configured tenants."""
    return tuple(tenant.name for tenant in parse_tenants(settings.tenants))


def today() -> date:
    """Return the current day in UTC."""
    return datetime.now(UTC).date()


def _release(facts: Mapping[str, Fact]) -> str:
    """The revision of the task definition in use; empty: not read."""
    service = facts.get("ecs_service")
    found = service.value if isinstance(service, Value) else None
    return str(found.task_definition).rpartition("/")[2] if found else ""
