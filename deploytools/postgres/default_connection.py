"""Connect Django's ``default`` alias to one tenant after the other within one process."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error, load_backend

from deploytools.postgres.connections import CONNECT_TIMEOUT, Login, connection_error

ALIAS = "default"

#: The backends for a host whose own is for another database.
ENGINE, GIS_ENGINE = "django.db.backends.postgresql", "django.contrib.gis.db.backends.postgis"

#: Options of the host's alias that are not copied: they set the address, or share connections by alias.
EXCLUDED_OPTIONS = {"pool", "service", "passfile", "sslmode", "sslrootcert", "hostaddr"}


@contextmanager
def default_connection_to(login: Login, database: str) -> Iterator[BaseDatabaseWrapper]:
    """Make ``connections["default"]`` a new connection to `database`; restore the previous one on exit.

    The host's backend is used if it is one for PostgreSQL.
    """
    before = connections[ALIAS]
    host = before.settings_dict
    if before.vendor != "postgresql":  # For example startproject's SQLite, whose options are not PostgreSQL's.
        host = host | {"ENGINE": GIS_ENGINE if before.features.gis_enabled else ENGINE, "OPTIONS": {}}
    wrapper = load_backend(host["ENGINE"]).DatabaseWrapper(_settings(host, login, database), alias=ALIAS)
    connections[ALIAS] = wrapper
    _clear_caches()
    try:
        try:
            wrapper.ensure_connection()
        except Error as error:
            raise connection_error(str(error), who=f"{login.user} to {database} at {login.address}") from None
        yield wrapper
    finally:
        wrapper.close()
        connections[ALIAS] = before
        _clear_caches()


def _settings(host: dict[str, Any], login: Login, database: str) -> dict[str, Any]:
    address = login.address
    options = {key: value for key, value in host["OPTIONS"].items() if key not in EXCLUDED_OPTIONS}
    # LOGIN would replace the login by that of another tenant.
    return copy.deepcopy({key: value for key, value in host.items() if key not in ("OPTIONS", "LOGIN")}) | {
        "NAME": database,
        "HOST": address.host,
        "PORT": str(address.port),
        "USER": login.user,
        "PASSWORD": login.password.reveal(),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "connect_timeout": CONNECT_TIMEOUT,
            "application_name": "deploytools",
            **options,
            **address.options,
        },
    }


def _clear_caches() -> None:
    """Clear Django's caches of rows, which are kept by alias: the rows of another tenant have other ids."""
    for app, model in (("contenttypes", "ContentType"), ("sites", "Site")):
        if apps.is_installed(f"django.contrib.{app}"):
            apps.get_model(app, model).objects.clear_cache()
