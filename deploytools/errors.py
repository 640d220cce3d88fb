"""The errors of these commands. Each has a message, what failed and why, and a ``hint``, what to do next.

::

    DeployError                      exit code 2: the command could not run, or a check could not be evaluated
    ├── Refused                      exit code 1: the command refused to do it
    │   ├── InvalidSecret            the document violates the contract
    │   ├── SecretExists             the secret to create exists
    │   ├── SecretConflict           another writer changed the same key, or kept writing
    │   ├── RotationInProgress       a rotation would overwrite the change
    │   └── UnmanagedDatabase        a database or role that these commands did not create
    ├── ConfigurationError           settings or environment
    │   └── WrongAccount             the credentials belong to another AWS account
    ├── AwsError                     AWS returned an error, or did not respond
    │   ├── NoCredentials · AccessDenied · Unreachable · Throttled
    │   └── NotFound
    ├── SecretError                  the secret cannot be used
    │   ├── SecretNotFound · SecretEmpty · SecretDeleted · SecretBinary · SecretNotJson
    │   ├── SecretIncomplete         keys are missing
    │   └── SecretTooLarge
    └── DatabaseError                PostgreSQL reported an error; ``sqlstate`` is its code, if there is one
        └── ConnectionFailed         no connection; ``kind`` is the reason, see `ConnectionFailure`

No error has a secret value in its message, its attributes or its ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

__all__ = [
    "AccessDenied",
    "AwsError",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionFailure",
    "DatabaseError",
    "DeployError",
    "InvalidSecret",
    "NoCredentials",
    "NotFound",
    "Refused",
    "RotationInProgress",
    "SecretBinary",
    "SecretConflict",
    "SecretDeleted",
    "SecretEmpty",
    "SecretError",
    "SecretExists",
    "SecretIncomplete",
    "SecretNotFound",
    "SecretNotJson",
    "SecretTooLarge",
    "Throttled",
    "UnmanagedDatabase",
    "Unreachable",
    "WrongAccount",
    "format_error",
]


class DeployError(Exception):
    """Base class of all errors.

    Args:
        message: one sentence: what failed and why.
        hint: an imperative: what to do next, with the exact command where there is one.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Refused(DeployError):
    """The command refused to make the change."""

    exit_code = 1


class InvalidSecret(Refused):
    """The document to write violates the contract."""


class SecretExists(Refused):
    """The secret to create exists with another value. Nothing was written."""


class SecretConflict(Refused):
    """Another writer changed the secret. The message states what was written and what is current."""


class RotationInProgress(Refused):
    """A rotation is in progress and would overwrite the change."""


class UnmanagedDatabase(Refused):
    """A database or role of this name exists and was not created by these commands."""


class ConfigurationError(DeployError):
    """A setting or environment variable is missing or invalid."""


class WrongAccount(ConfigurationError):
    """The credentials belong to another AWS account than ``DEPLOYTOOLS["ACCOUNT"]``."""


class AwsError(DeployError):
    """AWS returned an error, or did not respond."""


class NoCredentials(AwsError):
    """AWS credentials are missing or have expired."""


class AccessDenied(AwsError):
    """AWS denied one action.

    Args:
        action: the IAM action, for example ``secretsmanager:GetSecretValue``.
    """

    def __init__(self, message: str, *, hint: str, action: str) -> None:
        super().__init__(message, hint=hint)
        self.action = action


class Unreachable(AwsError):
    """The endpoint did not respond within the time-out."""


class Throttled(AwsError):
    """AWS throttled the request after all retries."""


class NotFound(AwsError):
    """The resource does not exist in this account and Region."""


class SecretError(DeployError):
    """The secret cannot be used."""


class SecretNotFound(SecretError):
    """The secret does not exist in this account and Region."""


class SecretEmpty(SecretError):
    """The secret exists and has no value yet."""


class SecretDeleted(SecretError):
    """The secret is scheduled for deletion."""


class SecretBinary(SecretError):
    """The secret has a ``SecretBinary`` instead of a ``SecretString``."""


class SecretNotJson(SecretError):
    """The secret, or the file, is not a JSON object."""


class SecretIncomplete(SecretError):
    """The secret is missing required keys.

    Args:
        keys: the names of all missing keys.
    """

    def __init__(self, message: str, *, hint: str, keys: Iterable[str]) -> None:
        super().__init__(message, hint=hint)
        self.keys = tuple(keys)


class SecretTooLarge(SecretError):
    """The document exceeds the size limit of Secrets Manager."""


class DatabaseError(DeployError):
    """PostgreSQL reported an error.

    Args:
        sqlstate: PostgreSQL's error code (five characters), or None.
    """

    def __init__(self, message: str, *, hint: str, sqlstate: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class ConnectionFailure(str, Enum):  # noqa: UP042  # StrEnum needs 3.11; the tunnel runs on older Pythons.
    """Why a connection failed, in the order in which the stages of a connection fail."""

    NO_SUCH_NAME = "host name not found"
    REFUSED = "connection refused"
    TIMEOUT = "timed out"
    CERTIFICATE = "certificate not trusted"
    CERTIFICATE_NAME = "certificate name mismatch"
    NO_TLS = "server does not support TLS"
    TLS_REQUIRED = "server requires TLS"
    STARTING = "server is starting up"
    PASSWORD = "password authentication failed"  # noqa: S105
    NO_DATABASE = "database does not exist"
    NO_CONNECT = "CONNECT privilege missing"
    TOO_MANY = "too many connections"
    POOLER = "connection pooler"
    OTHER = "other"

    __str__ = str.__str__


class ConnectionFailed(DatabaseError):
    """Could not connect to PostgreSQL.

    Args:
        kind: why the connection failed.
    """

    def __init__(self, message: str, *, hint: str, kind: ConnectionFailure) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


def format_error(error: DeployError) -> str:
    """Return the two lines that are shown for `error`: its message and its hint."""
    return f"{error}\nHint: {error.hint}"
