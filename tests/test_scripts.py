"""Errors of the scripts: one line and a hint."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INHERITED = ("PATH", "HOME", "DEPLOYTOOLS_VENV")


def bash(*command, **environment):
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={name: os.environ[name] for name in INHERITED if name in os.environ} | environment,
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
    assert err[1].startswith("hint: install one, or set its path: PYTHON=/path/to/python3 ")


def test_unwritable_environment_directory():
    _, err, code = bash("scripts/test", DEPLOYTOOLS_VENV="/proc/venv")
    assert (err[0], code) == ("error: cannot write to /proc/venv", 2)
    assert err[1].startswith("hint: choose another directory: DEPLOYTOOLS_VENV=")


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


def test_postgresql_version_without_lock_file():
    _, err, code = bash("scripts/postgresql", "9")
    assert (err, code) == (
        ["error: requirements/postgresql-9.txt does not exist", "hint: choose one of these versions: 14 17"],
        2,
    )


def test_unknown_option_of_the_demo():
    _, err, code = bash("scripts/demo", "--fast")
    assert (err, code) == (["error: unknown option --fast", "hint: run scripts/demo or scripts/demo --keep"], 2)
