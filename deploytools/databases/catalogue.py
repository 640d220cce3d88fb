"""What the application's role can see of the server."""

from __future__ import annotations

from dataclasses import dataclass

from deploytools.databases.reading import read_databases, read_roles
from deploytools.databases.server import TRUSTED, Connection, Login, translating
from deploytools.databases.state import DatabaseState, RoleState
from deploytools.errors import DatabaseError


@dataclass(frozen=True)
class ServerCatalogue:
    """What the application's role can see of the server.

    Attributes:
        roles: those of the application's roles that exist: the one that all tenants share, or each tenant's own.
        databases: the wanted ones that exist, by name.
        test_databases: databases that Django's test runner left behind.
        unnamed: databases of those roles that are not wanted: a tenant that is gone, or forgotten.
    """

    roles: tuple[RoleState, ...]
    databases: dict[str, DatabaseState]
    test_databases: tuple[str, ...]
    unnamed: tuple[str, ...] = ()


def read_catalogue(login: Login, database: str, names: list[str], roles: list[str]) -> ServerCatalogue:
    """The catalogue as one of the application's roles sees it.

    Args:
        database: a database that the role may connect to.
        names: the wanted databases.
        roles: the application's roles.
    """
    with login.connect(database, settings=TRUSTED) as connection, translating("show its catalogue"):
        found = read_roles(connection, roles)
        rows = connection.execute(
            """
            SELECT datname, datname LIKE 'test\\_%%' AS is_of_tests FROM pg_database
            WHERE datname LIKE 'test\\_%%'
               OR (pg_get_userbyid(datdba) = ANY(%s) AND datname <> ALL(%s) AND NOT datistemplate)
            ORDER BY 1
            """,
            [roles, names],
        ).fetchall()
        databases = read_databases(connection, names)
    tests = tuple(row.datname for row in rows if row.is_of_tests)
    unnamed = tuple(row.datname for row in rows if not row.is_of_tests)
    return ServerCatalogue(tuple(found[name] for name in roles if name in found), databases, tests, unnamed)


@dataclass(frozen=True)
class ConnectionSlots:
    """How many connections the server takes.

    Attributes:
        maximum: ``max_connections``.
        reserved: of those, for superusers and for RDS itself.
        used: by whomever, now.
    """

    maximum: int
    reserved: int
    used: int

    @property
    def free(self) -> int:
        """How many more it takes from roles that are no superusers."""
        return self.maximum - self.reserved - self.used


def slots_of(connection: Connection) -> ConnectionSlots:
    """The server's connection slots, counted as any role may: ``pg_stat_activity`` hides from most whose they are."""
    with translating("show its connections"):
        row = connection.execute(
            """
            SELECT (SELECT sum(current_setting(name, true)::int)
                    FROM unnest('{superuser_reserved_connections, reserved_connections,
                                  rds.rds_superuser_reserved_connections}'::text[]) AS name) AS reserved,
                   current_setting('max_connections')::int AS maximum,
                   (SELECT sum(numbackends) FROM pg_stat_database)::int AS used
            """
        ).fetchone()
    if row is None:
        raise DatabaseError("The server did not say how many connections it takes.", hint="Run it again.")
    return ConnectionSlots(row.maximum, row.reserved or 0, row.used)


def read_slots(login: Login, database: str) -> ConnectionSlots:
    """The server's connection slots, in a session of their own."""
    with login.connect(database, settings=TRUSTED) as connection:
        return slots_of(connection)
