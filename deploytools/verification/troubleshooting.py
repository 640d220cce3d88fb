"""Which entry of the guide's Troubleshooting tells of an error. Pure."""

from __future__ import annotations

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError, DeployError, NoCredentials

CANNOT_CONNECT = "Cannot connect to RDS from local machine"
PASSWORD = "password authentication failed for user django_app"  # noqa: S105
PERMISSION = "permission denied to create database"
NO_CREDENTIALS = "boto3.exceptions.NoCredentialsError"

_BY_KIND = {
    ConnectionFailure.NO_SUCH_NAME: CANNOT_CONNECT,
    ConnectionFailure.REFUSED: CANNOT_CONNECT,
    ConnectionFailure.TIMEOUT: CANNOT_CONNECT,
    ConnectionFailure.PASSWORD: PASSWORD,
    ConnectionFailure.NO_CONNECT: PERMISSION,
}


def advice(error: DeployError) -> str:
    """The error's hint, and where the guide tells more of it."""
    entry = entry_for(error)
    return f'{error.hint} (guide, Troubleshooting: "{entry}")' if entry else error.hint


def entry_for(error: DeployError) -> str | None:
    """The heading of the entry, or None: the guide does not know every error."""
    if isinstance(error, ConnectionFailed):
        return _BY_KIND.get(error.kind)
    if isinstance(error, NoCredentials):
        return NO_CREDENTIALS
    if isinstance(error, DatabaseError) and error.sqlstate == "42501":
        return PERMISSION
    return None
