"""The production settings with every logger turned up, for the search for canaries."""

from StartupWebApp.settings import LOGGING
from StartupWebApp.settings_production import *  # noqa: F403

LOGGING["loggers"] = {"botocore": {"level": "DEBUG"}, "psycopg": {"level": "DEBUG"}}
