"""Production settings of the shop under load; ``LOAD`` chooses how it connects."""

from __future__ import annotations

import os

from StartupWebApp.settings_production import *  # noqa: F403
from StartupWebApp.settings_production import DATABASES

default = DATABASES["default"]
default["LOGIN"]["REFRESH"] = 1
match os.environ["LOAD"]:
    case "pool":
        default["CONN_MAX_AGE"] = 0
        default["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 4, "max_lifetime": 2, "timeout": 10}
    case "django":
        default["CONN_MAX_AGE"] = 0
        default["ENGINE"] = "django.db.backends.postgresql"
    case seconds:
        default["CONN_MAX_AGE"] = int(seconds)
