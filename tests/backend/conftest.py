"""Fixtures of the tests of the backend."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config

from deploytools import aws
from deploytools.backend import login_source
from tests.backend.world import World, world
from tests.postgres_server import Postgres

IMPATIENT, TIMEOUT = aws.IMPATIENT, login_source.TIMEOUT


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A busy machine can take longer than the second that a request of the application waits for AWS."""
    once = {"mode": "standard", "total_max_attempts": 1}
    monkeypatch.setattr(aws, "IMPATIENT", Config(connect_timeout=30, read_timeout=30, retries=once))  # type: ignore[arg-type]
    monkeypatch.setattr(login_source, "TIMEOUT", 60.0)


@pytest.fixture
def made(aws_environment: dict[str, str], one_postgres: Postgres, monkeypatch, django_db_blocker) -> Iterator[World]:
    """A role and a secret on the default version of PostgreSQL."""
    with django_db_blocker.unblock(), world(one_postgres, boto3.client("secretsmanager"), monkeypatch) as made:
        yield made


@pytest.fixture
def made_on_each_version(
    aws_environment: dict[str, str], postgres: Postgres, monkeypatch, django_db_blocker
) -> Iterator[World]:
    """As `made`, on each version of PostgreSQL."""
    with django_db_blocker.unblock(), world(postgres, boto3.client("secretsmanager"), monkeypatch) as made:
        yield made
