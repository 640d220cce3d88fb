"""What the code's migrations are to a database: applied, missing, unknown or inconsistent. Pure.

The rules for squashed migrations are Django's (``MigrationLoader.build_graph``): a squashed one stands in for what it
replaces where all or none of that is applied, and the replaced ones stand for themselves where some are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Migration = tuple[str, str]


def dotted(migration: Migration) -> str:
    """For people: ``order.0001_initial``."""
    return ".".join(migration)


@dataclass(frozen=True)
class History:
    """What one database has, beside what the code has.

    Attributes:
        unapplied: what the code has and the database has not, in an order in which it can be applied.
        unknown: what the database has of the code's apps and the code has not: the database is ahead of the code.
        inconsistent: pairs of an applied migration and one that it needs, which is not.
        is_unfinished: a migration has begun and has not ended; ``post_migrate`` may be lost.
    """

    unapplied: tuple[Migration, ...] = ()
    unknown: tuple[Migration, ...] = ()
    inconsistent: tuple[tuple[Migration, Migration], ...] = ()
    is_unfinished: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether ``migrate`` has something to do."""
        return bool(self.unapplied) or self.is_unfinished

    @property
    def state(self) -> str:
        """``up to date``, or what it is: more than one thing may be true."""
        words = {
            "inconsistent": self.inconsistent,
            f"{len(self.unapplied)} to apply": self.unapplied,
            f"{len(self.unknown)} ahead of the code": self.unknown,
            "a migration has not ended": self.is_unfinished,
        }
        return ", ".join(word for word, is_so in words.items() if is_so) or "up to date"


@dataclass(frozen=True)
class _Standing:
    """Which migrations count on one database, once it is known which squashed ones stand in for others.

    Attributes:
        active: those that count.
        settled: those that count as applied.
        stand_in: for each replaced migration the squashed one that stands in for it.
    """

    active: frozenset[Migration]
    settled: frozenset[Migration]
    stand_in: Mapping[Migration, Migration]


@dataclass(frozen=True)
class MigrationGraph:
    """The migrations of the code.

    Attributes:
        replaced_by: for each migration the ones that it replaces (squashed ones), empty for most.
        needs: for each migration the ones that must be applied before it.
    """

    replaced_by: Mapping[Migration, frozenset[Migration]]
    needs: Mapping[Migration, frozenset[Migration]] = field(default_factory=dict)

    def compare(self, applied: frozenset[Migration], *, is_unfinished: bool = False) -> History:
        """What a database that has `applied` is to this code."""
        found = self.missing_from(applied), self.unknown_in(applied), self.inconsistent_in(applied)
        return History(*found, is_unfinished)

    def missing_from(self, applied: frozenset[Migration]) -> tuple[Migration, ...]:
        """What the code has and the database has not, in an order in which it can be applied."""
        standing = self._standing(applied)
        return tuple(migration for migration in self._in_order(standing) if migration not in standing.settled)

    def unknown_in(self, applied: frozenset[Migration]) -> tuple[Migration, ...]:
        """What the database has of the code's apps and the code has not: the database is ahead of the code."""
        known = set(self.replaced_by).union(*self.replaced_by.values())
        apps = {app for app, _ in self.replaced_by}
        return tuple(sorted(migration for migration in applied - known if migration[0] in apps))

    def inconsistent_in(self, applied: frozenset[Migration]) -> tuple[tuple[Migration, Migration], ...]:
        """Pairs of an applied migration and one that it needs, which is not applied.

        A squashed migration of whose replaced ones some are applied, and others neither applied nor in the code any
        more, is such a pair, too: nothing can ever apply the rest.
        """
        standing = self._standing(applied)
        known = applied | {one for one, replaces in self.replaced_by.items() if replaces and replaces <= applied}
        broken = {
            (migration, parent)
            for migration in known & standing.active
            for parent in self._parents(migration, standing) - known
        }
        lost = {(squashed, gone) for squashed in standing.active for gone in self._lost(squashed, standing.settled)}
        return tuple(sorted(broken | lost))

    def _standing(self, applied: frozenset[Migration]) -> _Standing:
        active, settled = set(self.replaced_by), set(applied)
        stand_in: dict[Migration, Migration] = {}
        for squashed, replaces in self.replaced_by.items():
            if not replaces:
                continue
            if replaces <= settled:
                settled.add(squashed)
            else:
                settled.discard(squashed)
            if replaces <= settled or not replaces & settled or self._lost(squashed, settled):
                active -= replaces
                stand_in |= dict.fromkeys(replaces, squashed)
            else:
                active.discard(squashed)
        return _Standing(frozenset(active), frozenset(settled), stand_in)

    def _lost(self, squashed: Migration, settled: Iterable[Migration]) -> frozenset[Migration]:
        """What of a half-applied squashed migration is neither applied nor in the code."""
        replaces = self.replaced_by[squashed]
        applied = replaces & frozenset(settled)
        return replaces - applied - frozenset(self.replaced_by) if applied else frozenset()

    def _parents(self, migration: Migration, standing: _Standing) -> frozenset[Migration]:
        """What `migration` needs, among those that count."""
        inner = self.replaced_by.get(migration, frozenset())
        wanted = self.needs.get(migration, frozenset()).union(*(self.needs.get(one, frozenset()) for one in inner))
        found = {parent for one in wanted - inner for parent in self._counting(one, standing)}
        return frozenset(found - {migration})

    def _counting(self, migration: Migration, standing: _Standing) -> Iterator[Migration]:
        """What stands for `migration`: itself, the one that replaces it, or the last of those that it replaces."""
        if migration in standing.active:
            yield migration
        elif migration in standing.stand_in:
            yield standing.stand_in[migration]
        else:
            inner = self.replaced_by.get(migration, frozenset())
            yield from inner.difference(*(self.needs.get(one, frozenset()) for one in inner))

    def _in_order(self, standing: _Standing) -> list[Migration]:
        """The migrations that count, each after those that it needs, otherwise by name."""
        ordered: dict[Migration, None] = {}
        pending = sorted(standing.active, reverse=True)
        entered: set[Migration] = set()
        while pending:
            migration = pending.pop()
            if migration in ordered:
                continue
            before = [] if migration in entered else [*self._parents(migration, standing) - ordered.keys()]
            entered.add(migration)
            if before:
                pending += [migration, *sorted(before, reverse=True)]
            elif migration in standing.active:
                ordered[migration] = None
        return list(ordered)
