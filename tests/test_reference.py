"""docs/reference.md agrees with the code. ``python -m tests.test_reference`` writes the sections that are generated."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from deploytools import checks, errors
from deploytools.conf import SETTINGS, Settings
from deploytools.verification.registry import Registry

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"


def section(heading: str) -> str:
    """Return the text between a heading and the next one of its level."""
    return PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str, first_heading: str) -> list[list[str]]:
    """Return the cells of the table whose first heading that is."""
    lines = text.partition(f"| {first_heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def options() -> str:
    """Return the table of all options, those that mean the same in one row."""
    from tests.management.test_options import COMMANDS, meanings

    escaped, found = r"\|", dict[tuple[str, str], list[str]]()
    for option, by_command in sorted(meanings().items()):
        what = next(iter(by_command.values()))
        text = (what.help or "").partition(" (default: %")[0].rstrip(".").replace("%%", "%") + "."
        label = f" {what.metavar}" if isinstance(what.metavar, str) else ""
        where = "all" if len(by_command) == len(COMMANDS) else ", ".join(f"`{name}`" for name in by_command)
        found.setdefault((text, where), []).append(f"`{option}{label}`")
    cells = [[", ".join(labels), text, where] for (text, where), labels in found.items()]
    lines = sorted(f"| {' | '.join(cell.replace('|', escaped) for cell in row)} |" for row in cells)
    return "\n".join(["| option | meaning | commands |", "|---|---|---|", *lines])


def tree() -> str:
    """Return the tree of the errors with their meanings and exit codes."""
    lines = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    return lines.replace("``", "")


#: The generated part of a section begins with this and ends before an empty line.
GENERATED: Mapping[str, tuple[str, Callable[[], str]]] = {
    "Options": ("| option |", options),
    "Errors": ("    DeployError ", tree),
}


def generated(heading: str) -> str:
    begin = GENERATED[heading][0]
    return (begin + section(heading).partition(begin)[2]).partition("\n\n")[0].rstrip("\n")


@pytest.mark.parametrize("heading", GENERATED)
def test_a_section_is_what_the_code_says(heading):
    assert generated(heading) == GENERATED[heading][1](), "Run: python -m tests.test_reference"


def test_the_settings_are_those_of_the_code():
    table = {name: row for row in rows(section("Settings"), "key") for name in names(row[0])}
    assert set(table) == set(SETTINGS)
    for name, option in SETTINGS.items():
        _, default, meaning = table[name]
        value = getattr(Settings(), option.name)
        if value:
            literal = value if isinstance(value, str) else str(value).replace("'", '"')
            assert literal in names(default), name
        missing = [choice for choice in option.metadata["choices"] if f"`{choice}`" not in default + meaning]
        assert missing == [] or name == "SSLMODE", name  # libpq's documentation lists those.


def test_the_system_checks_are_those_of_the_code():
    ids = {id for cell, _ in rows(section("Settings"), "id") for id in names(cell)}
    assert ids == set(re.findall(r"deploytools\.E\d+", inspect.getsource(checks)))
    assert ids == set(re.findall(r"^- ``(.*?)``", checks.__doc__ or "", re.MULTILINE))


def test_the_arguments_of_a_check_are_those_of_the_code():
    table = {name: row for row in rows(section("Your own checks"), "argument") for name in names(row[0])}
    accepted = [name for name in inspect.signature(Registry.check).parameters if name != "self"]
    assert list(table) == accepted


def test_the_tree_has_every_error():
    named = set(re.findall(r"[A-Z]\w+", tree()))
    assert {name for name in errors.__all__ if name[0].isupper() and name != "ConnectionFailure"} <= named


def write() -> None:
    """Replace the generated parts of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for heading, (_, make) in GENERATED.items():
        text = text.replace(generated(heading), make())
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "StartupWebApp.settings")
    import django

    django.setup()
    write()
