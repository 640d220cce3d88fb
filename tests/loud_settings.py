"""The base settings with every logger turned up, for the search for canaries."""

from StartupWebApp.settings import *  # noqa: F403
from StartupWebApp.settings import LOGGING

LOGGING["loggers"] = {"botocore": {"level": "DEBUG"}, "psycopg": {"level": "DEBUG"}}
