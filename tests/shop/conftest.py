"""Fixtures: a client that is logged in to the admin, and an empty database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker

from deploytools.secrets.document import Secret
from tests.postgres_server import Postgres


@pytest.fixture
def staff_client(client: Client, db: None) -> Client:
    """A client that is logged in as a superuser without a password, because hashing one is slow."""
    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


def _empty_database(server: Postgres, blocker: DjangoDbBlocker) -> Iterator[str]:
    name, password = server.fresh_name(), Secret("a-password-for-tests-only")
    server.make_role(name, password, "NOSUPERUSER NOCREATEDB NOCREATEROLE")
    with server.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(name)))
    address = server.address
    connections.settings[name] = {
        **connections.settings["default"],
        "NAME": name,
        "USER": name,
        "PASSWORD": password.reveal(),
        "HOST": address.host,
        "PORT": str(address.port),
        "OPTIONS": {
            "hostaddr": address.hostaddr,
            "sslmode": address.sslmode,
            "sslrootcert": address.sslrootcert,
        },
    }
    with blocker.unblock():
        yield name
        connections[name].close()
    del connections[name], connections.settings[name]
    server.sweep(name)


@pytest.fixture
def empty_database(one_postgres: Postgres, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The alias of an empty database, owned by a role without other privileges."""
    yield from _empty_database(one_postgres, django_db_blocker)


@pytest.fixture
def empty_database_of_each_version(postgres: Postgres, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The same on each version of PostgreSQL."""
    yield from _empty_database(postgres, django_db_blocker)
