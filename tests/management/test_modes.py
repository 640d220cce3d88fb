"""Every pair of a mode and an option, in the commands that have a table of modes: it is accepted, or refused."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest
from django.core.management import CommandError, call_command, load_command_class

from deploytools.management.modes import COMMON, flag
from tests.management.test_options import own_parser

COMMANDS = {name: import_module(f"deploytools.management.commands.{name}").MODES for name in
            ("create_tenant_dbs", "migrate_tenants")}  # fmt: skip
VALUES = {"format": "json", "output": "report.txt", "shard": "0/2"}


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
def test_a_mode_accepts_an_option_or_refuses_it(command, mode, option, settings, aws_environment):
    """Before a secret is read or a server is connected to."""
    settings.DEPLOYTOOLS = {"SECRET_NAME": "no/such/secret"}
    modes = COMMANDS[command]
    taken = {name: action.nargs != 0 for name, action in actions(command).items()}
    with pytest.raises(CommandError) as caught:
        call_command(
            command,
            *(word for name in (mode, option) for word in (flag(name), *([VALUES.get(name, "1")] * taken[name]))),
        )
    refusals = [
        f"{flag(one)} cannot be combined with {flag(other)}.\nHint: {hint}"
        for one, (accepted, hint) in modes.items()
        for other in {mode, option} - {one}
        if one in (mode, option) and other not in accepted
    ]
    assert caught.value.returncode == 2
    if refusals:
        assert str(caught.value) == refusals[0]
    else:
        assert "cannot be combined" not in str(caught.value)


def test_the_tables_name_existing_options():
    for command, modes in COMMANDS.items():
        named = {option for mode, (accepted, _) in modes.items() for option in (mode, *accepted)}
        assert named - actions(command).keys() == set()
