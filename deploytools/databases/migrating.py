"""One tenant brought forward by Django's own ``migrate``, under the tenant's lock."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import psycopg
from django.core.management import call_command, get_commands, load_command_class
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.migrations.exceptions import MigrationSchemaMissing

from deploytools.databases.alias import ALIAS, pointed_at
from deploytools.databases.failures import SQLSTATE_HINTS
from deploytools.databases.fleet import Limits, Outcome, TenantResult, judged
from deploytools.databases.history import History, Migration, MigrationGraph, dotted
from deploytools.databases.migrations import read_record
from deploytools.databases.server import Login, is_lost, lock_holder, replica_error
from deploytools.databases.unfinished import note
from deploytools.errors import DatabaseError, DeployError

#: The advisory lock under which a tenant is migrated, taken in its own database: "migrate" as a number.
LOCK_KEY = int.from_bytes(b"dt_migra")

#: What tells a process that it need not wait any longer for another run. One that migrates is not disturbed.
GIVE_UP = signal.SIGUSR1

#: What an administrator may have set otherwise, and a migration cannot do with; and that its lock does not outlive a
#: vanished client by hours. ``transaction_timeout`` is PostgreSQL 17's.
SESSION = {
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

#: Seconds between two looks at a lock that somebody else holds: the first pause, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


@dataclass
class Journal:
    """What Django's ``migrate`` reports while it works."""

    running: Any = None
    applied: list[Migration] = field(default_factory=list)

    def __call__(self, action: str, migration: Any = None, fake: bool = False) -> None:
        """Django's ``progress_callback``."""
        if action == "apply_start":
            self.running = migration
        elif action == "apply_success":
            self.applied.append((migration.app_label, migration.name))
            self.running = None

    @property
    def deed(self) -> str:
        """What was going on, for an error's sentence."""
        return dotted((self.running.app_label, self.running.name)) if self.running else "The migration"


def look_at(login: Login, tenant: str, graph: MigrationGraph) -> TenantResult:
    """What `tenant` is to the code: one connection and one query, without Django."""
    started = time.monotonic()
    try:
        with login.connect(tenant) as connection:
            applied, has_not_ended = read_record(connection)
    except DeployError as error:
        return TenantResult(tenant, Outcome.FAILED, error=str(error), hint=error.hint)
    return judged(tenant, graph.compare(applied, is_unfinished=has_not_ended), time.monotonic() - started)


def migrate_tenant(login: Login, tenant: str, graph: MigrationGraph, limits: Limits) -> TenantResult:
    """Apply what `tenant` lacks. Never raises `Exception`: what went wrong is in the result."""
    started, journal = time.monotonic(), Journal()
    before = None
    try:
        with pointed_at(login, tenant) as connection:
            _prepare(connection, login, tenant, limits)
            before = read_history(connection, graph)
            result = judged(tenant, before)
            if result.outcome is Outcome.PENDING:
                note(connection, tenant, is_unfinished=True)
                apply_migrations(journal)
                note(connection, tenant, is_unfinished=False)
                result = _proved(result, read_history(connection, graph))
    except Exception as error:
        result = failure(tenant, error, journal, before)
    return replace(result, applied=tuple(journal.applied), seconds=time.monotonic() - started)


def read_history(connection: BaseDatabaseWrapper, graph: MigrationGraph) -> History:
    """What the database is to the code, through Django's connection."""
    connection.ensure_connection()
    applied, has_not_ended = read_record(connection.connection)
    return graph.compare(applied, is_unfinished=has_not_ended)


def apply_migrations(journal: Journal) -> None:
    """Django's ``migrate``, or the host's of that name, on the default alias."""
    command = load_command_class(get_commands()["migrate"], "migrate")
    command.migration_progress_callback = journal  # type: ignore[attr-defined]
    call_command(command, database=ALIAS, interactive=False, verbosity=0)


def _proved(result: TenantResult, after: History) -> TenantResult:
    if not after.unapplied and not after.inconsistent:
        return replace(result, outcome=Outcome.MIGRATED, after=after)
    return replace(
        result,
        outcome=Outcome.FAILED,
        after=after,
        error=f"migrate ended without an error, and the database is not up to date: {after.state}.",
        hint="Does a database router of this project keep migrations from the default database?",
    )


def _prepare(connection: BaseDatabaseWrapper, login: Login, tenant: str, limits: Limits) -> None:
    """Take the tenant's lock, then set the limits for what follows. Both end with the session."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, value, false), pg_is_in_recovery() "
            "FROM unnest(%s::text[], %s::text[]) AS session (name, value) JOIN pg_settings USING (name)",
            [list(SESSION), list(SESSION.values())],
        )
        if any(is_replica for _, is_replica in cursor.fetchall()):
            raise replica_error(login.address)
        with _giving_up(tenant):
            _take_lock(cursor, tenant, limits.wait)
        for name, seconds in (("lock_timeout", limits.lock), ("statement_timeout", limits.statement)):
            cursor.execute("SELECT set_config(%s, %s, false)", [name, f"{round(seconds * 1000)}ms"])


def _take_lock(cursor: CursorWrapper, tenant: str, wait: float) -> None:
    """By asking again and again: a session that waits inside ``pg_advisory_lock`` has a snapshot, and ``CREATE INDEX
    CONCURRENTLY`` of the one that it waits for would wait for it.
    """
    deadline, pause = time.monotonic() + wait, FIRST_PAUSE
    while not _is_taken(cursor):
        if time.monotonic() >= deadline:
            raise DatabaseError(
                f"Another run has been migrating {tenant} for more than {wait:g} s: "
                f"{lock_holder(cursor.connection, LOCK_KEY)}.",
                hint="Wait for it to finish, or give it more time: --wait SECONDS. If it is dead: SELECT "
                "pg_terminate_backend(pid)",
                sqlstate="55P03",
            )
        time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _is_taken(cursor: CursorWrapper) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY])
    return bool(cursor.fetchall() == [(True,)])


@contextmanager
def _giving_up(tenant: str) -> Iterator[None]:
    """Within it `GIVE_UP` ends the waiting; outside it the process that migrates ignores it."""

    def give_up(signum: int, frame: FrameType | None) -> None:
        raise DatabaseError(f"It was told to end while another run migrated {tenant}.", hint="Run it again.")

    before = signal.signal(GIVE_UP, give_up)
    try:
        yield
    finally:
        signal.signal(GIVE_UP, before)


def failure(tenant: str, error: Exception, journal: Journal, before: History | None) -> TenantResult:
    """The result of a tenant that `error` stopped."""
    sentence, hint = _explained(error, journal)
    trace = "".join(traceback.format_exception(error))
    return TenantResult(tenant, Outcome.FAILED, before, error=sentence, hint=hint, trace=trace)


#: Hints for SQLSTATEs that have a usual cause in a migration.
_HINTS = {
    "25006": SQLSTATE_HINTS["25006"],
    "25P04": "transaction_timeout ended it, which the migration sets itself: what an administrator set is lifted.",
    "53100": SQLSTATE_HINTS["53100"],
    "55P03": "Somebody's transaction holds a lock that it needs. Run it again when that has ended, or let it wait "
    "longer (traffic queues behind it): --lock-timeout SECONDS",
    "57014": "A statement took longer than it may. If traffic can bear it: --statement-timeout SECONDS",
    "57P01": "Somebody ended the session. Run it again.",
}
_AGAIN = "When the server answers again (python manage.py check_rds --wait 60), run it again."


def _explained(error: Exception, journal: Journal) -> tuple[str, str]:
    if isinstance(error, DeployError):
        return str(error), error.hint
    if isinstance(error, MigrationSchemaMissing) and isinstance(error.__context__, Exception):
        error = error.__context__  # Django raises it without a cause.
    cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
    said = " ".join(str(cause).split()) or type(cause).__name__
    hint = _AGAIN if is_lost(cause) else "Look at the whole of it with --traceback."
    if isinstance(cause, psycopg.Error):
        said = cause.diag.message_primary or said
        hint = _HINTS.get(cause.sqlstate or "", hint)
    return f"{journal.deed} failed ({type(cause).__name__}): {said}", f"{_what_stays(cause, journal)} {hint}"


def _what_stays(cause: BaseException, journal: Journal) -> str:
    if journal.running is None:  # Between migrations, or in a receiver of post_migrate.
        return "What was applied stays; the next run does the rest."
    if not journal.running.atomic:
        return "What it did before stays: it is not atomic."
    if is_lost(cause):
        return "The session was lost, so it is not known whether it was rolled back; the next run looks."
    return "It was rolled back."
