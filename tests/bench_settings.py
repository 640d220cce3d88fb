"""The base settings with the test app of `tests.fleet` in addition to the shop; its second migration is the new one."""

from __future__ import annotations

from StartupWebApp.settings import *  # noqa: F403
from StartupWebApp.settings import INSTALLED_APPS, env

INSTALLED_APPS += ["tests.fleet"]
MIGRATION_MODULES = {"fleet": f"tests.fleet.migrations.{env.str('FLEET', default='v1')}"}
