"""The desired state: tenants, their names and their options. Pure: no Django, no PostgreSQL."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploytools.errors import ConfigurationError

if TYPE_CHECKING:
    from deploytools.conf import Settings

#: PostgreSQL truncates longer names and only issues a NOTICE (NAMEDATALEN - 1 bytes).
MAX_NAME_LENGTH = 63
NAME_PATTERN = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_NAME_LENGTH - 1}}}")

#: The second login of a role has the role's name and this suffix (`rotate_credentials`).
SECOND_LOGIN_SUFFIX = "_b"

#: Names of extensions, for example ``uuid-ossp``.
EXTENSION_PATTERN = re.compile(rf"[a-z][a-z0-9_-]{{0,{MAX_NAME_LENGTH - 1}}}")

#: Names that PostgreSQL or RDS use for databases and roles.
RESERVED_NAMES = frozenset(
    {"postgres", "template0", "template1", "rdsadmin", "rdsrepladmin", "rdsproxyadmin", "public", "none"}
)
RESERVED_PREFIXES = ("pg_", "rds_", "test_", "deploytools_")

#: Milliseconds in each of PostgreSQL's units of time.
UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION = re.compile(r"([0-9]{1,10})\s*(ms|s|min|h|d)?")
MAX_MILLISECONDS = 2**31 - 1


@dataclass(frozen=True)
class TenantOptions:
    """Options of a tenant's database; None: not changed.

    Attributes:
        connection_limit: concurrent connections; -1: no limit.
        statement_timeout: milliseconds; 0: none.
        idle_in_transaction_session_timeout: milliseconds; 0: none.
    """

    connection_limit: int | None = None
    statement_timeout: int | None = None
    idle_in_transaction_session_timeout: int | None = None
    extensions: tuple[str, ...] = ()

    @property
    def database_settings(self) -> Mapping[str, int]:
        """The parameters of ``ALTER DATABASE … SET``, in milliseconds."""
        settings = {
            "statement_timeout": self.statement_timeout,
            "idle_in_transaction_session_timeout": self.idle_in_transaction_session_timeout,
        }
        return {name: value for name, value in settings.items() if value is not None}


@dataclass(frozen=True)
class Tenant:
    """A tenant, with its own database.

    Attributes:
        name: name of the database and, with a role per tenant, of the role.
    """

    name: str
    options: TenantOptions = field(default_factory=TenantOptions)


@dataclass(frozen=True)
class DesiredState:
    """The state that the settings, the secret and the options ask for.

    Attributes:
        app_role: the role that the tenants share; with a role per tenant, the role that they shared before.
        login: the role that logs in for `app_role`: ``username`` of the secret. Empty: `app_role`.
        tenants: the tenants of this run, each with one database.
        other_tenants: the tenants in the settings that this run does not concern; their roles are other tenants', too.
        locale: locale of new databases; empty: the server's.
        adopt: whether unmanaged databases can be adopted.
        is_shared: whether one role owns all databases; else each tenant has a role of the tenant's name.
        finish: whether roles that owned a tenant's database before lose access to it.
        migrate: whether new databases get their tables.
        template: the database from which new databases are copied; empty: the migrations are run in each.
        timezone: the time zone of Django's connections.
    """

    app_role: str
    tenants: tuple[Tenant, ...]
    locale: str = ""
    adopt: bool = False
    is_shared: bool = True
    finish: bool = False
    migrate: bool = False
    template: str = ""
    timezone: str = "UTC"
    login: str = ""
    other_tenants: tuple[Tenant, ...] = ()

    @property
    def all_tenants(self) -> tuple[Tenant, ...]:
        """The tenants in the settings."""
        return (*self.tenants, *self.other_tenants)

    @property
    def template_extensions(self) -> tuple[str, ...]:
        """The extensions that all tenants have, and so their template."""
        first, *others = [tenant.options.extensions for tenant in self.all_tenants] or [()]
        return tuple(name for name in first if all(name in other for other in others))

    @property
    def separate_login(self) -> str:
        """The role that logs in as a member of the shared role; empty: the shared role itself."""
        return self.login if self.is_shared and self.login not in ("", self.app_role) else ""

    @property
    def role_defaults(self) -> Mapping[str, str]:
        """Settings that Django would otherwise set in each new connection, with one query each.

        See "Optimizing PostgreSQL's configuration" in its documentation.
        """
        return {"client_encoding": "UTF8", "default_transaction_isolation": "read committed", "timezone": self.timezone}

    def role_of(self, tenant: Tenant) -> str:
        """Return the role that owns the tenant's database and logs in to it."""
        return self.app_role if self.is_shared else tenant.name

    def previous_role_of(self, tenant: Tenant) -> str:
        """Return the role that owns the tenant's database under the other ``ISOLATION``."""
        return tenant.name if self.is_shared else self.app_role

    def template_owner(self, master: str) -> str:
        """Return the role that owns the template: the shared role, or `master` with a role per tenant."""
        return self.app_role if self.is_shared else master

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that own databases of the tenants, desired and previous, each once."""
        return tuple(dict.fromkeys([self.app_role, *(tenant.name for tenant in self.all_tenants)]))


#: The keys of a tenant's dict beside ``NAME``, and of ``DEPLOYTOOLS["TENANT_OPTIONS"]``.
OPTIONS: Mapping[str, str] = {
    "CONNECTION_LIMIT": "an integer of at least 1, or -1 for no limit",
    "STATEMENT_TIMEOUT": 'milliseconds, or text such as "30s"; 0: none',
    "IDLE_IN_TRANSACTION_SESSION_TIMEOUT": 'milliseconds, or text such as "60s"; 0: none',
    "EXTENSIONS": 'a list of names of extensions, for example ["pg_trgm", "hstore"]',
}


def milliseconds(value: object) -> int | None:
    """Return the milliseconds of a time in PostgreSQL's notation, ``30000`` or ``"30s"``; None if it is invalid."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    match = DURATION.fullmatch(str(value).strip())
    if match is None:
        return None
    length = int(match[1]) * UNITS[match[2] or "ms"]
    return length if length <= MAX_MILLISECONDS else None


def configured_tenants(settings: Settings) -> tuple[Tenant, ...]:
    """Return the tenants of ``DEPLOYTOOLS["TENANTS"]``.

    Raises:
        ConfigurationError: there are none, or with every violation in their names and options.
    """
    tenants = parse_tenants(settings.tenants, settings.tenant_options, has_roles=not settings.is_shared)
    if not tenants:
        raise ConfigurationError(
            'DEPLOYTOOLS["TENANTS"] is empty.', hint='Set it, for example: DEPLOYTOOLS = {"TENANTS": ["shop_one"]}'
        )
    return tenants


def parse_tenants(
    value: Sequence[object], for_all: Mapping[str, object] | None = None, *, has_roles: bool = False
) -> tuple[Tenant, ...]:
    """Return the tenants of ``DEPLOYTOOLS["TENANTS"]``.

    Args:
        value: names, or dicts with ``NAME`` and `OPTIONS`.
        for_all: options of tenants that do not set their own.
        has_roles: whether each tenant has its own role.

    Raises:
        ConfigurationError: with all violations in names and options.
    """
    violations = [
        *name_violations(value, has_roles=has_roles),
        *option_violations(for_all or {}, 'DEPLOYTOOLS["TENANT_OPTIONS"]'),
    ]
    if violations:
        raise ConfigurationError(
            'DEPLOYTOOLS["TENANTS"] is invalid: ' + " ".join(sentence for sentence, _ in violations),
            hint=" ".join(dict.fromkeys(hint for _, hint in violations)),
        )
    return tuple(Tenant(tenant_name(entry), _options({**(for_all or {}), **_own(entry)})) for entry in value)


def name_violations(value: Sequence[object], *, has_roles: bool = False) -> list[tuple[str, str]]:
    """Return every violation in ``DEPLOYTOOLS["TENANTS"]`` as (message, hint), in the order of the setting.

    Args:
        has_roles: whether each tenant has its own role.
    """
    names = [tenant_name(entry) for entry in value]
    return [
        violation
        for entry, name in zip(value, names, strict=True)
        for violation in (*_entry_violations(entry), *_name_violations(name))
    ] + [*_collisions(names), *(_second_login_violations(names) if has_roles else ())]


def option_violations(options: Mapping[str, object], owner: str) -> list[tuple[str, str]]:
    """Return every violation in a dict of options as (message, hint).

    Args:
        owner: the subject of the messages: the setting or the tenant.
    """
    unknown = [
        (f'{owner} has an unknown option: "{key}".', f"Use one of: {', '.join(OPTIONS)}.")
        for key in options
        if key not in OPTIONS
    ]
    wrong = [
        (f"{owner} has an invalid {key}: {options[key]!r}.", f"Set {key} to {expected}.")
        for key, expected in OPTIONS.items()
        if key in options and _option(key, options[key]) is None
    ]
    return unknown + wrong


def alias_violations(databases: Mapping[str, Mapping[str, Any]], tenants: Collection[str]) -> list[tuple[str, str]]:
    """Return each tenant that only another alias than ``default`` has in ``DATABASES``, as (message, hint)."""
    names = {alias: str(database.get("NAME", "")) for alias, database in databases.items()}
    if names.get("default") in tenants:  # Another alias can be its replica.
        return []
    return [
        (
            f"The tenant {name} is DATABASES['{alias}'], but the database of a tenant must be DATABASES['default'].",
            f"Rename the alias {alias} to default, in DATABASES and in DATABASE_ROUTERS.",
        )
        for alias, name in names.items()
        if name in tenants
    ]


def _collisions(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:
            yield f'Tenant "{name}" is listed {count} times (case is ignored).', "List each tenant once."
    unique = {name.lower() for name in names}
    for name, count in Counter(name[:MAX_NAME_LENGTH] for name in unique).items():
        if count > 1:
            message = f'{count} tenants are truncated by PostgreSQL to the same name: "{name}".'
            yield message, f"Use names that differ within {MAX_NAME_LENGTH} characters."


def _second_login_violations(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield why a role for each tenant, and a second login of it, would not all be different roles."""
    for name in names:
        second = name + SECOND_LOGIN_SUFFIX
        if second in names:
            yield f'Tenant "{second}" has the name of the second login of tenant "{name}".', "Rename one of the two."
        if len(second) > MAX_NAME_LENGTH >= len(name):
            message = f'The second login of tenant "{name}" would have a name of more than {MAX_NAME_LENGTH} bytes.'
            yield message, f"Use names of at most {MAX_NAME_LENGTH - len(SECOND_LOGIN_SUFFIX)} characters."


def require_configured(names: Iterable[str], configured: Sequence[str]) -> None:
    """Raise ConfigurationError for the first of `names` that is not one of the `configured` tenants."""
    for name in names:
        if name not in configured:
            raise ConfigurationError(
                f'DEPLOYTOOLS["TENANTS"] has no tenant {name}.',
                hint=f"Use one of: {', '.join(configured) or 'none is configured'}.",
            )


def tenant_name(entry: object) -> str:
    """Return the name of an entry of ``DEPLOYTOOLS["TENANTS"]``."""
    return str(entry.get("NAME", "")) if isinstance(entry, Mapping) else str(entry)


def _own(entry: object) -> dict[str, object]:
    return {key: value for key, value in entry.items() if key != "NAME"} if isinstance(entry, Mapping) else {}


def _option(key: str, value: object) -> int | tuple[str, ...] | None:
    if key == "EXTENSIONS":
        return _extensions(value)
    if key != "CONNECTION_LIMIT":
        return milliseconds(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and (value == -1 or 0 < value < 10_000) else None


def _extensions(value: object) -> tuple[str, ...] | None:
    is_valid = isinstance(value, list | tuple) and all(
        isinstance(name, str) and EXTENSION_PATTERN.fullmatch(name) for name in value
    )
    return tuple(dict.fromkeys(value)) if is_valid and isinstance(value, list | tuple) else None


def _options(given: Mapping[str, Any]) -> TenantOptions:
    values: dict[str, Any] = {key.lower(): _option(key, value) for key, value in given.items()}
    return TenantOptions(**values)


def _entry_violations(entry: object) -> list[tuple[str, str]]:
    if isinstance(entry, Mapping):
        return option_violations(_own(entry), f'Tenant "{tenant_name(entry)}"')
    if not isinstance(entry, str):
        return [(f"{entry!r} is neither a name nor a dict.", 'Set it to "name" or {"NAME": "name"}.')]
    return []


def _name_violations(name: str) -> list[tuple[str, str]]:
    if not NAME_PATTERN.fullmatch(name):
        return [
            (
                f'"{name}" is not a valid tenant name.',
                f"Use 1 to {MAX_NAME_LENGTH} characters of a-z, 0-9 and _, beginning with a letter.",
            )
        ]
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        return [
            (
                f'"{name}" is a reserved name of PostgreSQL, RDS, Django\'s tests or deploytools.',
                f"Avoid {', '.join(sorted(RESERVED_NAMES))} and the prefixes {', '.join(RESERVED_PREFIXES)}.",
            )
        ]
    return []
