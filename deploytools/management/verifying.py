"""What `check_rds` and `verify_deploy` share: reading facts, judging them, publishing the report."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import CommandParser

from deploytools.aws import sharing_clients
from deploytools.conf import STAGES, configuration
from deploytools.databases.tenants import parse_tenants
from deploytools.errors import ConfigurationError, NoCredentials
from deploytools.management.base import DeployCommand
from deploytools.reporting.findings import Paint
from deploytools.reporting.formats import FORMATS, written
from deploytools.verification.account import prove_account
from deploytools.verification.facts import Fact, Failed
from deploytools.verification.findings import Finding, Report, Severity, Stage, Status
from deploytools.verification.registry import Check, Registry
from deploytools.verification.replay import Snapshot
from deploytools.verification.runner import judge_all, read_facts
from deploytools.verification.troubleshooting import advice
from deploytools.verification.waivers import Waiver, apply_waivers, parse_waivers

Destination = tuple[str, Path | None]


class VerifyingCommand(DeployCommand):
    """A command whose result is a report of findings."""

    left = "Nothing was changed"

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's. What is loaded by now stays to the end: the collector need not look through it again."""
        gc.freeze()
        try:
            super().run_from_argv(argv)
        finally:
            gc.unfreeze()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Remember when it began: a report says how long it took."""
        self.started = time.monotonic()
        with ending_at_once():
            return super().execute(*args, **options)

    def add_verifying_options(self, parser: CommandParser) -> None:
        """For whom, how strictly, and where the report goes."""
        parser.add_argument("--tenant", metavar="NAME", help="Log in to this tenant, and leave out all others.")
        parser.add_argument("--stage", choices=STAGES, help='In place of DEPLOYTOOLS["STAGE"].')
        parser.add_argument(
            "--format",
            action="append",
            choices=tuple(FORMATS),
            default=[],
            help="What stdout gets, unless a file gets it (default: text). May be repeated.",
        )
        parser.add_argument(
            "--output",
            action="append",
            type=Path,
            default=[],
            metavar="FILE",
            help="Write a report into FILE, in the format of its ending: .txt .json .xml (JUnit) .html .md; with "
            "another ending in that of --format. May be repeated.",
        )

    def overrides(self, *, tenant: str | None, stage: str | None, url: str | None = None) -> dict[str, object]:
        """What the options put in place of the settings.

        Raises:
            ConfigurationError: there is no such tenant.
        """
        names = tenants()
        if tenant and tenant not in names:
            raise ConfigurationError(
                f'There is no tenant {tenant} in DEPLOYTOOLS["TENANTS"].',
                hint=f"The tenants are: {', '.join(names) or 'none'}.",
            )
        given: dict[str, object] = {"DATABASE": tenant, "STAGE": stage, "URL": url}
        return {key: value for key, value in given.items() if value}

    def look(self, registry: Registry, checks: Sequence[Check], *, prove: bool = True) -> Snapshot:
        """Read the facts that `checks` need: the account first, where anything is read from AWS.

        Args:
            prove: ask for the account even where the settings do not name one.

        Raises:
            NoCredentials, WrongAccount: nothing else was looked at, or only with no credentials.
        """
        sources = registry.sources_for(checks)
        account = ""
        with sharing_clients():
            if any(source.actions for source in sources.values()) and (prove or configuration.account):
                account = prove_account(configuration.region, expected=configuration.account)
            facts = read_facts(sources)
        _stop_without_credentials(facts)
        return Snapshot(facts, today(), settings_module(), Stage(configuration.stage), account, tenants())

    def judge(
        self,
        checks: Sequence[Check],
        snapshot: Snapshot,
        *,
        tenant: str | None = None,
        waivers: Sequence[Waiver] = (),
        fail_level: Severity = Severity.LOW,
    ) -> Report:
        """The report of `checks` on what was read."""
        findings = apply_waivers(judge_all(checks, snapshot.facts, snapshot.stage), waivers, snapshot.day)
        return Report(
            _about(tenant, findings, snapshot.tenants) if tenant else findings,
            time.monotonic() - self.started,
            snapshot.settings,
            snapshot.stage,
            snapshot.account,
            (tenant,) if tenant else snapshot.tenants,
            fail_level,
        )

    def waivers(self, registry: Registry) -> tuple[Waiver, ...]:
        """The waivers of the settings.

        Raises:
            ConfigurationError: one is malformed, or of a check that does not exist.
        """
        found = parse_waivers(configuration.waivers, today())
        for waiver in found:
            registry.named(waiver.check)
        return found

    def publish(self, report: Report, places: Sequence[Destination], text: Callable[[Report, Paint], str]) -> None:
        """Write `report` to every place.

        Args:
            text: what people read in place of the format ``text``.
        """
        for format, path in places:
            if format == "text":
                self.report(text(report, self.paint if path is None else lambda _, line: line), path)
            else:
                self.report(written(report, format), path)
            if format == "github":
                _append_summary(report)
            if path is not None:
                self.tell(f"Wrote {path}. {report.verdict}")

    def tell(self, news: str) -> None:
        """On stderr, and not in the colour of errors, which is Django's for all that goes there."""
        self.stderr.write(news, str)

    def paint(self, status: Status, line: str) -> str:
        """`line` in the colour of `status`, where Django's colours are on."""
        styles = {
            Status.PASS: self.style.SUCCESS,
            Status.WAIVED: self.style.WARNING,
            Status.WARN: self.style.WARNING,
            Status.UNKNOWN: self.style.NOTICE,
            Status.FAIL: self.style.ERROR,
        }
        return styles[status](line) if status in styles else line


def _about(tenant: str, findings: Sequence[Finding], all_tenants: Sequence[str]) -> tuple[Finding, ...]:
    """`findings` without those about other tenants."""
    others = set(all_tenants) - {tenant}
    return tuple(finding for finding in findings if finding.subject not in others)


def _stop_without_credentials(facts: Mapping[str, Fact]) -> None:
    for fact in facts.values():
        if isinstance(fact, Failed) and isinstance(fact.error, NoCredentials):
            raise NoCredentials(str(fact.error), hint=advice(fact.error)) from fact.error


def _append_summary(report: Report) -> None:
    """Into the summary of the job, where GitHub Actions gives one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    from deploytools.reporting.github import fitted  # With --format github only.

    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(fitted(written(report, "markdown")))
    except OSError as error:
        raise ConfigurationError(
            f"The job's summary could not be written to {path}: {error.strerror}.", hint="Unset GITHUB_STEP_SUMMARY."
        ) from error


@contextmanager
def ending_at_once() -> Iterator[None]:
    """While it lasts, SIGTERM ends the process with 143; a process that is a container's first one would ignore it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def tenants() -> tuple[str, ...]:
    """The names of all tenants; of none where the settings name none."""
    return tuple(tenant.name for tenant in parse_tenants(configuration.tenants))


def settings_module() -> str:
    """The settings that are judged."""
    return os.environ.get("DJANGO_SETTINGS_MODULE", "settings without a module")


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()
