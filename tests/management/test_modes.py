"""Every pair of a mode and an option, in the commands that have a table of modes: it is accepted, or refused."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest
from django.core.management import CommandError, call_command, load_command_class

from deploytools.management.modes import COMMON, flag
from deploytools.management.secret_options import MODES
from tests.management.test_options import own_parser

MODULES = {name: import_module(f"deploytools.management.commands.{name}") for name in
           ("create_tenant_dbs", "migrate_tenants", "verify_deploy")}  # fmt: skip
COMMANDS = {name: module.MODES for name, module in MODULES.items()} | {"sync_secrets": MODES}
VALUES = {"format": "json", "output": "report.txt", "shard": "0/2", "stage": "launch", "fail_level": "low"}


def actions(command: str) -> dict[str, argparse.Action]:
    parser = load_command_class("deploytools", command).create_parser("manage.py", command)
    django = {action.dest for action in own_parser()._actions}
    return {action.dest: action for action in parser._actions if action.dest not in django | COMMON}


PAIRS = [
    (command, mode, option)
    for command, modes in COMMANDS.items()
    for mode in modes
    for option in actions(command)
    if option != mode
]


@pytest.mark.parametrize(("command", "mode", "option"), PAIRS)
def test_a_mode_accepts_an_option_or_refuses_it(
    command, mode, option, settings, aws_environment, tmp_path, monkeypatch
):
    """Before a secret is read or a server is connected to, also if the option has its default value."""
    monkeypatch.chdir(tmp_path)
    settings.DEPLOYTOOLS = {"SECRET_NAME": "no/such/secret"}
    modes, taken = COMMANDS[command], actions(command)
    defaults = getattr(MODULES.get(command), "DEFAULTS", {})
    values = VALUES | {name: str(value) for name, value in defaults.items()}
    words = [
        word
        for name in (mode, option)
        for word in (*taken[name].option_strings[:1], *([values.get(name, "1")] * (taken[name].nargs != 0)))
    ]
    refusals = [
        f"{flag(one)} cannot be combined with {flag(other)}.\nHint: {hint}"
        for one, (accepted, hint) in modes.items()
        for other in {mode, option} - {one}
        if one in (mode, option) and other not in accepted
    ]
    message, code = "", 2
    try:
        call_command(command, *words)
    except CommandError as error:
        message, code = str(error), error.returncode
    if refusals:
        assert (message, code) == (refusals[0], 2)
    else:
        assert "cannot be combined" not in message


def test_the_tables_name_existing_options():
    for command, modes in COMMANDS.items():
        named = {option for mode, (accepted, _) in modes.items() for option in (mode, *accepted)}
        assert named - actions(command).keys() == set()
