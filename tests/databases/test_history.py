"""What migrations are to a database, judged against Django's own loader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.migrations import Migration as DjangoMigration
from django.db.migrations import loader as django_loader
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor
from hypothesis import given
from hypothesis import strategies as st

from deploytools.databases.history import History, Migration, MigrationGraph
from deploytools.databases.migrations import read_graph
from deploytools.errors import ConfigurationError

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
#: As `SQUASHING`, once the replaced ones have been deleted.
DELETED = MigrationGraph({SQUASHED: frozenset({A1, A2}), A3: frozenset()}, {A3: frozenset({SQUASHED})})


@pytest.mark.parametrize(
    ("graph", "applied", "history", "state"),
    [
        (LINE, set(), History((A1, A2, B1)), "3 to apply"),
        (LINE, {A1}, History((A2, B1)), "2 to apply"),
        (LINE, {A1, A2, B1}, History(), "up to date"),
        (LINE, {A1, A2, B1, A3}, History((), (A3,)), "1 ahead of the code"),
        (LINE, {A1, A3}, History((A2, B1), (A3,)), "2 to apply, 1 ahead of the code"),
        (LINE, {A1, A2, B1, ("gone", "1")}, History(), "up to date"),
        (LINE, {A1, B1}, History((A2,), (), ((B1, A2),)), "inconsistent, 1 to apply"),
        (SQUASHING, set(), History((SQUASHED, A3)), "2 to apply"),
        (SQUASHING, {A1}, History((A2, A3)), "2 to apply"),
        (SQUASHING, {A1, A2, A3}, History(), "up to date"),
        (SQUASHING, {A1, A2, A3, SQUASHED}, History(), "up to date"),
        (SQUASHING, {A1, A3}, History((A2,), (), ((A3, A2),)), "inconsistent, 1 to apply"),
        (DELETED, {A1, A2, A3}, History(), "up to date"),
        (DELETED, set(), History((SQUASHED, A3)), "2 to apply"),
        (DELETED, {A1}, History((SQUASHED, A3), (), ((SQUASHED, A2),)), "inconsistent, 2 to apply"),
    ],
)
def test_a_database_beside_the_code(graph, applied, history, state):
    found = graph.compare(frozenset(applied))
    assert (found, found.state) == (history, state)


# Django as the oracle: any graph, any applied set.

NOWHERE: Any = SimpleNamespace(alias="default")


@contextmanager
def django_thinks(graph: MigrationGraph, applied: frozenset[Migration]) -> Iterator[django_loader.MigrationLoader]:
    """Django's loader over a graph that is in no file and a history that is in no database."""
    disk: dict[Any, Any] = {}
    for (app, name), replaces in graph.replaced_by.items():
        migration: Any = DjangoMigration(name, app)
        migration.dependencies = sorted(graph.needs.get((app, name), ()))
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


@st.composite
def worlds(draw: st.DrawFn) -> tuple[MigrationGraph, frozenset[Migration]]:
    """Lines of migrations in two apps that need each other, one run of each squashed, and any history."""
    keys: list[Migration] = []
    needs: dict[Migration, frozenset[Migration]] = {}
    replaced: dict[Migration, frozenset[Migration]] = {}
    for app in ("a", "b"):
        line = [(app, str(number)) for number in range(draw(st.integers(1, 4)))]
        for earlier, key in zip([None, *line], line, strict=False):
            others = (
                draw(st.sets(st.sampled_from([k for k in keys if k[0] != app]), max_size=1)) if app == "b" else set()
            )
            needs[key] = frozenset({earlier} - {None} | others)  # type: ignore[arg-type]
            replaced[key] = frozenset()
        keys += line
        if len(line) > 1 and draw(st.booleans()):
            first = draw(st.integers(0, len(line) - 2))
            run = line[first : draw(st.integers(first + 2, len(line)))]
            squashed = (app, f"{run[0][1]}_squashed")
            replaced[squashed] = frozenset(run)
            needs[squashed] = frozenset().union(*(needs[key] for key in run)) - frozenset(run)
    applied = draw(st.sets(st.sampled_from([*replaced, ("a", "unknown")])))
    return MigrationGraph(replaced, needs), frozenset(applied)


@given(worlds())
def test_django_agrees(world):
    """It overlooks what a squashed migration needs, where the ones that it replaces are all applied; we do not."""
    graph, applied = world
    history = graph.compare(applied)
    with django_thinks(graph, applied) as loader:
        try:
            loader.check_consistent_history(NOWHERE)
            is_consistent = True
        except InconsistentMigrationHistory:
            is_consistent = False
        if not is_consistent or not any(graph.replaced_by.values()):
            assert bool(history.inconsistent) == (not is_consistent)
        if not history.inconsistent:
            planned = django_plan(loader)
            assert set(history.unapplied) == set(planned)
            assert_in_order(history.unapplied, loader)


def assert_in_order(unapplied: tuple[Migration, ...], loader: django_loader.MigrationLoader) -> None:
    for position, migration in enumerate(unapplied):
        parents = {parent.key for parent in loader.graph.node_map[migration].parents}
        assert not parents & set(unapplied[position + 1 :])


def test_a_deleted_half_applied_squash_is_more_than_django_sees():
    """Django forgets the squashed migration, and with it what is missing; the table would lack a column for ever."""
    with django_thinks(DELETED, frozenset({A1})) as loader:
        loader.check_consistent_history(NOWHERE)
        assert django_plan(loader) == [A3]


# The project's own.


def test_the_codes_own_graph():
    graph = read_graph()
    order = graph.missing_from(frozenset())
    assert len(order) == len(graph.replaced_by) == len(set(order))
    assert order.index(("auth", "0001_initial")) < order.index(("user", "0001_initial"))
    assert graph.compare(frozenset(order)).state == "up to date"


def test_two_last_migrations_of_one_app_are_told_before_anything_is_done(monkeypatch):
    monkeypatch.setattr(django_loader.MigrationLoader, "detect_conflicts", lambda self: {"order": {"0003_b", "0003_a"}})
    with pytest.raises(ConfigurationError) as caught:
        read_graph()
    assert str(caught.value) == (
        "The code's migrations are in conflict: order.0003_a, order.0003_b are all the last of their app."
    )
    assert caught.value.hint == "Run: python manage.py makemigrations --merge"
