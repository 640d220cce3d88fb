"""The steps that a plan is made of.

They are values: they can be compared in tests, ``str()`` shows them as sentences, and they are the very objects that
`deploytools.databases.apply` carries out. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CreateRole:
    """``CREATE ROLE … LOGIN`` with the secret's password, as a SCRAM verifier."""

    role: str

    def __str__(self) -> str:
        return f"create role {self.role} (LOGIN, nothing else; password as in the secret)"


@dataclass(frozen=True)
class SetPassword:
    """``ALTER ROLE … PASSWORD`` to the secret's, as a SCRAM verifier."""

    role: str

    def __str__(self) -> str:
        return f"set the password of role {self.role} to the one in the secret"


@dataclass(frozen=True)
class GrantToMaster:
    """``GRANT role TO CURRENT_USER``: from 16 on nobody may hand a database to a role they cannot SET ROLE to, nor come
    into its database without INHERIT; a grant says both there, for an earlier one may say otherwise.
    """

    role: str

    def __str__(self) -> str:
        return f"grant {self.role} to the master, so that it may hand databases over"


@dataclass(frozen=True)
class SetRoleDefaults:
    """``ALTER ROLE … SET``, one for each setting."""

    role: str
    settings: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"set {', '.join(name for name, _ in self.settings)} of role {self.role} as Django wants them"


@dataclass(frozen=True)
class WriteSecret:
    """A tenant's own secret, created or brought up to date; its password, where it has one, stays."""

    secret: str
    tenant: str
    keys: tuple[str, ...]
    is_new: bool

    def __str__(self) -> str:
        if self.is_new:
            return f"create secret {self.secret} with a new password for role {self.tenant}"
        return f"write {', '.join(self.keys)} into secret {self.secret}"


@dataclass(frozen=True)
class LetFormerRoleStay:
    """``GRANT role TO former``: processes that run as the former owner go on working until they are restarted."""

    role: str
    former: str

    def __str__(self) -> str:
        return f"let {self.former} act as {self.role} until --finish, so that what runs as {self.former} goes on"


@dataclass(frozen=True)
class ShutOutFormerRole:
    """``REVOKE role FROM former``, once nothing runs as the former owner any more."""

    role: str
    former: str

    def __str__(self) -> str:
        return f"take {self.role} from {self.former}, which loses its way into the database"


@dataclass(frozen=True)
class CreateDatabase:
    """``CREATE DATABASE … TEMPLATE template0 ALLOW_CONNECTIONS false``."""

    database: str
    locale: str = ""

    def __str__(self) -> str:
        return f"create database {self.database}, closed to connections"


@dataclass(frozen=True)
class CloneTemplate:
    """``CREATE DATABASE … TEMPLATE`` one with all tables, ``ALLOW_CONNECTIONS false``."""

    database: str
    template: str

    def __str__(self) -> str:
        return f"create database {self.database} as a copy of {self.template}, closed to connections"


@dataclass(frozen=True)
class ShutOutPublic:
    """``REVOKE CONNECT, TEMPORARY … FROM PUBLIC``, as the owner."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"revoke CONNECT and TEMPORARY on {self.database} from PUBLIC"


@dataclass(frozen=True)
class Mark:
    """``COMMENT ON DATABASE``, as the owner."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"mark {self.database} as a tenant's"


@dataclass(frozen=True)
class HandOver:
    """``ALTER DATABASE … OWNER TO``, as the present owner.

    Attributes:
        is_noted: whether its comment says from whom, in the same transaction, until `EndHandOver`.
    """

    database: str
    owner: str
    to: str
    is_noted: bool = False

    def __str__(self) -> str:
        return f"hand {self.database} over from {self.owner} to {self.to}"


@dataclass(frozen=True)
class HandOverObjects:
    """``ALTER … OWNER TO`` for each object in the database; never REASSIGN OWNED, which reaches into others."""

    database: str
    former: str
    to: str
    count: int

    def __str__(self) -> str:
        what = f"{self.count} objects" if self.count else "every object"
        return f"hand {what} in {self.database} over from {self.former} to {self.to}, one by one"


@dataclass(frozen=True)
class EndHandOver:
    """``COMMENT ON DATABASE``, without the note that objects in it have yet to change hands."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"note that {self.database} has been handed over with all that is in it"


@dataclass(frozen=True)
class SetDatabaseDefault:
    """``ALTER DATABASE … SET``, in milliseconds, as the owner."""

    database: str
    owner: str
    setting: str
    milliseconds: int

    def __str__(self) -> str:
        return f"set {self.setting} of {self.database} to {self.milliseconds} ms"


@dataclass(frozen=True)
class LimitConnections:
    """``ALTER DATABASE … CONNECTION LIMIT``, as the owner."""

    database: str
    owner: str
    limit: int

    def __str__(self) -> str:
        return f"limit {self.database} to {self.limit} connections" if self.limit >= 0 else f"unlimit {self.database}"


@dataclass(frozen=True)
class Open:
    """``ALTER DATABASE … ALLOW_CONNECTIONS true``, with the limit that is meant, as the owner."""

    database: str
    owner: str
    limit: int = -1

    def __str__(self) -> str:
        return f"open {self.database} to connections"


@dataclass(frozen=True)
class LetOwnerIn:
    """``ALTER DATABASE … ALLOW_CONNECTIONS true`` on a half-made database, which PUBLIC is shut out of."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"let {self.owner} alone into {self.database}"


@dataclass(frozen=True)
class MigrateTables:
    """Django's ``migrate``, as the owner, and a look whether anything is left to apply."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"run the migrations in {self.database}"


@dataclass(frozen=True)
class CompareTables:
    """The copy's ``django_migrations`` against the code's migrations."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"compare the tables in {self.database} with the migrations"


@dataclass(frozen=True)
class MakeSuperuser:
    """Django's ``createsuperuser``, with what the secret says."""

    database: str

    def __str__(self) -> str:
        return f"make the secret's superuser in {self.database}"


@dataclass(frozen=True)
class SealTemplate:
    """``ALTER DATABASE … IS_TEMPLATE true ALLOW_CONNECTIONS false``, and the mark that it is complete."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"close {self.database} and mark it as a template that is ready"


@dataclass(frozen=True)
class UnsealTemplate:
    """``ALTER DATABASE … IS_TEMPLATE false``, and its mark taken off."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"mark {self.database} as no template any more"


@dataclass(frozen=True)
class DropTemplate:
    """``DROP DATABASE`` of a template of these commands' making, never of a tenant's database."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"drop the template {self.database}"


RoleStep = CreateRole | SetPassword | GrantToMaster | SetRoleDefaults | LetFormerRoleStay | ShutOutFormerRole
#: What an owner may do to its database.
TemplateStep = LetOwnerIn | SealTemplate | UnsealTemplate | DropTemplate
OwnerStep = ShutOutPublic | Mark | Open | EndHandOver | SetDatabaseDefault | LimitConnections | TemplateStep
TablesStep = MigrateTables | CompareTables | MakeSuperuser
DatabaseStep = CreateDatabase | CloneTemplate | HandOver | HandOverObjects | OwnerStep | TablesStep
Step = WriteSecret | RoleStep | DatabaseStep
