"""The public names of ``deploytools.container`` and ``deploytools.testing``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploytools import container, testing

ROOT = Path(__file__).parent.parent.parent


def test_public_names():
    assert container.__all__ == [
        "JsonFormatter", "ProbeHostMiddleware", "ReadinessView", "RequestIdMiddleware", "liveness",
        "logging_configuration",
    ]  # fmt: skip
    assert all(getattr(container, name).__name__ == name for name in container.__all__)
    assert testing.__all__ == ["RefusingRunner", "stored_secret"]


def test_other_names_do_not_exist():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        container.nothing  # noqa: B018


def test_importing_the_container_package_imports_nothing_slow():
    code = "import deploytools.container, sys; sys.exit(bool(sys.modules.keys() & {'django', 'logging', 'json'}))"
    assert subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", ["deploytools.tunnel", "deploytools.ecs"])
def test_the_standard_library_is_sufficient(module):
    command = [sys.executable, "-S", "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.startswith(f"usage: python -m {module}"), done.returncode) == (True, 0)
