"""Tables inside a database that is being made: migrated, or compared with the migrations, before it is opened."""

from __future__ import annotations

import hashlib
import sys
from contextlib import redirect_stdout
from pathlib import Path

from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from deploytools.databases.fleet import Limits, Outcome
from deploytools.databases.history import MigrationGraph
from deploytools.databases.migrating import look_at, migrate_tenant
from deploytools.databases.reading import read_databases
from deploytools.databases.server import Connection, Login, translating
from deploytools.databases.state import ENCODING, DatabaseState, Wanted
from deploytools.databases.steps import CompareTables, MigrateTables
from deploytools.databases.templates import PREFIX, is_ours, template_owner
from deploytools.errors import DatabaseError

#: Nobody else is in a database that is being made.
NO_LIMITS = Limits(lock=0, statement=0)


def bring_tables(login: Login, step: MigrateTables | CompareTables, graph: MigrationGraph) -> None:
    """Carry out `step`.

    Args:
        login: who owns what is in the database.

    Raises:
        DatabaseError: a migration failed, or the database is not what the code's migrations make.
    """
    if isinstance(step, MigrateTables):
        with redirect_stdout(sys.stderr):  # A migration that prints must not write into the report.
            result = migrate_tenant(login, step.database, graph, NO_LIMITS)
    else:
        result = look_at(login, step.database, graph)
    if result.error:
        raise DatabaseError(f"{step.database} is still closed: {result.error}", hint=result.hint)
    if (result.before and result.outcome is Outcome.PENDING) or (result.before and result.before.unknown):
        raise DatabaseError(
            f"{step.database} is still closed: the copy is not what this code's migrations make "
            f"({result.before.state}).",
            hint="Somebody changed the template. Remove it: create_tenant_dbs --prune-templates --no-template. Drop "
            "the copy, and run it again.",
        )


def template_name(wanted: Wanted) -> str:
    """The name of the template: a digest of all that decides what is in it.

    The migrations with their source (a migration that was edited makes another database), the apps (content types and
    permissions are rows, too), encoding, locale, and who owns it.
    """
    digest = hashlib.sha256()
    loader = MigrationLoader(None, ignore_no_migrations=True)
    for (app, name), migration in sorted(loader.disk_migrations.items()):
        source = sys.modules[type(migration).__module__].__file__
        digest.update(f"{app}.{name}\0".encode() + (Path(source).read_bytes() if source else b""))
    labels = [config.label for config in apps.get_app_configs()]
    owner = template_owner(wanted, "")
    digest.update(repr((labels, ENCODING, wanted.locale, owner)).encode())
    return PREFIX + digest.hexdigest()[:16]


def read_templates(connection: Connection, owners: list[str]) -> tuple[DatabaseState, ...]:
    """The templates that these commands made for one of `owners`, by name."""
    with translating("show its templates"):
        rows = connection.execute(
            "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, %s) "
            "AND pg_get_userbyid(datdba) = ANY(%s) ORDER BY 1",
            [PREFIX, owners],
        ).fetchall()
        found = read_databases(connection, [row.datname for row in rows])
    return tuple(found[row.datname] for row in rows if is_ours(found[row.datname]))
