"""Who the master is: the only credential that a person may be asked for."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deploytools import aws
from deploytools.conf import configuration
from deploytools.databases.access import server_address
from deploytools.databases.server import Login
from deploytools.errors import AccessDenied, AwsError, ConfigurationError, NotFound
from deploytools.loader import load_secrets
from deploytools.secret.document import Document
from deploytools.secret.value import Secret

DEFAULT_NAME = "postgres"

#: What AWS says of a secret that RDS manages, where it cannot be used now.
STATUS_HINTS = {
    "creating": "Wait a minute and run it again.",
    "rotating": "Its password is being changed: wait a minute and run it again.",
    "impaired": "RDS cannot reach the secret or its key: aws rds describe-db-instances, and RDS's events, say more. "
    "Until it is mended use --master-secret, or DB_MASTER_USERNAME and DB_MASTER_PASSWORD.",
}


@dataclass(frozen=True)
class Master:
    """The master's credentials, and where they came from.

    Attributes:
        source: in words.
        arn: of the secret that holds them and nothing else; empty: another source.
    """

    login: Login
    source: str
    arn: str = ""


def find_master(secret: Document, *, username: str | None, named: str | None, interactive: bool) -> Master:
    """The master, from the first that has it.

    ``--master-secret``, the secret that RDS manages for the instance, the shared secret's ``master_*``, the
    environment, a question without echo.

    Args:
        secret: the shared secret.
        username: overrides the name; the password is then neither RDS's nor the shared secret's.
        named: name or ARN of a secret with ``username`` and ``password``.

    Raises:
        ConfigurationError: nobody has the password, and nobody can be asked.
        AwsError: the secret that RDS manages cannot be used now.
        SecretError: the secret that was named, or RDS's, cannot be used.
    """
    denied: list[AccessDenied] = []
    sources: Iterable[Callable[[], Master | None]] = (
        lambda: _from_secret(secret, named, f"the secret {named}", username) if named else None,
        lambda: _from_rds(secret, denied) if username is None else None,
        lambda: _from_shared(secret) if username is None else None,
        lambda: _from_environment(secret, username),
        lambda: _asked(secret, username) if interactive else None,
    )
    for source in sources:
        if master := source():
            return master
    user = username or os.environ.get("DB_MASTER_USERNAME", DEFAULT_NAME)
    unseen = f" {denied[0]}" if denied else ""
    raise ConfigurationError(
        f"The password of the master user {user} is not known.{unseen}",
        hint="Name a secret that has it (--master-secret), put master_username and master_password into the shared one "
        "(sync_secrets), set DB_MASTER_USERNAME and DB_MASTER_PASSWORD, or run it on a terminal to be asked. RDS "
        "resets it: aws rds modify-db-instance --master-user-password",
    )


def _from_secret(secret: Document, name: str, source: str, username: str | None = None) -> Master:
    required = ("password",) if username else ("username", "password")
    mend = "python manage.py create_tenant_dbs --master-secret NAME"
    document = load_secrets(name, region=configuration.region, required=required, mend=mend)
    user = username or str(document["username"].reveal())
    login = Login(server_address(secret), user, Secret(str(document["password"].reveal())))
    return Master(login, source, arn=name if name.startswith("arn:") else "")


def _from_rds(secret: Document, denied: list[AccessDenied]) -> Master | None:
    """The secret that RDS manages; None where it manages none, or where we cannot know (then `denied` grows)."""
    instance = configuration.rds_instance or _text(secret, "dbClusterIdentifier")
    if not instance:
        return None
    try:
        with aws.calling("rds:DescribeDBInstances", f"the RDS instance {instance}"):
            answer = aws.client("rds", configuration.region).describe_db_instances(DBInstanceIdentifier=instance)
    except NotFound:
        return None
    except AccessDenied as error:
        denied.append(error)
        return None
    managed = answer["DBInstances"][0].get("MasterUserSecret") or {}
    if "SecretArn" not in managed:
        return None
    status = managed.get("SecretStatus", "active")
    if status != "active":
        raise AwsError(
            f"The master's secret that RDS manages for {instance} is {status}: its password cannot be trusted now.",
            hint=STATUS_HINTS.get(status, "Look at it: aws rds describe-db-instances."),
        )
    return _from_secret(secret, managed["SecretArn"], f"the secret that RDS manages for {instance}")


def _from_shared(secret: Document) -> Master | None:
    password = _text(secret, "master_password")
    if not password:
        return None
    user = _text(secret, "master_username") or DEFAULT_NAME
    return Master(Login(server_address(secret), user, Secret(password)), "master_* in the shared secret")


def _from_environment(secret: Document, username: str | None) -> Master | None:
    password = os.environ.get("DB_MASTER_PASSWORD", "")
    user = username or os.environ.get("DB_MASTER_USERNAME", DEFAULT_NAME)
    return Master(Login(server_address(secret), user, Secret(password)), "the environment") if password else None


def _asked(secret: Document, username: str | None) -> Master | None:
    if not sys.stdin.isatty():
        return None
    user = username or os.environ.get("DB_MASTER_USERNAME", DEFAULT_NAME)
    password = getpass.getpass(f"Password of the master user {user}: ")
    return Master(Login(server_address(secret), user, Secret(password)), "the terminal") if password else None


def _text(secret: Document, key: str) -> str:
    return str(secret[key].reveal()) if key in secret else ""
