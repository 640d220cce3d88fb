"""The credentials of the master user: the only ones that a command may prompt for."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from deploytools import aws
from deploytools.conf import Settings
from deploytools.errors import AccessDenied, AwsError, ConfigurationError, DeployError, NotFound
from deploytools.loader import load_secrets
from deploytools.postgres.connections import Login
from deploytools.secrets.contract import instance_identifier
from deploytools.secrets.document import Document, Secret, value_of
from deploytools.secrets.reader import SecretReader
from deploytools.secrets.versions import PENDING
from deploytools.tenants.credentials import server_address

DEFAULT_NAME = "postgres"
USER_VARIABLE, PASSWORD_VARIABLE = "DEPLOYTOOLS_MASTER_USERNAME", "DEPLOYTOOLS_MASTER_PASSWORD"

#: Hints by ``SecretStatus``, for a secret that RDS manages and that cannot be used at the moment.
STATUS_HINTS = {
    "creating": "Wait a minute and run the command again.",
    "rotating": "RDS is changing the password. Wait a minute and run the command again.",
    "impaired": "RDS cannot access the secret or its KMS key. Check: aws rds describe-db-instances and aws rds "
    f"describe-events. Meanwhile use --master-secret, or {USER_VARIABLE} and {PASSWORD_VARIABLE}.",
}


@dataclass(frozen=True)
class Master:
    """The master user's credentials and their source.

    Attributes:
        arn: ARN of the secret that contains only these credentials; empty: another source.
    """

    login: Login
    source: str
    arn: str = ""


def find_master(
    settings: Settings, secret: Document, *, username: str | None, named: str | None, interactive: bool
) -> Master:
    """Return the master user's credentials from the first source that has them.

    The sources are ``--master-secret``, the secret that RDS manages for the instance, the shared secret's
    ``master_*``, the environment, and a prompt.

    Args:
        username: replaces the user name; the password is then not taken from RDS's or the shared secret.
        named: name or ARN of a secret with ``username`` and ``password``.

    Raises:
        ConfigurationError: no source has the password.
        AwsError: the secret that RDS manages cannot be used at the moment.
        SecretError: the named secret, or the one of RDS, cannot be used.
    """
    sources = _Sources(settings, secret, username)
    master = sources.named_secret(named, f"the secret {named}") if named else None
    if username is None:
        master = master or sources.rds() or sources.shared_secret()
    master = master or sources.environment() or (sources.prompt() if interactive else None)
    if master:
        return master
    reason = f" {sources.denied}" if sources.denied else ""
    raise ConfigurationError(
        f"The password of the master user {sources.user} is not set.{reason}",
        hint="Specify a secret that has it (--master-secret), add master_username and master_password to the shared "
        f"secret (sync_secrets), set {USER_VARIABLE} and {PASSWORD_VARIABLE}, or run the command on a terminal. To "
        "reset the password: aws rds modify-db-instance --master-user-password",
    )


class _Sources:
    """The sources of the credentials; each returns None if it does not have them.

    Attributes:
        user: the user name for sources that have only a password.
        denied: AWS's error, if it denied access to the RDS instance.
    """

    def __init__(self, settings: Settings, secret: Document, username: str | None) -> None:
        self._settings, self._secret, self._username = settings, secret, username
        self.user = username or os.environ.get(USER_VARIABLE, DEFAULT_NAME)
        self.denied: AccessDenied | None = None

    def named_secret(self, name: str, source: str) -> Master:
        required = ("password",) if self._username else ("username", "password")
        fix_command = "python manage.py create_tenant_dbs --master-secret NAME"
        document = load_secrets(name, region=self._settings.region, required=required, fix_command=fix_command)
        user, password = self._username or str(document["username"].reveal()), str(document["password"].reveal())
        arn = name if name.startswith("arn:") else ""
        return self._master(user, password, source, arn, self._pending(name, "password"))

    def rds(self) -> Master | None:
        instance = self._settings.rds_instance or instance_identifier(self._secret)
        if not instance:
            return None
        try:
            with aws.translate_aws_errors("rds:DescribeDBInstances", f"the RDS instance {instance}"):
                client = aws.client("rds", self._settings.region)
                response = client.describe_db_instances(DBInstanceIdentifier=instance)
        except NotFound:
            return None
        except AccessDenied as error:
            self.denied = error
            return None
        managed = response["DBInstances"][0].get("MasterUserSecret") or {}
        if "SecretArn" not in managed:
            return None
        status = managed.get("SecretStatus", "active")
        if status != "active":
            raise AwsError(
                f"The secret that RDS manages for the master user of {instance} cannot be used: its status is "
                f"{status}.",
                hint=STATUS_HINTS.get(status, "Check: aws rds describe-db-instances"),
            )
        return self.named_secret(managed["SecretArn"], f"the secret that RDS manages for {instance}")

    def shared_secret(self) -> Master | None:
        password = str(value_of(self._secret, "master_password", ""))
        user = str(value_of(self._secret, "master_username", "")) or DEFAULT_NAME
        pending = self._pending(self._settings.secret_name, "master_password")
        return self._master(user, password, "master_* in the shared secret", pending=pending) if password else None

    def environment(self) -> Master | None:
        password = os.environ.get(PASSWORD_VARIABLE, "")
        return self._master(self.user, password, "the environment") if password else None

    def prompt(self) -> Master | None:
        if not sys.stdin.isatty():
            return None
        password = getpass.getpass(f"Password of the master user {self.user}: ")
        return self._master(self.user, password, "the terminal") if password else None

    def _pending(self, name: str, key: str) -> Callable[[], Secret[str] | None]:
        """Return how to read the password of AWSPENDING: a rotation changes the role before AWSCURRENT."""

        def read() -> Secret[str] | None:
            with suppress(DeployError):
                document = SecretReader.connect(name, self._settings.region).read_stage(PENDING).document
                password = str(value_of(document, key, ""))
                return Secret(password) if password else None
            return None

        return read

    def _master(
        self,
        user: str,
        password: str,
        source: str,
        arn: str = "",
        pending: Callable[[], Secret[str] | None] | None = None,
    ) -> Master:
        login = Login(server_address(self._settings, self._secret), user, Secret(password), pending)
        return Master(login, source, arn)
