"""The servers of the shared cloud one by one."""

from __future__ import annotations

import pytest

from deploytools.local import CloudState, PostgresState
from tests.conftest import INSTALLED, versions


@pytest.fixture(params=versions(INSTALLED))
def server(cloud: CloudState, request: pytest.FixtureRequest) -> PostgresState:
    """Each PostgreSQL in turn: with its own TLS, and with a TLS proxy in front of it."""
    (found,) = [server for server in cloud.postgres if server.major == request.param]
    return found
