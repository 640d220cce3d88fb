"""Statements of pending migrations that block an application while they scan or rewrite a large table.

The rules are those of squawk, a linter for PostgreSQL: require-concurrent-index-creation, changing-column-type,
adding-not-nullable-field, constraint-missing-not-valid, disallowed-unique-constraint, adding-field-with-default. They
are applied to the SQL that Django generates, so that operations of other packages and RunSQL are included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from deploytools.postgres.connections import Login
from deploytools.postgres.default_connection import default_connection_to
from deploytools.tenants.migration_history import Migration, dotted
from deploytools.wording import one_line

#: Bytes, with indexes: a smaller table is scanned in well under a second.
LARGE = 16 * 2**20

#: Milliseconds.
STATEMENT_TIMEOUT = 10_000

TABLE = r'(?P<table>(?:"[^"]+"|[\w$]+)(?:\.(?:"[^"]+"|[\w$]+))?)'
ALTER = rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{TABLE} .*?"
VOLATILE = r"\b(?:gen_random_uuid|uuid_generate_v\w+|uuidv[47]|random|clock_timestamp|timeofday|nextval)\("

#: A pattern for the start of a statement, one that makes it harmless, and what it does otherwise.
RULES: tuple[tuple[str, str, str], ...] = (
    (
        rf"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).*?\bON (?:ONLY )?{TABLE}",
        "",
        "CREATE INDEX without CONCURRENTLY blocks writes until the index is built",
    ),
    (rf"{ALTER}ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE\b", "",
     "ALTER COLUMN TYPE can rewrite the table, and blocks reads and writes meanwhile"),
    (rf"{ALTER}ALTER (?:COLUMN )?\S+ SET NOT NULL\b", "",
     "SET NOT NULL scans the table, and blocks reads and writes meanwhile, unless a valid CHECK constraint exists"),
    (rf"{ALTER}ADD CONSTRAINT \S+ CHECK\b", r"NOT VALID",
     "ADD CONSTRAINT CHECK without NOT VALID scans the table, and blocks reads and writes meanwhile"),
    (rf"{ALTER}ADD CONSTRAINT \S+ FOREIGN KEY\b", r"NOT VALID",
     "ADD CONSTRAINT FOREIGN KEY without NOT VALID scans the table, and blocks writes meanwhile"),
    (rf"{ALTER}ADD CONSTRAINT \S+ (?:UNIQUE|PRIMARY KEY|EXCLUDE)\b", r"USING INDEX",
     "ADD CONSTRAINT builds an index, and blocks reads and writes meanwhile"),
    (rf"{ALTER}ADD COLUMN .*?(?:DEFAULT [^;]*?{VOLATILE}|\bSTORED\b|\bAS IDENTITY\b|\b(?:big|small)?serial\b)", "",
     "ADD COLUMN with a value computed for each row rewrites the table, and blocks reads and writes meanwhile"),
    (rf"{ALTER}ADD COLUMN [^;]*? (?:UNIQUE|PRIMARY KEY)\b", "",
     "ADD COLUMN UNIQUE builds an index, and blocks reads and writes meanwhile"),
)  # fmt: skip


@dataclass(frozen=True)
class LockWarning:
    """One statement of a migration that blocks the application for long, or a migration that was not evaluated.

    Attributes:
        migration: its dotted name.
        reason: what the statement does, or why the migration was not evaluated.
        table: the table as in the statement; empty if the migration was not evaluated.
        tenant: the database in which the table was measured.
        size: its size in bytes, with indexes.
        rows: PostgreSQL's estimate; -1 if there is none.
    """

    migration: str
    reason: str
    table: str = ""
    tenant: str = ""
    size: int = 0
    rows: int = -1


def not_evaluated(reason: str, migration: str = "the pending migrations") -> LockWarning:
    """Return the warning that it is unknown what locks a migration takes."""
    return LockWarning(migration, f"locks were not evaluated: {reason}")


def read_lock_warnings(login: Login, tenant: str, pending: Iterable[Migration]) -> tuple[LockWarning, ...]:
    """Return the warnings for `pending` with the sizes of the tables of `tenant`. The session is read-only."""
    with default_connection_to(login, tenant) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT}")
        loader = MigrationLoader(connection)
        return tuple(warning for one in pending for warning in _warnings(connection, loader, tenant, one))


def _warnings(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, tenant: str, key: Migration
) -> Iterator[LockWarning]:
    try:
        statements = loader.collect_sql([(loader.graph.nodes[key], False)])
    except Exception as error:  # An operation that needs the tables of an earlier one, or that runs queries.
        yield not_evaluated(f"{type(error).__name__}: {one_line(str(error), 200)}", dotted(key))
        return
    found = dict.fromkeys(match for statement in statements for match in blocking(statement))
    sizes = {table: _size(connection, table) for table, _ in found}
    for table, reason in found:
        size, rows = sizes[table]
        if size >= LARGE:
            yield LockWarning(dotted(key), reason, table.replace('"', ""), tenant, size, rows)


def blocking(statement: str) -> Iterator[tuple[str, str]]:
    """Yield the table and the reason for each rule that `statement` breaks: one statement, or a script of RunSQL."""
    for part in re.sub(r"/\*.*?\*/|--[^\n]*", " ", statement, flags=re.DOTALL).split(";"):
        text = " ".join(part.split())
        for start, harmless, reason in RULES:
            found = re.match(start, text, re.IGNORECASE)
            if found and not (harmless and re.search(harmless, text, re.IGNORECASE)):
                yield found["table"], reason


def _size(connection: BaseDatabaseWrapper, table: str) -> tuple[int, int]:
    """Return the size and the estimated rows of a table, with its partitions; 0 and -1 if it does not exist yet."""
    query = """
        SELECT greatest(pg_total_relation_size(oid), (SELECT sum(pg_total_relation_size(relid))
               FROM pg_partition_tree(oid))), reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)
    """
    with connection.cursor() as cursor:
        cursor.execute(query, [table])
        size, rows = cursor.fetchone() or (0, -1)
    return int(size), int(rows)
