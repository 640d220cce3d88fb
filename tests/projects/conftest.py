"""The environments of the walks, and the table that is printed at their end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.projects import page
from tests.projects.versions import MINORS, Environment, Versions, interpreters

DIST = "DEPLOYTOOLS_DIST"
HEAD = ("project", "versions", "commands", "lines", "seconds")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Versions], Environment]:
    """Return a function that returns the environment of versions, created once."""
    made: dict[Versions, Environment] = {}
    base = tmp_path_factory.mktemp("environments")

    def get(versions: Versions) -> Environment:
        if versions not in made:
            assert DIST in os.environ, "Run .ci/package: it builds the wheel."
            (wheel,) = Path(os.environ[DIST]).glob("*.whl")
            made[versions] = Environment(base / versions.name, versions, wheel)
        return made[versions]

    return get


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one row for each walk that passed, and what the versions of this machine exclude."""
    passed = terminalreporter.getreports("passed")
    rows = [row.split("|") for report in passed for name, row in report.user_properties if name == "walk"]
    if not rows:
        return
    terminalreporter.section(f"{len(rows)} walks from the wheel to a verified deployment")
    for row in (HEAD, *sorted(rows)):
        terminalreporter.write_line("{:<13} {:<72} {:>8} {:>5} {:>7}".format(*row))
    for note in notes():
        terminalreporter.write_line(note)


def notes() -> list[str]:
    """Return what a reader runs and writes, and what was not walked."""
    names = [path.name for path in interpreters()]
    return [
        f"docs/your-project.md: {len(page.commands())} commands, {page.count_lines()} lines of the reader.",
        f"Interpreters on this machine: {', '.join(names)}; supported: {', '.join(f'python3.{n}' for n in MINORS)}.",
        *(["Not walked: Django 6, which requires Python 3.12."] if names[-1] == "python3.11" else []),
        "Not evaluated with boto3 before 1.39: rds.engine-supported.",
    ]
