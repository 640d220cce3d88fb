"""The error tree. Every error says what happened in one sentence and, as ``hint``, what to do next.

::

    DeployError                      exit code 2: could not run, or could not look
    ├── Refused                      exit code 1: would not do it
    │   ├── InvalidSecret            the document breaks the contract
    │   ├── SecretExists             the secret that would be created is there
    │   ├── SecretConflict           somebody else changed the same key, or would not stop writing
    │   ├── RotationUnderWay         a rotation would undo the write
    │   └── ForeignDatabase          a database or role that these commands did not make
    ├── ConfigurationError           settings or environment
    │   └── WrongAccount             the credentials are of another AWS account
    ├── AwsError                     anything AWS answered, or did not
    │   ├── NoCredentials · AccessDenied · Unreachable · Throttled
    │   └── NotFound
    ├── SecretError                  the secret as it is cannot be used
    │   ├── SecretNotFound · SecretEmpty · SecretDeleted · SecretBinary · SecretNotJson
    │   ├── SecretIncomplete         keys are missing
    │   └── SecretTooLarge
    └── DatabaseError                PostgreSQL refused, or was not there; ``sqlstate`` where one is known
        └── ConnectionFailed         with a ``kind``: see `ConnectionFailure`

Nothing is raised with a secret value in its message, its attributes or its ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class DeployError(Exception):
    """Base of all errors here.

    Args:
        message: one sentence, what happened, without a final line break.
        hint: one sentence, what to do next; a command to type where there is one.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Refused(DeployError):
    """The command could have done it and would not."""

    exit_code = 1


class InvalidSecret(Refused):
    """The document that would be written breaks the contract."""


class SecretExists(Refused):
    """The secret that would be created exists with another value; nothing was written."""


class SecretConflict(Refused):
    """Another writer came in between; the message says what was written and what is current."""


class RotationUnderWay(Refused):
    """A rotation is under way: what is written now, it would undo."""


class ForeignDatabase(Refused):
    """A database or role is in the way that these commands did not make."""


class ConfigurationError(DeployError):
    """Settings or environment are missing or contradict each other."""


class WrongAccount(ConfigurationError):
    """The credentials are of another AWS account than the settings name."""


class AwsError(DeployError):
    """AWS answered with an error, or not at all."""


class NoCredentials(AwsError):
    """There are no AWS credentials, or they have expired."""


class AccessDenied(AwsError):
    """AWS denied one action.

    Args:
        action: the IAM action, for example ``secretsmanager:GetSecretValue``.
    """

    def __init__(self, message: str, *, hint: str, action: str) -> None:
        super().__init__(message, hint=hint)
        self.action = action


class Unreachable(AwsError):
    """The endpoint could not be reached within the time-out."""


class Throttled(AwsError):
    """AWS asked to come back later, more often than we were ready to."""


class NotFound(AwsError):
    """The resource does not exist in this account and Region."""


class SecretError(DeployError):
    """The secret, as it is, cannot be used."""


class SecretNotFound(SecretError):
    """There is no such secret in this account and Region."""


class SecretEmpty(SecretError):
    """The secret exists and has no value yet."""


class SecretDeleted(SecretError):
    """The secret is scheduled for deletion."""


class SecretBinary(SecretError):
    """The secret holds ``SecretBinary`` instead of ``SecretString``."""


class SecretNotJson(SecretError):
    """The secret, or a file given, is not one JSON object."""


class SecretIncomplete(SecretError):
    """Keys that the consumer needs are not in the secret.

    Args:
        keys: the names of all missing keys.
    """

    def __init__(self, message: str, *, hint: str, keys: Iterable[str]) -> None:
        super().__init__(message, hint=hint)
        self.keys = tuple(keys)


class SecretTooLarge(SecretError):
    """The document exceeds what Secrets Manager takes."""


class DatabaseError(DeployError):
    """PostgreSQL refused a statement.

    Args:
        sqlstate: the five characters of PostgreSQL's error code, or None.
    """

    def __init__(self, message: str, *, hint: str, sqlstate: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class ConnectionFailure(StrEnum):
    """Why a connection could not be made, in the order in which a connection meets them."""

    NO_SUCH_NAME = "no such name"
    REFUSED = "refused"
    TIMEOUT = "timed out"
    CERTIFICATE = "certificate not trusted"
    CERTIFICATE_NAME = "certificate of another host"
    NO_TLS = "server has no TLS"
    TLS_REQUIRED = "server wants TLS"
    STARTING = "starting up"
    PASSWORD = "password refused"  # noqa: S105
    NO_DATABASE = "no such database"
    NO_CONNECT = "no CONNECT privilege"
    TOO_MANY = "no connection slot free"
    OTHER = "other"


class ConnectionFailed(DatabaseError):
    """No connection to PostgreSQL.

    Args:
        kind: which link of the chain broke.
    """

    def __init__(self, message: str, *, hint: str, kind: ConnectionFailure) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


def explain(error: DeployError) -> str:
    """The two lines that a person sees of `error`; the same in every command, in ``manage.py`` and in the loader."""
    return f"{error}\nHint: {error.hint}"
