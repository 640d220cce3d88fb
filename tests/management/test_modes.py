"""Every pair of a mode and an option, in the commands that have a table of modes: it is accepted, or refused."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest
from django.core.management import CommandError, call_command, load_command_class

from deploytools.management import rotation_options, secret_options
from deploytools.management.modes import COMMON, flag
from tests.management.test_options import own_parser

MODULES = {name: import_module(f"deploytools.management.commands.{name}") for name in
           ("create_tenant_dbs", "migrate_tenants", "verify_deploy")}  # fmt: skip
COMMANDS = {(name,): module.MODES for name, module in MODULES.items()} | {("sync_secrets",): secret_options.MODES} | {
    ("rotate_credentials", credential): rotation_options.MODES for credential in rotation_options.CREDENTIALS
}  # fmt: skip
VALUES = {"format": "json", "output": "report.txt", "shard": "0/2", "stage": "launch", "fail_level": "low",
          "grace": "1h", "wait_for_sessions": "1h"}  # fmt: skip


def actions(command: str) -> dict[str, argparse.Action]:
    parser = load_command_class("deploytools", command).create_parser("manage.py", command)
    django = {action.dest for action in own_parser()._actions}
    return {action.dest: action for action in parser._actions if action.dest not in django | COMMON | {"credential"}}


PAIRS = [
    (command, mode, option)
    for command, modes in COMMANDS.items()
    for mode in modes
    for option in actions(command[0])
    if option != mode and mode not in set(rotation_options.CREDENTIALS) - {*command}
]


@pytest.mark.parametrize(("command", "mode", "option"), PAIRS)
def test_a_mode_accepts_an_option_or_refuses_it(
    command, mode, option, settings, aws_environment, tmp_path, monkeypatch
):
    """Before a secret is read or a server is connected to, also if the option has its default value."""
    monkeypatch.chdir(tmp_path)
    settings.DEPLOYTOOLS = {"SECRET_NAME": "no/such/secret"}
    (name, *arguments), modes, taken = command, COMMANDS[command], actions(command[0])
    given = [each for each in taken if each in (mode, option)]
    values = VALUES | {name: str(value) for name, value in getattr(MODULES.get(name), "DEFAULTS", {}).items()}
    words = [
        word
        for each in sorted(given, key=(mode, option).index)
        for word in (*taken[each].option_strings[:1], *([values.get(each, "1")] * (taken[each].nargs != 0)))
    ]
    refusals = [
        f"{one if one in arguments else flag(one)} cannot be combined with {flag(other)}.\nHint: {hint}"
        for one, (accepted, hint) in modes.items()
        for other in given
        if one != other and one in (*given, *arguments) and other not in accepted
    ]
    message, code = "", 2
    try:
        call_command(*command, *words)
    except CommandError as error:
        message, code = str(error), error.returncode
    if refusals:
        assert (message, code) == (refusals[0], 2)
    else:
        assert "cannot be combined" not in message


def test_the_tables_name_existing_options():
    for (name, *_), modes in COMMANDS.items():
        named = {option for mode, (accepted, _) in modes.items() for option in (mode, *accepted)}
        assert named - actions(name).keys() - {*rotation_options.CREDENTIALS} == set()
