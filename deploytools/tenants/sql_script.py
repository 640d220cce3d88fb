"""The steps as a script for psql, for a server that these commands cannot reach.

The script can be run again: each step has a condition. It contains SCRAM verifiers instead of passwords.
"""
# ruff: noqa: S608 - psycopg quotes every name and value in the script.

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg.sql import Identifier, Literal

from deploytools.postgres.connections import LOCK_KEY, MAINTENANCE_DATABASE, Login, scram_verifier
from deploytools.tenants.database_operations import (
    AllowConnections,
    ChangeOwner,
    CreateDatabase,
    RevokePublicConnect,
    SetConnectionLimit,
    SetDatabaseParameter,
    SetTenantComment,
)
from deploytools.tenants.operations import (
    AssignLogin,
    CreateOwner,
    CreateRole,
    GrantToMaster,
    Operation,
    SetRoleDefaults,
)
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.state import (
    FORBIDDEN_ROLES,
    INCOMPLETE_LIMIT,
    INVALID_LIMIT,
    PREDEFINED_ROLES,
    ROLE_COMMENT,
    TENANT_COMMENT,
)

HEAD = f"""\
-- Roles and databases of the tenants, written by: python manage.py create_tenant_dbs --sql
-- Run it as the master user, any number of times. It changes only what is not up to date; the password of an existing
-- role is not changed:
--   psql "host=ENDPOINT dbname={MAINTENANCE_DATABASE} user=postgres sslmode=verify-full" --file FILE
-- It contains SCRAM verifiers, from which weak passwords could be guessed. Delete it after use.
\\set ON_ERROR_STOP on
\\set QUIET on
RESET ROLE;
SET search_path = pg_catalog;
SET statement_timeout = 0;
SET client_min_messages = warning;
"""

LOCK = f"SELECT pg_advisory_lock({LOCK_KEY}) \\g /dev/null\n"

TAIL = "\\echo Done. Verify it: python manage.py create_tenant_dbs --verify\n"

#: Conditions on a row of ``pg_database``.
IS_PUBLIC = "has_database_privilege('public', oid, 'CONNECT, TEMPORARY')"
IS_MANAGED = f"coalesce(shobj_description(oid, 'pg_database'), '') LIKE '{TENANT_COMMENT}%'"


def sql_script(desired: DesiredState, logins: Mapping[str, Login]) -> str:
    """Return the script, with a blank line after each block.

    Args:
        logins: with a role per tenant each tenant's login, by tenant; else the login in the shared secret, by its role.
    """
    parts = [HEAD + "\n".join(_require_server()) + "\n" + LOCK]
    if not desired.is_shared:
        parts.append("-- Existing roles\n" + _refuse_memberships(desired) + "\n")
    for name, login in logins.items():
        owner = desired.app_role if desired.is_shared else name
        if login.user != owner:
            parts.append(_block(f"Role {' '.join(owner.split())}", _role(owner, owner, None, desired)))
        parts.append(_block(f"Role {' '.join(login.user.split())}", _role(login.user, owner, login, desired)))
    for tenant in desired.tenants:
        parts.append(_block(f"Database {tenant.name}", _database(tenant, desired)))
    return "\n".join([*parts, TAIL])


def _block(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"-- {title}", *lines, ""])


def _text(step: Operation, verifier: str = "") -> str:
    return step.sql(verifier).as_string(None)


def _quoted(text: str) -> str:
    return Literal(text).as_string(None).strip()


def _execute_if(condition: str, statement: str) -> str:
    """Execute `statement` if `condition` is true at that moment."""
    return f"SELECT {_quoted(statement)} WHERE {condition} \\gexec"


def _refuse_if(condition: str, message: str) -> str:
    """Stop the script with an error if `condition` is true."""
    return _execute_if(condition, f"DO {_quoted(f'BEGIN RAISE EXCEPTION USING MESSAGE = {_quoted(message)}; END')}")


def _require_server() -> Iterator[str]:
    database = _quoted(MAINTENANCE_DATABASE)
    yield _refuse_if(f"current_database() <> {database}", f"Connect to the database {MAINTENANCE_DATABASE}.")
    yield _refuse_if("pg_is_in_recovery()", "This server is a read replica.")


def _refuse_memberships(desired: DesiredState) -> str:
    """Refuse tenants' roles that are members of another tenant's, or of the shared role, before anything is created."""
    own = ", ".join(_quoted(tenant.name) for tenant in desired.tenants)
    related = ", ".join(map(_quoted, desired.roles))
    message = "m.member::regrole || ' is a member of ' || m.roleid::regrole || '; tenants would not be isolated.'"
    return f"""\
SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L; END', {message}))
FROM (WITH RECURSIVE membership(member, roleid) AS (
        SELECT member, roleid FROM pg_auth_members
        UNION SELECT membership.member, m.roleid FROM pg_auth_members m JOIN membership ON m.member = membership.roleid)
    SELECT * FROM membership) AS m
JOIN pg_roles one ON one.oid = m.member JOIN pg_roles other ON other.oid = m.roleid
WHERE one.rolname IN ({own}) AND other.rolname IN ({related}) LIMIT 1 \\gexec"""


def _role(role: str, owner: str, login: Login | None, desired: DesiredState) -> Iterator[str]:
    """Yield the lines of an owner of databases, or of its separate login.

    Args:
        login: None: a separate role logs in.
    """
    name = _quoted(role)
    is_member = f"pg_has_role(r.oid, {_quoted(owner)}, 'MEMBER') OR " if role != owner else ""
    create = _text(CreateRole(role), scram_verifier(login)) if login else _text(CreateOwner(role))
    if not desired.is_shared:  # psql sends both statements as one simple query, which is one transaction.
        create += f"; COMMENT ON ROLE {Identifier(role).as_string(None)} IS {_quoted(ROLE_COMMENT)}"
    yield _execute_if(f"NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name})", create)
    if not desired.is_shared:
        yield _refuse_if(
            f"""NOT EXISTS (SELECT FROM pg_roles r WHERE rolname = {name} AND ({is_member}
    shobj_description(r.oid, 'pg_authid') = {_quoted(ROLE_COMMENT)} OR EXISTS (
        SELECT FROM pg_database d WHERE d.datname = {name} AND d.datdba = r.oid
        AND shobj_description(d.oid, 'pg_database') LIKE {_quoted(TENANT_COMMENT + "%")})))""",
            f"Role {role} exists but was not created by this script, or create_tenant_dbs was interrupted. Run "
            "create_tenant_dbs to finish.",
        )
    forbidden = ", ".join(_quoted(other) for other in sorted(FORBIDDEN_ROLES))
    yield _refuse_if(
        f"""EXISTS (
    WITH RECURSIVE membership(oid) AS (
        SELECT oid FROM pg_roles WHERE rolname = {name}
        UNION SELECT m.roleid FROM pg_auth_members m JOIN membership ON m.member = membership.oid)
    SELECT FROM pg_roles r JOIN membership USING (oid) WHERE r.rolname IN ({forbidden}, current_user)
        OR starts_with(r.rolname, {_quoted(PREDEFINED_ROLES)})
        OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls)""",
        f"Role {role} has permissions that an application role must not have.",
    )
    yield f"{_text(GrantToMaster(role))};"
    if role != owner:
        yield f"{_text(AssignLogin(owner, role))};"
    for setting, value in desired.role_defaults.items():
        is_unset = (
            "NOT EXISTS (SELECT FROM pg_db_role_setting s, unnest(setconfig) AS entry WHERE setdatabase = 0 "
            f"AND setrole = (SELECT oid FROM pg_roles WHERE rolname = {name}) "
            f"AND lower(entry) LIKE {_quoted(setting + '=%')})"
        )
        yield _execute_if(is_unset, _text(SetRoleDefaults(role, ((setting, value),))))


def _database(tenant: Tenant, desired: DesiredState) -> Iterator[str]:
    name, role, limit = tenant.name, desired.role_of(tenant), tenant.options.connection_limit
    exists = f"EXISTS (SELECT FROM pg_database WHERE datname = {_quoted(name)})"
    yield _execute_if(f"NOT {exists}", _text(CreateDatabase(name, desired.locale)))
    yield from _refuse_database(name, role)
    yield (
        f"SELECT pg_get_userbyid(datdba) AS owner, {IS_PUBLIC} AS is_public, "
        f"NOT {IS_MANAGED} AS needs_comment, pg_get_userbyid(datdba) <> {_quoted(role)} AS needs_owner, "
        f"NOT datallowconn AS is_incomplete, "
        f"datconnlimit <> {-1 if limit is None else limit} AS needs_limit "
        f"FROM pg_database WHERE datname = {_quoted(name)} \\gset"
    )
    yield 'SET ROLE :"owner";'
    yield from _if("is_public", _text(RevokePublicConnect(name, role)))
    yield _refuse_if(
        f"EXISTS (SELECT FROM pg_database WHERE datname = {_quoted(name)} AND {IS_PUBLIC})",
        f"PUBLIC can still connect to {name}.",
    )
    yield from _if("needs_comment", _text(SetTenantComment(name, role)))
    yield "RESET ROLE;"
    yield from _if("needs_owner", _text(ChangeOwner(name, "", role)))
    yield f"SET ROLE {Identifier(role).as_string(None)};"
    for setting, value in tenant.options.database_settings.items():
        yield f"{_text(SetDatabaseParameter(name, role, setting, value))};"
    yield from _if("is_incomplete", _text(AllowConnections(name, role, -1 if limit is None else limit)))
    if limit is not None:
        yield from _if("needs_limit", _text(SetConnectionLimit(name, role, limit)))
    yield "RESET ROLE;"


def _refuse_database(name: str, role: str) -> Iterator[str]:
    """Refuse a database that the script must not change, as `deploytools.tenants.preflight` does."""
    is_incomplete = f"(NOT datallowconn AND datconnlimit = {INCOMPLETE_LIMIT})"
    is_complete = f"(datallowconn AND {IS_MANAGED} AND datconnlimit <> {INVALID_LIMIT})"
    has_objects = "EXISTS (SELECT FROM pg_shdepend WHERE dbid = d.oid AND deptype = 'o')"
    refusals = {
        f"{name} exists but is not managed by deploytools.": f"NOT ({is_incomplete} OR {is_complete})",
        f"The creation of {name} with its tables was interrupted. Run create_tenant_dbs to finish.": (
            f"({is_incomplete} AND {has_objects} OR datallowconn AND datconnlimit = {INCOMPLETE_LIMIT})"
        ),
        f"{name} is owned by another role. Run create_tenant_dbs to transfer it and its objects.": (
            f"pg_get_userbyid(datdba) NOT IN (current_user, {_quoted(role)})"
        ),
    }
    for message, condition in refusals.items():
        yield _refuse_if(f"EXISTS (SELECT FROM pg_database d WHERE datname = {_quoted(name)} AND {condition})", message)


def _if(variable: str, statement: str) -> Iterator[str]:
    yield from (f"\\if :{variable}", f"{statement};", "\\endif")
