"""`verify_deploy`: what is true of this deployment, and what could not be looked at (guide, Step 11 and checklist)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from deploytools.conf import configuration
from deploytools.errors import ConfigurationError, Refused
from deploytools.management.base import FINE, exit_with
from deploytools.management.firing import fire
from deploytools.management.verifying import VerifyingCommand
from deploytools.reporting import catalogue
from deploytools.reporting.findings import to_text
from deploytools.reporting.formats import destinations
from deploytools.verification import account, differences, fire_test, replay
from deploytools.verification.findings import Change, Report, Severity
from deploytools.verification.least_privilege import Place, policy
from deploytools.verification.registry import Check, Registry, load_registry
from deploytools.verification.sources.connection import secret
from deploytools.verification.sources.mail import send_test_mail

#: Django's default for DEFAULT_FROM_EMAIL: nobody has chosen a sender.
NO_SENDER = "webmaster@localhost"

#: The check that judges what --fire-test reads, too.
FIRED = "alarms.heard"

#: Options that ask for something which another option has no use for.
IDLE_BESIDE = {
    "replay": ("url", "tenant", "facts", "send_test_mail"),
    "list": ("replay", "diff", "facts", "send_test_mail", "fire_test"),
    "explain": ("replay", "diff", "facts", "send_test_mail", "fire_test"),
    "iam_policy": ("replay", "diff", "facts", "send_test_mail"),
}


class Command(VerifyingCommand):
    """Read the facts, judge them, report."""

    help = (
        "Verify the deployment: secret, Django settings, tenants' databases, RDS instance. Exit code 0: nothing fails; "
        "1: something does; 2: something could not be looked at."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which checks, what to do with them, and how to report."""
        chosen = parser.add_argument_group("which checks")
        chosen.add_argument("--tag", action="append", default=[], metavar="TAG", help="With this tag; may be repeated.")
        chosen.add_argument("--only", nargs="+", action="extend", default=[], metavar="ID", help="These.")
        chosen.add_argument("--exclude", nargs="+", action="extend", default=[], metavar="ID", help="Not these.")
        asked = parser.add_argument_group("looking at nothing").add_mutually_exclusive_group()
        asked.add_argument("--list", action="store_true", help="Print the checks (text, json, markdown).")
        asked.add_argument("--explain", metavar="ID", help="Print why a check matters, what it looks at, how to mend.")
        asked.add_argument("--iam-policy", action="store_true", help="Print the IAM policy that the checks need.")
        judged = parser.add_argument_group("how to judge")
        judged.add_argument(
            "--fail-level",
            choices=[level.value for level in Severity],
            default=Severity.LOW.value,
            help="Failures below it do not change the exit code (default: low).",
        )
        judged.add_argument("--no-waivers", action="store_true", help='As if DEPLOYTOOLS["WAIVERS"] were empty.')
        judged.add_argument("--diff", type=Path, metavar="OLD.json", help="Show what changed since that report.")
        judged.add_argument("--facts", type=Path, metavar="FILE", help="Keep what was read, secrets masked.")
        judged.add_argument("--url", metavar="URL", help='Visit this address in place of DEPLOYTOOLS["URL"].')
        judged.add_argument(
            "--send-test-mail", metavar="ADDRESS", help="After the report, send one mail with the secret's credentials."
        )
        judged.add_argument(
            "--fire-test",
            action="store_true",
            help="After the report, set off the instance's alarms, once agreed to, and look whether they tell. With "
            "--iam-policy: what that needs, too.",
        )
        judged.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="Do not ask before --fire-test. Needed where nobody is at a terminal.",
        )
        judged.add_argument("--replay", type=Path, metavar="FILE", help="Judge what --facts kept; no network.")
        self.add_verifying_options(parser)

    def handle(self, *, format: list[str], output: list[Path], tenant: str | None, **options: Any) -> None:
        """Select, read, judge, report."""
        _refuse_idle({**options, "tenant": tenant})
        registry = load_registry()
        places = destinations(format, output)
        if options["fire_test"] and options["replay"]:
            raise ConfigurationError("What was kept has no alarm to set off.", hint="Say --fire-test without --replay.")
        with configuration.overriding(**self.overrides(tenant=tenant, stage=options["stage"], url=options["url"])):
            checks = registry.select(options["tag"], only=options["only"], exclude=options["exclude"])
            if options["list"] or options["explain"] or options["iam_policy"]:
                self._answer(registry, checks, places, options)
                return
            before = _old_report(options["diff"])
            waivers = () if options["no_waivers"] else self.waivers(registry)
            snapshot = self._snapshot(registry, checks, options)
            report = self.judge(
                checks, snapshot, tenant=tenant, waivers=waivers, fail_level=Severity(options["fail_level"])
            )
        report = replace(report, changes=_changes(before, report))
        self.publish(report, places, to_text)
        if options["send_test_mail"]:
            self._send_mail(options["send_test_mail"])
        fired = self._fire(registry, report, options["interactive"]) if options["fire_test"] else FINE
        exit_with(max(report.exit_code, fired))

    def _snapshot(self, registry: Registry, checks: tuple[Check, ...], options: dict[str, Any]) -> replay.Snapshot:
        """What is read now, kept where asked for, or what was kept."""
        if not options["replay"]:
            snapshot = self.look(registry, checks)
            if options["facts"]:
                replay.save(snapshot, options["facts"], registry)
                self.tell(f"Wrote {options['facts']}: {len(snapshot.facts)} facts, secrets masked.")
            return snapshot
        kept = replay.load(options["replay"], registry)
        if options["stage"] not in {None, kept.stage}:
            raise ConfigurationError(
                f"The facts were read for the stage {kept.stage}.", hint="Leave --stage out, or read them again."
            )
        return replace(kept, facts=replay.facts_for(registry.sources_for(checks), kept))

    def _fire(self, registry: Registry, report: Report, interactive: bool) -> int:
        """On what is read now, and in the account that is the right one. A refusal hides nothing of the report."""
        facts = self.look(registry, [registry.named(FIRED)]).facts
        try:
            return fire(self, facts, interactive=interactive)
        except Refused as error:
            error.exit_code = max(error.exit_code, report.exit_code)
            raise

    def _send_mail(self, address: str) -> None:
        sender = "" if settings.DEFAULT_FROM_EMAIL == NO_SENDER else settings.DEFAULT_FROM_EMAIL
        self.left = f"A mail to {address} may have been sent, and nothing else was done"
        dialogue = send_test_mail(secret(), address, sender=sender)
        self.left = f"A mail to {address} was sent, and nothing else was done"
        self.tell(f"A mail to {address} was taken by {dialogue.server}; look whether it arrives.")

    def _answer(
        self,
        registry: Registry,
        checks: tuple[Check, ...],
        places: list[tuple[str, Path | None]],
        options: dict[str, Any],
    ) -> None:
        """What is known without looking."""
        for format, path in places:
            if options["explain"]:
                check = registry.named(options["explain"])
                self.report(catalogue.explained(check, registry.sources_for([check])), path)
            elif options["iam_policy"]:
                asked = (*checks, registry.named(FIRED)) if options["fire_test"] else checks
                actions = [*_actions(registry, asked), *(fire_test.ACTIONS if options["fire_test"] else ())]
                self.report(json.dumps(policy(actions, _place()), indent=2), path)
            else:
                self.report(_catalogue(registry, checks, format), path)


def _refuse_idle(options: Mapping[str, Any]) -> None:
    """An option that would do nothing is a misunderstanding."""
    for option, others in IDLE_BESIDE.items():
        idle = [_flag(other) for other in others if options[other]]
        if options[option] and idle:
            raise ConfigurationError(
                f"{_flag(option)} looks at nothing, so that {' and '.join(idle)} would do nothing.",
                hint="Leave one of them out.",
            )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _actions(registry: Registry, checks: tuple[Check, ...]) -> list[str]:
    """What the facts of `checks` declare, and what is called before them."""
    declared = registry.actions_for(checks)
    return [*declared, account.ACTION] if declared else []


def _place() -> Place:
    return Place(
        configuration.region,
        configuration.account,
        configuration.secret_name,
        configuration.rds_instance,
        "" if configuration.is_shared else configuration.tenant_secret_prefix,
        cluster=(configuration.ecs_cluster or "default") if configuration.ecs_service else "",
        service=configuration.ecs_service,
    )


def _catalogue(registry: Registry, checks: tuple[Check, ...], format: str) -> str:
    actions = {check.id: registry.actions_for([check]) for check in checks}
    if format == "json":
        return catalogue.to_json(checks, actions)
    if format == "markdown":
        return catalogue.to_markdown(checks, actions)
    if format == "text":
        return catalogue.to_text(checks)
    raise ConfigurationError(f"The list of checks does not come as {format}.", hint="It comes as text, json, markdown.")


def _old_report(path: Path | None) -> differences.Said | None:
    if path is None:
        return None
    try:
        return differences.said_in(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} could not be read: {getattr(error, 'strerror', 'it is no text')}.",
            hint="Write it: verify_deploy --output OLD.json",
        ) from None


def _changes(before: differences.Said | None, report: Report) -> tuple[Change, ...] | None:
    return None if before is None else differences.differences(before, differences.said_by(report.findings))
