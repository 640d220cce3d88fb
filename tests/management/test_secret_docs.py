"""docs/secrets.md and ``sync_secrets --help`` describe the same options, and the messages that it quotes exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import BaseCommand

from deploytools.management.commands.sync_secrets import Command

ROOT = Path(__file__).parent.parent.parent
DOCS = (ROOT / "docs" / "secrets.md").read_text(encoding="utf-8")
SOURCES = "".join(
    path.read_text(encoding="utf-8")
    for folder in ("secrets", "management", "reports")
    for path in (ROOT / "deploytools" / folder).rglob("*.py")
) + (ROOT / "deploytools" / "aws.py").read_text(encoding="utf-8")


def options(command: BaseCommand) -> set[str]:
    return {option for action in command.create_parser("manage.py", "x")._actions for option in action.option_strings}


OWN = {option for option in options(Command()) - options(BaseCommand()) if option != "--no-input"}


def test_every_option_is_documented():
    assert {option for option in OWN if not re.search(rf"{option}\b", DOCS)} == set()


def test_every_documented_option_exists():
    commands = re.findall(r"sync_secrets ([^\n#|`]*)", DOCS) + re.findall(r"`(--[a-z][^`]*)`", DOCS)
    used = {option for text in commands for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)}
    of_aws = {"--secret-id", "--region", "--query", "--output", "--force-new-deployment"}
    assert used - OWN <= of_aws


MESSAGES = re.findall(r"^\| `([^`]+)`", DOCS.partition("## Errors")[2].partition("\n## ")[0], re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_quoted_messages_exist(message):
    """Each part of a message between its variable words is in the code."""
    joined = re.sub(r'"\s*\n\s*f?"', "", SOURCES)
    parts = re.split(r"KEY|NAME|\b4\b|\bN\b|65,536", message)
    assert [part for part in map(str.strip, parts) if len(part) > 3 and part not in joined] == []
    assert MESSAGES
