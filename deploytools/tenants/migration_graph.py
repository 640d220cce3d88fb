"""Read the migrations of the code and of a database without Django's executor.

The executor needs a connection of Django's and an alias in ``DATABASES`` for each tenant.
`deploytools.tenants.migration_history` compares the two.
"""

from __future__ import annotations

import importlib
import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import django
import psycopg
from django.apps import apps
from django.db import router
from django.db.migrations.loader import MigrationLoader

from deploytools.errors import ConfigurationError
from deploytools.postgres.connections import Connection, translate_database_errors
from deploytools.postgres.default_connection import ALIAS
from deploytools.tenants.migration_history import Migration, MigrationGraph, dotted
from deploytools.tenants.migration_marker import IN_PROGRESS_SUFFIX
from deploytools.tenants.state import TENANT_COMMENT
from deploytools.wording import one_line

#: Directories of the code that imports migrations.
IMPORTERS = tuple(f"{Path(module.__file__ or '').parent}{os.sep}" for module in (django, importlib))


def read_graph() -> MigrationGraph:
    """Return the migrations of the installed apps; no database is queried.

    Raises:
        ConfigurationError: a migration cannot be imported, an app has several leaf migrations, or a router excludes
            all models from `ALIAS`.
    """
    models = apps.get_models()
    if models and not any(router.allow_migrate_model(ALIAS, model) for model in models):
        raise ConfigurationError(
            f"DATABASE_ROUTERS excludes all models from the alias {ALIAS}.",
            hint=f"A tenant's database is the alias {ALIAS}: let allow_migrate return True or None for it.",
        )
    loader = load_migrations()
    if conflicts := loader.detect_conflicts():
        leaves = [dotted((app, name)) for app, names in sorted(conflicts.items()) for name in sorted(names)]
        raise ConfigurationError(
            f"Conflicting migrations: several leaf migrations in one app: {', '.join(leaves)}.",
            hint="Run: python manage.py makemigrations --merge",
        )
    migrations = loader.disk_migrations
    dependencies: dict[Migration, set[Migration]] = {key: set() for key in migrations}
    for key, migration in migrations.items():
        dependencies[key] |= {found for one in migration.dependencies if (found := _resolved(loader, one, key))}
        for one in migration.run_before:
            if found := _resolved(loader, one, key):
                dependencies.setdefault(found, set()).add(key)
    return MigrationGraph(
        {key: frozenset((app, name) for app, name in migration.replaces) for key, migration in migrations.items()},
        {key: frozenset(parents) for key, parents in dependencies.items()},
    )


def load_migrations() -> MigrationLoader:
    """Return Django's loader with the migrations of the installed apps; no database is queried.

    Raises:
        ConfigurationError: a migration cannot be imported, or its dependencies are wrong.
    """
    try:
        return MigrationLoader(None, ignore_no_migrations=True)
    except Exception as error:
        raise ConfigurationError(
            f"The migrations cannot be loaded ({type(error).__name__}{_origin(error)}): {one_line(str(error))}",
            hint="Run: python manage.py makemigrations --check",
        ) from error


def _origin(error: Exception) -> str:
    """Return the file whose import raised `error`, as `` in FILE``; empty: Django raised it."""
    _, *files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    imported = [file for file in files if not file.startswith(("<", *IMPORTERS))]
    return f" in {imported[-1]}" if imported else ""


def _resolved(loader: MigrationLoader, dependency: Migration, key: Migration) -> Migration | None:
    """The migration that a dependency names; it can be ``__first__`` or ``__latest__``."""
    app, name = dependency
    if (app, name) == (key[0], "__first__"):
        return None
    found = loader.check_key((app, name), key[0])
    return (found[0], found[1]) if found else None


#: The comment on the session's database; 1262 is the OID of pg_database. A query in a new session costs less without
#: the function shobj_description and without a join.
COMMENT: LiteralString = """
    SELECT description FROM pg_catalog.pg_shdescription WHERE classoid = 1262
    AND objoid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""
APPLIED: LiteralString = "SELECT app, name FROM django_migrations"
RECORD: LiteralString = f"SELECT app, name, ({COMMENT}) AS comment FROM django_migrations"  # noqa: S608 - a constant


def read_applied(connection: Connection) -> frozenset[Migration]:
    """Return the rows of ``django_migrations``; none if the table does not exist."""
    return frozenset((app, name) for app, name in _read(connection, APPLIED))


def _read(connection: Connection, query: LiteralString) -> list[Any]:
    with translate_database_errors("read the applied migrations"):
        try:
            return connection.execute(query).fetchall()
        except psycopg.errors.UndefinedTable:
            return []


@dataclass(frozen=True)
class MigrationRecord:
    """What a database records of its migrations.

    Attributes:
        applied: the rows of ``django_migrations``; none if the table does not exist.
        comment: the comment on the database.
    """

    applied: frozenset[Migration]
    comment: str

    @property
    def is_in_progress(self) -> bool:
        """Whether a migration is in progress, or was interrupted."""
        return self.comment.endswith(IN_PROGRESS_SUFFIX)

    @property
    def is_managed(self) -> bool:
        """Whether create_tenant_dbs created or adopted the database."""
        return self.comment.startswith(TENANT_COMMENT)


def read_record(connection: Connection) -> MigrationRecord:
    """Return what the session's database records of its migrations: one query, or two if none is applied."""
    rows = _read(connection, RECORD) or [("", "", *row) for row in _read(connection, COMMENT)]
    comment = rows[0][2] if rows else None
    return MigrationRecord(frozenset((app, name) for app, name, _ in rows if app), comment or "")
