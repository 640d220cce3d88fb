"""Migrate one tenant with Django's own ``migrate`` under the tenant's lock, and report the result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

import psycopg
from django.core.management import BaseCommand, call_command, get_commands, load_command_class
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.migrations.executor import MigrationExecutor

from deploytools.errors import DatabaseError, DeployError
from deploytools.postgres.connections import (
    Login,
    is_connection_lost,
    lock_error,
    replica_error,
    require_direct_connection,
)
from deploytools.postgres.default_connection import ALIAS, default_connection_to
from deploytools.postgres.failures import SQLSTATE_HINTS
from deploytools.postgres.retries import is_transient
from deploytools.tenants.lock_warnings import LockWarning
from deploytools.tenants.migration_graph import read_applied, read_record
from deploytools.tenants.migration_history import History, Migration, MigrationGraph, dotted
from deploytools.tenants.migration_marker import in_progress_statement
from deploytools.wording import one_line, printable_lines

#: Advisory lock that a migration holds in the tenant's own database: "dt_migra" as a number.
LOCK_KEY = int.from_bytes(b"dt_migra")

#: Settings of the session, whatever is set for the role or the database: no time-outs while waiting for the lock, and
#: TCP keepalives, so that the lock of a vanished client is released within a minute.
SESSION = {
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

#: The versions of PostgreSQL that added one of them.
ADDED = {"idle_session_timeout": 140000, "transaction_timeout": 170000}

#: Seconds between two attempts to take a lock that another run holds: the first pause, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


@dataclass(frozen=True)
class MigrationLimits:
    """Limits of one migration, in seconds.

    Attributes:
        wait_for_lock: time to wait for another run that migrates the same tenant.
        lock_timeout: PostgreSQL's ``lock_timeout``; 0: no limit. Other sessions queue behind a waiting statement.
        statement_timeout: PostgreSQL's ``statement_timeout``; 0: no limit.
    """

    wait_for_lock: float = 600.0
    lock_timeout: float = 5.0
    statement_timeout: float = 300.0


class MigrationOutcome(StrEnum):
    """The outcome of one tenant's migration, the worst last."""

    UP_TO_DATE = "up to date"
    MIGRATED = "migrated"
    PENDING = "to migrate"
    NOT_STARTED = "not started"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class MigrationResult:
    """The result of inspecting or migrating one tenant.

    Attributes:
        before: the history before; None if it could not be read.
        after: the history after a migration; None if unchanged or unknown.
        seconds: how long it took, including the wait for another run.
        retries: how often it was tried again because another session's lock or transaction was in the way.
        can_retry: whether it failed for such a reason and was rolled back.
        warnings: pending migrations that block the application for long, if this tenant's tables were measured.
        is_managed: whether create_tenant_dbs created or adopted the database; true if it was not inspected.
        error: one sentence: why it was refused or failed.
        trace: the traceback of a failure, for ``--traceback``.
    """

    tenant: str
    outcome: MigrationOutcome
    before: History | None = None
    after: History | None = None
    applied: tuple[Migration, ...] = ()
    seconds: float = 0.0
    retries: int = 0
    can_retry: bool = False
    warnings: tuple[LockWarning, ...] = ()
    is_managed: bool = True
    error: str = ""
    hint: str = ""
    trace: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the tenant is up to date now."""
        return self.outcome in {MigrationOutcome.UP_TO_DATE, MigrationOutcome.MIGRATED}


@dataclass
class MigrationProgress:
    """Django's ``progress_callback``: which migration is running, and which were applied.

    Attributes:
        on_start: called with the name of each migration before it is applied.
    """

    on_start: Callable[[str], object] | None = None
    running: Any = None
    applied: list[Migration] = field(default_factory=list)

    def __call__(self, action: str, migration: Any = None, fake: bool = False) -> None:
        """Record one event of Django's ``MigrationExecutor``."""
        if action == "apply_start":
            self.running = migration
            if self.on_start:
                self.on_start(self.subject)
        elif action == "apply_success":
            self.applied.append((migration.app_label, migration.name))
            self.running = None

    @property
    def subject(self) -> str:
        """The running migration, as the subject of an error's sentence."""
        return dotted((self.running.app_label, self.running.name)) if self.running else "The migration"


def inspect_tenant(login: Login, tenant: str, graph: MigrationGraph) -> MigrationResult:
    """Compare `tenant` with the code: one connection and one query, without Django. Never raises `DeployError`."""
    started = time.monotonic()
    try:
        with login.connect(tenant) as connection:
            record = read_record(connection)
    except DeployError as error:
        return MigrationResult(tenant, MigrationOutcome.FAILED, error=str(error), hint=error.hint)
    history = graph.compare(record.applied, is_unfinished=record.is_in_progress)
    return replace(evaluate_history(tenant, history, time.monotonic() - started), is_managed=record.is_managed)


def evaluate_history(tenant: str, history: History, seconds: float = 0.0) -> MigrationResult:
    """Return whether `tenant` is up to date, has to be migrated, or is refused because it is inconsistent."""
    if not history.inconsistent:
        outcome = MigrationOutcome.PENDING if history.is_pending else MigrationOutcome.UP_TO_DATE
        return MigrationResult(tenant, outcome, history, seconds=seconds)
    (applied, missing), *_ = history.inconsistent
    return MigrationResult(
        tenant,
        MigrationOutcome.REFUSED,
        history,
        seconds=seconds,
        error=f"Inconsistent migration history: {dotted(applied)} is applied before its dependency {dotted(missing)}.",
        hint=f"Compare the table django_migrations of {tenant} with the output of: python manage.py showmigrations",
    )


def migrate_tenant(
    login: Login,
    tenant: str,
    graph: MigrationGraph,
    limits: MigrationLimits,
    *,
    progress: MigrationProgress | None = None,
    while_waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> MigrationResult:
    """Apply the pending migrations of `tenant`. Never raises `Exception`: an error is in the result.

    Args:
        progress: records which migrations are applied.
        while_waiting: entered while this waits for another run's lock; it may raise to cancel the wait.
    """
    started, progress = time.monotonic(), progress or MigrationProgress()
    before: History | None = None
    invalid: Sequence[int] = ()
    try:
        with default_connection_to(login, tenant) as connection:
            prepare = partial(_prepare, connection, login, tenant, limits, while_waiting)
            prepare()
            record = read_record(connection.connection)
            before = graph.compare(record.applied, is_unfinished=record.is_in_progress)
            result = evaluate_history(tenant, before)
            if result.outcome is MigrationOutcome.PENDING:
                invalid = _invalid_indexes(connection.connection)
                set_in_progress_marker(connection, tenant, is_in_progress=True)
                known = partial(_known_rows, record.applied, graph, progress)
                with _prepared_again(connection, prepare, known):
                    apply_migrations(progress)
                set_in_progress_marker(connection, tenant, is_in_progress=False)
                result = _verified(result, _record_squashed(connection, graph))
    except Exception as error:
        result = failed_result(tenant, error, progress, before)
        if progress.running and not progress.running.atomic:
            result = replace(result, hint=f"{result.hint}{_drop_hint(login, tenant, invalid)}")
    return replace(result, applied=tuple(progress.applied), seconds=time.monotonic() - started)


def load_migrate() -> BaseCommand:
    """Return Django's ``migrate``, or the host's command of that name."""
    return load_command_class(get_commands()["migrate"], "migrate")


def apply_migrations(progress: MigrationProgress) -> None:
    """Run ``migrate`` on the default alias."""
    command = load_migrate()
    command.migration_progress_callback = progress  # type: ignore[attr-defined]
    call_command(command, database=ALIAS, interactive=False, verbosity=0)


def set_in_progress_marker(connection: BaseDatabaseWrapper, tenant: str, *, is_in_progress: bool) -> None:
    """Set or remove the marker that a migration is in progress; without the owner's privileges nothing is done."""
    with connection.cursor() as cursor:
        cursor.execute(in_progress_statement(tenant, is_in_progress=is_in_progress))


def failed_result(
    tenant: str, error: BaseException, progress: MigrationProgress | None = None, before: History | None = None
) -> MigrationResult:
    """Return the result of an exception."""
    progress = progress or MigrationProgress()
    message, hint = _explained(error, progress)
    is_locked = isinstance(error, DatabaseError) and error.sqlstate == "55P03"  # By another run.
    trace = printable_lines("".join(traceback.format_exception(error)))
    return MigrationResult(
        tenant,
        MigrationOutcome.FAILED,
        before,
        applied=tuple(progress.applied),
        can_retry=(is_locked or is_transient(_cause(error))) and _is_rolled_back(progress),
        error=message,
        hint=hint,
        trace=trace,
    )


def _invalid_indexes(connection: psycopg.Connection[Any]) -> list[int]:
    """Return the OIDs of the invalid indexes."""
    return [oid for (oid,) in connection.execute("SELECT indexrelid FROM pg_catalog.pg_index WHERE NOT indisvalid")]


def _drop_hint(login: Login, tenant: str, before: Sequence[int]) -> str:
    """Return how to drop the indexes that a failed ``CREATE INDEX CONCURRENTLY`` has left; empty if it left none.

    An index that another session is building is not one of them.
    """
    query = """
        SELECT quote_ident(nspname) || '.' || quote_ident(relname) AS name
        FROM pg_catalog.pg_index JOIN pg_catalog.pg_class c ON c.oid = indexrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
        WHERE NOT indisvalid AND relkind = 'i' AND indexrelid <> ALL(%s::oid[])
          AND indexrelid NOT IN (SELECT index_relid FROM pg_catalog.pg_stat_progress_create_index)
        ORDER BY name
    """
    drops = ""
    with suppress(DeployError, psycopg.Error), login.connect(tenant) as connection:
        drops = "; ".join(f"DROP INDEX CONCURRENTLY {name}" for (name,) in connection.execute(query, [list(before)]))
    return f" It left an invalid index. Drop it before the next run: {drops}" if drops else ""


def _read_history(connection: BaseDatabaseWrapper, graph: MigrationGraph) -> History:
    connection.ensure_connection()
    record = read_record(connection.connection)
    return graph.compare(record.applied, is_unfinished=record.is_in_progress)


def _record_squashed(connection: BaseDatabaseWrapper, graph: MigrationGraph) -> History:
    """Record the squashed migrations that replace squashed ones, and return the history.

    Each call of Django's ``check_replacements`` only records those whose originals have rows.
    """
    history = _read_history(connection, graph)
    while history.unrecorded:
        MigrationExecutor(connection).check_replacements()
        before, history = history, _read_history(connection, graph)
        if len(history.unrecorded) >= len(before.unrecorded):
            break
    return history


def _verified(result: MigrationResult, after: History) -> MigrationResult:
    if not (after.unapplied or after.unrecorded or after.inconsistent):
        return replace(result, outcome=MigrationOutcome.MIGRATED, after=after)
    return replace(
        result,
        outcome=MigrationOutcome.FAILED,
        after=after,
        error=f"migrate reported no error, but the database is not up to date: {after.state}.",
        hint="Check DATABASE_ROUTERS: a router can exclude the default database from migrations.",
    )


def _prepare(
    connection: BaseDatabaseWrapper,
    login: Login,
    tenant: str,
    limits: MigrationLimits,
    while_waiting: Callable[[], AbstractContextManager[object]],
) -> None:
    """Take the tenant's lock in the session of `connection`, and set the time-outs."""
    _configure_session(connection, login)
    with connection.cursor() as cursor:
        with while_waiting():
            _take_lock(cursor, tenant, limits.wait_for_lock)
        _set_timeouts(cursor, limits)


def _known_rows(
    before: frozenset[Migration], graph: MigrationGraph, progress: MigrationProgress
) -> frozenset[Migration]:
    """The rows of ``django_migrations`` that were there before, and those of the migrations that this run applied."""
    replaced = (graph.replaces.get(migration, frozenset()) for migration in progress.applied)
    return before.union(progress.applied, *replaced)


@contextmanager
def _prepared_again(
    connection: BaseDatabaseWrapper, prepare: Callable[[], None], known_rows: Callable[[], frozenset[Migration]]
) -> Iterator[None]:
    """Prepare the new session, too, if a migration closes the connection and Django connects again.

    Meanwhile another run can have taken the lock. This run must not continue if that has migrated the tenant.
    """

    def on_connect(sender: object, **values: object) -> None:
        if values["connection"] is not connection:
            return
        try:
            prepare()
            if read_applied(connection.connection) - known_rows():
                raise DatabaseError(
                    "Another run migrated the tenant while a migration had closed its connection.",
                    hint="Run the command again.",
                )
        except Exception:
            connection.close()
            raise

    connection_created.connect(on_connect)
    try:
        yield
    finally:
        connection_created.disconnect(on_connect)


def _configure_session(connection: BaseDatabaseWrapper, login: Login) -> None:
    require_direct_connection(connection.connection, login.address)
    version = connection.connection.info.server_version
    settings = {name: value for name, value in SESSION.items() if version >= ADDED.get(name, 0)}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, value, false), pg_is_in_recovery() "
            "FROM unnest(%s::text[], %s::text[]) AS session (name, value)",
            [list(settings), list(settings.values())],
        )
        if any(is_replica for _, is_replica in cursor.fetchall()):
            raise replica_error(login.address)


def _set_timeouts(cursor: CursorWrapper, limits: MigrationLimits) -> None:
    timeouts = [f"{round(seconds * 1000)}ms" for seconds in (limits.lock_timeout, limits.statement_timeout)]
    cursor.execute("SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)", timeouts)


def _take_lock(cursor: CursorWrapper, tenant: str, wait: float) -> None:
    """Take the tenant's lock for the session, by polling.

    A session that waits inside ``pg_advisory_lock`` has a snapshot. ``CREATE INDEX CONCURRENTLY`` in the run that it
    waits for would wait for that snapshot: a deadlock.
    """
    deadline, pause = time.monotonic() + wait, FIRST_PAUSE
    while not _try_lock(cursor):
        if time.monotonic() >= deadline:
            sentence = f"Another run has held the lock of {tenant} for more than {wait:g} s"
            raise lock_error(cursor.connection, LOCK_KEY, sentence)
        time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _try_lock(cursor: CursorWrapper) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY])
    return bool(cursor.fetchall() == [(True,)])


#: Hints for SQLSTATEs that have a usual cause in a migration.
_HINTS = {
    "25006": SQLSTATE_HINTS["25006"],
    "25P04": "transaction_timeout ended it. The session starts with transaction_timeout = 0, so the migration sets it.",
    "42P07": "The table or index exists. If the migration replaces deleted ones that were not all applied here, deploy "
    "the release that still has them first. Otherwise compare the tables with the migrations that are recorded: python "
    "manage.py showmigrations",
    "53100": SQLSTATE_HINTS["53100"],
    "55P03": "Another session's transaction holds a lock that the migration needs. Run the command again when that "
    "transaction has ended, or retry more often: --lock-retries N. To wait longer (other sessions queue behind the "
    "migration): --lock-timeout SECONDS",
    "57014": "A statement exceeded its limit. Raise the limit if the application can wait that long: "
    "--statement-timeout SECONDS",
    "57P01": "Another session or a restart ended this session. Run the command again.",
}
_RETRY = "Run the command again when the server responds: python manage.py check_rds --wait 60"


def _cause(error: BaseException) -> BaseException:
    """Return PostgreSQL's error, if that caused `error`."""
    if isinstance(error, MigrationSchemaMissing) and isinstance(error.__context__, Exception):
        error = error.__context__  # Django raises it without a cause.
    return error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error


def _is_rolled_back(progress: MigrationProgress) -> bool:
    """Whether the next attempt starts where this one did; after the last migration only ``post_migrate`` is left."""
    return bool(progress.running.atomic) if progress.running else not progress.applied


def _explained(error: BaseException, progress: MigrationProgress) -> tuple[str, str]:
    if isinstance(error, DeployError):
        return str(error), error.hint
    cause = _cause(error)
    message = str(cause)
    hint = _RETRY if is_connection_lost(cause) else "Run the command with --traceback for details."
    if isinstance(cause, psycopg.Error):
        message = cause.diag.message_primary or message
        hint = _HINTS.get(cause.sqlstate or "", hint)
    message = one_line(message) or type(cause).__name__
    return f"{progress.subject} failed ({type(cause).__name__}): {message}", f"{_what_is_kept(cause, progress)} {hint}"


def _what_is_kept(cause: BaseException, progress: MigrationProgress) -> str:
    if progress.running is None:  # Between migrations, or in a receiver of post_migrate.
        return "Applied migrations are kept; the next run continues."
    if not progress.running.atomic:
        return "The migration is not atomic: what it did before the error is kept."
    if is_connection_lost(cause):
        return "The connection was lost, so it is unknown whether the migration was rolled back; the next run checks."
    return "The migration was rolled back."
