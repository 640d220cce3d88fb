"""A role, a secret with its login, and Django's settings for a database with ``LOGIN``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from psycopg import sql

from deploytools.backend import login_changed, login_source
from deploytools.secrets.document import Secret
from deploytools.secrets.reader import Content, SecretReader
from tests.postgres_server import Postgres, scram

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


@dataclass
class World:
    """One role, one secret.

    Attributes:
        reads: the labels that were read, in order.
        changes: user and version of each signal `login_changed`.
    """

    postgres: Postgres
    client: SecretsManagerClient
    name: str
    reads: list[str] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)

    def password(self, number: int) -> str:
        return f"canary-{number}-{self.name}-of-the-database"

    def set_role(self, user: str, password: str, attributes: str = "LOGIN") -> None:
        """Change the role as the superuser."""
        with self.postgres.admin() as admin:
            verifier = scram(admin, user, Secret(password))
            statement = sql.SQL("ALTER ROLE {} {} PASSWORD {}")
            admin.execute(statement.format(sql.Identifier(user), sql.SQL(attributes), sql.Literal(verifier)))

    def make_role(self, user: str, password: str) -> None:
        self.postgres.make_role(user, Secret(password))

    def put(self, user: str, password: str, label: str = "AWSCURRENT") -> str:
        """Write a version; return its ID."""
        content = json.dumps({"username": user, "password": password})
        response = self.client.put_secret_value(SecretId=self.name, SecretString=content, VersionStages=[label])
        return response["VersionId"]

    def settings(self, password: str, **values: Any) -> dict[str, Any]:
        """Return the settings of a database with this password, which needs not be the role's."""
        address = self.postgres.address
        options = {"sslmode": address.sslmode, "sslrootcert": address.sslrootcert, "hostaddr": address.hostaddr}
        return {
            "ENGINE": "deploytools.backend",
            "NAME": "postgres",
            "HOST": address.host,
            "PORT": str(address.port),
            "USER": self.name,
            "PASSWORD": password,
            "LOGIN": {"SECRET": self.name, "REGION": "us-east-1"},
            **values,
            "OPTIONS": options | values.get("OPTIONS", {}),
        }

    def connection(self, password: str, **values: Any) -> BaseDatabaseWrapper:
        """Return a connection that is not open."""
        return ConnectionHandler({"default": self.settings(password, **values)})["default"]


@contextmanager
def world(postgres: Postgres, client: SecretsManagerClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Yield a role with password 1, which AWSCURRENT has."""
    made = World(postgres, client, postgres.fresh_name())
    made.make_role(made.name, made.password(1))
    client.create_secret(Name=made.name)
    made.put(made.name, made.password(1))
    read_stage = SecretReader.read_stage

    def recorded(reader: SecretReader, label: str) -> Content:
        made.reads.append(label)
        return read_stage(reader, label)

    def on_change(secret: str, user: str, version: str, **_: Any) -> None:
        assert secret == made.name
        made.changes.append((user, version))

    monkeypatch.setattr(SecretReader, "read_stage", recorded)
    monkeypatch.setattr(login_source, "STARTED", monotonic())  # As in a process that has just started.
    login_changed.connect(on_change)
    try:
        yield made
    finally:
        login_changed.disconnect(on_change)
        postgres.sweep(made.name)
        client.delete_secret(SecretId=made.name, ForceDeleteWithoutRecovery=True)


def session(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    """Open the connection if necessary; return its session's login, role and application."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user::text, current_user::text, current_setting('application_name')")
        row = cursor.fetchone()
    assert row
    return tuple(row)
