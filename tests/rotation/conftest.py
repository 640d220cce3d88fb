"""A world of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres_server import Postgres
from tests.rotation.world import World


@pytest.fixture
def made(one_postgres: Postgres) -> Iterator[World]:
    world = World(one_postgres)
    yield world
    one_postgres.sweep(world.name)
