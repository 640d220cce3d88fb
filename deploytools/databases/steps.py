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
    """``GRANT role TO CURRENT_USER``: from 16 on nobody may hand a database to a role they cannot SET ROLE to."""

    role: str

    def __str__(self) -> str:
        return f"grant {self.role} to the master, so that it may hand databases over"


@dataclass(frozen=True)
class CreateDatabase:
    """``CREATE DATABASE … TEMPLATE template0 ALLOW_CONNECTIONS false``."""

    database: str
    locale: str = ""

    def __str__(self) -> str:
        return f"create database {self.database}, closed to connections"


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
    """``ALTER DATABASE … OWNER TO``, as the present owner."""

    database: str
    owner: str
    to: str

    def __str__(self) -> str:
        return f"hand {self.database} over from {self.owner} to {self.to}"


@dataclass(frozen=True)
class Open:
    """``ALTER DATABASE … ALLOW_CONNECTIONS true``, as the owner."""

    database: str
    owner: str

    def __str__(self) -> str:
        return f"open {self.database} to connections"


RoleStep = CreateRole | SetPassword | GrantToMaster
DatabaseStep = CreateDatabase | ShutOutPublic | Mark | HandOver | Open
Step = RoleStep | DatabaseStep
