"""What has to happen on the server: a pure function of the wanted tenants and of the catalogue.

The order of the steps leaves no moment at which PUBLIC may connect to a tenant's open database: create closed,
revoke, mark, hand over, open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from deploytools.databases.steps import (
    CreateDatabase,
    CreateRole,
    DatabaseStep,
    GrantToMaster,
    HandOver,
    Mark,
    Open,
    RoleStep,
    SetPassword,
    ShutOutPublic,
)
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError, ForeignDatabase

#: ``COMMENT ON DATABASE`` of a database that these commands made or adopted begins with this.
MARK = "deploytools: tenant database"

#: CREATE DATABASE cannot set a comment. Until it is marked, a half-made database is known by this odd CONNECTION LIMIT,
#: which comes into being with it, and by being closed to connections.
HALF_MADE_LIMIT = 20_919

#: ``datconnlimit`` of a database whose DROP was interrupted (PostgreSQL's DATCONNLIMIT_INVALID_DB).
INVALID_LIMIT = -2

ENCODING = "UTF8"

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
    """One row of ``pg_roles``, and what the role is a member of, directly or through others."""

    name: str
    can_login: bool = True
    is_superuser: bool = False
    can_create_databases: bool = False
    can_create_roles: bool = False
    reaches: frozenset[str] = frozenset()

    @property
    def powers(self) -> tuple[str, ...]:
        """What it has that an application must not have: attributes, then roles of `FORBIDDEN_ROLES`."""
        attributes = {
            "SUPERUSER": self.is_superuser,
            "CREATEDB": self.can_create_databases,
            "CREATEROLE": self.can_create_roles,
        }
        return (*(name for name, has in attributes.items() if has), *sorted(self.reaches & FORBIDDEN_ROLES))


@dataclass(frozen=True)
class DatabaseState:
    """One row of ``pg_database``.

    Attributes:
        public_may_connect: PUBLIC has CONNECT or TEMPORARY.
        comment: ``COMMENT ON DATABASE``.
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

    @property
    def is_marked(self) -> bool:
        """Whether these commands made or adopted it."""
        return self.comment.startswith(MARK)

    @property
    def is_half_made(self) -> bool:
        """Whether these commands were interrupted while they made it."""
        return self.connection_limit == HALF_MADE_LIMIT and not self.allows_connections


@dataclass(frozen=True)
class ServerState:
    """The catalogue, as far as a plan needs it.

    Attributes:
        version: ``server_version_num``, for example 160014.
        master: the role that is logged in.
        app_role: the application's role, or None where it does not exist.
        app_password_works: whether that role can log in with the secret's password.
        master_may_set_app: whether the master may ``SET ROLE`` to it.
        master_may_grant_app: whether the master may ``GRANT`` it (ADMIN OPTION; before 16, CREATEROLE).
        databases: those of the wanted names that exist.
    """

    version: int
    master: RoleState
    app_role: RoleState | None = None
    app_password_works: bool = False
    master_may_set_app: bool = False
    master_may_grant_app: bool = False
    databases: Mapping[str, DatabaseState] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What the settings and the secret ask for.

    Attributes:
        app_role: owner of the databases, and who the application logs in as.
        tenants: one database each.
        locale: locale of new databases; empty: the server's.
        adopt: whether databases that somebody else made may be taken over.
    """

    app_role: str
    tenants: tuple[Tenant, ...]
    locale: str = ""
    adopt: bool = False


@dataclass(frozen=True)
class TenantPlan:
    """What one tenant needs.

    Attributes:
        tenant: whose plan it is.
        steps: in order; empty where everything is in place.
        obstacle: why nothing may be done for it, or None.
    """

    tenant: Tenant
    steps: tuple[DatabaseStep, ...] = ()
    obstacle: ForeignDatabase | None = None


@dataclass(frozen=True)
class DatabasePlan:
    """What the server needs: the role's steps first, then each tenant's."""

    role_steps: tuple[RoleStep, ...]
    tenants: tuple[TenantPlan, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do (which says nothing of obstacles)."""
        return not self.role_steps and not any(tenant.steps for tenant in self.tenants)

    @property
    def obstacles(self) -> tuple[TenantPlan, ...]:
        """The tenants that something is in the way of."""
        return tuple(tenant for tenant in self.tenants if tenant.obstacle)


def plan_databases(wanted: Wanted, state: ServerState) -> DatabasePlan:
    """The steps from `state` to `wanted`.

    Raises:
        DatabaseError: the master, or the application's role, is not what it must be; no tenant can be made.
    """
    _require_master(state)
    _require_harmless_role(wanted, state)
    role_steps = tuple(_role_steps(wanted, state))
    tenants = tuple(_tenant_plan(tenant, wanted, state) for tenant in wanted.tenants)
    return DatabasePlan(role_steps, tenants)


def _require_master(state: ServerState) -> None:
    master = state.master
    lacking = [
        name
        for name, has in (("CREATEDB", master.can_create_databases), ("CREATEROLE", master.can_create_roles))
        if not has and not master.is_superuser
    ]
    if lacking:
        raise DatabaseError(
            f"The role {master.name} lacks {' and '.join(lacking)}: permission denied to create what is wanted.",
            hint="Use the master user of the RDS instance (postgres), not the application's: "
            "--master-username, or master_username and master_password in the secret.",
            sqlstate="42501",
        )


def _require_harmless_role(wanted: Wanted, state: ServerState) -> None:
    """An application's role that may do more than its tenants' work would make every later promise hollow."""
    role = state.app_role
    if wanted.app_role == state.master.name:
        raise DatabaseError(
            f"The application's role and the master are both {wanted.app_role}.",
            hint="Give the application a role of its own: username in the secret (the guide's is django_app).",
        )
    if role is None:
        return
    powers = [*role.powers, *({state.master.name} & role.reaches)]
    if powers:
        raise DatabaseError(
            f"The role {role.name} exists and has {', '.join(powers)}, which an application must not have; "
            "nothing was changed.",
            hint="Take it away (ALTER ROLE … NO…, REVOKE … FROM …) as whoever gave it, or name another role.",
        )


def _role_steps(wanted: Wanted, state: ServerState) -> Iterator[RoleStep]:
    role = state.app_role
    if role is None:
        yield CreateRole(wanted.app_role)
        yield GrantToMaster(wanted.app_role)
        return
    if not role.can_login:
        raise DatabaseError(
            f"The role {role.name} exists and may not log in.",
            hint=f"If it is meant for the application: ALTER ROLE {role.name} LOGIN",
        )
    if not state.app_password_works:
        _require_admin(state, role.name, f"set the password of {role.name}")
        yield SetPassword(role.name)
    if not state.master_may_set_app and not state.master.is_superuser:
        _require_admin(state, role.name, f"be granted {role.name}")
        yield GrantToMaster(role.name)


def _require_admin(state: ServerState, role: str, deed: str) -> None:
    """From 16 on CREATEROLE is not enough: this master must have made the role, or have ADMIN OPTION on it."""
    if not state.master_may_grant_app and not state.master.is_superuser:
        raise DatabaseError(
            f"{state.master.name} may not {deed}: somebody else made that role, or it was made before an upgrade to "
            "PostgreSQL 16.",
            hint=f"As whoever made it: GRANT {role} TO {state.master.name} WITH ADMIN OPTION",
            sqlstate="42501",
        )


def _tenant_plan(tenant: Tenant, wanted: Wanted, state: ServerState) -> TenantPlan:
    database = state.databases.get(tenant.name)
    if database is None:
        made = DatabaseState(tenant.name, state.master.name, allows_connections=False, connection_limit=HALF_MADE_LIMIT)
        return TenantPlan(tenant, (CreateDatabase(tenant.name, wanted.locale), *_remaining(made, wanted)))
    if obstacle := _obstacle(database, wanted, state):
        return TenantPlan(tenant, obstacle=obstacle)
    return TenantPlan(tenant, tuple(_remaining(database, wanted)))


def _remaining(database: DatabaseState, wanted: Wanted) -> Iterator[DatabaseStep]:
    """What is left to do for a database that exists, wherever an earlier run was interrupted."""
    name, owner = database.name, database.owner
    if database.public_may_connect:
        yield ShutOutPublic(name, owner)
    if not database.is_marked:
        yield Mark(name, owner)
    if owner != wanted.app_role:
        yield HandOver(name, owner, wanted.app_role)
    if database.is_half_made:
        yield Open(name, wanted.app_role)


def _obstacle(database: DatabaseState, wanted: Wanted, state: ServerState) -> ForeignDatabase | None:
    name = database.name
    if database.connection_limit == INVALID_LIMIT:
        return ForeignDatabase(
            f"{name} is what an interrupted DROP DATABASE left behind.",
            hint=f'Finish it, if that was meant: DROP DATABASE "{name}"',
        )
    if differences := _immutable_differences(database, wanted):
        return ForeignDatabase(
            f"{name} has {' and '.join(differences)}, which cannot be changed.",
            hint="Dump it, create it anew under another name, and restore; or change the setting.",
        )
    if database.is_half_made or (database.is_marked and database.allows_connections):
        return None
    if database.is_marked:
        return ForeignDatabase(
            f"{name} is closed to connections, and not by these commands.",
            hint=f'Find out why; then: ALTER DATABASE "{name}" ALLOW_CONNECTIONS true',
        )
    if wanted.adopt and database.allows_connections and not database.is_template:
        return None
    return ForeignDatabase(
        f"{name} exists and was not made by these commands (owner {database.owner}, "
        f"PUBLIC {'may' if database.public_may_connect else 'may not'} connect"
        f"{', a template' if database.is_template else ''}); it was left alone.",
        hint="If it is this tenant's, look at what would change and take it over: "
        "python manage.py create_tenant_dbs --adopt --plan",
    )


def _immutable_differences(database: DatabaseState, wanted: Wanted) -> list[str]:
    pairs = [("encoding", database.encoding, ENCODING)]
    if wanted.locale:
        pairs.append(("locale", database.locale, wanted.locale))
    return [f"{what} {found} instead of {meant}" for what, found, meant in pairs if found != meant]
