"""Open a connection with `deploytools.backend` and with Django's own backend, in turns."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from typing import Any

import boto3
import django
from django.conf import settings
from django.db.utils import ConnectionHandler

from deploytools.local.cloud_environment import variables
from tests.bench.measure import environment_line, in_turns, table
from tests.local_cloud import separate_cloud

CONNECTIONS, QUERIES = 300, 3000


def run() -> str:
    """Return the section for docs/benchmarks.md."""
    with separate_cloud() as state:
        os.environ.update(variables(state))
        server, name, region = state.postgres[0], f"bench/{secrets.token_hex(5)}", "us-east-1"
        login = {"username": "postgres", "password": state.master_password}
        boto3.client("secretsmanager", region).create_secret(Name=name, SecretString=json.dumps(login))
        database: dict[str, Any] = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "HOST": server.host,
            "PORT": str(server.port),
            "USER": login["username"],
            "PASSWORD": login["password"],
            "OPTIONS": {"sslmode": "verify-full", "sslrootcert": server.ca_file, "hostaddr": server.hostaddr},
        }
        ours = {"ENGINE": "deploytools.backend", "LOGIN": {"SECRET": name, "REGION": region}}
        settings.configure(DATABASES={"default": database, "recovering": database | ours})
        django.setup()
        handler = ConnectionHandler(settings.DATABASES)
        cases = {"Django's own backend": "default", "`deploytools.backend`": "recovering"}
        connects = in_turns({case: _connect(handler, alias) for case, alias in cases.items()}, rounds=CONNECTIONS + 1)
        queries = in_turns({case: _query(handler, alias) for case, alias in cases.items()}, rounds=QUERIES + 1)
        handler.close_all()
    own = next(iter(cases))
    rows = [[case, f"{connects[case] / connects[own]:.3f}", f"{queries[case] / queries[own]:.3f}"] for case in cases]
    head = ["ratio of medians", f"{CONNECTIONS} connections", f"{QUERIES} queries"]
    versions = (f"Django {django.__version__}", f"PostgreSQL {server.major} with TLS")
    return f"## Database backend\n\n{table(head, rows)}\n\n{environment_line(*versions)}\n"


def _connect(handler: ConnectionHandler, alias: str) -> Callable[[], None]:
    def connect() -> None:
        handler[alias].ensure_connection()
        handler[alias].close()

    return connect


def _query(handler: ConnectionHandler, alias: str) -> Callable[[], None]:
    def query() -> None:
        with handler[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()

    return query
