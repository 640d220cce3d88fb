"""What the scripts say when something is missing: one line and a hint."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KEPT = ("PATH", "HOME", "DEPLOYTOOLS_VENV")


def bash(*command, **environment):
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={name: os.environ[name] for name in KEPT if name in os.environ} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.stderr.splitlines(), done.returncode


@pytest.mark.parametrize("script", ["scripts/test", "scripts/demo", "scripts/localcloud"])
def test_no_python(script, tmp_path):
    _, err, code = bash(script, DEPLOYTOOLS_VENV=str(tmp_path / "venv"), PYTHON="/nowhere/python3")
    assert (err[0], code) == ("error: no Python 3.11 or newer was found", 2)
    assert err[1].startswith("hint: install one, or name it: PYTHON=/path/to/python3 ")


def test_a_place_that_cannot_be_written():
    _, err, code = bash("scripts/test", DEPLOYTOOLS_VENV="/proc/venv")
    assert (err[0], code) == ("error: cannot write to /proc/venv", 2)
    assert err[1].startswith("hint: choose a place for the environment: DEPLOYTOOLS_VENV=")


def test_no_venv_module(tmp_path):
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\nexit 0\n')
    python.chmod(0o755)
    _, err, code = bash("scripts/test", DEPLOYTOOLS_VENV=str(tmp_path / "venv"), PYTHON=str(python))
    assert (err, code) == (
        [
            f"error: {python} has no venv module",
            "hint: install it (Debian and Ubuntu: apt install python3-venv)",
        ],
        2,
    )


def test_a_version_of_postgresql_that_is_not_locked():
    _, err, code = bash("scripts/postgresql", "9")
    assert (err, code) == (["error: there is no requirements/postgresql-9.txt", "hint: it has: 14 17"], 2)


def test_the_demo_knows_one_option():
    _, err, code = bash("scripts/demo", "--fast")
    assert (err, code) == (["error: scripts/demo knows --keep only", "hint: scripts/demo --keep"], 2)
