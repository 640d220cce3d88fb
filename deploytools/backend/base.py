"""Django's PostgreSQL backend with a connection class that recovers from a changed login."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache, cached_property
from typing import Any, ClassVar

import psycopg
from django.db.backends.postgresql import base, client

from deploytools.backend.login_source import LoginSource, connect_with, login_source
from deploytools.postgres.query_limits import checking_health

#: PostgreSQL truncates ``application_name`` to 63 bytes.
MAXIMUM_NAME, VERSION_DIGITS = 63, 8


class RecoveringConnection(psycopg.Connection[Any]):
    """A connection of psycopg that is opened with the login of `source`. Plain connections and pools use it."""

    source: ClassVar[LoginSource]

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Any:
        """Open a connection. If the server refuses the login, try those of the secret, each once.

        Raises:
            psycopg.OperationalError: that of the first attempt.
        """
        connect = super().connect
        return connect_with(
            cls.source,
            lambda login: connect(conninfo, **{**parameters, "user": login.user, "password": login.password.reveal()}),
        )


@cache
def connection_class(parent: type[psycopg.Connection[Any]], source: LoginSource) -> type[psycopg.Connection[Any]]:
    """Return a subclass of `parent` that is opened with the login of `source`."""
    return type(parent.__name__, (RecoveringConnection, parent), {"source": source})


class Driver:
    """The module psycopg, with the ``connect`` of a connection class."""

    def __init__(self, source: LoginSource) -> None:
        self.connect = connection_class(psycopg.Connection, source).connect

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)


class DatabaseClient(client.DatabaseClient):
    """``psql`` with the login that works now."""

    def runshell(self, parameters: Iterable[str]) -> None:
        """Open a connection first, which finds the login."""
        if login_source(self.connection.settings_dict):
            with suppress(psycopg.Error):  # psql reports the reason.
                self.connection.Database.connect(**self.connection.get_connection_params()).close()
        super().runshell(list(parameters))

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        if source := login_source(settings_dict):
            login = source.present
            settings_dict = {**settings_dict, "USER": login.user, "PASSWORD": login.password.reveal()}
        return super().settings_to_cmd_args_env(settings_dict, parameters)


class RecoveringLogin:
    """Mixin for the ``DatabaseWrapper`` of a backend for PostgreSQL: acts only where ``LOGIN`` is set."""

    client_class: Any = DatabaseClient
    settings_dict: dict[str, Any]
    connection: psycopg.Connection[Any] | None

    @cached_property
    def login_source(self) -> LoginSource | None:
        """The source of the login; None: ``LOGIN`` is not set."""
        return login_source(self.settings_dict)

    @cached_property  # Django reads it with each query.
    def Database(self) -> Any:
        """The driver: Django calls its ``connect`` and catches its exceptions."""
        source = self.login_source
        return Driver(source) if source else psycopg

    @property
    def pool(self) -> Any:
        """Django's pool, which has not opened a connection yet when it is created."""
        pool, source = super().pool, self.login_source  # type: ignore[misc]
        if pool is not None and source and not issubclass(pool.connection_class, RecoveringConnection):
            pool.connection_class = connection_class(pool.connection_class, source)
        return pool

    def is_usable(self) -> bool:
        """Return whether the server responds, which is asked before a request uses an idle connection."""
        if self.connection is None:
            return False
        with checking_health(self.connection):
            usable: bool = super().is_usable()  # type: ignore[misc]
        return usable

    def get_connection_params(self) -> dict[str, Any]:
        """Return Django's parameters with the present login, and the version that the process started from."""
        parameters: dict[str, Any] = super().get_connection_params()  # type: ignore[misc]
        if source := self.login_source:
            login = source.present
            parameters |= {"user": login.user, "password": login.password.reveal()}
        if version := (self.settings_dict.get("LOGIN") or {}).get("VERSION"):
            suffix = f"-{version[:VERSION_DIGITS]}"
            name = str(parameters.get("application_name", "django")).encode()[: MAXIMUM_NAME - len(suffix)]
            parameters["application_name"] = name.decode(errors="ignore") + suffix
        return parameters


class DatabaseWrapper(RecoveringLogin, base.DatabaseWrapper):  # type: ignore[override]
    """Django's backend for PostgreSQL."""
