"""The servers of the shared cloud one by one, and a place for a cloud of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud import CloudState, PostgresState
from tests.conftest import INSTALLED, SLOW_VERSIONS


@pytest.fixture(params=sorted(INSTALLED.keys() - SLOW_VERSIONS), ids=lambda version: f"pg{version}")
def server(cloud: CloudState, request: pytest.FixtureRequest) -> PostgresState:
    """Each PostgreSQL in turn: with TLS of its own, and with TLS before it."""
    (found,) = [server for server in cloud.postgres if server.major == request.param]
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a test may start a cloud of its own."""
    return tmp_path / "cloud"
