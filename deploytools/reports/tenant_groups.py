"""Group tenants whose text is the same but for their names. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from deploytools.wording import count, join_names

#: The name of each tenant of a group, in the group's text.
TENANT = "TENANT"

#: Names of a group that a heading lists.
LISTED = 3


def group_tenants(texts: Iterable[tuple[str, str]], *, separately: bool = False) -> list[tuple[list[str], str]]:
    """Return the tenants of each distinct text and that text, in the order of the first tenant of each.

    Args:
        texts: names of tenants and a text for each; a text without a name is a group.
        separately: whether each tenant is a group.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, text in texts:
        pattern = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
        key = f"{name}\0{text}" if separately or not name else re.sub(pattern, TENANT, text)
        groups.setdefault(key, []).append((name, text))
    return [([name for name, _ in group], group[0][1] if len(group) == 1 else key) for key, group in groups.items()]


def for_each(names: list[str]) -> str:
    """Return the heading of a group: ``for each of 287 tenants (a, b, c and 284 more)``."""
    return f"for each of {count(len(names), 'tenant')} ({join_names(names, LISTED)})"


def tenant_counts(statuses: Iterable[str], order: Iterable[str]) -> str:
    """Return how many tenants have each status: ``3 tenants: 2 up to date, 1 refused``."""
    counts = Counter(statuses)
    parts = ", ".join(f"{counts[status]} {status}" for status in order if counts[status])
    return f"{count(counts.total(), 'tenant')}: {parts or 'none in this shard'}"
