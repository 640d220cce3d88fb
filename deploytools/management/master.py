"""Who the master is: the only credential that a person may be asked for."""

from __future__ import annotations

import getpass
import os
import sys

from deploytools.databases.access import server_address
from deploytools.databases.server import Login
from deploytools.errors import ConfigurationError
from deploytools.secret.document import Document
from deploytools.secret.value import Secret


def master_login(secret: Document, *, username: str | None, interactive: bool) -> Login:
    """The master, from the first that has it: the secret's ``master_*``, the environment, a question without echo.

    Args:
        username: overrides the name; the password is then not the secret's.

    Raises:
        ConfigurationError: nobody has the password, and nobody can be asked.
    """
    address = server_address(secret)
    if "master_password" in secret and username is None:
        user = str(secret["master_username"].reveal()) if "master_username" in secret else "postgres"
        return Login(address, user, Secret(str(secret["master_password"].reveal())))
    user = username or os.environ.get("DB_MASTER_USERNAME", "postgres")
    password = os.environ.get("DB_MASTER_PASSWORD", "")
    if not password and interactive and sys.stdin.isatty():
        password = getpass.getpass(f"Password of the master user {user}: ")
    if not password:
        raise ConfigurationError(
            f"The password of the master user {user} is not known.",
            hint="Put master_username and master_password into the secret (sync_secrets), or set DB_MASTER_USERNAME "
            "and DB_MASTER_PASSWORD, or run it on a terminal to be asked. RDS resets it: aws rds modify-db-instance "
            "--master-user-password",
        )
    return Login(address, user, Secret(password))
