"""Django's ``default`` alias, pointed at one tenant after the other within one process."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError, load_backend

from deploytools.databases.server import CONNECT_TIMEOUT, Login, connection_failed

ALIAS = "default"

#: Options of the host's that say where to connect, or share connections by alias: of no use for another database.
ABOUT_THE_ADDRESS = {"pool", "service", "passfile", "sslmode", "sslrootcert", "hostaddr"}


@contextmanager
def pointed_at(login: Login, database: str) -> Iterator[BaseDatabaseWrapper]:
    """Within it ``connections["default"]`` is a fresh connection to `database`; after it, what it was before.

    Raises:
        ConnectionFailed: with the link of the chain that broke.
    """
    before = connections[ALIAS]
    wrapper = load_backend(before.settings_dict["ENGINE"]).DatabaseWrapper(
        _settings(before.settings_dict, login, database), alias=ALIAS
    )
    connections[ALIAS] = wrapper
    _forget()
    try:
        _connect(wrapper, login, database)
        yield wrapper
    finally:
        wrapper.close()
        connections[ALIAS] = before
        _forget()


def _connect(wrapper: BaseDatabaseWrapper, login: Login, database: str) -> None:
    try:
        wrapper.ensure_connection()
    except OperationalError as error:
        raise connection_failed(str(error), who=f"{login.user} to {database} at {login.address}") from None


def _settings(host: dict[str, Any], login: Login, database: str) -> dict[str, Any]:
    """The host's settings of the alias, with the server, the role and the database replaced."""
    address = login.address
    options = {key: value for key, value in host["OPTIONS"].items() if key not in ABOUT_THE_ADDRESS}
    where = {"sslmode": address.sslmode, "sslrootcert": address.sslrootcert, "hostaddr": address.hostaddr}
    return copy.deepcopy({key: value for key, value in host.items() if key != "OPTIONS"}) | {
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
            **{key: value for key, value in where.items() if value},
        },
    }


def _forget() -> None:
    """Django's caches of rows are kept by alias: another tenant's rows have other ids."""
    for app, model in (("contenttypes", "ContentType"), ("sites", "Site")):
        if apps.is_installed(f"django.contrib.{app}"):
            apps.get_model(app, model).objects.clear_cache()
