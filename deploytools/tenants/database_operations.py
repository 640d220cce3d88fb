"""Operations on databases: their creation, owner, privileges, tables and templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, ClassVar, LiteralString

from psycopg.sql import SQL, Composed

from deploytools.errors import DatabaseError
from deploytools.tenants.migration_marker import IN_PROGRESS_SUFFIX, comment_statement
from deploytools.tenants.operations import CatalogCheck, Executor, Operation, changed, compose, must_be_false
from deploytools.tenants.state import (
    ENCODING,
    FORMER_OWNER_MARKER,
    INCOMPLETE_LIMIT,
    INVALID_LIMIT,
    REASSIGN_MARKER,
    TENANT_COMMENT,
    former_owner_marker,
    is_own_template,
    reassign_marker,
    template_comment,
)
from deploytools.wording import count

#: Seconds to wait for other sessions to leave a template; PostgreSQL's CREATE DATABASE waits as long.
TEMPLATE_WAIT = 5.0

#: Characters of an earlier comment that a plan shows.
MAX_TEXT = 100

#: The connection limit by which an incomplete database is recognized.
LIMITED: LiteralString = f"CONNECTION LIMIT {INCOMPLETE_LIMIT}"


def _owned_by(database: str, owner: str, *, public_revoked: bool = False) -> CatalogCheck:
    """Require that `database` exists and is owned by `owner` and, on demand, that PUBLIC cannot connect to it."""

    def find_error(rows: Sequence[Any]) -> DatabaseError | None:
        if not rows:
            return changed(f"database {database} no longer exists")
        (row,) = rows
        if row.datconnlimit == INVALID_LIMIT:  # ALTER DATABASE would end the session with a FATAL error.
            return changed(f"another session has started to drop {database}")
        if row.owner != owner:
            return changed(f"{database} is owned by {row.owner}, expected {owner}")
        if public_revoked and row.is_public:
            return changed(f"PUBLIC can connect to {database}, so its connections were not enabled")
        return None

    query = """
        SELECT pg_get_userbyid(datdba)::text AS owner, datconnlimit,
               has_database_privilege('public', oid, 'CONNECT, TEMPORARY') AS is_public
        FROM pg_database WHERE datname = %s
    """
    return CatalogCheck(query, [database], find_error)


def _absent(database: str, template: str = "") -> CatalogCheck:
    """Require that `database` does not exist and that `template`, if any, is unchanged since it was finalized."""

    def find_error(rows: Sequence[Any]) -> DatabaseError | None:
        unchanged = {row.datname: row.is_unchanged for row in rows}
        if database in unchanged:
            return changed(f"database {database} was created by another session")
        if template and not unchanged.get(template):
            return changed(f"template {template} was changed or dropped")
        return None

    query = """
        SELECT datname, shobj_description(oid, 'pg_database') = replace(%s, '#', xmin::text) AS is_unchanged
        FROM pg_database WHERE datname IN (%s, %s)
    """
    return CatalogCheck(query, [template_comment("#"), database, template], find_error)


@dataclass(frozen=True)
class CreateDatabase(Operation):
    """Create an empty database with connections disabled."""

    database: str
    locale: str = ""

    affects_login = True
    description = "create database {database} with connections disabled"

    def sql(self, scram_verifier: str = "") -> Composed:
        locale = compose(" LOCALE {locale}", locale=self.locale) if self.locale else SQL("")
        create = compose("CREATE DATABASE {} TEMPLATE template0 ENCODING {encoding}", self.database, encoding=ENCODING)
        return create + locale + SQL(" ALLOW_CONNECTIONS false " + LIMITED)

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return (_absent(self.database),)


@dataclass(frozen=True)
class CloneTemplate(Operation):
    """Create a database with all tables as a copy of a template, with connections disabled."""

    database: str
    template: str

    affects_login = True
    description = "create database {database} from template {template} with connections disabled"
    statement = "CREATE DATABASE {database} TEMPLATE {template} ALLOW_CONNECTIONS false " + LIMITED

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return (_absent(self.database, self.template),)


@dataclass(frozen=True)
class ReassignObjects(Operation):
    """Change the owner of each object in the database. REASSIGN OWNED would change other databases, too."""

    database: str
    previous: str
    to: str
    count: int

    affects_login = True

    def describe(self) -> str:
        objects = count(self.count, "object") if self.count else "all objects"
        return f"transfer ownership of {objects} in {self.database} from {self.previous} to {self.to}"

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return (_owned_by(self.database, self.to),)

    def execute(self, executor: Executor) -> None:
        executor.reassign_objects(self.database, self.previous, self.to)


@dataclass(frozen=True)
class OwnerOperation(Operation):
    """An operation on a database as its owner.

    From PostgreSQL 16 on, a master user that does not inherit from the owner has no rights on the database itself.

    Attributes:
        requires_revoked_public: whether it must not be done while PUBLIC can connect.
    """

    database: str
    owner: str

    requires_revoked_public: ClassVar[bool] = False

    @property
    def acting_role(self) -> str:
        return self.owner

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return (_owned_by(self.database, self.owner, public_revoked=self.requires_revoked_public),)


@dataclass(frozen=True)
class RevokePublicConnect(OwnerOperation):
    """Revoke CONNECT and TEMPORARY from PUBLIC."""

    description = "revoke CONNECT and TEMPORARY on {database} from PUBLIC"
    statement = "REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC"

    def verify(self) -> tuple[CatalogCheck, ...]:
        error = DatabaseError(
            f"PUBLIC can still connect to {self.database}: another role granted it, too.",
            hint=f"Find out who granted it, in psql: \\l {self.database}",
        )
        query: LiteralString = "SELECT has_database_privilege('public', %s, 'CONNECT, TEMPORARY') AS remains"
        return (must_be_false(query, [self.database], error),)


@dataclass(frozen=True)
class SetTenantComment(OwnerOperation):
    """Set the comment by which deploytools recognizes its databases. The text of an earlier comment is kept.

    Attributes:
        former_owners: the roles that the comment records.
        text: the earlier comment, for the description.
    """

    former_owners: tuple[str, ...] = ()
    text: str = ""

    def describe(self) -> str:
        text = "".join(character if character.isprintable() else " " for character in self.text)
        kept = f"; its text is kept: {shorten(text, MAX_TEXT, placeholder=' …')}" if text.strip() else ""
        return f"set comment on {self.database} (managed by deploytools){kept}"

    def sql(self, scram_verifier: str = "") -> Composed:
        if not (self.text or self.former_owners):
            return compose("COMMENT ON DATABASE {} IS {comment}", self.database, comment=TENANT_COMMENT)
        kept: LiteralString = (
            "{comment} || (SELECT CASE WHEN text = '' OR starts_with(text, ' (deploytools: ') THEN text "
            "ELSE '. ' || text END FROM regexp_replace(comment, {marker}, '', 'g') AS text)"
        )
        comment = TENANT_COMMENT + "".join(map(former_owner_marker, self.former_owners))
        return comment_statement(self.database, compose(kept, comment=comment, marker=REASSIGN_MARKER))


@dataclass(frozen=True)
class ChangeOwner(OwnerOperation):
    """Change the owner of a database, as the master user: it needs CREATEDB and the privileges of both roles.

    Attributes:
        owner: the present owner.
        sets_marker: whether the comment names the previous owner, in the same transaction, until `ClearReassignMarker`.
    """

    to: str
    sets_marker: bool = False

    affects_login = True
    description = "transfer ownership of {database} from {owner} to {to}"

    @property
    def acting_role(self) -> str:
        return ""

    def sql(self, scram_verifier: str = "") -> Composed:
        """psycopg sends both statements as one simple query, which is one transaction."""
        change = compose("ALTER DATABASE {} OWNER TO {}", self.database, self.to)
        return self._set_marker() + SQL("; ") + change if self.sets_marker else change

    def _set_marker(self) -> Composed:
        """Insert the marker before the one of an unfinished migration, which must be the last."""
        text: LiteralString = (
            "CASE WHEN position({marker} IN comment) > 0 THEN comment WHEN right(comment, length({last})) = {last} "
            "THEN left(comment, -length({last})) || {marker} || {last} ELSE comment || {marker} END"
        )
        return comment_statement(
            self.database, compose(text, marker=reassign_marker(self.owner), last=IN_PROGRESS_SUFFIX)
        )


def _clear_marker(database: str, marker: str) -> Composed:
    return comment_statement(database, compose("regexp_replace(comment, {marker}, '', 'g')", marker=marker))


@dataclass(frozen=True)
class ClearReassignMarker(OwnerOperation):
    """Remove the marker from the comment once all objects have their new owner."""

    description = "clear the marker of an unfinished ownership transfer in the comment on {database}"

    def sql(self, scram_verifier: str = "") -> Composed:
        return _clear_marker(self.database, REASSIGN_MARKER)


@dataclass(frozen=True)
class ClearFormerOwners(OwnerOperation):
    """Remove from the comment the owners before the adoption, once they have no access any more."""

    description = "remove the former owner from the comment on {database}"

    def sql(self, scram_verifier: str = "") -> Composed:
        return _clear_marker(self.database, FORMER_OWNER_MARKER)


@dataclass(frozen=True)
class SetDatabaseParameter(OwnerOperation):
    """Set the default of a server setting for a database."""

    setting: str
    milliseconds: int

    description = "set {setting} of {database} to {milliseconds} ms"

    def sql(self, scram_verifier: str = "") -> Composed:
        value = f"{self.milliseconds}ms"
        return compose("ALTER DATABASE {} SET {} TO {value}", self.database, self.setting, value=value)


@dataclass(frozen=True)
class SetConnectionLimit(OwnerOperation):
    """Set the number of connections that a database accepts; -1 for no limit."""

    limit: int

    statement = "ALTER DATABASE {database} CONNECTION LIMIT {limit}"

    def describe(self) -> str:
        if self.limit < 0:
            return f"remove the connection limit of {self.database}"
        return f"set the connection limit of {self.database} to {self.limit}"


@dataclass(frozen=True)
class AllowConnections(OwnerOperation):
    """Enable connections with the final connection limit: the last step of a database's creation."""

    limit: int = -1

    affects_login = True
    requires_revoked_public = True
    description = "enable connections to {database}"
    statement = "ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true CONNECTION LIMIT {limit}"


@dataclass(frozen=True)
class AllowOwnerConnections(OwnerOperation):
    """Enable connections to an incomplete database, to which PUBLIC cannot connect."""

    requires_revoked_public = True
    description = "enable connections to {database} for {owner} only"
    statement = "ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true"


# Extensions and tables.


@dataclass(frozen=True)
class CreateExtension(Operation):
    """Create an extension in a database as the master user: most roles cannot create most extensions."""

    database: str
    extension: str

    description = "create extension {extension} in {database}"
    statement = "CREATE EXTENSION IF NOT EXISTS {extension} CASCADE"

    def execute(self, executor: Executor) -> None:
        executor.create_extension(self.database, self.extension, self.sql())


def superuser_extension_error(
    database: str, extension: str, master: str, reason: str = "it is not a trusted extension"
) -> DatabaseError:
    return DatabaseError(
        f"{master} is not allowed to create the extension {extension} in {database}: {reason}.",
        hint=f'Run in {database}, as a superuser: CREATE EXTENSION "{extension}". On RDS, use a member of '
        "rds_superuser as the master user, and allow it in rds.allowed_extensions.",
        sqlstate="42501",
    )


@dataclass(frozen=True)
class RunMigrations(Operation):
    """Run Django's ``migrate`` as the owner, and verify that nothing is left to apply."""

    database: str
    owner: str

    description = "run migrations in {database}"

    def execute(self, executor: Executor) -> None:
        executor.run_migrations(self.database)


@dataclass(frozen=True)
class VerifyMigrations(Operation):
    """Log in to a copy, compare ``django_migrations`` with the code's migrations, and verify that it can be used."""

    database: str
    owner: str

    description = "verify that all migrations are applied in {database}"

    def execute(self, executor: Executor) -> None:
        executor.verify_migrations(self.database)


@dataclass(frozen=True)
class CreateSuperuser(Operation):
    """Create the superuser that the secret describes, as Django's ``createsuperuser`` does."""

    database: str

    description = "create the superuser from the secret in {database}"

    def execute(self, executor: Executor) -> None:
        executor.create_superuser(self.database)


# Templates.


@dataclass(frozen=True)
class FinalizeTemplate(OwnerOperation):
    """Disable connections, set IS_TEMPLATE, and record the row's version in the comment."""

    description = "disable connections to {database} and mark it as a complete template"

    def sql(self, scram_verifier: str = "") -> Composed:
        """psycopg sends both statements as one simple query, which is one transaction."""
        text: LiteralString = "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true CONNECTION LIMIT -1; "
        comment = compose("replace({comment}, '#', row_version)", comment=template_comment("#"))
        return compose(text, self.database) + comment_statement(self.database, comment)

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return (*super().precondition(), self._unused())

    def _unused(self) -> CatalogCheck:
        """A session in the template could change it after it is finalized. An ended session takes a moment to go."""

        def find_error(rows: Sequence[Any]) -> DatabaseError | None:
            if not rows:
                return None
            return DatabaseError(
                f"{', '.join(row.usename for row in rows)} is connected to template {self.database}, so that it "
                "cannot be finalized.",
                hint="End that session and run the command again: the template is recreated.",
                sqlstate="55006",
            )

        query: LiteralString = (
            "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE datname = %s AND usename IS NOT NULL"
        )
        return CatalogCheck(query, [self.database], find_error, wait=TEMPLATE_WAIT)


@dataclass(frozen=True)
class UnmarkTemplate(OwnerOperation):
    """Unset IS_TEMPLATE and remove the comment, so that the template can be dropped."""

    description = "unset IS_TEMPLATE of {database}"
    statement = (
        "ALTER DATABASE {database} WITH IS_TEMPLATE false " + LIMITED + "; COMMENT ON DATABASE {database} IS NULL"
    )


@dataclass(frozen=True)
class DropTemplate(OwnerOperation):
    """Drop a template that create_tenant_dbs created; never a tenant's database."""

    description = "drop template {database}"
    statement = "DROP DATABASE {database}"

    def precondition(self) -> tuple[CatalogCheck, ...]:
        def find_error(rows: Sequence[Any]) -> DatabaseError | None:
            if not rows:
                return changed(f"template {self.database} no longer exists")
            (row,) = rows
            if not is_own_template(self.database, row.comment, row.datconnlimit):
                return changed(f"{self.database} is no longer a template created by deploytools")
            return None

        query: LiteralString = """
            SELECT coalesce(shobj_description(oid, 'pg_database'), '') AS comment, datconnlimit
            FROM pg_database WHERE datname = %s
        """
        return (CatalogCheck(query, [self.database], find_error),)
