"""Which entry of the guide's Troubleshooting tells of an error, and which way leads to a database in a VPC. Pure."""

from __future__ import annotations

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError, DeployError, NoCredentials

CANNOT_CONNECT = "Cannot connect to RDS from local machine"
PASSWORD = "password authentication failed for user django_app"  # noqa: S105
PERMISSION = "permission denied to create database"
NO_CREDENTIALS = "boto3.exceptions.NoCredentialsError"

#: The near end of a forwarded port: not PostgreSQL's own, which one on this machine may have.
LOCAL_PORT = 15432

#: What to look at from inside.
LOOK_AT_RULES = (
    "The database's security group does not let this one's in, or a network ACL is in the way. Run: python manage.py "
    "verify_deploy --tag network"
)

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


def forward(host: str, port: str, *, bastion: str, region: str) -> str:
    """The commands that lead to a database in a VPC from outside it.

    Args:
        host, port: the database's.
        bastion: id of an instance that Systems Manager reaches; empty: nobody says.
        region: of that instance.
    """
    return (
        "Forward a port through the bastion host. Run: aws ssm start-session "
        f"--target {bastion or 'INSTANCE_ID'} --region {region} "
        "--document-name AWS-StartPortForwardingSessionToRemoteHost "
        f"--parameters host={host},portNumber={port},localPortNumber={LOCAL_PORT} "
        f"(and, beside it: DB_HOSTADDR=127.0.0.1 DB_PORT={LOCAL_PORT} python manage.py check_rds)"
    )
