"""The proof that a tenant works and is shut: real logins, who the catalogue says may come in, and what is whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from deploytools.databases.objects import KEPT, OWNED, Owned
from deploytools.databases.server import TRUSTED, Connection, Login, translating
from deploytools.databases.state import Wanted
from deploytools.databases.tenants import Tenant
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError

#: With more pairs of login and foreign database than this, each login is tried on its two neighbours' databases only;
#: the catalogue is asked of all pairs either way.
MOST_PAIRS = 1_000


#: Objects that one sentence names.
MOST_OBJECTS = 5


def prove(login: Login, database: str) -> None:
    """Show that the application's role can work in `database` and that PUBLIC cannot come in.

    Logs in, creates a table and rolls it back, and asks the catalogue.

    Raises:
        ConnectionFailed, DatabaseError: what could not be shown.
    """
    with login.connect(database) as connection, translating(f"let {login.user} work in {database}"):
        with connection.transaction(force_rollback=True):
            connection.execute("CREATE TABLE deploytools_proof (id integer)")
        row = connection.execute(
            "SELECT pg_catalog.has_database_privilege('public', pg_catalog.current_database(), 'CONNECT, TEMPORARY') "
            "AS is_open"
        ).fetchone()
    if row is None or row.is_open:
        raise DatabaseError(
            f"PUBLIC may connect to {database}.", hint="Run it again: python manage.py create_tenant_dbs"
        )


def read_mixed(connection: Connection, wanted: Wanted) -> frozenset[str]:
    """The tenants' databases in which something belongs neither to its owner nor to the master, by the server's own
    list of what is whose; what belongs to the server's own superuser is not in it.
    """
    with translating("show what is whose"):
        rows = connection.execute(
            """
            SELECT datname::text FROM pg_database d JOIN pg_roles master ON master.rolname = current_user
            WHERE datname = ANY(%s) AND (
                EXISTS (SELECT FROM pg_shdepend WHERE dbid = d.oid AND deptype = 'o'
                        AND refclassid = 'pg_authid'::regclass AND refobjid NOT IN (d.datdba, master.oid))
                OR EXISTS (SELECT FROM pg_subscription WHERE subdbid = d.oid
                           AND subowner NOT IN (d.datdba, master.oid)))
            """,
            [[tenant.name for tenant in wanted.tenants]],
        ).fetchall()
    return frozenset(row.datname for row in rows)


def read_foreigners(login: Login, database: str, master: str) -> tuple[Owned, ...]:
    """What is in `database` and neither the login's own nor the master's, whose business it is."""
    with login.connect(database, settings=TRUSTED) as connection, translating(f"show what is whose in {database}"):
        rows = connection.execute(
            sql.SQL(
                "SELECT owner, type, identity FROM ({}) AS owned "
                "WHERE owner NOT IN (current_user, %s) AND NOT is_temporary ORDER BY owner, type, identity"
            ).format(sql.SQL(OWNED)),
            [master],
        ).fetchall()
    return tuple(Owned(*row) for row in rows)


def judge_owned(items: Iterable[Owned], tenant: Tenant, wanted: Wanted) -> tuple[str, ...]:
    """What a person should know of objects in the tenant's database that are not its role's own; none for most.

    The user mapping of a role that these commands know nothing of is that role's. Extensions cannot be handed over.

    Raises:
        DatabaseError: some belong to the role of another tenant, or to that of the other ISOLATION.
    """
    items = tuple(items)
    left = [item for item in items if item.owner in wanted.roles and item.kind != KEPT]
    if left:
        raise DatabaseError(
            f"In {tenant.name} not everything belongs to {wanted.role_of(tenant)}: {_some(left)}.",
            hint="Hand it over as the master (ALTER … OWNER TO …), or drop it, in psql; then run it again.",
        )
    told = [item for item in items if item.kind != "user mapping"]
    why = "; PostgreSQL lets nobody hand over an extension" if any(item.kind == KEPT for item in told) else ""
    return (f"not {wanted.role_of(tenant)}'s in {tenant.name}: {_some(told)}{why}",) if told else ()


def _some(items: Sequence[Owned]) -> str:
    more = f" and {len(items) - MOST_OBJECTS} more" if len(items) > MOST_OBJECTS else ""
    return ", ".join(f"{item} of {item.owner}" for item in items[:MOST_OBJECTS]) + more


def require_refused(stranger: Login, database: str) -> None:
    """Raises DatabaseError where `stranger` gets into `database`, ConnectionFailed where that could not be tried."""
    try:
        stranger.connect(database).close()
    except ConnectionFailed as error:
        if error.kind is ConnectionFailure.NO_CONNECT:
            return
        raise
    raise DatabaseError(
        f"{stranger.user} can log in to {database}.",
        hint=f"Find out how, in psql: \\l {database} and \\du {stranger.user}; then REVOKE it.",
    )


def strangers_of(tenant: str, logins: Mapping[str, Login]) -> tuple[Login, ...]:
    """The logins of other tenants that must be refused by this tenant's database: all, or two where there are many.

    Args:
        logins: with a role per tenant each tenant's own login, by tenant.
    """
    names = list(logins)
    if len(names) * (len(names) - 1) <= MOST_PAIRS:
        return tuple(login for name, login in logins.items() if name != tenant)
    at = names.index(tenant)
    return logins[names[at - 1]], logins[names[(at + 1) % len(names)]]


@dataclass(frozen=True)
class Reach:
    """Who may connect to the tenants' databases, by database.

    Attributes:
        breaches: PUBLIC, or the role of another tenant.
        others: login roles that these commands know nothing of.
    """

    breaches: Mapping[str, tuple[str, ...]]
    others: Mapping[str, tuple[str, ...]]


def read_reach(connection: Connection, wanted: Wanted) -> Reach:
    """Who holds CONNECT on the tenants' databases, directly or as a member of who does; superusers apart."""
    with translating("show who may connect"):
        rows = connection.execute(
            """
            WITH RECURSIVE holder(database, role, via) AS (
                SELECT d.datname, acl.grantee, acl.grantee FROM pg_database d,
                       aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
                WHERE d.datname = ANY(%s) AND acl.privilege_type = 'CONNECT'
                UNION SELECT holder.database, m.member, holder.via
                FROM holder JOIN pg_auth_members m ON m.roleid = holder.role
            )
            SELECT holder.database::text, coalesce(r.rolname::text, 'PUBLIC') AS role,
                   pg_get_userbyid(holder.via)::text AS via
            FROM holder LEFT JOIN pg_roles r ON r.oid = holder.role
            WHERE holder.role = 0 OR (r.rolcanlogin AND NOT r.rolsuper) ORDER BY 1, 2, 3
            """,
            [[tenant.name for tenant in wanted.tenants]],
        ).fetchall()
    return judge_reach([(row.database, row.role, row.via) for row in rows], wanted, connection.info.user)


def judge_reach(holders: Sequence[tuple[str, str, str]], wanted: Wanted, master: str) -> Reach:
    """Which of those that hold CONNECT are breaches.

    Owners under the other ISOLATION are allowed until ``--finish``, as members of the owner and in no other way: a
    plan's remark tells of them. Those of tenants that share a role now reach all of them through it.

    Args:
        holders: (database, role, the role to which CONNECT was granted: itself, or one that it is a member of).
    """
    tenants = {tenant.name: tenant for tenant in wanted.tenants}

    def may(database: str, role: str, via: str) -> bool:
        owner = wanted.role_of(tenants[database])
        former = wanted.roles if wanted.is_shared else (wanted.former_role_of(tenants[database]),)
        return role in (owner, master) or (role in former and via == owner and not wanted.finish)

    breaches: dict[str, dict[str, None]] = {}
    others: dict[str, dict[str, None]] = {}
    for database, role, via in holders:
        if not may(database, role, via):
            found = breaches if role in ("PUBLIC", *wanted.roles) else others
            found.setdefault(database, {})[role] = None
    return Reach(*({database: tuple(roles) for database, roles in found.items()} for found in (breaches, others)))


def require_no_breach(name: str, reach: Reach) -> None:
    """Raises DatabaseError where somebody may connect to the tenant's database who must not."""
    if name in reach.breaches:
        who = ", ".join(reach.breaches[name])
        raise DatabaseError(
            f"{who} may connect to {name}, directly or as a member of who may.",
            hint=f"Look at who granted it, in psql: \\l {name} and \\drg; then REVOKE it.",
        )
