"""What a plan consists of, like Django's migration operations; here the operations on secrets and roles.

An operation describes itself, composes its SQL, and states what must be true in the catalog before and after it. It
performs no I/O: `deploytools.tenants.step_execution` executes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, LiteralString, Protocol

from psycopg.sql import SQL, Composed, Identifier, Literal

from deploytools.errors import DatabaseError


@dataclass(frozen=True)
class CatalogCheck:
    """A catalog query and the condition that its rows must meet.

    Attributes:
        find_error: return the error for the rows of `query`, or None if they meet the condition.
        wait: seconds to retry until the condition is met.
    """

    query: LiteralString
    parameters: Sequence[object]
    find_error: Callable[[Sequence[Any]], DatabaseError | None]
    wait: float = 0


class Operation:
    """One step of a plan: a frozen dataclass, so that plans can be compared.

    Attributes:
        description: what the operation does, in the imperative, with the names of fields in braces.
        statement: its SQL, with the names of fields in braces. Text fields are identifiers, numbers are literals.
        affects_login: whether the tenant's login might fail, or not see its tables, before this operation is done.
        sets_password: whether it sets the password of the field ``role``.
    """

    description: ClassVar[str] = ""
    statement: ClassVar[LiteralString] = ""
    affects_login: ClassVar[bool] = False
    sets_password: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.describe()

    @property
    def password_role(self) -> str:
        """The role whose password `sql` sets; empty: none."""
        return str(vars(self)["role"]) if self.sets_password else ""

    @property
    def acting_role(self) -> str:
        """The role to which the session switches with SET ROLE; empty: the master user."""
        return ""

    def describe(self) -> str:
        return self.description.format_map(vars(self))

    def sql(self, scram_verifier: str = "") -> Composed:
        """Return the statement.

        Args:
            scram_verifier: the SCRAM verifier of the password of `password_role`.

        Raises:
            ValueError: a verifier is missing, because an empty password would clear the role's, or there is no
                statement.
        """
        if not self.statement or (self.password_role and not scram_verifier):
            raise ValueError(f"No SQL to {self}.")
        values = {name: Identifier(value) if type(value) is str else value for name, value in vars(self).items()}
        return SQL(self.statement).format(**values, verifier=scram_verifier)

    def precondition(self) -> tuple[CatalogCheck, ...]:
        """Return what must be true before: that nothing has changed since the plan was made."""
        return ()

    def verify(self) -> tuple[CatalogCheck, ...]:
        """Return what must be true after it: PostgreSQL reports success for some statements that change nothing."""
        return ()

    def execute(self, executor: Any) -> None:
        """Call the method of `executor` that executes this kind of operation: an `Executor`, or a `Rotator`."""
        executor.execute_sql(self)


class Executor(Protocol):
    """Executes operations; each method is one kind. Most are one statement in the master user's session."""

    def execute_sql(self, operation: Operation) -> None: ...
    def write_secret(self, operation: WriteSecret) -> None: ...
    def reassign_objects(self, database: str, previous: str, to: str) -> None: ...
    def create_extension(self, database: str, extension: str, statement: Composed) -> None: ...
    def run_migrations(self, database: str) -> None: ...
    def verify_migrations(self, database: str) -> None: ...
    def create_superuser(self, database: str) -> None: ...


def compose(text: LiteralString, *names: str, **literals: object) -> Composed:
    """Compose `text` with ``{}`` for identifiers and ``{name}`` for literals."""
    values = {key: Literal(value) for key, value in literals.items()}
    return SQL(text).format(*map(Identifier, names), **values)


def changed(what: str) -> DatabaseError:
    return DatabaseError(
        f"The server has changed since the plan was made: {what}.",
        hint="Review the plan again: python manage.py create_tenant_dbs --plan",
    )


def must_be_false(query: LiteralString, parameters: Sequence[object], error: DatabaseError) -> CatalogCheck:
    """Require that `query` returns one row whose column ``remains`` is false."""

    def find_error(rows: Sequence[Any]) -> DatabaseError | None:
        return None if rows and not rows[0].remains else error

    return CatalogCheck(query, parameters, find_error)


#: Whether the first role lacks a privilege that a membership in the second one gives it.
_LACKS_ROLE: LiteralString = """
    SELECT NOT bool_and(pg_has_role(%s, %s, privilege)) AS remains
    FROM unnest(CASE WHEN current_setting('server_version_num')::integer >= 160000
                THEN '{USAGE,SET}' ELSE '{MEMBER}' END::text[]) AS privilege
"""


def grant_statement(grant: Composed) -> Composed:
    """Return `grant` of a role WITH INHERIT and SET where PostgreSQL has these options, whatever was granted before."""
    text: LiteralString = (
        "BEGIN EXECUTE {grant} || CASE WHEN current_setting('server_version_num')::integer >= 160000 "
        "THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END; END"
    )
    return compose("DO {body}", body=compose(text, grant=grant.as_string(None)).as_string(None))


def _role_absent(role: str) -> tuple[CatalogCheck, ...]:
    def find_error(rows: Sequence[Any]) -> DatabaseError | None:
        return changed(f"role {role} was created by another session") if rows else None

    return (CatalogCheck("SELECT FROM pg_roles WHERE rolname = %s", [role], find_error),)


# Secrets and roles.


@dataclass(frozen=True)
class WriteSecret(Operation):
    """Create or update a tenant's own secret; an existing password is unchanged."""

    secret: str
    tenant: str
    keys: tuple[str, ...]
    is_new: bool

    affects_login = True

    def describe(self) -> str:
        if self.is_new:
            return f"create secret {self.secret} with a new password for role {self.tenant}"
        return f"update {', '.join(self.keys)} in secret {self.secret}"

    def execute(self, executor: Executor) -> None:
        executor.write_secret(self)


@dataclass(frozen=True)
class CreateRole(Operation):
    """Create an application role with the password in the secret, sent as a SCRAM verifier."""

    role: str

    affects_login = True
    description = "create role {role} (LOGIN only; password from the secret)"
    statement = "CREATE ROLE {role} LOGIN PASSWORD {verifier}"
    sets_password = True

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return _role_absent(self.role)


@dataclass(frozen=True)
class CreateOwner(Operation):
    """Create the role that owns the databases without a password, if a separate role logs in as a member of it."""

    role: str

    affects_login = True
    description = "create role {role} (LOGIN without a password; the secret has a separate login)"
    statement = "CREATE ROLE {role} LOGIN"

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return _role_absent(self.role)


@dataclass(frozen=True)
class AssignLogin(Operation):
    """Let a separate role log in as the owner: it is a member, and acts as the owner from its login on."""

    owner: str
    login: str

    affects_login = True
    description = "grant {owner} to its login {login}, and set role of {login} to {owner}"

    def sql(self, scram_verifier: str = "") -> Composed:
        return grant_statement(compose("GRANT {} TO {}", self.owner, self.login)) + compose(
            "; ALTER ROLE {} SET role TO {}", self.login, self.owner
        )

    def verify(self) -> tuple[CatalogCheck, ...]:
        error = DatabaseError(
            f"{self.login} was granted {self.owner} but does not have its privileges.",
            hint=f"Find out why, in psql: \\drg {self.login}",
        )
        return (must_be_false(_LACKS_ROLE, [self.login, self.owner], error),)


@dataclass(frozen=True)
class SetPassword(Operation):
    """Set the password of a role to the one in the secret, sent as a SCRAM verifier."""

    role: str

    affects_login = True
    description = "set the password of role {role} to the one in the secret"
    statement = "ALTER ROLE {role} PASSWORD {verifier}"
    sets_password = True


@dataclass(frozen=True)
class RemoveExpiry(Operation):
    """Remove the expiry date of a role's password: SET PASSWORD leaves it unchanged."""

    role: str

    affects_login = True
    description = "remove the expiry date of role {role} (VALID UNTIL has passed)"
    statement = "ALTER ROLE {role} VALID UNTIL 'infinity'"


@dataclass(frozen=True)
class GrantToMaster(Operation):
    """Grant a role to the master user, with INHERIT and SET.

    From PostgreSQL 16 on, a role can transfer a database only to a role that it can SET ROLE to, and connect to that
    role's database only with INHERIT. The GRANT names both options because an earlier one might have set them to false.
    """

    role: str

    description = "grant {role} to the master user (required to transfer ownership)"

    def sql(self, scram_verifier: str = "") -> Composed:
        return grant_statement(compose("GRANT {} TO CURRENT_USER", self.role))

    def verify(self) -> tuple[CatalogCheck, ...]:
        error = DatabaseError(
            f"The master user was granted {self.role} but does not have its privileges.",
            hint="Find out who granted it, in psql: \\drg",
        )
        query: LiteralString = _LACKS_ROLE.replace("%s", "current_user", 1)
        return (must_be_false(query, [self.role], error),)


@dataclass(frozen=True)
class SetRoleDefaults(Operation):
    """Set connection settings of a role, so that Django does not have to set them in each connection."""

    role: str
    settings: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        return f"set {', '.join(name for name, _ in self.settings)} of role {self.role} to the values Django expects"

    def sql(self, scram_verifier: str = "") -> Composed:
        return SQL("; ").join(
            compose("ALTER ROLE {} SET {} TO {value}", self.role, name, value=value) for name, value in self.settings
        )


@dataclass(frozen=True)
class GrantPreviousOwner(Operation):
    """Grant the new owner's role to the previous owner, so that running processes keep working until a restart."""

    role: str
    previous: str

    description = "grant membership in {role} to {previous} until --finish (running processes keep access)"
    statement = "GRANT {role} TO {previous}"


@dataclass(frozen=True)
class RevokePreviousOwner(Operation):
    """Revoke the new owner's role from the previous owner, once no process uses the previous owner any more.

    Attributes:
        logins: roles that log in as the previous owner.
    """

    role: str
    previous: str
    database: str
    logins: tuple[str, ...] = ()

    description = "revoke membership in {role} from {previous} (it can no longer connect to {database})"
    statement = "REVOKE {role} FROM {previous}"

    def precondition(self) -> tuple[CatalogCheck, ...]:
        """A process that still runs as the previous owner would fail without the membership."""
        query: LiteralString = """
            SELECT count(*) > 0 AS remains FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid
            WHERE a.usename = ANY(%s) AND pg_get_userbyid(d.datdba) = %s
        """
        error = changed(f"{self.previous} is connected to a database of {self.role} again; its access was kept")
        return (must_be_false(query, [[self.previous, *self.logins], self.role], error),)

    def verify(self) -> tuple[CatalogCheck, ...]:
        error = DatabaseError(
            f"{self.previous} is still a member of {self.role}: another role granted it, too.",
            hint=f"Find out who granted it, in psql: \\drg {self.previous}",
        )
        query: LiteralString = "SELECT pg_has_role(%s, %s, 'MEMBER') AS remains"
        return (must_be_false(query, [self.previous, self.role], error),)
