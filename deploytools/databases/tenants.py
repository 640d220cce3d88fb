"""What a tenant is, and which names it may have. Pure: no Django, no PostgreSQL."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploytools.errors import ConfigurationError

#: Longer names PostgreSQL cuts off with a mere NOTICE (NAMEDATALEN - 1 bytes).
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,62}")

#: Databases that PostgreSQL or RDS own, and names that would be confused with roles of theirs.
RESERVED_NAMES = frozenset({"postgres", "template0", "template1", "rdsadmin", "public", "none"})
RESERVED_PREFIXES = ("pg_", "rds_", "test_")

OPTIONS = ("NAME",)


@dataclass(frozen=True)
class Tenant:
    """One fork of the shop: a database of its own.

    Attributes:
        name: the name of the database.
    """

    name: str


def parse_tenants(value: Sequence[object]) -> tuple[Tenant, ...]:
    """The tenants that ``DEPLOYTOOLS["TENANTS"]`` names.

    Args:
        value: names, or dicts with ``NAME``.

    Raises:
        ConfigurationError: with every violation of every name at once.
    """
    violations = name_violations(value)
    if violations:
        raise ConfigurationError(
            'DEPLOYTOOLS["TENANTS"] cannot be used: ' + " ".join(sentence for sentence, _ in violations),
            hint=" ".join(dict.fromkeys(hint for _, hint in violations)),
        )
    return tuple(Tenant(_name(entry)) for entry in value)


def name_violations(value: Sequence[object]) -> list[tuple[str, str]]:
    """Every violation in ``DEPLOYTOOLS["TENANTS"]`` as (sentence, hint), in the order of the setting."""
    names = [_name(entry) for entry in value]
    counts = Counter(name.lower() for name in names)
    return [
        violation
        for entry, name in zip(value, names, strict=True)
        for violation in (*_entry_violations(entry), *_name_violations(name))
    ] + [
        (f'Tenant "{name}" is named {count} times (upper and lower case count as one).', "Name each tenant once.")
        for name, count in counts.items()
        if count > 1
    ]


def _name(entry: object) -> str:
    return str(entry.get("NAME", "")) if isinstance(entry, Mapping) else str(entry)


def _entry_violations(entry: object) -> list[tuple[str, str]]:
    if isinstance(entry, Mapping):
        return [
            (f'Tenant "{_name(entry)}" has an option that nobody reads: "{key}".', f"Options: {', '.join(OPTIONS)}.")
            for key in entry
            if key not in OPTIONS
        ]
    if not isinstance(entry, str):
        return [(f"{entry!r} is neither a name nor a dict.", 'Write "name" or {"NAME": "name"}.')]
    return []


def _name_violations(name: str) -> list[tuple[str, str]]:
    if not NAME_PATTERN.fullmatch(name):
        return [
            (
                f'"{name}" is not a database name that is safe everywhere.',
                "Use 1 to 63 of a-z, 0-9 and _, a letter first.",
            )
        ]
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        return [
            (
                f"\"{name}\" is a name of PostgreSQL's, of RDS's or of Django's test databases.",
                f"Avoid {', '.join(sorted(RESERVED_NAMES))} and the prefixes {', '.join(RESERVED_PREFIXES)}.",
            )
        ]
    return []
