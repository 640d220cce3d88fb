"""A soak: random operations on a fleet with traffic on every tenant. No statement of the application may fail.

Environment: SOAK_TENANTS, SOAK_SECONDS (no operation starts later), SOAK_POSTGRES (the version), and SOAK_SEED to
repeat the operations of a run. CI runs 8 tenants for 45 seconds; the full size is 50 tenants for 120 seconds or more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from random import Random

import pytest

from tests.conftest import installed
from tests.fleet.world import Fleet
from tests.postgres_server import Postgres
from tests.servers import OwnServer, own_server
from tests.soak.application import Application
from tests.soak.releases import Releases
from tests.soak.world import World

TENANTS, SECONDS = int(os.environ.get("SOAK_TENANTS", "8")), float(os.environ.get("SOAK_SECONDS", "45"))


@pytest.fixture(params=[pytest.param(17, id="pg17", marks=pytest.mark.xdist_group("own-17"))])
def own(request: pytest.FixtureRequest) -> Iterator[OwnServer]:
    with own_server(
        installed(int(os.environ.get("SOAK_POSTGRES", request.param))), "max_connections = 200\n"
    ) as server:
        yield server


@pytest.fixture
def one_postgres(own: OwnServer) -> Postgres:
    return own.postgres


@pytest.mark.slow
def test_random_operations_under_traffic(own, deployment, tmp_path):
    seed = os.environ.get("SOAK_SEED") or str(time.time_ns())
    print(f"SOAK_SEED={seed}")  # noqa: T201
    random = Random(seed)  # noqa: S311
    with Application() as application:
        world = World(own, Fleet(deployment, []), application, Releases(tmp_path), random, TENANTS)
        world.begin()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for operation in random.sample(World.OPERATIONS, len(World.OPERATIONS)):
                print(f"{operation.__name__} ({application.statements} statements)")  # noqa: T201
                operation(world)
                assert application.failures == []
                if time.monotonic() > deadline:
                    break
        world.end()
    assert application.failures == []
    assert application.statements > TENANTS
