"""Run ``manage.py`` in a process of its own, and load settings modules in this one."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from types import ModuleType

from tests import forked

SETTINGS = ("StartupWebApp.settings", "StartupWebApp.settings_production")


def _process_environment(environment: Mapping[str, str]) -> dict[str, str]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return keep | {"AWS_EC2_METADATA_DISABLED": "true"} | dict(environment)


def manage(*arguments: str, **environment: str) -> tuple[str, str, int]:
    """Return stdout, stderr and the exit code. The process has only `environment`, PATH and HOME."""
    return forked.manage(*arguments, environment=_process_environment(environment))


def load_settings(name: str, environment: Mapping[str, str]) -> ModuleType:
    """Import a settings module in an environment with only `environment`, PATH and HOME.

    The module is not installed as the settings of this process.

    Raises:
        DeployError: as raised by the module.
    """
    modules = {module: sys.modules.pop(module) for module in SETTINGS if module in sys.modules}
    variables = dict(os.environ)
    _replace_environment(_process_environment(environment))
    try:
        return importlib.import_module(name)
    finally:
        _replace_environment(variables)
        for module in SETTINGS:
            sys.modules.pop(module, None)
        sys.modules.update(modules)


def _replace_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
