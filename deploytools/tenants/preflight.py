"""Conditions under which nothing is planned, because the server, a role or a database must not be changed. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches

from deploytools.errors import DatabaseError, DeployError, UnmanagedDatabase
from deploytools.tenants.database_operations import superuser_extension_error
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.state import (
    ENCODING,
    GRANT_OPTIONS_VERSION,
    INVALID_LIMIT,
    REASSIGN_MARKER,
    TENANT_COMMENT,
    DatabaseState,
    RoleState,
    ServerState,
)
from deploytools.tenants.target import TargetDatabase
from deploytools.wording import count, join_names, quote_name

#: Number of locales that an error lists.
MAX_LOCALES = 8

ADOPT = "python manage.py create_tenant_dbs --adopt --plan"
ADOPT_HINT = f"If it belongs to this tenant, review and adopt it: {ADOPT}"


def require_able_server(desired: DesiredState, state: ServerState) -> None:
    """Raise DatabaseError if no tenant can be created: the master user lacks permissions, or the server the locale."""
    master = state.master
    missing = [
        name
        for name, has in (("CREATEDB", master.can_create_databases), ("CREATEROLE", master.can_create_roles))
        if not has and not master.is_superuser
    ]
    if missing:
        raise DatabaseError(
            f"Role {master.name} does not have {' and '.join(missing)}: permission denied to create tenants.",
            hint="Use the master user of the RDS instance (postgres) instead of the application role: "
            "--master-username, or master_username and master_password in the secret.",
            sqlstate="42501",
        )
    if not state.has_locale and any(tenant.name not in state.databases for tenant in desired.tenants):
        raise DatabaseError(
            f"The server does not have the locale {desired.locale}; nothing was created.",
            hint=f"Set DEPLOYTOOLS['LOCALE'] to one of: {_some_locales(desired.locale, state.locales)}",
            sqlstate="42809",
        )


def _some_locales(desired: str, locales: tuple[str, ...]) -> str:
    likely = sorted(locales, key=lambda locale: (locale[:2].lower() != desired[:2].lower(), locale))
    return ", ".join(likely[:MAX_LOCALES]) + (", …" if len(likely) > MAX_LOCALES else "")


def shared_role_error(desired: DesiredState, state: ServerState) -> DeployError | None:
    """Return why the role that owns the databases, or its separate login, cannot be used."""
    owner = desired.app_role
    return login_of_other_owner(owner, desired, state) or owner_error(owner, desired.separate_login, desired, state)


def owner_error(owner: str, login: str, desired: DesiredState, state: ServerState) -> DeployError | None:
    """Return why the role that owns databases, or its separate login, cannot be used.

    Args:
        login: empty: the application logs in as the owner itself.
    """
    return role_error(owner, desired, state, logs_in=not login) or (
        role_error(login, desired, state, owner=owner) if login else None
    )


def login_of_other_owner(name: str, desired: DesiredState, state: ServerState) -> DeployError | None:
    """Return why `name` is not the owner: it is a member of the role that owns the managed databases.

    AWS's rotation for alternating users writes the name of such a role into the secret.
    """
    memberships = state.roles[name].memberships if name in state.roles else frozenset()
    owned = Counter(database.owner for database in state.databases.values() if database.is_managed)
    owners = [owner for owner in owned if owner in memberships and owner not in desired.roles]
    for owner in owners:
        return UnmanagedDatabase(
            f"{name} (username in the secret) is a member of {owner}, which owns {count(owned[owner], 'database')} of "
            "the tenants. Nothing was changed.",
            hint=f"If {name} is a second login of {owner}, run: python manage.py sync_secrets --set owner={owner}",
        )
    return None


def role_error(
    name: str, desired: DesiredState, state: ServerState, *, owner: str = "", logs_in: bool = True
) -> DatabaseError | None:
    """Return why `name` cannot be used as an application role: excess permissions, or it cannot log in.

    Args:
        owner: the role that it is a separate login of.
        logs_in: whether the application logs in as this role.
    """
    if name == state.master.name:
        return DatabaseError(
            f"The application role and the master user are both {name}.",
            hint="Set username in the secret to a separate role for the application, for example shop_app.",
        )
    if name == desired.app_role and not desired.is_shared:
        return DatabaseError(
            f"Tenant {name} has the name of the shared application role.",
            hint="Rename the tenant, or the role (username in the secret).",
        )
    role = state.roles.get(name)
    if role is None:
        return None
    forbidden = _forbidden(owner or name, desired, state) & role.memberships
    if excess := [*role.excess_permissions, *sorted(forbidden - {*role.excess_permissions})]:
        other = _other_privileges(role, excess)
        return DatabaseError(
            f"Role {role.name} has {', '.join(excess)}, which an application role must not have; nothing was changed.",
            hint=f"Use another role, or run as the role that granted it or a superuser{other}: "
            f"{_revoke(role, excess, state)}",
        )
    for cause, statement in _login_obstacles(role, state) if logs_in else ():
        return DatabaseError(
            f"Role {role.name} {cause}.",
            hint=f"If it is the application role, run: ALTER ROLE {quote_name(role.name)} {statement}",
        )
    return role.login_error


def _other_privileges(role: RoleState, excess: Sequence[str]) -> str:
    """Return which groups the role leaves although only a membership of the group is excessive; empty: none."""
    groups = sorted({grant.via for grant in role.grants if grant.role in excess} - {*excess})
    return f" (the role also loses the other privileges of {join_names(groups)})" if groups else ""


def _revoke(role: RoleState, excess: Sequence[str], state: ServerState) -> str:
    name = quote_name(role.name)
    attributes = " ".join(f"NO{attribute}" for attribute in excess if attribute not in role.memberships)
    statements = [f"ALTER ROLE {name} {attributes}"] if attributes else []
    for grant in dict.fromkeys(replace(grant, role="") for grant in role.grants if grant.role in excess):
        by = f" GRANTED BY {quote_name(grant.grantor)}" if state.version >= GRANT_OPTIONS_VERSION else ""
        statements.append(f"REVOKE {quote_name(grant.via)} FROM {name}{by}")
    return "; ".join(statements)


def _login_obstacles(role: RoleState, state: ServerState) -> Iterator[tuple[str, str]]:
    """Yield why the application cannot work as `role`, and what ALTER ROLE has to change."""
    if not role.can_login:
        yield "exists but cannot log in", "LOGIN"
    if role.connection_limit == 0:
        yield "has CONNECTION LIMIT 0, so it cannot log in", "CONNECTION LIMIT -1"
    if not role.inherits and state.version < GRANT_OPTIONS_VERSION:
        yield "has NOINHERIT, so it does not have the privileges of the database's owner", "INHERIT"


def _forbidden(name: str, desired: DesiredState, state: ServerState) -> frozenset[str]:
    """Roles that `name` must not be a member of: the master user and, with a role per tenant, all other roles."""
    others = () if desired.is_shared else (role for role in desired.roles if role != name)
    return frozenset({state.master.name, *others})


def secret_error(tenant: Tenant, desired: DesiredState, state: ServerState) -> DeployError | None:
    """Return why the tenant's secret, or its existing role, cannot be used.

    The secret is written before the role is created, so an existing role without a stored password is another role.
    """
    change = state.secrets.get(tenant.name)
    if change is None or change.error:
        return change.error if change else None
    if desired.adopt or tenant.name not in state.roles or "password" not in change.keys:
        return None
    return UnmanagedDatabase(
        f"Role {tenant.name} exists but its password is in no secret; it was not created by this command.",
        hint=f"If it belongs to this tenant, review the plan that sets a new password: {ADOPT}",
    )


def require_admin(role: RoleState, state: ServerState, action: str) -> None:
    """From 16 on CREATEROLE is not enough: the master user must have created the role, or have ADMIN OPTION on it."""
    if not role.master_has_admin and not state.master.is_superuser:
        grant = f"GRANT {quote_name(role.name)} TO {quote_name(state.master.name)} WITH ADMIN OPTION"
        fix = f"As the role that created it: {grant}"
        raise _no_admin(state.master, action, fix)


def require_inheritance(name: str, state: ServerState) -> None:
    """Raise DatabaseError if the master user could not connect to a database after its transfer to `name`.

    Objects change their owner in a session inside the database, so the master user must inherit from `name`. This is
    checked before the database changes its owner, so that the transfer does not stop halfway.
    """
    master, role = state.master, state.roles.get(name)
    inherits = master.inherits
    if state.version >= GRANT_OPTIONS_VERSION:
        inherits = role is None or role.master_inherits or role.master_has_admin  # The plan grants it.
    if not inherits and not master.is_superuser:
        statement = f"GRANT {quote_name(name)} TO {quote_name(master.name)} WITH INHERIT TRUE"
        grant = f"As the role that created {name}: {statement}"
        raise DatabaseError(
            f"{master.name} does not inherit from {name}, so it cannot transfer the objects in its database; nothing "
            "was changed.",
            hint=grant if state.version >= GRANT_OPTIONS_VERSION else f"ALTER ROLE {quote_name(master.name)} INHERIT",
            sqlstate="42501",
        )


def _no_admin(master: RoleState, action: str, fix: str) -> DatabaseError:
    return DatabaseError(
        f"{master.name} is not allowed to {action}: another role created that role, or it was created before an "
        "upgrade to PostgreSQL 16.",
        hint=fix,
        sqlstate="42501",
    )


def database_error(target: TargetDatabase) -> DeployError | None:
    return (
        _interrupted_drop(target.database)
        or _immutable_difference(target.database, target.desired)
        or _unmanaged(target.database, target.desired)
        or _unconfirmed_objects(target)
        or _unusable_objects(target)
        or _owner_not_inherited(target)
        or _in_use(target)
        or _membership_not_changeable(target)
    )


def _interrupted_drop(database: DatabaseState) -> UnmanagedDatabase | None:
    if database.connection_limit != INVALID_LIMIT:
        return None
    return UnmanagedDatabase(
        f"{database.name} is the remainder of an interrupted DROP DATABASE.",
        hint=f'If it was dropped on purpose, finish it: DROP DATABASE "{database.name}"',
    )


def _immutable_difference(database: DatabaseState, desired: DesiredState) -> UnmanagedDatabase | None:
    values = [("encoding", database.encoding, ENCODING)]
    if desired.locale:
        values += [("locale", database.locale, desired.locale), ("LC_CTYPE", database.character_type, desired.locale)]
    differences = [
        f"{what} {found}, expected {expected}"
        for what, found, expected in values
        if _normalized(found) != _normalized(expected)
    ]
    if not differences:
        return None
    return UnmanagedDatabase(
        f"{database.name} has {' and '.join(differences)}, which cannot be changed in place.",
        hint="Change the setting. Or restore a dump into a database of another name, and list that name in TENANTS.",
    )


def _normalized(locale: str) -> str:
    """``en_US.UTF-8`` and ``en_US.utf8`` are one locale in two spellings."""
    return locale.lower().replace("-", "")


def _unmanaged(database: DatabaseState, desired: DesiredState) -> UnmanagedDatabase | None:
    name = database.name
    if database.is_incomplete or (database.is_managed and database.allows_connections):
        return None
    if database.is_managed:
        return UnmanagedDatabase(
            f"Connections to {name} are disabled, but not by this command.",
            hint=f'Find out why. Then run: ALTER DATABASE "{name}" ALLOW_CONNECTIONS true',
        )
    if desired.adopt and database.allows_connections and not database.is_template:
        return None
    return UnmanagedDatabase(
        f"{name} exists but is not managed by deploytools (owner {database.owner}, "
        f"PUBLIC {'can' if database.public_can_connect else 'cannot'} connect"
        f"{', a template' if database.is_template else ''}); it was not changed.",
        hint=ADOPT_HINT,
    )


def _unconfirmed_objects(target: TargetDatabase) -> UnmanagedDatabase | None:
    """Do not reassign the master user's objects based on a comment or connection limit: the owner can set both.

    The owner's name is not enough either: an interrupted run might already have changed it.
    """
    database, master = target.database, target.master
    if target.desired.adopt or master not in database.objects:
        return None
    is_transferred = database.owner == master or master in database.reassigning_from
    if database.master_objects_are_copies if database.is_incomplete else not is_transferred:
        return None
    objects = count(database.objects[master], "object")
    comment = re.sub(REASSIGN_MARKER, "", database.comment or TENANT_COMMENT).replace("'", "''")
    return UnmanagedDatabase(
        f"{database.name} contains {objects} owned by {master}. Such objects are "
        "transferred only with --adopt, because the database's owner can write its comment and connection limit. "
        "Nothing was changed.",
        hint="If they belong to this tenant (an adoption was interrupted, or the template was dropped), review and "
        f"continue: {ADOPT}. If not, run as the owner: "
        f"COMMENT ON DATABASE {quote_name(database.name)} IS '{comment}'; "
        f"ALTER DATABASE {quote_name(database.name)} CONNECTION LIMIT -1",
    )


def _unusable_objects(target: TargetDatabase) -> UnmanagedDatabase | None:
    """A restore by the master user leaves every table to it, and the application can read none of them."""
    database, role, master = target.database, target.role, target.master
    unusable, transferred = database.unusable, (database.owner, *target.transferring_roles, *database.reassigning_from)
    owners = [owner for owner in unusable.owners if owner not in transferred]
    if not owners or (target.desired.adopt and master in owners):
        unusable = replace(unusable, number=0)
    if not unusable:
        return None
    to = quote_name(role)
    hint = f"Run as {', '.join(owners)}: ALTER TABLE … OWNER TO {to}, or GRANT ALL ON … TO {to}"
    if master in owners:
        hint = f"If they belong to this tenant, review their transfer to {role}: {ADOPT}"
    message = f"{unusable.describe(role, database.name)} Nothing was changed."
    return UnmanagedDatabase(message, hint=unusable.hint(database.name, hint))


def _owner_not_inherited(target: TargetDatabase) -> DeployError | None:
    """A change of the owner needs the owner's privileges, CREATEDB and SET ROLE in one session: INHERIT."""
    database, master, owner = target.database, target.master, target.database.owner
    if owner in (target.role, master) or database.master_owns:
        return None
    hint = f"As the role that created {owner}: GRANT {quote_name(owner)} TO {quote_name(master)}"
    if database.owner_is_superuser:
        hint = f"Run as a superuser: ALTER DATABASE {quote_name(database.name)} OWNER TO {quote_name(master)}"
    return DatabaseError(
        f"{database.name} is owned by {owner}, from which {master} does not inherit; it was not changed.",
        hint=hint,
        sqlstate="42501",
    )


def _in_use(target: TargetDatabase) -> DeployError | None:
    """Return why access of the previous owner cannot be revoked, or granted for the transition."""
    database, desired, state, role = target.database, target.desired, target.state, target.role
    previous = desired.previous_role_of(target.tenant)
    for name in target.previous_roles:
        if database.owner == name and not state.roles[name].inherits:
            return DatabaseError(
                f"{name} has NOINHERIT: processes that run as {name} would lose access to {database.name} before "
                "they are restarted.",
                hint=f"Run: ALTER ROLE {quote_name(name)} INHERIT",
            )
        if desired.finish and (sessions := database.sessions_of(state.logins_of(name))):
            return UnmanagedDatabase(
                f"{name} still uses {database.name} ({count(sessions, 'session')}); its access was kept.",
                hint=f"Restart the processes that run as {name}, then run the command again with --finish.",
            )
    has_objects = previous in (database.owner, *database.objects)
    if has_objects and role in state.roles and previous in state.roles[role].memberships:
        other = "role-per-tenant" if desired.is_shared else "shared"
        return UnmanagedDatabase(
            f"{role} still has the privileges of {previous} in {database.name}, from the last change of ISOLATION.",
            hint=f'Set DEPLOYTOOLS["ISOLATION"] to "{other}", restart the application, run: python manage.py '
            "create_tenant_dbs --finish. Then retry.",
        )
    return None


def _membership_not_changeable(target: TargetDatabase) -> DatabaseError | None:
    """From 16 on only a role with ADMIN on the tenant's role can grant it to, or revoke it from, the previous owner."""
    name, database, roles, master = target.role, target.database, target.state.roles, target.state.master
    if name not in roles or roles[name].master_has_admin or master.is_superuser:
        return None
    for previous in target.previous_roles:
        is_member = target.is_member(previous)
        if target.desired.finish and is_member:
            fix = f"As the role that granted it, or a superuser: REVOKE {quote_name(name)} FROM {quote_name(previous)}"
            return _no_admin(master, f"revoke {name} from {previous}", fix)
        if not target.desired.finish and not is_member and previous in (database.owner, *database.objects):
            fix = f"As the role that created it, or a superuser: GRANT {quote_name(name)} TO {quote_name(previous)}"
            return _no_admin(master, f"grant {name} to {previous}", fix)
    return None


def missing_extensions(tenant: Tenant, database: DatabaseState | None) -> tuple[str, ...]:
    """Return the extensions to create. Those of a complete database are unknown if they were not read."""
    if database and database.extensions is None and not (database.is_incomplete or database.is_unmanaged):
        return ()
    found = database.extensions if database and database.extensions is not None else {}
    return tuple(name for name in tenant.options.extensions if name not in found)


def extension_error(tenant: Tenant, database: DatabaseState | None, state: ServerState) -> DeployError | None:
    """Return why an extension cannot be created: the server does not offer it, or only a superuser can create it."""
    missing = missing_extensions(tenant, database)
    if absent := [name for name in missing if name not in state.extensions]:
        likely = [near for name in absent for near in get_close_matches(name, state.extensions, cutoff=0.5)]
        offered = ", ".join(dict.fromkeys([*likely, *state.extensions]))
        return DatabaseError(
            f"The server does not offer the extension {', '.join(absent)} for {tenant.name}.",
            hint="Correct EXTENSIONS of the tenant, or install it on the server (on RDS: an engine version that "
            f"supports it, and rds.allowed_extensions). The server offers: {offered}",
            sqlstate="0A000",
        )
    is_able = state.master.is_superuser or "rds_superuser" in state.master.memberships
    if not is_able and (refused := [name for name in missing if state.extensions[name].needs_superuser]):
        return superuser_extension_error(tenant.name, refused[0], state.master.name)
    return None
