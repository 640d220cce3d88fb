"""The base settings with the small app of `tests.fleet` in place of the shop; FLEET names its version."""

from __future__ import annotations

from StartupWebApp.settings import *  # noqa: F403
from StartupWebApp.settings import env

INSTALLED_APPS = [*env.list("FLEET_APPS", default=[]), "deploytools", "tests.fleet"]
MIGRATION_MODULES = {"fleet": f"tests.fleet.migrations.{env.str('FLEET', default='v2')}"}
MIDDLEWARE = []
