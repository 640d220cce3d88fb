"""Run commands in this process as `manage.py` does."""

from __future__ import annotations

import importlib
import json
from typing import NamedTuple

import pytest


class Result(NamedTuple):
    """Output and exit code of a command."""

    out: str
    err: str
    code: int


def run(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> Result:
    """Run ``python manage.py name arguments…``; the lines of create_tenant_dbs are not wrapped."""
    command = importlib.import_module(f"deploytools.management.commands.{name}").Command()
    capsys.readouterr()
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        if name == "create_tenant_dbs":
            patch.setattr("deploytools.wording.columns", lambda: 10_000)
        try:
            command.run_from_argv(["manage.py", name, *arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    out, err = capsys.readouterr()
    return Result(out, err, code)


#: Options of `rotate_credentials`: tests in other processes use the same server, and hold the lock for longer than 1 s.
ROTATE = ("--noinput", "--wait-for-lock", "60")


def rotate_credentials(capsys: pytest.CaptureFixture[str], credential: str, *options: str) -> Result:
    """Run ``rotate_credentials``. What changes nothing does not wait for the lock."""
    waits = not {"--plan", "--status"}.intersection(options)
    return run(capsys, "rotate_credentials", credential, *(ROTATE if waits else ROTATE[:1]), *options)


def statuses(result: Result) -> dict[str, str]:
    """Return the status of each check in a JSON report on stdout."""
    return {finding["check"]: finding["status"] for finding in json.loads(result.out)["findings"]}
