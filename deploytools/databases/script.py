"""The same work as a script for psql: for a server that these commands cannot reach (guide 5.1, 5.2 A).

It can be run again, stops at the first error, and holds SCRAM verifiers, no password.
"""
# ruff: noqa: S608 - it is text that psql will run, and every name and value in it is quoted by psycopg.

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import pq, sql

from deploytools.databases.server import LOCK_KEY, MAINTENANCE_DATABASE, Login
from deploytools.databases.state import FORBIDDEN_ROLES, HALF_MADE_LIMIT, MARK, ROLE_DEFAULTS, Wanted
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
    SetPassword,
    SetRoleDefaults,
    ShutOutPublic,
    Step,
)
from deploytools.databases.tenants import Tenant

HEAD = """\
-- The tenants' roles and databases, made by: python manage.py create_tenant_dbs --sql
-- Run it as the master user, as often as you like; it changes only what is not in place yet:
--   psql "host=ENDPOINT dbname=postgres user=postgres sslmode=verify-full" --file FILE
-- It needs psql (\\gexec). It holds no password, but verifiers that are worth guessing at: delete it afterwards.
\\set ON_ERROR_STOP on
\\set QUIET on
SET client_min_messages = warning;
SET statement_timeout = 0;
"""

TAIL = "\\echo Done. Prove it: python manage.py create_tenant_dbs --verify\n"


def sql_script(wanted: Wanted, logins: Mapping[str, Login]) -> str:
    """The script.

    Args:
        logins: with a role per tenant each tenant's login, by tenant; else the shared one by its role.
    """
    parts = [HEAD, *_preparation(), *(part for login in logins.values() for part in _role(login))]
    parts += [part for tenant in wanted.tenants for part in _database(tenant, wanted)]
    return "\n".join([*parts, TAIL])


def _text(step: Step, verifier: str = "") -> str:
    make: Verifier = lambda: verifier  # noqa: E731 - one value in the shape of a function
    return statement(step, make).as_string(None)


def _quoted(text: str) -> str:
    return sql.Literal(text).as_string(None).strip()


def _require(condition: str, otherwise: str) -> str:
    """Stops the script unless `condition` holds."""
    body = f"BEGIN IF NOT ({condition}) THEN RAISE EXCEPTION '%', {_quoted(otherwise)}; END IF; END"
    return f"DO {_quoted(body)};"


def _execute(statements: list[str], where: str) -> str:
    """Executes `statements` one after the other where the query `where` finds a row."""
    return f"SELECT {', '.join(statements)} {where} \\gexec"


def _preparation() -> Iterator[str]:
    database = _quoted(MAINTENANCE_DATABASE)
    yield _require(f"current_database() = {database}", f"Connect to the database {MAINTENANCE_DATABASE}.")
    yield _require("NOT pg_is_in_recovery()", "This is a read replica.")
    yield f"SELECT pg_advisory_lock({LOCK_KEY}) \\g /dev/null\n"


def _role(login: Login) -> Iterator[str]:
    name, role = _quoted(login.user), login.user
    forbidden = ", ".join(_quoted(other) for other in sorted(FORBIDDEN_ROLES))
    verifier = scram_verifier(login)
    yield f"-- Role {role}"
    yield _execute(
        [_quoted(_text(CreateRole(role), verifier))],
        f"WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name})",
    )
    yield _require(
        f"""NOT EXISTS (
            WITH RECURSIVE reach(oid) AS (
                SELECT oid FROM pg_roles WHERE rolname = {name}
                UNION SELECT m.roleid FROM pg_auth_members m JOIN reach ON m.member = reach.oid)
            SELECT FROM pg_roles r JOIN reach USING (oid) WHERE r.rolname IN ({forbidden}, current_user)
                OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole)""",
        f"The role {role} may do more than an application must.",
    )
    yield _text(SetPassword(role), verifier) + ";"
    yield _text(GrantToMaster(role)) + ";"
    for setting, value in ROLE_DEFAULTS.items():
        yield _execute(
            [_quoted(_text(SetRoleDefaults(role, ((setting, value),))))],
            "WHERE NOT EXISTS (SELECT FROM pg_db_role_setting s, unnest(setconfig) AS entry WHERE setdatabase = 0 "
            f"AND setrole = (SELECT oid FROM pg_roles WHERE rolname = {name}) "
            f"AND lower(entry) LIKE {_quoted(setting + '=%')})",
        )
    yield ""


def _database(tenant: Tenant, wanted: Wanted) -> Iterator[str]:
    name, role = tenant.name, wanted.role_of(tenant)
    row = f"FROM pg_database WHERE datname = {_quoted(name)}"
    half_made = f"(NOT datallowconn AND datconnlimit = {HALF_MADE_LIMIT})"
    is_marked = f"coalesce(shobj_description(oid, 'pg_database'), '') LIKE {_quoted(MARK + '%')}"
    owner = "pg_get_userbyid(datdba)"
    yield f"-- Database {name}"
    yield _execute([_quoted(_text(CreateDatabase(name, wanted.locale)))], f"WHERE NOT EXISTS (SELECT {row})")
    yield _require(
        f"SELECT {half_made} OR (datallowconn AND {is_marked}) {row}",
        f"{name} exists and was not made by these commands.",
    )
    yield _require(
        f"SELECT {owner} IN (current_user, {_quoted(role)}) {row}",
        f"{name} belongs to another role; create_tenant_dbs moves it with all that is in it.",
    )

    def as_owner(step: Step, condition: str) -> str:
        parts = [f"format('SET ROLE %I', {owner})", _quoted(_text(step)), _quoted("RESET ROLE")]
        return _execute(parts, f"{row} AND {condition}")

    is_public = "has_database_privilege('public', oid, 'CONNECT')"
    yield as_owner(ShutOutPublic(name, role), is_public)
    yield _require(f"SELECT NOT {is_public} {row}", f"PUBLIC may still connect to {name}.")
    yield as_owner(Mark(name, role), f"NOT {is_marked}")
    yield _execute([_quoted(_text(HandOver(name, "", role)))], f"{row} AND {owner} <> {_quoted(role)}")
    for setting, value in tenant.options.database_settings.items():
        yield as_owner(SetDatabaseDefault(name, role, setting, value), "true")
    limit = tenant.options.connection_limit
    yield as_owner(Open(name, role, -1 if limit is None else limit), half_made)
    if limit is not None:
        yield as_owner(LimitConnections(name, role, limit), f"datconnlimit <> {limit}")
    yield ""


def scram_verifier(login: Login) -> str:
    """The password as PostgreSQL stores it (RFC 5803), with no server at hand."""
    unconnected = pq.PGconn.connect_start(b"host=/nonexistent")
    password = login.password.reveal().encode()
    return unconnected.encrypt_password(password, login.user.encode(), b"scram-sha-256").decode()
