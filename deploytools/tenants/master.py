"""The credentials of the master user: the only ones that a command may prompt for."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

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

#: The keys of the master user in the shared secret, and in a separate secret.
SHARED_KEYS, OWN_KEYS = ("master_username", "master_password"), ("username", "password")


@dataclass(frozen=True)
class Master:
    """The master user's credentials and their source.

    Attributes:
        secret: name or ARN of the secret that has the password; empty: another source.
        keys: user name and password in that secret.
        instance: the RDS instance for which RDS manages the secret; empty: it does not.
    """

    login: Login
    source: str
    secret: str = ""
    keys: tuple[str, str] = OWN_KEYS
    instance: str = ""

    @property
    def arn(self) -> str:
        """ARN of the secret that contains only these credentials; empty: unknown, or another source."""
        return self.secret if self.secret.startswith("arn:") and self.keys == OWN_KEYS else ""


def describe_managed_secret(instance: str, region: str) -> dict[str, Any]:
    """Return ``MasterUserSecret`` of an RDS instance; empty: RDS does not manage the master user's password."""
    with aws.translate_aws_errors("rds:DescribeDBInstances", f"the RDS instance {instance}"):
        response = aws.client("rds", region).describe_db_instances(DBInstanceIdentifier=instance)
    return dict(response["DBInstances"][0].get("MasterUserSecret") or {})


def find_master(
    settings: Settings,
    secret: Document,
    *,
    username: str | None,
    named: str | None,
    interactive: bool,
    in_secret: bool = False,
) -> Master:
    """Return the master user's credentials from the first source that has them.

    The sources are ``--master-secret``, the secret that RDS manages for the instance, the shared secret's
    ``master_*``, the environment, and a prompt.

    Args:
        username: replaces the user name; the password is then not taken from RDS's or the shared secret.
        named: name or ARN of a secret with ``username`` and ``password``.
        in_secret: whether only secrets are sources.

    Raises:
        ConfigurationError: no source has the password.
        AwsError: RDS has not created its secret yet.
        SecretError: the named secret, or the one of RDS, cannot be used.
    """
    sources = _Sources(settings, secret, username)
    master = sources.named_secret(named, f"the secret {named}") if named else None
    if username is None:
        master = master or sources.rds() or sources.shared_secret()
    if not in_secret:
        master = master or sources.environment() or (sources.prompt() if interactive else None)
    if master is None:
        raise _not_found(sources, username, in_secret=in_secret)
    return master


def _not_found(sources: _Sources, username: str | None, *, in_secret: bool) -> ConfigurationError:
    reason = f" {sources.denied}" if sources.denied else ""
    if in_secret:
        without = ", and run the command without --master-username" if username else ""
        return ConfigurationError(
            f"No secret with the password of the master user {sources.user} was found.{reason}",
            hint="Specify a secret with its username and password: --master-secret NAME. Or add master_username and "
            f"master_password to the shared secret: python manage.py sync_secrets FILE{without}.",
        )
    return ConfigurationError(
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
        return self._master(user, password, source, f"Set password in {source} to the password of {user}.", name)

    def rds(self) -> Master | None:
        """During a rotation, and if RDS has lost access to the KMS key (``impaired``), the secret can be read."""
        instance = self._settings.rds_instance or instance_identifier(self._secret)
        if not instance:
            return None
        try:
            managed = describe_managed_secret(instance, self._settings.region)
        except NotFound:
            return None
        except AccessDenied as error:
            self.denied = error
            return None
        if "SecretArn" not in managed:
            return None
        if managed.get("SecretStatus") == "creating":
            raise AwsError(
                f"RDS is creating the secret for the master user of {instance}.",
                hint="Wait a minute and run the command again.",
            )
        master = self.named_secret(managed["SecretArn"], f"the secret that RDS manages for {instance}")
        hint = (
            "Let RDS set a new password and write it to its secret: aws rds modify-db-instance "
            f"--db-instance-identifier {instance} --rotate-master-user-password --apply-immediately"
        )
        return replace(master, login=replace(master.login, wrong_password=hint), instance=instance)

    def shared_secret(self) -> Master | None:
        password = str(value_of(self._secret, "master_password", ""))
        user = str(value_of(self._secret, "master_username", "")) or DEFAULT_NAME
        source, name = "master_* in the shared secret", self._settings.secret_name
        hint = (
            f"Set master_password in the secret to the password of the master user {user}: write it to a JSON file and "
            "run: python manage.py sync_secrets FILE. If it is lost, set a new one in the RDS console."
        )
        return self._master(user, password, source, hint, name, SHARED_KEYS) if password else None

    def environment(self) -> Master | None:
        password = os.environ.get(PASSWORD_VARIABLE, "")
        hint = f"Set {PASSWORD_VARIABLE} to the password of {self.user}."
        return self._master(self.user, password, "the environment", hint) if password else None

    def prompt(self) -> Master | None:
        if not sys.stdin.isatty():
            return None
        password = getpass.getpass(f"Password of the master user {self.user}: ")
        hint = f"Run the command again, and type the password of {self.user}."
        return self._master(self.user, password, "the terminal", hint) if password else None

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
        self, user: str, password: str, source: str, hint: str, secret: str = "", keys: tuple[str, str] = OWN_KEYS
    ) -> Master:
        pending = self._pending(secret, keys[1]) if secret else None
        login = Login(server_address(self._settings, self._secret), user, Secret(password), pending, hint)
        return Master(login, source, secret, keys)
