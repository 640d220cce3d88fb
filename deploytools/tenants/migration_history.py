"""Compare the code's migrations with a database's: unapplied, unknown, inconsistent. Pure.

The rules for squashed migrations are Django's (``MigrationLoader.build_graph``): a squashed migration replaces its
originals if all or none of them are applied; otherwise the originals count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Migration = tuple[str, str]


def dotted(migration: Migration) -> str:
    """Return ``app.name``, for example ``order.0001_initial``."""
    return ".".join(migration)


@dataclass(frozen=True)
class History:
    """The migrations of one database, compared with the code.

    Attributes:
        unapplied: migrations that only the code has, in an order in which they can be applied.
        unknown: migrations of the code's apps that only the database has: the database is ahead of the code.
        inconsistent: pairs of an applied migration and a dependency of it that is not applied.
        is_unfinished: a migration is in progress or was interrupted; ``post_migrate`` might not have run.
        unrecorded: squashed migrations that count as applied, because their originals are, but have no row. ``migrate``
            records them. Without the row, they are applied again when a later release deletes the originals.
    """

    unapplied: tuple[Migration, ...] = ()
    unknown: tuple[Migration, ...] = ()
    inconsistent: tuple[tuple[Migration, Migration], ...] = ()
    is_unfinished: bool = False
    unrecorded: tuple[Migration, ...] = ()

    @property
    def is_pending(self) -> bool:
        return bool(self.unapplied or self.unrecorded) or self.is_unfinished

    @property
    def state(self) -> str:
        """``up to date``, or everything that differs."""
        words = {
            "inconsistent": self.inconsistent,
            f"{len(self.unapplied)} unapplied": self.unapplied,
            f"{len(self.unrecorded)} to record": self.unrecorded,
            f"{len(self.unknown)} ahead of the code": self.unknown,
            "unfinished migration": self.is_unfinished,
        }
        return ", ".join(word for word, is_so in words.items() if is_so) or "up to date"


@dataclass(frozen=True)
class _Resolution:
    """The nodes of the graph for one database: squashed migrations, or the originals that they replace.

    Attributes:
        nodes: the migrations in the graph.
        applied: the migrations that count as applied.
        replacements: the squashed migration of each replaced original.
    """

    nodes: frozenset[Migration]
    applied: frozenset[Migration]
    replacements: Mapping[Migration, Migration]


@dataclass(frozen=True)
class MigrationGraph:
    """The migrations of the code.

    Attributes:
        replaces: for each migration the originals that it replaces; empty unless it is squashed.
        dependencies: for each migration those that must be applied before it.
    """

    replaces: Mapping[Migration, frozenset[Migration]]
    dependencies: Mapping[Migration, frozenset[Migration]] = field(default_factory=dict)

    def compare(self, applied: frozenset[Migration], *, is_unfinished: bool = False) -> History:
        return History(
            self.missing_from(applied),
            self.unknown_in(applied),
            self.inconsistent_in(applied),
            is_unfinished,
            self.unrecorded_in(applied),
        )

    def missing_from(self, applied: frozenset[Migration]) -> tuple[Migration, ...]:
        """Return the migrations that only the code has, in an order in which they can be applied."""
        resolution = self._resolve(applied)
        return tuple(migration for migration in self._ordered(resolution) if migration not in resolution.applied)

    def unknown_in(self, applied: frozenset[Migration]) -> tuple[Migration, ...]:
        """Return the migrations of the code's apps that only the database has."""
        known = set(self.replaces).union(*self.replaces.values())
        apps = {app for app, _ in self.replaces}
        return tuple(sorted(migration for migration in applied - known if migration[0] in apps))

    def unrecorded_in(self, applied: frozenset[Migration]) -> tuple[Migration, ...]:
        """Return the squashed migrations without a row whose originals are all applied.

        A squashed migration can replace others (Django 6.0): each is counted after those that it replaces.
        """
        found: list[Migration] = []
        while new := [
            squashed
            for squashed, replaces in self.replaces.items()
            if replaces and squashed not in applied.union(found) and replaces <= applied.union(found)
        ]:
            found += sorted(new)
        return tuple(found)

    def inconsistent_in(self, applied: frozenset[Migration]) -> tuple[tuple[Migration, Migration], ...]:
        """Return pairs of an applied migration and a dependency of it that is not applied.

        Another such pair is a squashed migration and an original that is neither applied nor in the code any more,
        while other originals are applied: the missing original can never be applied.
        """
        resolution = self._resolve(applied)
        known = applied | {one for one, replaces in self.replaces.items() if replaces and replaces <= applied}
        missing = {
            (migration, parent)
            for migration in known & resolution.nodes
            for parent in self._parents(migration, resolution) - known
        }
        gone = {(node, original) for node in resolution.nodes for original in self._lost(node, resolution.applied)}
        return tuple(sorted(missing | gone))

    def _resolve(self, applied: frozenset[Migration]) -> _Resolution:
        nodes, counted = set(self.replaces), set(applied)
        replacements: dict[Migration, Migration] = {}
        for squashed, replaces in self.replaces.items():
            if not replaces:
                continue
            if replaces <= counted:
                counted.add(squashed)
            else:
                counted.discard(squashed)
            if replaces <= counted or not replaces & counted or self._lost(squashed, counted):
                nodes -= replaces
                replacements |= dict.fromkeys(replaces, squashed)
            else:
                nodes.discard(squashed)
        return _Resolution(frozenset(nodes), frozenset(counted), replacements)

    def _lost(self, squashed: Migration, counted: Iterable[Migration]) -> frozenset[Migration]:
        """Originals of a partially applied squashed migration that are neither applied nor in the code."""
        replaces = self.replaces[squashed]
        applied = replaces & frozenset(counted)
        return replaces - applied - frozenset(self.replaces) if applied else frozenset()

    def _parents(self, migration: Migration, resolution: _Resolution) -> frozenset[Migration]:
        originals = self.replaces.get(migration, frozenset())
        required = frozenset[Migration]().union(*(self._dependencies(one) for one in (migration, *originals)))
        found = {parent for one in required - originals for parent in self._nodes_for(one, resolution)}
        return frozenset(found - {migration})

    def _dependencies(self, migration: Migration) -> frozenset[Migration]:
        return self.dependencies.get(migration, frozenset())

    def _nodes_for(self, migration: Migration, resolution: _Resolution) -> Iterator[Migration]:
        """The nodes for `migration`: itself, its replacement, or the last of the originals that it replaces."""
        if migration in resolution.nodes:
            yield migration
        elif migration in resolution.replacements:
            yield resolution.replacements[migration]
        else:
            originals = self.replaces.get(migration, frozenset())
            yield from originals.difference(*map(self._dependencies, originals))

    def _ordered(self, resolution: _Resolution) -> list[Migration]:
        """The nodes, each after its dependencies, otherwise by name."""
        ordered: dict[Migration, None] = {}
        pending = sorted(resolution.nodes, reverse=True)
        entered: set[Migration] = set()
        while pending:
            migration = pending.pop()
            if migration in ordered:
                continue
            before = [] if migration in entered else [*self._parents(migration, resolution) - ordered.keys()]
            entered.add(migration)
            if before:
                pending += [migration, *sorted(before, reverse=True)]
            elif migration in resolution.nodes:
                ordered[migration] = None
        return list(ordered)
