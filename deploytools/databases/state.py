"""What is read from the server and what is wanted of it: the values that a plan is made from. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError, DeployError

#: ``COMMENT ON DATABASE`` of a database that these commands made or adopted begins with this.
MARK = "deploytools: tenant database"

#: ``COMMENT ON ROLE`` of a tenant's own role that a script made: nobody may write it who may not make roles.
ROLE_MARK = "deploytools: tenant role"

#: What stands in the comment, too, from the moment that a database changes hands until everything in it has: once the
#: database has its new owner, the catalogue cannot tell whose objects were to follow.
HANDING_OVER = r' \(deploytools: handing over from "((?:[^"]|"")*)"\)'

#: CREATE DATABASE cannot set a comment. Until it is marked, a half-made database is known by this odd CONNECTION LIMIT,
#: which comes into being with it, and by being closed to connections; once it is marked, its owner may be in it.
HALF_MADE_LIMIT = 20_919

#: ``datconnlimit`` of a database whose DROP was interrupted (PostgreSQL's DATCONNLIMIT_INVALID_DB).
INVALID_LIMIT = -2

ENCODING = "UTF8"

#: What Django would otherwise set in each new connection, one query each (Django, "Optimizing PostgreSQL's
#: configuration").
ROLE_DEFAULTS: Mapping[str, str] = {
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",
}

#: Memberships that an application's role must not reach. On RDS, ``rds_iam`` even locks a master out that is
#: granted a role which has it (AWS, "IAM database authentication").
FORBIDDEN_ROLES = frozenset(
    {
        "rds_superuser",
        "rds_iam",
        "rds_ad",
        "rds_password",
        "rds_replication",
        "pg_execute_server_program",
        "pg_read_server_files",
        "pg_write_server_files",
        "pg_read_all_data",
        "pg_write_all_data",
    }
)


@dataclass(frozen=True)
class RoleState:
    """One row of ``pg_roles``, and what the role is a member of, directly or through others.

    Attributes:
        inherits: INHERIT, the rule: it has the privileges of what it is a member of.
        settings: ``ALTER ROLE … SET``.
        password_works: whether it can log in with the password in its secret.
        login_error: why that is not known: the login failed for another reason; None where it is known, or not tried.
        master_may_set: whether the master may ``SET ROLE`` to it.
        master_may_grant: whether the master may ``GRANT`` it (ADMIN OPTION; before 16, CREATEROLE).
        master_inherits: whether the master has its privileges, as a member.
    """

    name: str
    can_login: bool = True
    is_superuser: bool = False
    can_create_databases: bool = False
    can_create_roles: bool = False
    reaches: frozenset[str] = frozenset()
    inherits: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    password_works: bool = False
    login_error: DatabaseError | None = None
    master_may_set: bool = False
    master_may_grant: bool = False
    master_inherits: bool = True

    @property
    def powers(self) -> tuple[str, ...]:
        """What it has that an application must not have: attributes, then roles of `FORBIDDEN_ROLES`."""
        attributes = {
            "SUPERUSER": self.is_superuser,
            "CREATEDB": self.can_create_databases,
            "CREATEROLE": self.can_create_roles,
        }
        return (*(name for name, has in attributes.items() if has), *sorted(self.reaches & FORBIDDEN_ROLES))


def handing_over_note(role: str) -> str:
    """What `HANDING_OVER` finds."""
    quoted = role.replace('"', '""')
    return f' (deploytools: handing over from "{quoted}")'


@dataclass(frozen=True)
class DatabaseState:
    """One row of ``pg_database``.

    Attributes:
        locale: LC_COLLATE.
        character_type: LC_CTYPE.
        public_may_connect: PUBLIC has CONNECT or TEMPORARY.
        comment: ``COMMENT ON DATABASE``.
        settings: ``ALTER DATABASE … SET``.
        objects: how many tables and the like each role owns in it.
        sessions: how many sessions each role has in it.
        master_owns: whether the master has the privileges of the owner.
        is_copy: it is about to be made from a template.
        masters_are_copied: all that the master owns in it was copied from a template of the master's.
        row_version: its row's ``xmin``, another after each ALTER, GRANT or REVOKE; VACUUM does not change it.
    """

    name: str
    owner: str
    encoding: str = ENCODING
    locale: str = "C.UTF-8"
    allows_connections: bool = True
    connection_limit: int = -1
    is_template: bool = False
    public_may_connect: bool = True
    comment: str = ""
    character_type: str = "C.UTF-8"
    settings: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)
    master_owns: bool = True
    is_copy: bool = False
    masters_are_copied: bool = True
    row_version: str = ""

    @property
    def is_marked(self) -> bool:
        """Whether these commands made or adopted it."""
        return self.comment.startswith(MARK)

    @property
    def handed_over_from(self) -> tuple[str, ...]:
        """Whose objects these commands were handing over when they were interrupted."""
        return tuple(role.replace('""', '"') for role in re.findall(HANDING_OVER, self.comment))

    @property
    def is_half_made(self) -> bool:
        """Whether these commands were interrupted while they made it."""
        return self.connection_limit == HALF_MADE_LIMIT and (not self.allows_connections or self.is_marked)


@dataclass(frozen=True)
class SecretNeed:
    """What a tenant's own secret lacks.

    Attributes:
        secret: its name.
        keys: the keys to write; empty: it is as it must be.
        is_new: whether it does not exist, or has no value yet.
        obstacle: why it cannot be used, or None.
    """

    secret: str
    keys: tuple[str, ...] = ()
    is_new: bool = False
    obstacle: DeployError | None = None


@dataclass(frozen=True)
class ServerState:
    """The catalogue and the tenants' secrets, as far as a plan needs them.

    Attributes:
        version: ``server_version_num``, for example 160014.
        master: the role that is logged in.
        roles: those of the applications' roles that exist, by name.
        databases: those of the wanted names that exist, by name.
        secrets: with a role per tenant, what each tenant's secret needs, by tenant.
        has_locale: whether the server has the wanted locale.
        locales: locales that it has.
    """

    version: int
    master: RoleState
    roles: Mapping[str, RoleState] = field(default_factory=dict)
    databases: Mapping[str, DatabaseState] = field(default_factory=dict)
    secrets: Mapping[str, SecretNeed] = field(default_factory=dict)
    has_locale: bool = True
    locales: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What the settings and the secret ask for.

    Attributes:
        app_role: the role that the tenants share, or shared.
        tenants: one database each.
        locale: locale of new databases; empty: the server's.
        adopt: whether databases that somebody else made may be taken over.
        is_shared: one role owns all; else each tenant has a role of its own, of the tenant's name.
        migrate: whether new tenants get their tables.
        template: the database that they are copied from; empty: the migrations are run.
        finish: whether roles that owned a tenant before lose their way into it.
    """

    app_role: str
    tenants: tuple[Tenant, ...]
    locale: str = ""
    adopt: bool = False
    is_shared: bool = True
    finish: bool = False
    migrate: bool = False
    template: str = ""

    def role_of(self, tenant: Tenant) -> str:
        """Who owns the tenant's database, and logs in to it."""
        return self.app_role if self.is_shared else tenant.name

    def former_role_of(self, tenant: Tenant) -> str:
        """Who did under the other ``ISOLATION``."""
        return tenant.name if self.is_shared else self.app_role

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles that have to do with the tenants, wanted and former, each once."""
        return tuple(dict.fromkeys([self.app_role, *(tenant.name for tenant in self.tenants)]))
