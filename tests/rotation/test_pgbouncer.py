"""Behind a real PgBouncer, the second login acts as the owner, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pgbouncer import pgbouncer
from tests.rotation.world import World


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_tables_belong_to_the_owner(accessible: Path, made: World, mode: str):
    made.rotate()
    assert made.login().user == f"{made.owner}_b"
    with pgbouncer(accessible, made.postgres, made.login(), mode=mode) as (pooled,):
        for number in range(3):  # Sessions of the server are used again.
            with pooled.connect(made.database) as session:
                session.execute(f"CREATE TABLE pooled_{number} (id integer)".encode())
        with pooled.connect(made.database) as session:
            owners = session.execute("SELECT DISTINCT tableowner::text FROM pg_tables WHERE tablename LIKE 'pooled_%'")
            assert owners.fetchall() == [(made.owner,)]
