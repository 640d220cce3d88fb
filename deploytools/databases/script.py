"""The same work as a script: for a server that these commands cannot reach (guide 5.1, 5.2 A).

For psql, which stops at the first error, or for a query editor, which runs statements one by one and knows no
backslash commands. It can be run again, and holds SCRAM verifiers, no password.
"""
# ruff: noqa: S608 - it is text that others will run, and every name and value in it is quoted by psycopg.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from psycopg import pq, sql

from deploytools.databases.server import LOCK_KEY, MAINTENANCE_DATABASE, Login
from deploytools.databases.state import (
    FORBIDDEN_ROLES,
    HALF_MADE_LIMIT,
    INVALID_LIMIT,
    MARK,
    ROLE_DEFAULTS,
    ROLE_MARK,
    Wanted,
)
from deploytools.databases.statements import Verifier, statement
from deploytools.databases.steps import (
    CreateDatabase,
    CreateRole,
    GrantToMaster,
    HandOver,
    LimitConnections,
    Mark,
    Open,
    SetDatabaseDefault,
    SetRoleDefaults,
    ShutOutPublic,
    Step,
)
from deploytools.databases.tenants import Tenant

Reader = Literal["psql", "editor"]

#: Who runs the script, by the value of ``--sql-for``.
READERS: tuple[Reader, ...] = ("psql", "editor")

HEADS: Mapping[Reader, str] = {
    "psql": f"""\
-- The tenants' roles and databases, made by: python manage.py create_tenant_dbs --sql
-- Run it as the master user, as often as you like; it changes only what is not in place yet (a role that exists keeps
-- its password, whatever it is by then):
--   psql "host=ENDPOINT dbname={MAINTENANCE_DATABASE} user=postgres sslmode=verify-full" --file FILE
-- It needs psql (\\gexec). It holds no password, but verifiers that are worth guessing at: delete it afterwards.
\\set ON_ERROR_STOP on
\\set QUIET on
SET search_path = pg_catalog;
SET statement_timeout = 0;
SELECT pg_advisory_lock({LOCK_KEY}) \\g /dev/null
""",
    "editor": f"""\
-- The tenants' roles and databases, made by: python manage.py create_tenant_dbs --sql --sql-for editor
-- Run it as the master user, in the database {MAINTENANCE_DATABASE}, as often as you like; it changes only what is not
-- in place yet (a role that exists keeps its password, whatever it is by then). One statement at a time (they have
-- blank lines between them), with autocommit on: CREATE DATABASE runs in no transaction. Stop at the first error; one
-- is harmless: that a database already exists.
-- It holds no password, but verifiers that are worth guessing at: delete it afterwards, and what the editor remembers.
""",
}

TAIL: Mapping[Reader, str] = {
    "psql": "\\echo Done. Prove it: python manage.py create_tenant_dbs --verify\n",
    "editor": "-- Done. Prove it: python manage.py create_tenant_dbs --verify\n",
}

#: Quotes the bodies of DO, so that a person can read them.
DOLLARS = "$deploytools$"


def sql_script(wanted: Wanted, logins: Mapping[str, Login], reader: Reader = "psql") -> str:
    """The script; a blank line after each statement, and none within.

    Args:
        logins: with a role per tenant each tenant's login, by tenant; else the shared one by its role.
        reader: who runs it.
    """
    apart = [] if wanted.is_shared else [_apart(wanted)]
    parts = [HEADS[reader], *apart, *(_role(login, wanted) for login in logins.values())]
    if reader == "editor":
        parts.append(_missing(wanted.tenants))
    for tenant in wanted.tenants:
        parts += [_create(tenant, wanted, reader), _database(tenant, wanted)]
    return "\n".join([*parts, TAIL[reader]])


def _text(step: Step, verifier: str = "") -> str:
    make: Verifier = lambda: verifier  # noqa: E731 - one value in the shape of a function
    return statement(step, make).as_string(None)


def _quoted(text: str) -> str:
    return sql.Literal(text).as_string(None).strip()


def _refuse(condition: str, sentence: str) -> str:
    return f"IF {condition} THEN RAISE EXCEPTION '%', {_quoted(sentence)}; END IF;"


def _do(lines: Iterable[str], declarations: str = "") -> str:
    """One statement, and so one transaction, that does nothing in another database or beside another run."""
    database = _quoted(MAINTENANCE_DATABASE)
    before = [
        *([f"DECLARE {declarations};"] if declarations else []),
        "BEGIN",
        "    SET LOCAL search_path = pg_catalog;",
        "    SET LOCAL client_min_messages = warning;",
        "    " + _refuse(f"current_database() <> {database}", f"Connect to the database {MAINTENANCE_DATABASE}."),
        "    " + _refuse("pg_is_in_recovery()", "This is a read replica."),
        f"    PERFORM pg_advisory_xact_lock({LOCK_KEY});",
    ]
    body = "\n".join([*before, *(f"    {line}" for line in lines), "END"])
    quoted = _quoted(body) if DOLLARS in body else f"{DOLLARS}\n{body}\n{DOLLARS}"
    return f"DO {quoted};\n"


def _apart(wanted: Wanted) -> str:
    """Before anything is made: no tenant's role is a member of another's, or of the one that tenants shared."""
    own, all_of_them = (
        ", ".join(map(_quoted, names)) for names in ([tenant.name for tenant in wanted.tenants], wanted.roles)
    )
    lines = [
        f"""SELECT m.member::regrole::text || ' is a member of ' || m.roleid::regrole INTO found
        FROM (WITH RECURSIVE reach(member, roleid) AS (
                SELECT member, roleid FROM pg_auth_members
                UNION SELECT reach.member, m.roleid FROM pg_auth_members m JOIN reach ON m.member = reach.roleid)
            SELECT * FROM reach) AS m
        JOIN pg_roles one ON one.oid = m.member JOIN pg_roles other ON other.oid = m.roleid
        WHERE one.rolname IN ({own}) AND other.rolname IN ({all_of_them}) LIMIT 1;""",
        "IF found IS NOT NULL THEN RAISE EXCEPTION '%: one tenant would reach another.', found; END IF;",
    ]
    return "-- Roles that exist\n" + _do(lines, "found text")


def _role(login: Login, wanted: Wanted) -> str:
    return f"-- Role {' '.join(login.user.split())}\n" + _do(_role_lines(login, wanted))


def _role_lines(login: Login, wanted: Wanted) -> Iterator[str]:
    name, role = _quoted(login.user), login.user
    forbidden = ", ".join(_quoted(other) for other in sorted(FORBIDDEN_ROLES))
    yield f"IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN"
    yield f"    {_text(CreateRole(role), scram_verifier(login))};"
    if not wanted.is_shared:
        yield f"    COMMENT ON ROLE {sql.Identifier(role).as_string(None)} IS {_quoted(ROLE_MARK)};"
    yield "END IF;"
    if not wanted.is_shared:
        yield _refuse(
            f"""NOT EXISTS (SELECT FROM pg_roles r WHERE rolname = {name} AND (
            shobj_description(r.oid, 'pg_authid') = {_quoted(ROLE_MARK)} OR EXISTS (
                SELECT FROM pg_database d WHERE d.datname = {name} AND d.datdba = r.oid
                AND shobj_description(d.oid, 'pg_database') LIKE {_quoted(MARK + "%")})))""",
            f"The role {role} exists and owns no database of this tenant's: somebody else's, or create_tenant_dbs was "
            "interrupted and must finish.",
        )
    yield _refuse(
        f"""EXISTS (
        WITH RECURSIVE reach(oid) AS (
            SELECT oid FROM pg_roles WHERE rolname = {name}
            UNION SELECT m.roleid FROM pg_auth_members m JOIN reach ON m.member = reach.oid)
        SELECT FROM pg_roles r JOIN reach USING (oid) WHERE r.rolname IN ({forbidden}, current_user)
            OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole)""",
        f"The role {role} may do more than an application must.",
    )
    yield f"{_text(GrantToMaster(role))};"
    for setting, value in ROLE_DEFAULTS.items():
        yield (
            "IF NOT EXISTS (SELECT FROM pg_db_role_setting s, unnest(setconfig) AS entry WHERE setdatabase = 0 "
            f"AND setrole = (SELECT oid FROM pg_roles WHERE rolname = {name}) "
            f"AND lower(entry) LIKE {_quoted(setting + '=%')}) THEN"
        )
        yield f"    {_text(SetRoleDefaults(role, ((setting, value),)))};"
        yield "END IF;"


def _missing(tenants: Iterable[Tenant]) -> str:
    names = ", ".join(_quoted(tenant.name) for tenant in tenants)
    return (
        "-- Of the statements CREATE DATABASE below, run those of the databases that this names\n"
        f"SELECT name AS missing FROM unnest(ARRAY[{names}]) AS name\n"
        "WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname::text OPERATOR(pg_catalog.=) name);\n"
    )


def _create(tenant: Tenant, wanted: Wanted, reader: Reader) -> str:
    create = _text(CreateDatabase(tenant.name, wanted.locale))
    if reader == "editor":
        return f"-- Database {tenant.name}; only if it is missing\n{create};\n"
    condition = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = {_quoted(tenant.name)})"
    return f"-- Database {tenant.name}\nSELECT {_quoted(create)} WHERE {condition} \\gexec\n"


def _database(tenant: Tenant, wanted: Wanted) -> str:
    return _do(_database_lines(tenant, wanted), "it record; master name := current_user")


def _database_lines(tenant: Tenant, wanted: Wanted) -> Iterator[str]:
    name, role, limit = tenant.name, wanted.role_of(tenant), tenant.options.connection_limit
    is_half_made = f"(NOT it.datallowconn AND it.datconnlimit = {HALF_MADE_LIMIT})"
    is_marked = f"it.comment LIKE {_quoted(MARK + '%')}"
    yield (
        "SELECT oid, datallowconn, datconnlimit, pg_get_userbyid(datdba) AS owner, "
        "coalesce(shobj_description(oid, 'pg_database'), '') AS comment INTO it "
        f"FROM pg_database WHERE datname = {_quoted(name)};"
    )
    yield _refuse("it.oid IS NULL", f"{name} is missing: create it first.")
    yield _refuse(
        f"NOT ({is_half_made} OR (it.datallowconn AND {is_marked} AND it.datconnlimit <> {INVALID_LIMIT}))",
        f"{name} exists and was not made by these commands.",
    )
    yield _refuse(
        f"{is_half_made} AND EXISTS (SELECT FROM pg_shdepend WHERE dbid = it.oid AND deptype = 'o') "
        f"OR it.datallowconn AND it.datconnlimit = {HALF_MADE_LIMIT}",
        f"{name} is being made with its tables, and that was interrupted: finish it with create_tenant_dbs.",
    )
    yield _refuse(
        f"it.owner NOT IN (master, {_quoted(role)})",
        f"{name} belongs to another role; create_tenant_dbs moves it with all that is in it.",
    )
    yield "EXECUTE format('SET LOCAL ROLE %I', it.owner);"
    is_public = "has_database_privilege('public', it.oid, 'CONNECT, TEMPORARY')"
    yield f"IF {is_public} THEN {_text(ShutOutPublic(name, role))}; END IF;"
    yield _refuse(is_public, f"PUBLIC may still connect to {name}.")
    yield f"IF NOT {is_marked} THEN {_text(Mark(name, role))}; END IF;"
    yield "EXECUTE format('SET LOCAL ROLE %I', master);"
    yield f"IF it.owner <> {_quoted(role)} THEN {_text(HandOver(name, '', role))}; END IF;"
    yield f"EXECUTE format('SET LOCAL ROLE %I', {_quoted(role)});"
    for setting, value in tenant.options.database_settings.items():
        yield f"{_text(SetDatabaseDefault(name, role, setting, value))};"
    yield f"IF {is_half_made} THEN {_text(Open(name, role, -1 if limit is None else limit))}; END IF;"
    if limit is not None:
        yield f"IF it.datconnlimit <> {limit} THEN {_text(LimitConnections(name, role, limit))}; END IF;"


def scram_verifier(login: Login) -> str:
    """The password as PostgreSQL stores it (RFC 5803), with no server at hand."""
    unconnected = pq.PGconn.connect_start(b"host=/nonexistent")
    password = login.password.reveal().encode()
    return unconnected.encrypt_password(password, login.user.encode(), b"scram-sha-256").decode()
