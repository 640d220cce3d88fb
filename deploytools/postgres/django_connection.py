"""Django's own connection: ``DATABASES["default"]``, opened separately from the connections of the host."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.postgres.connection_probe import ProbeResult, SessionReport, read_session
from deploytools.postgres.connections import CONNECT_TIMEOUT, Login, connection_error

POSTGRESQL = "postgresql"

#: Parameters that name a source of other parameters. libpq's defaults for them are already resolved.
SOURCES = ("service", "passfile")


def driver() -> str:
    """Return the driver that Django uses for PostgreSQL. If both are installed, it is psycopg 3."""
    name = f"psycopg {psycopg.__version__}"
    return f"{name}, which Django prefers to the installed psycopg2" if find_spec("psycopg2") else name


def new_connection() -> BaseDatabaseWrapper:
    """Return a connection with the settings of the alias ``default``, not open and not shared with the host.

    Raises:
        ImproperlyConfigured: the alias is not configured, or its database backend cannot be loaded.
    """
    host = connections.settings[DEFAULT_DB_ALIAS]
    backend: type[BaseDatabaseWrapper] = load_backend(host["ENGINE"]).DatabaseWrapper
    return backend({**host, "OPTIONS": {**host["OPTIONS"]}}, DEFAULT_DB_ALIAS)


def given_parameters(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return the parameters that the settings of a PostgreSQL connection pass to libpq."""
    return {key: str(value) for key, value in connection.get_connection_params().items() if value not in (None, "")}


def login_parameters(login: Login, database: str) -> dict[str, str]:
    """Return the parameters that `Login.connect` passes to libpq."""
    address = login.address
    parameters = {
        "host": address.host,
        "port": str(address.port),
        "hostaddr": address.hostaddr,
        "dbname": database,
        "user": login.user,
        "password": login.password.reveal(),
        "sslmode": address.sslmode,
        "sslrootcert": address.sslrootcert,
    }
    return {key: value for key, value in parameters.items() if value}


def with_defaults(given: Mapping[str, str]) -> dict[str, str]:
    """Return `given` and, for the other parameters, libpq's defaults: from the environment or built in."""
    defaults = {
        option.keyword.decode(): option.val.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.val
    }
    return {key: value for key, value in defaults.items() if key not in SOURCES} | dict(given)


def probe_django() -> ProbeResult:
    """Open Django's connection, run one query and close it. Never raises `DatabaseError`."""
    try:
        return ProbeResult(_read_session())
    except DatabaseError as error:
        return ProbeResult(error=error)


def _read_session() -> SessionReport:
    parameters: dict[str, str] = {}
    connection = None
    started = time.monotonic()
    try:
        connection = new_connection()
        options: dict[str, Any] = connection.settings_dict["OPTIONS"]
        vars(connection)["_connection_pools"] = {}  # Not the process's own, which the next line would add a pool to.
        if hasattr(connection, "pool"):  # Validates the option, as Django's first connection does.
            options.pop("pool", None)  # A pool hides the reason of a failure.
        options.setdefault("connect_timeout", CONNECT_TIMEOUT)
        parameters = with_defaults(given_parameters(connection))
        connection.ensure_connection()
        return read_session(connection.connection, time.monotonic() - started)
    except DatabaseError:
        raise
    except Exception as error:
        raise _translated(error, parameters) from None
    finally:
        if connection is not None:
            connection.close()


def _translated(error: Exception, parameters: Mapping[str, str]) -> ConnectionFailed:
    """Without the password, and without the text of an unexpected exception, which could contain one."""
    text = str(error)
    if password := parameters.get("password"):
        text = text.replace(password, "…")
    if parameters and isinstance(error, Error):
        return connection_error(text, who=_who(parameters))
    reason = " ".join(text.split()) if isinstance(error, ImproperlyConfigured) else f"{type(error).__name__}."
    return ConnectionFailed(
        f"Django could not open a connection: {reason}",
        hint="Correct DATABASES['default']",
        kind=ConnectionFailure.OTHER,
    )


def _who(parameters: Mapping[str, str]) -> str:
    user, database, hostaddr = (parameters.get(key, "") for key in ("user", "dbname", "hostaddr"))
    where = f"{parameters.get('host', 'the local socket')}:{parameters.get('port', '')}"
    return f"{user} to {database} at {where}" + (f" (through {hostaddr})" if hostaddr else "")
