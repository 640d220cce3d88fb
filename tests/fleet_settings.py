"""The base settings with the test app of `tests.fleet` instead of the shop. FLEET selects its version."""

from __future__ import annotations

from StartupWebApp.settings import *  # noqa: F403
from StartupWebApp.settings import env

INSTALLED_APPS = [*env.list("FLEET_APPS", default=[]), "deploytools", "tests.fleet"]
MIGRATION_MODULES = {
    "fleet": env.str("FLEET_MODULE", default=f"tests.fleet.migrations.{env.str('FLEET', default='v2')}")
}
MIDDLEWARE = []
AUTH_USER_MODEL = env.str("AUTH_USER_MODEL", default="auth.User")
if env.bool("SQLITE", default=False):  # The database of startproject's settings.
    DATABASES = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/db.sqlite3", "OPTIONS": {"timeout": 20}}
    }
