"""What a tenant is, which names it may have and which options. Pure: no Django, no PostgreSQL."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploytools.errors import ConfigurationError

#: Longer names PostgreSQL cuts off with a mere NOTICE (NAMEDATALEN - 1 bytes).
LONGEST_NAME = 63
NAME_PATTERN = re.compile(rf"[a-z][a-z0-9_]{{0,{LONGEST_NAME - 1}}}")

#: Databases and roles that PostgreSQL or RDS own, or that would be confused with theirs.
RESERVED_NAMES = frozenset(
    {"postgres", "template0", "template1", "rdsadmin", "rdsrepladmin", "rdsproxyadmin", "public", "none"}
)
RESERVED_PREFIXES = ("pg_", "rds_", "test_", "deploytools_")

#: Milliseconds in each unit that PostgreSQL knows for a time.
UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION = re.compile(r"([0-9]{1,10})\s*(ms|s|min|h|d)?")
LONGEST_DURATION = 2**31 - 1


@dataclass(frozen=True)
class TenantOptions:
    """What a tenant's database is given beyond the rule; None: left as it is.

    Attributes:
        connection_limit: connections at the same time; -1 for no limit.
        statement_timeout: milliseconds; 0 for none.
        idle_in_transaction_session_timeout: milliseconds; 0 for none.
    """

    connection_limit: int | None = None
    statement_timeout: int | None = None
    idle_in_transaction_session_timeout: int | None = None

    @property
    def database_settings(self) -> Mapping[str, int]:
        """What ``ALTER DATABASE … SET`` is to hold, in milliseconds."""
        wanted = {
            "statement_timeout": self.statement_timeout,
            "idle_in_transaction_session_timeout": self.idle_in_transaction_session_timeout,
        }
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True)
class Tenant:
    """One fork of the shop: a database of its own.

    Attributes:
        name: the name of the database; with a role per tenant of the role, too.
        options: what its database is given beyond the rule.
    """

    name: str
    options: TenantOptions = field(default_factory=TenantOptions)


#: The keys of a tenant's dict beside ``NAME``, and of ``DEPLOYTOOLS["TENANT_OPTIONS"]``.
OPTIONS: Mapping[str, str] = {
    "CONNECTION_LIMIT": "a whole number from 1 on, or -1 for no limit",
    "STATEMENT_TIMEOUT": 'milliseconds, or text such as "30s"; 0 for none',
    "IDLE_IN_TRANSACTION_SESSION_TIMEOUT": 'milliseconds, or text such as "60s"; 0 for none',
}


def milliseconds(value: object) -> int | None:
    """A time as PostgreSQL reads it, ``30000`` or ``"30s"``; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    match = DURATION.fullmatch(str(value).strip())
    if match is None:
        return None
    length = int(match[1]) * UNITS[match[2] or "ms"]
    return length if length <= LONGEST_DURATION else None


def parse_tenants(value: Sequence[object], for_all: Mapping[str, object] | None = None) -> tuple[Tenant, ...]:
    """The tenants that ``DEPLOYTOOLS["TENANTS"]`` names.

    Args:
        value: names, or dicts with ``NAME`` and `OPTIONS`.
        for_all: the options of tenants that do not say otherwise.

    Raises:
        ConfigurationError: with every violation of every name and option at once.
    """
    violations = [*name_violations(value), *option_violations(for_all or {}, 'DEPLOYTOOLS["TENANT_OPTIONS"]')]
    if violations:
        raise ConfigurationError(
            'DEPLOYTOOLS["TENANTS"] cannot be used: ' + " ".join(sentence for sentence, _ in violations),
            hint=" ".join(dict.fromkeys(hint for _, hint in violations)),
        )
    return tuple(Tenant(_name(entry), _options({**(for_all or {}), **_own(entry)})) for entry in value)


def name_violations(value: Sequence[object]) -> list[tuple[str, str]]:
    """Every violation in ``DEPLOYTOOLS["TENANTS"]`` as (sentence, hint), in the order of the setting."""
    names = [_name(entry) for entry in value]
    return [
        violation
        for entry, name in zip(value, names, strict=True)
        for violation in (*_entry_violations(entry), *_name_violations(name))
    ] + list(_collisions(names))


def option_violations(options: Mapping[str, object], whose: str) -> list[tuple[str, str]]:
    """Every violation in a dict of options as (sentence, hint)."""
    unknown = [
        (f'{whose} has an option that nobody reads: "{key}".', f"Options: {', '.join(OPTIONS)}.")
        for key in options
        if key not in OPTIONS
    ]
    wrong = [
        (f"{whose} has {key} {options[key]!r}.", f"{key} is {meant}.")
        for key, meant in OPTIONS.items()
        if key in options and _option(key, options[key]) is None
    ]
    return unknown + wrong


def _collisions(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:
            yield f'Tenant "{name}" is named {count} times (upper and lower case count as one).', "Name each once."
    whole = {name.lower() for name in names}
    for name, count in Counter(name[:LONGEST_NAME] for name in whole).items():
        if count > 1:
            sentence = f'{count} tenants are all "{name}" to PostgreSQL, which cuts names off there.'
            yield sentence, f"Use names that differ within {LONGEST_NAME} characters."


def _name(entry: object) -> str:
    return str(entry.get("NAME", "")) if isinstance(entry, Mapping) else str(entry)


def _own(entry: object) -> dict[str, object]:
    return {key: value for key, value in entry.items() if key != "NAME"} if isinstance(entry, Mapping) else {}


def _option(key: str, value: object) -> int | None:
    if key != "CONNECTION_LIMIT":
        return milliseconds(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and (value == -1 or 0 < value < 10_000) else None


def _options(given: Mapping[str, Any]) -> TenantOptions:
    return TenantOptions(**{key.lower(): _option(key, value) for key, value in given.items()})


def _entry_violations(entry: object) -> list[tuple[str, str]]:
    if isinstance(entry, Mapping):
        return option_violations(_own(entry), f'Tenant "{_name(entry)}"')
    if not isinstance(entry, str):
        return [(f"{entry!r} is neither a name nor a dict.", 'Write "name" or {"NAME": "name"}.')]
    return []


def _name_violations(name: str) -> list[tuple[str, str]]:
    if not NAME_PATTERN.fullmatch(name):
        return [
            (
                f'"{name}" is not a database name that is safe everywhere.',
                f"Use 1 to {LONGEST_NAME} of a-z, 0-9 and _, a letter first.",
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
