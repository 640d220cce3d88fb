"""Which migrations the code has and which a database has: two sets, compared without Django's executor.

The executor's own look at a database costs a connection of Django's and an alias in ``DATABASES`` for each tenant.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.migrations.loader import MigrationLoader

from deploytools.databases.server import Connection, translating

Migration = tuple[str, str]


@dataclass(frozen=True)
class MigrationGraph:
    """The migrations of the code.

    Attributes:
        replaced_by: for each migration the ones that it replaces (squashed ones), empty for most.
    """

    replaced_by: dict[Migration, frozenset[Migration]]

    def missing_from(self, applied: frozenset[Migration]) -> tuple[Migration, ...]:
        """What the code has and the database has not, in order of name."""
        return tuple(
            sorted(
                migration
                for migration, replaces in self.replaced_by.items()
                if migration not in applied and not (replaces and replaces <= applied)
            )
        )

    def unknown_in(self, applied: frozenset[Migration]) -> tuple[Migration, ...]:
        """What the database has of the code's apps and the code has not: the database is ahead of the code."""
        known = set(self.replaced_by).union(*self.replaced_by.values())
        apps = {app for app, _ in self.replaced_by}
        return tuple(sorted(migration for migration in applied - known if migration[0] in apps))


def read_graph() -> MigrationGraph:
    """The migrations of the installed apps; asks no database."""
    nodes = MigrationLoader(None, ignore_no_migrations=True).graph.nodes
    return MigrationGraph({key: frozenset(node.replaces) for key, node in nodes.items() if node is not None})


def read_applied(connection: Connection) -> frozenset[Migration]:
    """What ``django_migrations`` of this database says; empty where there is no such table yet."""
    with translating("show its migrations"):
        exists = connection.execute("SELECT to_regclass('django_migrations') IS NOT NULL AS it_does").fetchone()
        if exists is None or not exists.it_does:
            return frozenset()
        rows = connection.execute("SELECT app, name FROM django_migrations").fetchall()
    return frozenset((row.app, row.name) for row in rows)
