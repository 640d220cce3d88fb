"""Which migrations the code has and which a database has, read without Django's executor.

The executor's own look at a database costs a connection of Django's and an alias in ``DATABASES`` for each tenant.
What the two are to each other, `deploytools.databases.history` says.
"""

from __future__ import annotations

import psycopg
from django.db.migrations.loader import MigrationLoader

from deploytools.databases.history import Migration, MigrationGraph, dotted
from deploytools.databases.server import Connection, translating
from deploytools.databases.unfinished import SUFFIX
from deploytools.errors import ConfigurationError


def read_graph() -> MigrationGraph:
    """The migrations of the installed apps; asks no database.

    Raises:
        ConfigurationError: two migrations of one app are both its last.
    """
    loader = MigrationLoader(None, ignore_no_migrations=True)
    if conflicts := loader.detect_conflicts():
        leaves = [dotted((app, name)) for app, names in sorted(conflicts.items()) for name in sorted(names)]
        raise ConfigurationError(
            f"The code's migrations are in conflict: {', '.join(leaves)} are all the last of their app.",
            hint="Run: python manage.py makemigrations --merge",
        )
    migrations = loader.disk_migrations
    needs: dict[Migration, set[Migration]] = {key: set() for key in migrations}
    for key, migration in migrations.items():
        needs[key] |= {found for one in migration.dependencies if (found := _resolved(loader, one, key))}
        for one in migration.run_before:
            if found := _resolved(loader, one, key):
                needs.setdefault(found, set()).add(key)
    return MigrationGraph(
        {key: frozenset((app, name) for app, name in migration.replaces) for key, migration in migrations.items()},
        {key: frozenset(parents) for key, parents in needs.items()},
    )


def _resolved(loader: MigrationLoader, dependency: Migration, key: Migration) -> Migration | None:
    """The migration that a dependency names; ``__first__`` and ``__latest__`` are names, too."""
    app, name = dependency
    if (app, name) == (key[0], "__first__"):
        return None
    found = loader.check_key((app, name), key[0])
    return (found[0], found[1]) if found else None


def read_applied(connection: Connection) -> frozenset[Migration]:
    """What ``django_migrations`` of this database says; empty where there is no such table yet."""
    return read_record(connection)[0]


def read_record(connection: Connection) -> tuple[frozenset[Migration], bool]:
    """What ``django_migrations`` says, and whether a migration has not ended, in one query.

    Where the table is empty nothing is said of the latter: everything is to be applied either way.
    """
    query = (
        "SELECT app, name, (SELECT right(description, length(%(note)s)) = %(note)s FROM pg_shdescription "
        "WHERE classoid = 'pg_database'::regclass AND objoid = (SELECT oid FROM pg_database "
        "WHERE datname = current_database())) AS has_not_ended FROM django_migrations"
    )
    with translating("show its migrations"):
        try:
            rows = connection.execute(query, {"note": SUFFIX}).fetchall()
        except psycopg.errors.UndefinedTable:
            return frozenset(), False
    return frozenset((app, name) for app, name, _ in rows), any(has_not_ended for *_, has_not_ended in rows)
