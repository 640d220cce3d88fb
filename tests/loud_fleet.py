"""The settings of `tests.fleet_settings` with every logger turned up, for the search for canaries."""

from tests.fleet_settings import *  # noqa: F403
from tests.fleet_settings import LOGGING

LOGGING["loggers"] = {name: {"level": "DEBUG"} for name in ("botocore", "psycopg", "django.db")}
