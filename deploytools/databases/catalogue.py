"""What PostgreSQL's catalogue says of roles and databases, and the proof that a tenant works and is shut."""

from __future__ import annotations

import time
from dataclasses import dataclass

from deploytools.databases.plan import DatabaseState, RoleState, ServerState, Wanted
from deploytools.databases.server import MAINTENANCE_DATABASE, Connection, Login, server_version, translating
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError


def read_state(connection: Connection, wanted: Wanted, app_login: Login) -> ServerState:
    """The catalogue, as far as a plan for `wanted` needs it.

    Args:
        connection: the master's session.
        app_login: the application's role with the secret's password, to try it: nobody but a superuser may read
            what password a role has.
    """
    with translating("show its catalogue"):
        app_role = _read_role(connection, wanted.app_role)
        may_set, may_grant = _read_powers(connection, wanted.app_role) if app_role else (False, False)
        master = _read_role(connection, connection.info.user)
        databases = _read_databases(connection, [tenant.name for tenant in wanted.tenants])
    if master is None:
        raise DatabaseError(f"There is no role {connection.info.user}.", hint="Run it again.")
    return ServerState(
        version=connection.info.server_version,
        master=master,
        app_role=app_role,
        app_password_works=app_role is not None and app_role.can_login and password_works(app_login),
        master_may_set_app=may_set,
        master_may_grant_app=may_grant,
        databases=databases,
    )


def password_works(login: Login) -> bool:
    """Whether the server takes `login`'s password.

    Raises:
        ConnectionFailed: for any reason but the password: then it is not known.
    """
    try:
        login.connect(MAINTENANCE_DATABASE).close()
    except ConnectionFailed as error:
        if error.kind is ConnectionFailure.PASSWORD:
            return False
        if error.kind is not ConnectionFailure.NO_CONNECT:
            raise
    return True


def _read_role(connection: Connection, name: str) -> RoleState | None:
    row = connection.execute(
        """
        WITH RECURSIVE reach(oid) AS (
            SELECT oid FROM pg_roles WHERE rolname = %(name)s
            UNION SELECT m.roleid FROM pg_auth_members m JOIN reach ON m.member = reach.oid
        )
        SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole,
               array(SELECT pg_get_userbyid(oid)::text FROM reach WHERE reach.oid <> r.oid) AS reaches
        FROM pg_roles r WHERE r.rolname = %(name)s
        """,
        {"name": name},
    ).fetchone()
    if row is None:
        return None
    return RoleState(
        row.rolname, row.rolcanlogin, row.rolsuper, row.rolcreatedb, row.rolcreaterole, frozenset(row.reaches)
    )


def _read_powers(connection: Connection, role: str) -> tuple[bool, bool]:
    """Whether the session's role may SET ROLE to `role`, and whether it may grant it (FACTS B2.8, B2.12)."""
    if connection.info.server_version < 160000:
        query = """
            SELECT pg_has_role(current_user, %(role)s, 'MEMBER') AS may_set,
                   (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user) AS may_grant
        """
    else:
        query = """
            SELECT pg_has_role(current_user, %(role)s, 'SET') AS may_set,
                   pg_has_role(current_user, %(role)s, 'MEMBER WITH ADMIN OPTION') AS may_grant
        """
    row = connection.execute(query, {"role": role}).fetchone()
    return (row.may_set, row.may_grant) if row else (False, False)


def _read_databases(connection: Connection, names: list[str]) -> dict[str, DatabaseState]:
    rows = connection.execute(
        """
        SELECT d.datname, pg_get_userbyid(d.datdba)::text AS owner, pg_encoding_to_char(d.encoding) AS encoding,
               d.datcollate, d.datallowconn, d.datconnlimit, d.datistemplate,
               has_database_privilege('public', d.oid, 'CONNECT')
                   OR has_database_privilege('public', d.oid, 'TEMPORARY') AS public_may_connect,
               coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment
        FROM pg_database d WHERE d.datname = ANY(%s)
        """,
        [names],
    ).fetchall()
    return {
        row.datname: DatabaseState(
            name=row.datname,
            owner=row.owner,
            encoding=row.encoding,
            locale=row.datcollate,
            allows_connections=row.datallowconn,
            connection_limit=row.datconnlimit,
            is_template=row.datistemplate,
            public_may_connect=row.public_may_connect,
            comment=row.comment,
        )
        for row in rows
    }


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
            "SELECT has_database_privilege('public', current_database(), 'CONNECT') AS is_open"
        ).fetchone()
    if row is None or row.is_open:
        raise DatabaseError(
            f"PUBLIC may connect to {database}.", hint="Run it again: python manage.py create_tenant_dbs"
        )


@dataclass(frozen=True)
class ConnectionReport:
    """What one connection saw.

    Attributes:
        server_version: for example ``16.4``.
        tls: protocol and cipher; ``TLS`` where it ends before the server; empty without.
        connect_seconds: from the name to the login.
        query_seconds: one round trip.
    """

    database: str
    user: str
    server_version: str
    tls: str
    connect_seconds: float
    query_seconds: float


def probe(login: Login, database: str) -> ConnectionReport:
    """Log in, run one query, and say what was seen.

    Raises:
        ConnectionFailed, DatabaseError: which link of the chain broke.
    """
    started = time.monotonic()
    with login.connect(database) as connection, translating("answer a test query"):
        connected = time.monotonic()
        connection.execute("SELECT 1").fetchone()
        queried = time.monotonic()
        return ConnectionReport(
            database=database,
            user=connection.info.user,
            server_version=server_version(connection),
            tls=_tls(connection),
            connect_seconds=connected - started,
            query_seconds=queried - connected,
        )


def _tls(connection: Connection) -> str:
    if not connection.pgconn.ssl_in_use:
        return ""
    row = connection.execute("SELECT version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl").fetchone()
    return f"{row.version} {row.cipher}" if row else "TLS"


@dataclass(frozen=True)
class ServerCatalogue:
    """What the application's role can see of the server.

    Attributes:
        app_role: the application's role.
        databases: the wanted ones that exist, by name.
        test_databases: databases that Django's test runner left behind.
        unnamed: databases of the application's role that are not wanted: a tenant that is gone, or forgotten.
    """

    app_role: RoleState
    databases: dict[str, DatabaseState]
    test_databases: tuple[str, ...]
    unnamed: tuple[str, ...] = ()


def read_catalogue(login: Login, database: str, names: list[str]) -> ServerCatalogue:
    """The catalogue as the application's role sees it.

    Args:
        database: a database that the role may connect to.
        names: the wanted databases.
    """
    with login.connect(database) as connection, translating("show its catalogue"):
        role = _read_role(connection, login.user)
        rows = connection.execute(
            """
            SELECT datname, datname LIKE 'test\\_%%' AS is_of_tests FROM pg_database
            WHERE datname LIKE 'test\\_%%'
               OR (pg_get_userbyid(datdba) = %s AND datname <> ALL(%s) AND NOT datistemplate)
            ORDER BY 1
            """,
            [login.user, names],
        ).fetchall()
        databases = _read_databases(connection, names)
    if role is None:
        raise DatabaseError(f"There is no role {login.user}.", hint="Run: python manage.py create_tenant_dbs")
    tests = tuple(row.datname for row in rows if row.is_of_tests)
    return ServerCatalogue(role, databases, tests, tuple(row.datname for row in rows if not row.is_of_tests))


@dataclass(frozen=True)
class ConnectionSlots:
    """How many connections the server takes.

    Attributes:
        maximum: ``max_connections``.
        reserved: of those, for superusers and for RDS itself.
        used: by whomever, now.
    """

    maximum: int
    reserved: int
    used: int


def read_slots(login: Login, database: str) -> ConnectionSlots:
    """The server's connection slots. ``pg_stat_activity`` would hide from the application's role whose they are."""
    with login.connect(database) as connection, translating("show its connections"):
        row = connection.execute(
            """
            SELECT (SELECT sum(setting::int) FROM pg_settings
                    WHERE name IN ('superuser_reserved_connections', 'reserved_connections',
                                   'rds.rds_superuser_reserved_connections')) AS reserved,
                   current_setting('max_connections')::int AS maximum,
                   (SELECT sum(numbackends) FROM pg_stat_database)::int AS used
            """
        ).fetchone()
    if row is None:
        raise DatabaseError("The server did not say how many connections it takes.", hint="Run it again.")
    return ConnectionSlots(row.maximum, row.reserved or 0, row.used)
