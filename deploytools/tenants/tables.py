"""The tables of a database that is being created: migrated or, in a copy, verified before connections are enabled."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from django.apps import apps

from deploytools.errors import DatabaseError
from deploytools.postgres.connections import Connection, Login
from deploytools.tenants.migration_graph import load_migrations, read_record
from deploytools.tenants.migration_history import MigrationGraph
from deploytools.tenants.options import DesiredState
from deploytools.tenants.state import ENCODING, TEMPLATE_PREFIX
from deploytools.tenants.tenant_migration import (
    MigrationLimits,
    MigrationOutcome,
    MigrationResult,
    evaluate_history,
    migrate_tenant,
)
from deploytools.wording import one_line

#: No other session works in a database that is being created.
NO_LIMITS = MigrationLimits(lock_timeout=0, statement_timeout=0)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Let programs that a migration starts print to stderr: their output must not become part of the report."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


class TenantOutput(io.TextIOBase):
    """Writes what a migration prints to another stream: each line after the name of its database."""

    def __init__(self, database: str, stream: TextIO) -> None:
        self._database, self._stream, self._rest = database, stream, ""

    def write(self, text: str) -> int:
        """Write the complete lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(None, map(one_line, lines)):
            self._stream.write(f"{self._database}: {line}\n")
        return len(text)

    def fileno(self) -> int:
        """Return the other stream's descriptor, for programs that are started with ``stdout=sys.stdout``."""
        return self._stream.fileno()

    def close(self) -> None:
        """Write a line without an end, too."""
        self.write("\n")
        super().close()


def run_migrations(login: Login, database: str, graph: MigrationGraph) -> None:
    """Run all migrations in `database`.

    Args:
        login: the owner of the objects in the database.

    Raises:
        DatabaseError: a migration failed, or migrations are left to apply.
    """
    output = TenantOutput(database, sys.stderr)
    with stdout_to_stderr(), redirect_stdout(output), redirect_stderr(output):
        result = migrate_tenant(login, database, graph, NO_LIMITS)
    output.close()
    _require_up_to_date(database, result)


def verify_migrations(connection: Connection, database: str, graph: MigrationGraph) -> None:
    """Verify in the application's session that `database`, a copy of a template, has exactly the code's migrations."""
    record = read_record(connection)
    history = graph.compare(record.applied, is_unfinished=record.is_in_progress)
    _require_up_to_date(database, evaluate_history(database, history))


def _require_up_to_date(database: str, result: MigrationResult) -> None:
    if result.error:
        raise DatabaseError(f"Connections to {database} were not enabled: {result.error}", hint=result.hint)
    if result.before and (result.outcome is MigrationOutcome.PENDING or result.before.unknown):
        raise DatabaseError(
            f"Connections to {database} were not enabled: its migrations differ from the code's "
            f"({result.before.state}).",
            hint="The template was changed. Drop it: python manage.py create_tenant_dbs --prune-templates "
            "--no-template. Then drop the copy and run the command again.",
        )


def template_name(desired: DesiredState) -> str:
    """Return the name of the template: a digest of everything that determines its content.

    That is the migrations with their source (an edited migration produces another database), the apps (content types
    and permissions are rows), the encoding, the locale, the owner and the extensions.
    """
    digest = hashlib.sha256()
    loader = load_migrations()
    for (app, name), migration in sorted(loader.disk_migrations.items()):
        source = sys.modules[type(migration).__module__].__file__
        digest.update(f"{app}.{name}\0".encode() + (Path(source).read_bytes() if source else b""))
    labels = [config.label for config in apps.get_app_configs()]
    parts = (labels, ENCODING, desired.locale, desired.template_owner(""), *desired.template_extensions)
    digest.update(repr(parts).encode())
    return TEMPLATE_PREFIX + digest.hexdigest()[:16]
