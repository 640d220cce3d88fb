"""An option has the same meaning in all commands. `tests.test_reference` compares docs/reference.md."""

from __future__ import annotations

import argparse
import pkgutil
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from django.core.management import BaseCommand, load_command_class

import deploytools.management.commands

COMMANDS = sorted(module.name for module in pkgutil.iter_modules(deploytools.management.commands.__path__))


class Meaning(NamedTuple):
    """What an option means; its default and choices are the command's own."""

    action: str
    dest: str
    type: object
    nargs: object
    metavar: object
    help: str | None


def options(command: BaseCommand, name: str) -> Iterator[tuple[str, Meaning]]:
    """Yield the option strings of `command` with their meanings, without Django's own options."""
    django = {option for action in own_parser()._actions for option in action.option_strings}
    for action in command.create_parser("manage.py", name)._actions:
        for option in action.option_strings:
            if option not in django:
                yield option, meaning(action)


def own_parser() -> argparse.ArgumentParser:
    return BaseCommand().create_parser("manage.py", "base")


def meaning(action: argparse.Action) -> Meaning:
    kind, text = type(action).__name__, re.sub(r" \(default: [\d.]+\)", "", action.help or "")
    return Meaning(kind, action.dest, action.type, action.nargs, action.metavar, text)


def meanings() -> dict[str, dict[str, Meaning]]:
    """Return the meaning of each option in each command that has it."""
    found: dict[str, dict[str, Meaning]] = {}
    for name in COMMANDS:
        for option, what in options(load_command_class("deploytools", name), name):
            found.setdefault(option, {})[name] = what
    return found


def test_an_option_means_the_same_in_every_command():
    different = {option: by_command for option, by_command in meanings().items() if len(set(by_command.values())) > 1}
    assert different == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    command = load_command_class("deploytools", name)
    assert [option for option, what in options(command, name) if not (what.help or "").endswith((".", ".)"))] == []
