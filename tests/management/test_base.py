"""Exit codes, errors and destinations of all commands, without a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import CommandParser

from deploytools.errors import ConfigurationError, Refused
from deploytools.management.base import FINDINGS, OK, DeployCommand, raise_unless_ok
from tests.forked import ROOT


class ReportingCommand(DeployCommand):
    """Write a report and end with an exit code, or raise an error."""

    requires_system_checks = ()
    formats = ("text", "json")

    def __init__(self, *, returncode: int = OK, error: BaseException | None = None) -> None:
        super().__init__()
        self.returncode, self.error = returncode, error

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_report_options(parser)

    def handle(self, **options: Any) -> None:
        if self.error:
            raise self.error
        self.text_stream.write("progress")
        for format, path in self.destinations:
            self.report(json.dumps("report") if format == "json" else "report", path)
        raise_unless_ok(self.returncode, "FAILED: 1 failed")


def exit_code(command: DeployCommand, *arguments: str) -> int:
    """Return the exit code of the command line ``manage.py report arguments…``."""
    try:
        command.run_from_argv(["manage.py", "report", *arguments])
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0


@pytest.mark.parametrize("options", [[], ["--traceback"]])
def test_the_command_line_exits_with_the_code_and_prints_only_the_report(capsys, options):
    assert exit_code(ReportingCommand(returncode=FINDINGS), *options) == FINDINGS
    assert capsys.readouterr() == ("progress\nreport\n", "")


def test_call_command_raises_the_verdict_and_does_not_exit(capsys):
    with pytest.raises(CommandError) as raised:
        call_command(ReportingCommand(returncode=FINDINGS))
    assert (str(raised.value), raised.value.returncode) == ("FAILED: 1 failed", FINDINGS)
    assert capsys.readouterr() == ("progress\nreport\n", "")


def test_success_raises_nothing(capsys):
    call_command(ReportingCommand())
    assert exit_code(ReportingCommand()) == 0


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (ConfigurationError("URL is not set.", hint="Set it."), "URL is not set.\nHint: Set it.", 2),
        (Refused("Canceled.", hint="Answer yes."), "Canceled.\nHint: Answer yes.", 1),
        (
            KeyboardInterrupt(),
            "Interrupted. Completed steps are kept.\nHint: Run the command again to continue.",
            130,
        ),
    ],
)
def test_an_error_is_a_message_with_a_hint_and_an_exit_code(capsys, error, message, code):
    with pytest.raises(CommandError) as raised:
        call_command(ReportingCommand(error=error))
    assert (str(raised.value), raised.value.returncode) == (message, code)
    capsys.readouterr()
    assert exit_code(ReportingCommand(error=error)) == code
    assert capsys.readouterr().err.lstrip() == f"Error: {message}\n"


def test_an_interrupt_at_the_prompt_changes_nothing(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    command = ReportingCommand()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(command, "prompt_yes_no", interrupt)
    with pytest.raises(CommandError) as raised:
        command.confirm("Apply this plan?", interactive=True)
    assert (str(raised.value), raised.value.returncode) == (
        "Interrupted. Nothing was changed.\nHint: Run the command again.",
        130,
    )


def test_traceback_prints_the_exception_and_keeps_the_exit_code(capsys):
    command = ReportingCommand(error=Refused("Canceled.", hint="Answer yes."))
    assert exit_code(command, "--traceback") == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.endswith("Error: Canceled.\nHint: Answer yes.\n")


def test_text_about_the_run_goes_to_stderr_if_stdout_has_another_report(capsys, tmp_path):
    assert exit_code(ReportingCommand(), "--format", "json") == 0
    assert capsys.readouterr() == ('"report"\n', "progress\n")
    file = tmp_path / "report.txt"
    assert exit_code(ReportingCommand(), "--output", str(file)) == 0
    assert (capsys.readouterr(), file.read_text()) == (("", "progress\n"), "report\n")


def test_several_reports(capsys, tmp_path: Path):
    file = tmp_path / "report.json"
    assert exit_code(ReportingCommand(), "--output", str(file)) == 0
    assert (capsys.readouterr(), file.read_text()) == (("progress\nreport\n", ""), '"report"\n')


def test_a_format_that_the_command_does_not_have(capsys):
    assert exit_code(ReportingCommand(), "--output", "report.html") == 2
    assert capsys.readouterr() == (
        "",
        "Error: report.html selects the format html, which this command does not have.\n"
        "Hint: Use one of these suffixes: .txt .json\n",
    )


def test_call_command_accepts_one_value_for_a_repeatable_option(capsys, tmp_path):
    call_command(ReportingCommand(), format="json", output=tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text() == '"report"\n'
    call_command(ReportingCommand(), format="json")
    assert capsys.readouterr().out == '"report"\n'


def test_psycopg_without_libpq_is_one_sentence():
    """With a backend of PostgreSQL, Django reports it."""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.fleet_settings", "SQLITE": "1", "PSYCOPG_IMPL": "c"}
    ended = subprocess.run(
        [sys.executable, "manage.py", "check_rds"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    message, hint = ended.stderr.splitlines()
    assert (ended.stdout, ended.returncode) == ("", 2)
    assert message.startswith("Error: psycopg cannot be loaded: couldn't import requested psycopg 'c'")
    assert hint.startswith("Hint: Install it with libpq: pip install 'psycopg[binary]'.")
