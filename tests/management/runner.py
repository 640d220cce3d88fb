"""Runs a command as `manage.py` would, in this process, and returns what a person and a script see of it."""

from __future__ import annotations

import importlib
import json
from typing import NamedTuple

import pytest


class Result(NamedTuple):
    """What a command left: stdout, stderr, exit code."""

    out: str
    err: str
    code: int


def run(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> Result:
    """``python manage.py name arguments…``"""
    command = importlib.import_module(f"deploytools.management.commands.{name}").Command()
    capsys.readouterr()
    code = 0
    try:
        command.run_from_argv(["manage.py", name, *arguments])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    out, err = capsys.readouterr()
    return Result(out, err, code)


def statuses(result: Result) -> dict[str, str]:
    """The status of each check in a JSON report on stdout."""
    return {finding["check"]: finding["status"] for finding in json.loads(result.out)["findings"]}
