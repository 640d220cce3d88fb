"""What must not be touched, and what makes a plan impossible. Pure."""

from __future__ import annotations

from deploytools.databases.state import ENCODING, INVALID_LIMIT, MARK, DatabaseState, RoleState, ServerState, Wanted
from deploytools.databases.tenants import Tenant
from deploytools.errors import DatabaseError, DeployError, ForeignDatabase

#: ``server_version_num`` from which on each membership says whether it inherits.
FIRST_WITH_GRANT_OPTIONS = 160_000

#: Locales that an error names before it says "…".
MOST_LOCALES = 8


def require_able_server(wanted: Wanted, state: ServerState) -> None:
    """Raises DatabaseError where no tenant can be made: the master lacks powers, the server the locale."""
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
    if not state.has_locale and any(tenant.name not in state.databases for tenant in wanted.tenants):
        raise DatabaseError(
            f"The server has no locale {wanted.locale}; nothing was created.",
            hint=f"Set DEPLOYTOOLS['LOCALE'] to one that it has: {_some_locales(wanted.locale, state.locales)}",
            sqlstate="42809",
        )


def _some_locales(meant: str, locales: tuple[str, ...]) -> str:
    """Those of the same language first."""
    likely = sorted(locales, key=lambda locale: (locale[:2].lower() != meant[:2].lower(), locale))
    return ", ".join(likely[:MOST_LOCALES]) + (", …" if len(likely) > MOST_LOCALES else "")


def role_obstacle(name: str, wanted: Wanted, state: ServerState) -> DatabaseError | None:
    """Why the application's role `name` must not be used: it may do more than its tenants' work, or cannot log in."""
    if name == state.master.name:
        return DatabaseError(
            f"The application's role and the master are both {name}.",
            hint="Give the application a role of its own: username in the secret (the guide's is django_app).",
        )
    if name == wanted.app_role and not wanted.is_shared:
        return DatabaseError(
            f"The tenant {name} has the name of the role that the tenants share.",
            hint="Name the tenant, or the role (username in the secret), otherwise.",
        )
    role = state.roles.get(name)
    if role is None:
        return None
    if powers := [*role.powers, *sorted(_others(name, wanted, state) & role.reaches)]:
        return DatabaseError(
            f"The role {role.name} exists and has {', '.join(powers)}, which an application must not have; "
            "nothing was changed.",
            hint="Take it away (ALTER ROLE … NO…, REVOKE … FROM …) as whoever gave it, or name another role.",
        )
    if not role.can_login:
        return DatabaseError(
            f"The role {role.name} exists and may not log in.",
            hint=f"If it is meant for the application: ALTER ROLE {role.name} LOGIN",
        )
    return role.login_error


def _others(name: str, wanted: Wanted, state: ServerState) -> frozenset[str]:
    """Roles that `name` must not reach: the master and, with a role per tenant, everybody else's."""
    others = () if wanted.is_shared else (role for role in wanted.roles if role != name)
    return frozenset({state.master.name, *others})


def require_admin(role: RoleState, state: ServerState, deed: str) -> None:
    """From 16 on CREATEROLE is not enough: this master must have made the role, or have ADMIN OPTION on it."""
    if not role.master_may_grant and not state.master.is_superuser:
        mend = f"As whoever made it: GRANT {role.name} TO {state.master.name} WITH ADMIN OPTION"
        raise _lacks_admin(state.master, deed, mend)


def require_inheritance(name: str, state: ServerState) -> None:
    """Objects are handed over inside the database, which by then is `name`'s: the master comes in as who inherits it.

    Before the database changes hands, lest the move stop half way.
    """
    master, role = state.master, state.roles.get(name)
    inherits = master.inherits
    if state.version >= FIRST_WITH_GRANT_OPTIONS:
        inherits = role is None or role.master_inherits or role.master_may_grant  # The plan grants it.
    if not inherits and not master.is_superuser:
        mend = f"GRANT {name} TO {master.name} WITH INHERIT TRUE"
        raise DatabaseError(
            f"{master.name} does not inherit from {name}: what is in its database could not be handed over; nothing "
            "was changed.",
            hint=f"As whoever made {name}: {mend}"
            if state.version >= FIRST_WITH_GRANT_OPTIONS
            else f"ALTER ROLE {master.name} INHERIT",
            sqlstate="42501",
        )


def _lacks_admin(master: RoleState, deed: str, mend: str) -> DatabaseError:
    return DatabaseError(
        f"{master.name} may not {deed}: somebody else made that role, or it was made before an upgrade to "
        "PostgreSQL 16.",
        hint=mend,
        sqlstate="42501",
    )


def database_obstacle(
    tenant: Tenant, database: DatabaseState, wanted: Wanted, state: ServerState
) -> DeployError | None:
    """Why nothing may be done to an existing database, or None."""
    return (
        _broken(database)
        or _immutable(database, wanted)
        or _foreign(database, wanted)
        or _unfounded(database, wanted, state)
        or _out_of_reach(tenant, database, wanted, state)
        or _in_use(tenant, database, wanted, state)
        or _out_of_hand(tenant, database, wanted, state)
    )


def secret_obstacle(tenant: Tenant, state: ServerState) -> DeployError | None:
    """Why a tenant's own secret cannot be used, or None."""
    need = state.secrets.get(tenant.name)
    return need.obstacle if need else None


def foreign_role(tenant: Tenant, wanted: Wanted, state: ServerState) -> ForeignDatabase | None:
    """Why the tenant's own role is not its own: the secret is written before the role is made."""
    need = state.secrets.get(tenant.name)
    if wanted.adopt or tenant.name not in state.roles or need is None or "password" not in need.keys:
        return None
    return ForeignDatabase(
        f"The role {tenant.name} exists and no secret has its password: somebody else's.",
        hint="If it is this tenant's, look at what would change and take it over with a new password: "
        "python manage.py create_tenant_dbs --adopt --plan",
    )


def _broken(database: DatabaseState) -> ForeignDatabase | None:
    if database.connection_limit != INVALID_LIMIT:
        return None
    return ForeignDatabase(
        f"{database.name} is what an interrupted DROP DATABASE left behind.",
        hint=f'Finish it, if that was meant: DROP DATABASE "{database.name}"',
    )


def _immutable(database: DatabaseState, wanted: Wanted) -> ForeignDatabase | None:
    pairs = [("encoding", database.encoding, ENCODING)]
    if wanted.locale:
        pairs += [("locale", database.locale, wanted.locale), ("LC_CTYPE", database.character_type, wanted.locale)]
    differences = [f"{what} {found} instead of {meant}" for what, found, meant in pairs if _key(found) != _key(meant)]
    if not differences:
        return None
    return ForeignDatabase(
        f"{database.name} has {' and '.join(differences)}, which cannot be changed.",
        hint="Dump it, create it anew under another name, and restore; or change the setting.",
    )


def _key(locale: str) -> str:
    """``en_US.UTF-8`` and ``en_US.utf8`` are one locale in two spellings."""
    return locale.lower().replace("-", "")


def _foreign(database: DatabaseState, wanted: Wanted) -> ForeignDatabase | None:
    name = database.name
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


def _unfounded(database: DatabaseState, wanted: Wanted, state: ServerState) -> ForeignDatabase | None:
    """The master's objects are not given away on the word of a comment or a connection limit: the owner writes both.

    Nor on the owner's name, for when that has changed, and the run was interrupted, nothing better is left.
    """
    master = state.master.name
    if wanted.adopt or master not in database.objects:
        return None
    is_told_by_owner = database.owner == master or master in database.handed_over_from
    if database.masters_are_copied if database.is_half_made else not is_told_by_owner:
        return None
    return ForeignDatabase(
        f"In {database.name} {database.objects[master]} objects belong to {master}, and are handed over only when that "
        "is asked for: a comment or a connection limit, which its owner may write, is not enough. Nothing was changed.",
        hint="If they are this tenant's (an adoption was interrupted, or the template has gone since), look at what "
        "would change and go on: python manage.py create_tenant_dbs --adopt --plan. If not, as the owner: "
        f'COMMENT ON DATABASE "{database.name}" IS \'{MARK}\', ALTER DATABASE "{database.name}" CONNECTION LIMIT -1',
    )


def _out_of_reach(tenant: Tenant, database: DatabaseState, wanted: Wanted, state: ServerState) -> DeployError | None:
    """A hand-over needs the owner's privileges, CREATEDB and SET ROLE in one session: INHERIT (FACTS F)."""
    owner, master = database.owner, state.master.name
    if owner in (wanted.role_of(tenant), master) or database.master_owns:
        return None
    return DatabaseError(
        f"{database.name} belongs to {owner}, which {master} does not inherit from; it was left alone.",
        hint=f"As whoever made {owner}: GRANT {owner} TO {master}",
        sqlstate="42501",
    )


def _in_use(tenant: Tenant, database: DatabaseState, wanted: Wanted, state: ServerState) -> DeployError | None:
    """Whether the former owner may be shut out, or be let stay, as it is asked for."""
    former, role = wanted.former_role_of(tenant), wanted.role_of(tenant)
    if database.owner == former and former in state.roles and not state.roles[former].inherits:
        return DatabaseError(
            f"{former} has NOINHERIT: what runs as {former} would lose {database.name} before it is restarted.",
            hint=f"ALTER ROLE {former} INHERIT",
        )
    if wanted.finish and database.sessions.get(former):
        return ForeignDatabase(
            f"{database.name} is still used by {former} ({database.sessions[former]} sessions); it keeps its way in.",
            hint=f"Restart what runs as {former}, then run it again with --finish.",
        )
    if former in (database.owner, *database.objects) and role in state.roles and former in state.roles[role].reaches:
        return ForeignDatabase(
            f"{role} still acts as {former} in {database.name}, from the last change of ISOLATION.",
            hint=f"Finish that first: with the ISOLATION of then restart what runs as {role}, run create_tenant_dbs "
            "--finish, then come back.",
        )
    return None


def _out_of_hand(tenant: Tenant, database: DatabaseState, wanted: Wanted, state: ServerState) -> DatabaseError | None:
    """From 16 on nobody without ADMIN on the tenant's role may let the former one act as it, or shut it out."""
    name, former, master = wanted.role_of(tenant), wanted.former_role_of(tenant), state.master
    if name not in state.roles or former not in state.roles:
        return None
    if state.roles[name].master_may_grant or master.is_superuser:
        return None
    is_member = name in state.roles[former].reaches
    if wanted.finish and is_member:
        mend = f"As whoever granted it, or a superuser: REVOKE {name} FROM {former}"
        return _lacks_admin(master, f"take {name} from {former}", mend)
    if not wanted.finish and not is_member and former in (database.owner, *database.objects):
        mend = f"As whoever made it, or a superuser: GRANT {name} TO {former}"
        return _lacks_admin(master, f"grant {name} to {former}", mend)
    return None
