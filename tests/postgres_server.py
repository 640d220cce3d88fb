"""A PostgreSQL server for tests: as the superuser, as the master user, and as roles that they create."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from deploytools.postgres.connections import Login, ServerAddress
from deploytools.secrets.document import Secret

#: The names of one test begin with it.
PREFIX = r"t[0-9a-f]{10}"


@dataclass(frozen=True)
class Postgres:
    """One server.

    Attributes:
        version: its major version.
        superuser: the superuser of RDS, to prepare or inspect something.
        master: the master user, not a superuser.
        log_file: the server's log.
    """

    version: int
    address: ServerAddress
    superuser: Login
    master: Login
    log_file: Path

    @contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """Connect as the superuser."""
        with self.superuser.connect(database) as connection:
            yield connection

    def fresh_name(self) -> str:
        """Return a prefix for names that no other test uses."""
        return f"t{uuid.uuid4().hex[:10]}"

    def make_role(self, name: str, password: Secret[str], attributes: str = "") -> Login:
        """Create a role as the superuser."""
        with self.admin() as admin:
            admin.execute(
                sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                    sql.Identifier(name),
                    sql.SQL(attributes),
                    sql.Literal(scram(admin, name, password)),
                )
            )
        return Login(self.address, name, password)

    def snapshot(self, names: list[str]) -> list[tuple[Any, ...]]:
        """Return everything about the databases `names` that a command could change."""
        with self.admin() as admin:
            return [
                tuple(row)
                for row in admin.execute(
                    """
                    SELECT datname, pg_get_userbyid(datdba)::text, datallowconn, datconnlimit,
                           shobj_description(oid, 'pg_database'), datacl::text
                    FROM pg_database WHERE datname = ANY(%s) ORDER BY 1
                    """,
                    [names],
                ).fetchall()
            ]

    def terminate(self, user: str) -> None:
        """Terminate every session of `user`, which is a role of this test: other tests use the same server."""
        assert re.match(PREFIX, user), user
        with self.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [user])

    def log(self) -> str:
        """Return the server's log."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def sweep(self, prefix: str) -> None:
        """Drop every database and role whose name begins with `prefix`."""
        assert re.fullmatch(PREFIX, prefix)
        with self.admin() as admin:
            admin.execute(
                "UPDATE pg_database SET datconnlimit = -1 WHERE datconnlimit = -2 AND datname LIKE %s", [f"{prefix}%"]
            )
            admin.execute(
                "UPDATE pg_database SET datistemplate = false WHERE pg_get_userbyid(datdba)::text LIKE %s",
                [f"{prefix}%"],
            )
            for (name,) in admin.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE %(p)s OR pg_get_userbyid(datdba)::text LIKE %(p)s",
                {"p": f"{prefix}%"},
            ):
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for (name,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"{prefix}%"]):
                admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            for (name,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"{prefix}%"]):
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def scram(connection: psycopg.Connection[Any], user: str, password: Secret[str]) -> str:
    """Return the SCRAM verifier of `password`: tests search the log for passwords and must not cause one there."""
    return connection.pgconn.encrypt_password(password.reveal().encode(), user.encode(), b"scram-sha-256").decode()
