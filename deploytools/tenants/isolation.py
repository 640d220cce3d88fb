"""Verification that a tenant works and is isolated: real logins, CONNECT privileges, and the owners of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError
from deploytools.postgres.connections import TRUSTED_SEARCH_PATH, Connection, Login, translate_database_errors
from deploytools.tenants.catalog import CONNECT_HOLDERS, read_logins
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.ownership import EXTENSION, OWNED, Owned
from deploytools.tenants.state import UnusableObjects
from deploytools.wording import join_names

#: With more pairs of a login and another tenant's database, each login is tried on two other databases only. The
#: catalog is checked for all pairs in any case.
MAX_PAIRS = 1_000

#: The role whose only member is the owner of the session's database. From PostgreSQL 15 on it owns ``public``.
DATABASE_OWNER = "pg_database_owner"

#: Objects that a message lists.
MAX_OBJECTS = 5


def verify_tenant(login: Login, database: str, owner: str = "", *, transferring: Sequence[str] = ()) -> None:
    """Log in, and verify that the application can work in `database` and that PUBLIC cannot connect to it.

    Args:
        owner: the role that owns the database; empty: that of the login.
        transferring: roles whose objects the next run transfers; the tables that they have created since do not count.

    Raises:
        ConnectionFailed, DatabaseError: it cannot log in, or what `verify_session` raises.
    """
    with login.connect(database) as connection:
        verify_session(connection, database, owner or login.user, transferring=transferring)


def verify_session(connection: Connection, database: str, owner: str, *, transferring: Sequence[str] = ()) -> None:
    """Verify in the application's session what `verify_tenant` verifies.

    Reads the privileges on tables and sequences, creates a table and rolls it back, and reads the privileges of PUBLIC.

    Raises:
        DatabaseError: the session acts as another role than `owner`, cannot use a table or create one, or PUBLIC can
            connect.
    """
    user = connection.info.user
    with translate_database_errors(f"create a table as {user} in {database}"):
        (row,) = connection.execute(
            "SELECT current_user::pg_catalog.text AS role, pg_catalog.has_database_privilege('public', "
            "pg_catalog.current_database(), 'CONNECT, TEMPORARY') AS is_public"
        ).fetchall()
        if row.role != owner:
            raise _acting_role_error(user, row.role, owner)
        require_usable_objects(read_unusable_objects(connection, transferring), user, database)
        connection.execute("BEGIN; CREATE TABLE deploytools_verification (id integer); ROLLBACK")
    if row.is_public:
        raise DatabaseError(f"PUBLIC can connect to {database}.", hint="Run: python manage.py create_tenant_dbs")


def _acting_role_error(login: str, role: str, owner: str) -> DatabaseError:
    return DatabaseError(
        f"{login} acts as {role}, expected {owner}: {role} would own the tables that it creates.",
        hint="Run: python manage.py create_tenant_dbs. If it has no changes, install the latest minor version of "
        "PostgreSQL: 14.14, 15.9, 16.5 and 17.1 ignore ALTER ROLE … SET role.",
    )


def read_unusable_objects(connection: Connection, transferring: Sequence[str] = ()) -> UnusableObjects:
    """Return the tables and sequences on which the session's role has no privilege at all.

    They are those in the schema ``public``, in the role's own schemas and in those of its ``search_path``. Not counted
    are partitions, which are used through their parent, and members of extensions.
    """
    with translate_database_errors("read the privileges on tables"), connection.transaction():
        (row,) = connection.execute(
            "SELECT pg_catalog.string_to_array(pg_catalog.current_setting('search_path'), ', ') AS schemas, "
            "pg_catalog.current_schema()::pg_catalog.text AS current, current_user::pg_catalog.text AS role"
        ).fetchall()
        connection.execute("SET LOCAL search_path = pg_catalog")
        (found,) = connection.execute(
            """
            SELECT count(*) AS number, min(type || ' ' || identity) AS example,
                   coalesce(array_agg(DISTINCT owner ORDER BY owner), '{}') AS owners
            FROM (SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS type,
                         c.oid::regclass::text AS identity, pg_get_userbyid(c.relowner)::text AS owner
                  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition
                    AND (n.nspname IN ('public', current_user) OR quote_ident(n.nspname) = ANY(%s)
                         OR n.nspowner = current_user::regrole)
                    AND NOT starts_with(n.nspname, 'pg_') AND n.nspname <> 'information_schema'
                    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                    AND d.objid = c.oid AND d.deptype = 'e')
                    AND pg_get_userbyid(c.relowner) <> ALL(%s)
                    AND NOT (has_schema_privilege(n.oid, 'USAGE') AND CASE
                        WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
                        ELSE has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE')  -- Any of them.
                    END)) AS unusable
            """,
            [row.schemas, list(transferring)],
        ).fetchall()
        schema = read_schema_problem(connection, row.role, row.current or "public")
    return UnusableObjects(found.number, found.example or "", tuple(found.owners), *schema)


def read_schema_problem(
    connection: Connection, role: str, schema: str = "public", *, owners: Sequence[str] = ()
) -> tuple[str, str]:
    """Return why `role` cannot create tables in `schema` of the session's database, and the hint; empty: it can.

    Args:
        owners: the owner of the database and of objects that are to be transferred to `role`.
    """
    (row,) = connection.execute(
        """
        SELECT quote_ident(given.schema) AS schema, quote_ident(given.role) AS role,
               pg_get_userbyid(n.nspowner)::text AS owner, coalesce(r.rolinherit, true) AS inherits,
               has_schema_privilege(coalesce(r.rolname, 'public'), n.oid, 'USAGE') AS has_usage,
               has_schema_privilege(coalesce(r.rolname, 'public'), n.oid, 'CREATE') AS has_create
        FROM (SELECT %s::text AS role, %s::text AS schema) AS given
        LEFT JOIN pg_namespace n ON n.nspname = given.schema LEFT JOIN pg_roles r ON r.rolname = given.role
        """,
        [role, schema],
    ).fetchall()
    if row.owner is None:
        statement = f"CREATE SCHEMA {row.schema} AUTHORIZATION {row.role}"
        return f"schema {row.schema} does not exist", f"as the owner of the database: {statement}"
    if (row.has_usage and row.has_create) or row.owner in owners:
        return "", ""
    missing = " and ".join(["USAGE"] * (not row.has_usage) + ["CREATE"] * (not row.has_create))
    problem = f"it does not have {missing} on schema {row.schema} (owner {row.owner})"
    if row.owner == DATABASE_OWNER and not row.inherits:
        return f"{problem}, because it has NOINHERIT", f"as the master user: ALTER ROLE {row.role} INHERIT"
    who = "the owner of the database" if row.owner == DATABASE_OWNER else row.owner
    return problem, f"as {who}: GRANT USAGE, CREATE ON SCHEMA {row.schema} TO {row.role}"


def require_usable_objects(unusable: UnusableObjects, role: str, database: str) -> None:
    """Raise DatabaseError if there are unusable objects."""
    if unusable:
        raise DatabaseError(
            unusable.describe(role, database),
            hint=unusable.hint(database, "Show how to transfer them: python manage.py create_tenant_dbs --plan"),
            sqlstate="42501",
        )


def read_databases_with_foreign_objects(connection: Connection, desired: DesiredState) -> frozenset[str]:
    """Return the tenants' databases that contain objects of roles other than the owner and the master user.

    ``pg_shdepend`` lists the owners; objects of the bootstrap superuser are not in it.
    """
    with translate_database_errors("read the owners of objects"):
        rows = connection.execute(
            """
            SELECT datname::text FROM pg_database d JOIN pg_roles master ON master.rolname = current_user
            WHERE datname = ANY(%s) AND (
                EXISTS (SELECT FROM pg_shdepend WHERE dbid = d.oid AND deptype = 'o'
                        AND refclassid = 'pg_authid'::regclass AND refobjid NOT IN (d.datdba, master.oid))
                OR EXISTS (SELECT FROM pg_subscription WHERE subdbid = d.oid
                           AND subowner NOT IN (d.datdba, master.oid)))
            """,
            [[tenant.name for tenant in desired.tenants]],
        ).fetchall()
    return frozenset(row.datname for row in rows)


def read_foreign_owned_objects(login: Login, database: str, master: str) -> tuple[Owned, ...]:
    """Return the objects in `database` that neither the login's role nor the master user owns."""
    with (
        login.connect(database, settings=TRUSTED_SEARCH_PATH) as connection,
        translate_database_errors(f"read the owners in {database}"),
    ):
        rows = connection.execute(
            sql.SQL(
                "SELECT owner, type, identity FROM ({}) AS owned "
                "WHERE owner NOT IN (current_user, %s) AND NOT is_temporary ORDER BY owner, type, identity"
            ).format(sql.SQL(OWNED)),
            [master],
        ).fetchall()
    return tuple(Owned(*row) for row in rows)


def evaluate_object_owners(
    items: Iterable[Owned], tenant: Tenant, desired: DesiredState, transferring: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return notes on objects in the tenant's database that other roles own; none for most tenants.

    Objects of `transferring`, which have been created since the transfer, do not count. A user mapping of a role that
    is not a tenant's belongs to that role. The owner of an extension cannot be changed.

    Raises:
        DatabaseError: the role of another tenant, or of the other ISOLATION, owns some.
    """
    items = tuple(item for item in items if item.owner not in transferring or item.kind == EXTENSION)
    left = [item for item in items if item.owner in desired.roles and item.kind != EXTENSION]
    if left:
        raise DatabaseError(
            f"Objects in {tenant.name} are not owned by {desired.role_of(tenant)}: {_some(left)}.",
            hint="Change their owner as the master user (ALTER … OWNER TO …), or drop them, in psql. Then run the "
            "command again.",
        )
    noted = [item for item in items if item.kind != "user mapping"]
    if not noted:
        return ()
    why = (
        "; PostgreSQL cannot change the owner of an extension" if any(item.kind == EXTENSION for item in noted) else ""
    )
    return (f"Objects in {tenant.name} not owned by {desired.role_of(tenant)}: {_some(noted)}{why}",)


def _some(items: Sequence[Owned]) -> str:
    return join_names([f"{item} (owner {item.owner})" for item in items], MAX_OBJECTS)


def assert_login_denied(login: Login, database: str) -> None:
    """Verify that the server denies `login` access to `database`.

    Raises:
        DatabaseError: it can log in.
        ConnectionFailed: the login failed for another reason, so it is unknown.
    """
    try:
        login.connect(database).close()
    except ConnectionFailed as error:
        if error.kind is ConnectionFailure.NO_CONNECT:
            return
        raise
    raise DatabaseError(
        f"{login.user} can log in to {database}.",
        hint=f"Find the grant in psql (\\l {database} and \\du {login.user}) and REVOKE it.",
    )


def other_tenant_logins(tenant: str, logins: Mapping[str, Login]) -> tuple[Login, ...]:
    """Return the logins of other tenants to try on this tenant's database: all, or two if there are many tenants.

    Args:
        logins: each tenant's own login, by tenant.
    """
    names = list(logins)
    if len(names) * (len(names) - 1) <= MAX_PAIRS:
        return tuple(login for name, login in logins.items() if name != tenant)
    at = names.index(tenant)
    return logins[names[at - 1]], logins[names[(at + 1) % len(names)]]


@dataclass(frozen=True)
class ConnectPrivileges:
    """Roles that can connect to the tenants' databases, by database.

    Attributes:
        violations: PUBLIC, and the roles of other tenants.
        unknown: login roles that are neither a tenant's nor the master user.
    """

    violations: Mapping[str, tuple[str, ...]]
    unknown: Mapping[str, tuple[str, ...]]


def read_connect_privileges(connection: Connection, desired: DesiredState) -> ConnectPrivileges:
    """Return which roles have CONNECT on the tenants' databases, directly or through a membership; not superusers."""
    with translate_database_errors("read who can connect"):
        rows = connection.execute(
            f"""
            {CONNECT_HOLDERS}
            SELECT holder.database::text, coalesce(r.rolname::text, 'PUBLIC') AS role,
                   pg_get_userbyid(holder.via)::text AS via
            FROM holder LEFT JOIN pg_roles r ON r.oid = holder.role
            WHERE holder.role = 0 OR (r.rolcanlogin AND NOT r.rolsuper) ORDER BY 1, 2, 3
            """,  # noqa: S608 - a constant
            [[tenant.name for tenant in desired.tenants]],
        ).fetchall()
        logins = read_logins(connection, desired)
    names = {owner: frozenset(login.name for login in found) for owner, found in logins.items()}
    holders = [(row.database, row.role, row.via) for row in rows]
    return evaluate_connect_privileges(holders, desired, connection.info.user, names)


def evaluate_connect_privileges(
    holders: Sequence[tuple[str, str, str]],
    desired: DesiredState,
    master: str,
    logins: Mapping[str, frozenset[str]] | None = None,
) -> ConnectPrivileges:
    """Classify the roles that have CONNECT.

    A role and its separate logins are one party. The owner under the other ISOLATION is allowed until ``--finish``,
    but only as a member of the owner; a note of the plan reports it. If the tenants share a role, all tenants' previous
    roles can be members of it.

    Args:
        holders: (database, role, the role to which CONNECT was granted: the role itself, or one it is a member of).
        logins: the separate logins of the roles that own databases.
    """
    tenants = {tenant.name: tenant for tenant in desired.tenants}
    party = {login: owner for owner, found in (logins or {}).items() for login in found}

    def is_expected(database: str, role: str, via: str) -> bool:
        owner = desired.role_of(tenants[database])
        previous = desired.roles if desired.is_shared else (desired.previous_role_of(tenants[database]),)
        return role in (owner, master) or (role in previous and via == owner and not desired.finish)

    violations: dict[str, dict[str, None]] = {}
    unknown: dict[str, dict[str, None]] = {}
    for database, role, via in holders:
        actor = party.get(role, role)
        if not is_expected(database, actor, party.get(via, via)):
            found = violations if actor in ("PUBLIC", *desired.roles) else unknown
            found.setdefault(database, {})[role] = None
    return ConnectPrivileges(
        *({database: tuple(roles) for database, roles in found.items()} for found in (violations, unknown))
    )


def require_no_violation(name: str, privileges: ConnectPrivileges) -> None:
    if name in privileges.violations:
        roles = ", ".join(privileges.violations[name])
        raise DatabaseError(
            f"{roles} can connect to {name}, directly or through a membership.",
            hint=f"Find the grant in psql (\\l {name} and \\drg) and REVOKE it.",
        )
