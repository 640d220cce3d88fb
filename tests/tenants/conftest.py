"""The fixtures of two tenants that share a role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres_server import Postgres
from tests.tenants.sites import Site, make_site


@pytest.fixture
def site(postgres: Postgres) -> Iterator[Site]:
    yield from make_site(postgres)


@pytest.fixture
def one_site(one_postgres: Postgres) -> Iterator[Site]:
    yield from make_site(one_postgres)
