"""`verify_deploy`: check the whole deployment without changing it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.conf import Settings
from deploytools.management.base import IAM_POLICY_HELP, raise_unless_ok, read_report
from deploytools.management.modes import Modes, refuse_idle_options
from deploytools.management.verification_command import VerificationCommand
from deploytools.reports import check_catalog
from deploytools.reports.findings_text import to_text
from deploytools.verification import account
from deploytools.verification.findings import Check, Severity
from deploytools.verification.least_privilege import policy
from deploytools.verification.registry import Registry, load_registry
from deploytools.verification.report_diff import compare, index_findings, parse_report

Options = dict[str, Any]

_REPORT = ("format", "output")
_SELECTION = ("tag", "only", "exclude", *_REPORT)

#: Modes that read no facts: the options that each accepts, and a hint.
MODES: Modes = {
    "list": (_SELECTION, "--list only lists the checks. Remove one of the two options."),
    "explain": (_REPORT, "--explain only describes a check. Remove one of the two options."),
    "iam_policy": (_SELECTION, "--iam-policy only prints a policy. Remove one of the two options."),
}


class Command(VerificationCommand):
    """Select checks, read facts, evaluate, report."""

    help = (
        "Verify the deployment: secret, Django settings, tenant databases, RDS instance, network, IAM, alarms. Nothing "
        "is changed. The exit code is 0 if no check failed, 1 if a check failed, 2 if a check could not be evaluated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        selection = parser.add_argument_group("selection of checks")
        selection.add_argument(
            "--tag", action="append", default=[], metavar="TAG", help="Run only checks with this tag. Repeatable."
        )
        selection.add_argument(
            "--only", nargs="+", action="extend", default=[], metavar="ID", help="Run only these checks."
        )
        selection.add_argument(
            "--exclude", nargs="+", action="extend", default=[], metavar="ID", help="Skip these checks."
        )
        information = parser.add_argument_group("information only")
        information.add_argument("--list", action="store_true", help="List the checks (text, json, markdown).")
        information.add_argument(
            "--explain", metavar="ID", help="Explain one check: rationale, data it reads, how to fix it."
        )
        information.add_argument("--iam-policy", action="store_true", help=IAM_POLICY_HELP)
        evaluation = parser.add_argument_group("evaluation")
        evaluation.add_argument(
            "--fail-level",
            choices=[level.value for level in Severity],
            help="Lowest severity of failures that change the exit code (default: low).",
        )
        evaluation.add_argument("--no-waivers", action="store_true", help='Ignore DEPLOYTOOLS["WAIVERS"].')
        evaluation.add_argument(
            "--diff", type=Path, metavar="OLD.json", help="Show only what changed since this JSON report."
        )
        evaluation.add_argument(
            "--git-history", action="store_true", help="Search the Git history for values of the secret, too."
        )
        evaluation.add_argument("--url", metavar="URL", help='Override DEPLOYTOOLS["URL"].')
        self.add_verification_options(parser)

    def handle(self, **options: Any) -> None:
        refuse_idle_options(MODES, options)
        settings = self.settings_with_options(tenants=options["tenant"], stage=options["stage"], url=options["url"])
        settings = replace(settings, history=options["git_history"])
        registry = load_registry().with_presets(settings.presets)
        selected = registry.select(options["tag"], only=options["only"], exclude=options["exclude"])
        checks = self.with_references(selected, settings)
        if options["list"] or options["explain"] or options["iam_policy"]:
            self._inform(registry, checks, settings, options)
        else:
            self._verify(registry, checks, settings, options)

    def _verify(self, registry: Registry, checks: Sequence[Check], settings: Settings, options: Options) -> None:
        before = (
            parse_report(read_report(options["diff"], "verify_deploy"), str(options["diff"]))
            if options["diff"]
            else None
        )
        waivers = () if options["no_waivers"] else self.waivers(registry, settings)
        facts, account_id = self.read(registry, checks, settings)
        report = self.evaluate(
            checks,
            facts,
            settings,
            account_id,
            only=options["tenant"],
            waivers=waivers,
            fail_level=Severity(options["fail_level"] or Severity.LOW),
        )
        if before is not None:
            report = replace(report, changes=compare(before, index_findings(report.findings)))
        self.publish(report, to_text)
        raise_unless_ok(report.exit_code, report.verdict)

    def _inform(self, registry: Registry, checks: Sequence[Check], settings: Settings, options: Options) -> None:
        for format, path in self.destinations:
            if options["explain"]:
                (check,) = self.with_references([registry.named(options["explain"])], settings)
                self.report(check_catalog.explain(check, registry.sources_for([check])), path)
            elif options["iam_policy"]:
                self.report(json.dumps(policy(_actions(registry, checks), settings), indent=2), path)
            else:
                actions = {check.id: registry.actions_for([check]) for check in checks}
                self.report(check_catalog.render(checks, actions, format), path)


def _actions(registry: Registry, checks: Sequence[Check]) -> list[str]:
    """Return the IAM actions of the facts of `checks`, and of the account check that precedes them."""
    declared = registry.actions_for(checks)
    return [*declared, account.ACTION] if declared else []
