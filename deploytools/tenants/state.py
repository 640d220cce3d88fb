"""The state of the server, as read from the catalog, and the desired state. Pure values: a plan is made from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deploytools.errors import DatabaseError, DeployError
from deploytools.wording import count, quote_name

#: Prefix of the comment on a database that is managed by deploytools: created or adopted by create_tenant_dbs.
TENANT_COMMENT = "deploytools: tenant database"

#: Comment on a tenant's role that a SQL script created. Only a role that can create roles can write it.
ROLE_COMMENT = "deploytools: tenant role"

#: Part of the comment on a database while objects in it still have to change their owner. Once the database itself has
#: its new owner, the catalog no longer shows whose objects were to follow.
REASSIGN_MARKER = r' \(deploytools: transferring objects of "((?:[^"]|"")*)"\)'

#: Part of the comment on a database that was adopted: its owner before, which keeps access until ``--finish``.
FORMER_OWNER_MARKER = r' \(deploytools: formerly owned by "((?:[^"]|"")*)"\)'

#: CREATE DATABASE cannot set a comment. Until the comment is set, an incomplete database is recognized by this unusual
#: CONNECTION LIMIT, which is part of CREATE DATABASE, and by ALLOW_CONNECTIONS false.
INCOMPLETE_LIMIT = 20_919

#: ``datconnlimit`` of a database whose DROP was interrupted (PostgreSQL's DATCONNLIMIT_INVALID_DB).
INVALID_LIMIT = -2

#: First ``server_version_num`` in which each membership has its own INHERIT and SET options.
GRANT_OPTIONS_VERSION = 160_000

#: Prefix of the names of template databases; tenants cannot have such a name.
TEMPLATE_PREFIX = "deploytools_template_"

#: Prefix of the comment on a template that is complete.
TEMPLATE_COMMENT = "deploytools: template, ready"

ENCODING = "UTF8"

#: Roles that an application role must not be a member of. On RDS, membership in ``rds_iam`` even locks out a master
#: user that is granted the application role (AWS, "IAM database authentication").
FORBIDDEN_ROLES = frozenset({"rds_superuser", "rds_iam", "rds_ad", "rds_password", "rds_replication"})

#: What AWS's rotation for alternating users appends to a role's name for the second user.
CLONE_SUFFIX = "_clone"

#: Prefix of PostgreSQL's predefined roles. Each of them reads, changes or stops what belongs to other tenants.
PREDEFINED_ROLES = "pg_"


@dataclass(frozen=True)
class Membership:
    """A membership in `role`, through the direct membership in `via` that `grantor` granted."""

    role: str
    via: str
    grantor: str


@dataclass(frozen=True)
class RoleState:
    """One row of ``pg_roles`` and the role's memberships.

    Attributes:
        memberships: roles it is a member of, directly or through other roles.
        grants: the direct membership behind each of them.
        admin_memberships: those of `memberships` that are superusers, or have CREATEROLE, CREATEDB or the like.
        settings: ``ALTER ROLE … SET``.
        can_replicate: whether the role has REPLICATION.
        bypasses_row_security: whether the role has BYPASSRLS.
        connection_limit: CONNECTION LIMIT; -1: none.
        valid_until: VALID UNTIL of the password, in UTC; empty: none.
        is_expired: whether that has passed.
        password_works: whether it can log in with the password in its secret.
        login_error: why the login failed, other than for its password; None if it succeeded or was not tried.
        master_can_set_role: whether the master user can ``SET ROLE`` to it.
        master_has_admin: whether the master user can ``GRANT`` it (ADMIN OPTION; before 16, CREATEROLE).
        master_inherits: whether the master user has its privileges, as a member.
    """

    name: str
    can_login: bool = True
    is_superuser: bool = False
    can_create_databases: bool = False
    can_create_roles: bool = False
    memberships: frozenset[str] = frozenset()
    grants: tuple[Membership, ...] = ()
    admin_memberships: frozenset[str] = frozenset()
    inherits: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    can_replicate: bool = False
    bypasses_row_security: bool = False
    connection_limit: int = -1
    valid_until: str = ""
    is_expired: bool = False
    password_works: bool = False
    login_error: DatabaseError | None = None
    master_can_set_role: bool = False
    master_has_admin: bool = False
    master_inherits: bool = True

    @property
    def excess_permissions(self) -> tuple[str, ...]:
        """Attributes and memberships that an application role must not have."""
        attributes = {
            "SUPERUSER": self.is_superuser,
            "CREATEDB": self.can_create_databases,
            "CREATEROLE": self.can_create_roles,
            "REPLICATION": self.can_replicate,
            "BYPASSRLS": self.bypasses_row_security,
        }
        memberships = {name for name in self.memberships if name.startswith(PREDEFINED_ROLES)}
        return (
            *(name for name, has in attributes.items() if has),
            *sorted(memberships | (self.memberships & FORBIDDEN_ROLES) | self.admin_memberships),
        )


def reassign_marker(role: str) -> str:
    """Return the text that `REASSIGN_MARKER` matches."""
    return f" (deploytools: transferring objects of {quote_name(role)})"


def former_owner_marker(role: str) -> str:
    """Return the text that `FORMER_OWNER_MARKER` matches."""
    return f" (deploytools: formerly owned by {quote_name(role)})"


def template_comment(row_version: str) -> str:
    """Return the comment on a complete template whose row in ``pg_database`` has the version `row_version`."""
    return f"{TEMPLATE_COMMENT} ({row_version})"


def is_own_template(name: str, comment: str, connection_limit: int) -> bool:
    """Return whether create_tenant_dbs created this template, complete or not."""
    has_sign = comment.startswith(TEMPLATE_COMMENT) or connection_limit in (INCOMPLETE_LIMIT, INVALID_LIMIT)
    return name.startswith(TEMPLATE_PREFIX) and has_sign


@dataclass(frozen=True)
class Extension:
    """An extension that the server offers.

    Attributes:
        version: the version that CREATE EXTENSION installs.
        needs_superuser: whether only a superuser (on RDS: also a member of ``rds_superuser``) can create it.
    """

    version: str
    needs_superuser: bool = False


@dataclass(frozen=True)
class UnusableObjects:
    """What the application role cannot use in its database: tables and sequences, or the schema for new tables.

    Attributes:
        number: how many tables and sequences; 0 for most databases.
        example: one of them, for example ``table public.auth_user``.
        schema: why the role cannot create tables; empty: it can.
        schema_hint: how to fix that.
    """

    number: int = 0
    example: str = ""
    owners: tuple[str, ...] = ()
    schema: str = ""
    schema_hint: str = ""

    def __bool__(self) -> bool:
        return self.number > 0 or bool(self.schema)

    def describe(self, role: str, database: str) -> str:
        """Return the sentences that report them."""
        objects = (
            f"{role} has no privilege on {count(self.number, 'object')} in {database}, for example "
            f"{self.example} (owner {', '.join(self.owners)})."
        )
        schema = f"{role} cannot create tables in {database}: {self.schema}."
        return " ".join([objects] * (self.number > 0) + [schema] * bool(self.schema))

    def hint(self, database: str, objects: str) -> str:
        """Return how to fix it; `objects` is the hint for the tables and sequences."""
        schema = f"Run in {database}, {self.schema_hint}"
        return ". ".join([objects] * (self.number > 0) + [schema] * bool(self.schema))


@dataclass(frozen=True)
class Client:
    """Sessions of one role and application in a database.

    Attributes:
        application: their ``application_name``; empty: not set.
        has_grant: whether the role has CONNECT other than through PUBLIC.
    """

    role: str
    application: str = ""
    number: int = 1
    has_grant: bool = True


@dataclass(frozen=True)
class DatabaseState:
    """One row of ``pg_database``.

    Attributes:
        locale: LC_COLLATE.
        character_type: LC_CTYPE.
        public_can_connect: whether PUBLIC has CONNECT or TEMPORARY.
        settings: ``ALTER DATABASE … SET``.
        objects: number of objects that each role owns in it.
        master_owns: whether the master user has the privileges of the owner.
        owner_is_superuser: whether the owner is a superuser or a member of one: it must not be granted to any role.
        is_copy: whether the plan creates it from a template.
        master_objects_are_copies: whether all that the master user owns in it was copied from the master's template.
        unusable: the objects in a managed database that the application role cannot use.
        extensions: the version of each extension in it; None: not read.
        row_version: ``xmin`` of its row; it changes with each ALTER, GRANT or REVOKE, but not with VACUUM.
    """

    name: str
    owner: str
    encoding: str = ENCODING
    locale: str = "C.UTF-8"
    allows_connections: bool = True
    connection_limit: int = -1
    is_template: bool = False
    public_can_connect: bool = True
    comment: str = ""
    character_type: str = "C.UTF-8"
    settings: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    clients: tuple[Client, ...] = ()
    master_owns: bool = True
    owner_is_superuser: bool = False
    is_copy: bool = False
    master_objects_are_copies: bool = True
    unusable: UnusableObjects = UnusableObjects()
    extensions: Mapping[str, str] | None = None
    row_version: str = ""

    @property
    def is_managed(self) -> bool:
        """Whether create_tenant_dbs created or adopted it."""
        return self.comment.startswith(TENANT_COMMENT)

    @property
    def reassigning_from(self) -> tuple[str, ...]:
        """Roles whose objects an interrupted run was transferring."""
        return tuple(role.replace('""', '"') for role in re.findall(REASSIGN_MARKER, self.comment))

    @property
    def former_owners(self) -> tuple[str, ...]:
        """Roles whose access an adoption keeps until ``--finish``: recorded in the comment, or to be recorded."""
        if not self.is_unmanaged:
            return tuple(role.replace('""', '"') for role in re.findall(FORMER_OWNER_MARKER, self.comment))
        return tuple(dict.fromkeys((self.owner, *self.reassigning_from)))

    @property
    def is_unmanaged(self) -> bool:
        """Whether create_tenant_dbs neither created nor adopted it."""
        return not (self.is_managed or self.is_incomplete)

    def sessions_of(self, roles: Iterable[str]) -> int:
        """Return the number of sessions of `roles`."""
        return sum(client.number for client in self.clients if client.role in roles)

    @property
    def is_incomplete(self) -> bool:
        """Whether its creation was interrupted. After the comment is set, its owner might already be connected."""
        return self.connection_limit == INCOMPLETE_LIMIT and (not self.allows_connections or self.is_managed)

    @property
    def is_complete_template(self) -> bool:
        """Whether it is a template that is unchanged since it was finalized."""
        is_unchanged = self.comment == template_comment(self.row_version)
        return is_unchanged and self.is_template and not self.allows_connections

    @property
    def is_own_template(self) -> bool:
        """Whether create_tenant_dbs created it as a template, complete or not."""
        return is_own_template(self.name, self.comment, self.connection_limit)


@dataclass(frozen=True)
class OwnerLogin:
    """A role that logs in as a member of the role that owns the databases, as with AWS's rotation of two users.

    Attributes:
        can_act: whether its membership has INHERIT and SET.
        sets_role: whether it acts as the owner from its login on (``ALTER ROLE … SET role``).
    """

    name: str
    can_act: bool = False
    sets_role: bool = False


@dataclass(frozen=True)
class SecretChange:
    """What has to change in a tenant's own secret.

    Attributes:
        keys: keys to write; empty if it is up to date.
        is_new: whether the secret does not exist, or has no value yet.
        error: why it cannot be used, or None.
        login: the role in it that logs in as a member of the tenant's role; empty: the tenant's role itself.
    """

    secret: str
    keys: tuple[str, ...] = ()
    is_new: bool = False
    error: DeployError | None = None
    login: str = ""


@dataclass(frozen=True)
class ServerState:
    """The catalog and the tenants' secrets, as far as a plan needs them.

    Attributes:
        version: ``server_version_num``, for example 160014.
        master: the role of the session.
        roles: the application roles that exist, by name.
        databases: the desired databases that exist, by name.
        secrets: with a role per tenant, the change that each tenant's secret needs, by tenant.
        logins: the separate logins of an application role, by that role.
        extensions: the extensions that the server offers; empty if no tenant needs one.
    """

    version: int
    master: RoleState
    roles: Mapping[str, RoleState] = field(default_factory=dict)
    databases: Mapping[str, DatabaseState] = field(default_factory=dict)
    secrets: Mapping[str, SecretChange] = field(default_factory=dict)
    has_locale: bool = True
    locales: tuple[str, ...] = ()
    logins: Mapping[str, tuple[OwnerLogin, ...]] = field(default_factory=dict)
    extensions: Mapping[str, Extension] = field(default_factory=dict)

    def logins_of(self, role: str) -> tuple[str, ...]:
        """Return the roles that log in as `role`, which owns what each of them creates: `role` itself first."""
        return (role, *(login.name for login in self.logins.get(role, ())))


@dataclass(frozen=True)
class ServerCatalog:
    """The part of the catalog that an application role can read.

    Attributes:
        roles: the application roles that exist: the shared role, or each tenant's own.
        databases: the tenant databases that exist, by name.
        other_logins: by database, the login roles with CONNECT that do not act as its owner; not administrators.
        test_databases: databases that Django's test runner left behind.
        unlisted: databases of the application roles, or named after a tenant, that are not in the settings.
        leftovers: replication slots without a client, and transactions that are open for more than an hour: the name,
            what it is, and the hint.
        outdated_collations: databases whose indexes were created with another version of the collation.
    """

    roles: tuple[RoleState, ...]
    databases: dict[str, DatabaseState]
    test_databases: tuple[str, ...]
    unlisted: tuple[str, ...] = ()
    other_logins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leftovers: tuple[tuple[str, str, str], ...] = ()
    outdated_collations: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ConnectionSlots:
    """Connection slots of the server.

    Attributes:
        maximum: ``max_connections``.
        reserved: slots reserved for superusers and for RDS.
    """

    maximum: int
    reserved: int
    used: int

    @property
    def available(self) -> int:
        """Slots for roles that are not superusers, free or in use."""
        return self.maximum - self.reserved

    @property
    def free(self) -> int:
        """Slots that are free for roles that are not superusers."""
        return self.available - self.used
