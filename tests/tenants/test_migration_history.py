"""The comparison of migrations with a database, checked against Django's own loader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.db.migrations import Migration as DjangoMigration
from django.db.migrations import loader as django_loader
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor
from hypothesis import given
from hypothesis import strategies as st

from deploytools.errors import ConfigurationError
from deploytools.tenants import migration_graph
from deploytools.tenants.migration_graph import read_graph
from deploytools.tenants.migration_history import History, Migration, MigrationGraph

A1, A2, A3, SQUASHED = ("a", "1"), ("a", "2"), ("a", "3"), ("a", "1_squashed_2")
B1 = ("b", "1")
LINE = MigrationGraph(
    {A1: frozenset(), A2: frozenset(), B1: frozenset()},
    {A1: frozenset(), A2: frozenset({A1}), B1: frozenset({A2})},
)
SQUASHING = MigrationGraph(
    {A1: frozenset(), A2: frozenset(), SQUASHED: frozenset({A1, A2}), A3: frozenset()},
    {A2: frozenset({A1}), A3: frozenset({A2})},
)
#: `SQUASHING` after the originals were deleted.
DELETED = MigrationGraph({SQUASHED: frozenset({A1, A2}), A3: frozenset()}, {A3: frozenset({SQUASHED})})
#: A squashed migration that replaces another one, as Django 6.0 allows.
NEXT = ("a", "1_squashed_3")
NESTED = MigrationGraph({**SQUASHING.replaces, NEXT: frozenset({SQUASHED, A3})}, SQUASHING.dependencies)
#: The app ``a`` was renamed to ``b``.
RENAMED = MigrationGraph({B1: frozenset({A1, A2})})


@pytest.mark.parametrize(
    ("graph", "applied", "history", "state"),
    [
        (LINE, set(), History((A1, A2, B1)), "3 unapplied"),
        (LINE, {A1}, History((A2, B1)), "2 unapplied"),
        (LINE, {A1, A2, B1}, History(), "up to date"),
        (LINE, {A1, A2, B1, A3}, History((), (A3,)), "1 ahead of the code"),
        (LINE, {A1, A3}, History((A2, B1), (A3,)), "2 unapplied, 1 ahead of the code"),
        (LINE, {A1, A2, B1, ("gone", "1")}, History(), "up to date"),
        (LINE, {A1, B1}, History((A2,), (), ((B1, A2),)), "inconsistent, 1 unapplied"),
        (SQUASHING, set(), History((SQUASHED, A3)), "2 unapplied"),
        (SQUASHING, {A1}, History((A2, A3)), "2 unapplied"),
        (SQUASHING, {A1, A2, A3}, History(unrecorded=(SQUASHED,)), "1 to record"),
        (SQUASHING, {A1, A2}, History((A3,), unrecorded=(SQUASHED,)), "1 unapplied, 1 to record"),
        (SQUASHING, {A1, A2, A3, SQUASHED}, History(), "up to date"),
        (SQUASHING, {A1, A3}, History((A2,), (), ((A3, A2),)), "inconsistent, 1 unapplied"),
        (DELETED, {A1, A2, A3}, History(unrecorded=(SQUASHED,)), "1 to record"),
        (NESTED, {A1, A2, A3}, History(unrecorded=(SQUASHED, NEXT)), "2 to record"),
        (RENAMED, {A1, A2}, History(unrecorded=(B1,)), "1 to record"),
        (DELETED, set(), History((SQUASHED, A3)), "2 unapplied"),
        (DELETED, {A1}, History((SQUASHED, A3), (), ((SQUASHED, A2),)), "inconsistent, 2 unapplied"),
    ],
)
def test_history_of_a_database(graph, applied, history, state):
    found = graph.compare(frozenset(applied))
    assert (found, found.state) == (history, state)


# Django as the oracle, for any graph and any set of applied migrations.

NOWHERE: Any = SimpleNamespace(alias="default")


@contextmanager
def django_loader_for(graph: MigrationGraph, applied: frozenset[Migration]) -> Iterator[django_loader.MigrationLoader]:
    """Django's loader with a graph and a history in memory."""
    disk: dict[Any, Any] = {}
    for (app, name), replaces in graph.replaces.items():
        migration: Any = DjangoMigration(name, app)
        migration.dependencies = sorted(graph.dependencies.get((app, name), ()))
        migration.replaces = sorted(replaces)
        disk[app, name] = migration

    class Loader(django_loader.MigrationLoader):
        def load_disk(self) -> None:
            self.disk_migrations = disk
            self.unmigrated_apps, self.migrated_apps = set(), {app for app, _ in disk}

    class Recorder:
        def __init__(self, connection: object) -> None:
            pass

        def applied_migrations(self) -> dict[Any, Any]:
            return {key: disk.get(key) for key in applied}

    module: Any = django_loader
    before = module.MigrationRecorder
    module.MigrationRecorder = Recorder
    try:
        yield Loader(NOWHERE)
    finally:
        module.MigrationRecorder = before


def django_plan(loader: django_loader.MigrationLoader) -> list[Migration]:
    executor = MigrationExecutor.__new__(MigrationExecutor)
    executor.loader = loader
    return [(step.app_label, step.name) for step, _ in executor.migration_plan(loader.graph.leaf_nodes())]


def django_records(loader: django_loader.MigrationLoader, applied: frozenset[Migration]) -> list[Migration]:
    """The squashed migrations that one run of ``migrate`` records."""
    recorded: list[Migration] = []
    executor = MigrationExecutor.__new__(MigrationExecutor)
    executor.loader = loader
    executor.recorder = SimpleNamespace(  # type: ignore[assignment]
        applied_migrations=lambda: applied, record_applied=lambda *key: recorded.append(key)
    )
    executor.check_replacements()
    return recorded


@st.composite
def worlds(draw: st.DrawFn) -> tuple[MigrationGraph, frozenset[Migration]]:
    """Linear migrations of two apps that depend on each other, some squashed, and any history."""
    keys: list[Migration] = []
    dependencies: dict[Migration, frozenset[Migration]] = {}
    replaced: dict[Migration, frozenset[Migration]] = {}
    for app in ("a", "b"):
        line = [(app, str(number)) for number in range(draw(st.integers(1, 4)))]
        for earlier, key in zip([None, *line], line, strict=False):
            others = (
                draw(st.sets(st.sampled_from([k for k in keys if k[0] != app]), max_size=1)) if app == "b" else set()
            )
            dependencies[key] = frozenset({earlier} - {None} | others)  # type: ignore[arg-type]
            replaced[key] = frozenset()
        keys += line
        if len(line) > 1 and draw(st.booleans()):
            first = draw(st.integers(0, len(line) - 2))
            run = line[first : draw(st.integers(first + 2, len(line)))]
            squashed = (app, f"{run[0][1]}_squashed")
            replaced[squashed] = frozenset(run)
            dependencies[squashed] = frozenset().union(*(dependencies[key] for key in run)) - frozenset(run)
    applied = draw(st.sets(st.sampled_from([*replaced, ("a", "unknown")])))
    return MigrationGraph(replaced, dependencies), frozenset(applied)


@given(worlds())
def test_agrees_with_django(world):
    """Django ignores the dependencies of a squashed migration whose originals are all applied; we do not."""
    graph, applied = world
    history = graph.compare(applied)
    with django_loader_for(graph, applied) as loader:
        try:
            loader.check_consistent_history(NOWHERE)
            is_consistent = True
        except InconsistentMigrationHistory:
            is_consistent = False
        if not is_consistent or not any(graph.replaces.values()):
            assert bool(history.inconsistent) == (not is_consistent)
        if not history.inconsistent:
            planned = django_plan(loader)
            assert set(history.unapplied) == set(planned)
            assert set(django_records(loader, applied)) <= set(history.unrecorded)
            assert not history.unrecorded or django_records(loader, applied)
            assert_in_order(history.unapplied, loader)


def assert_in_order(unapplied: tuple[Migration, ...], loader: django_loader.MigrationLoader) -> None:
    for position, migration in enumerate(unapplied):
        parents = {parent.key for parent in loader.graph.node_map[migration].parents}
        assert not parents & set(unapplied[position + 1 :])


def test_partially_applied_squash_with_deleted_originals_is_inconsistent():
    """Django drops the squashed migration, and what is missing with it; the table would lack a column."""
    with django_loader_for(DELETED, frozenset({A1})) as loader:
        loader.check_consistent_history(NOWHERE)
        assert django_plan(loader) == [A3]


# The project's own graph.


def test_graph_of_this_project():
    graph = read_graph()
    order = graph.missing_from(frozenset())
    assert len(order) == len(graph.replaces) == len(set(order))
    assert order.index(("auth", "0001_initial")) < order.index(("user", "0001_initial"))
    assert graph.compare(frozenset(order)).state == "up to date"


def test_conflicting_migrations_are_refused(monkeypatch):
    monkeypatch.setattr(django_loader.MigrationLoader, "detect_conflicts", lambda self: {"order": {"0003_b", "0003_a"}})
    with pytest.raises(ConfigurationError) as caught:
        read_graph()
    assert str(caught.value) == (
        "Conflicting migrations: several leaf migrations in one app: order.0003_a, order.0003_b."
    )
    assert caught.value.hint == "Run: python manage.py makemigrations --merge"


def test_the_file_of_a_package_beside_django_is_named(monkeypatch):
    file = f"{Path(django.__file__).parent}_beat/migrations/0001_initial.py"

    def load(*_: object, **__: object) -> None:
        exec(compile("raise ImportError('no module')", file, "exec"))  # noqa: S102 - the test's own text

    monkeypatch.setattr(migration_graph, "MigrationLoader", load)
    with pytest.raises(ConfigurationError, match=re.escape(f"cannot be loaded (ImportError in {file}): no module")):
        migration_graph.load_migrations()
