"""A separate deployment on the shared local cloud: a secret, a role, tenants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from tests.postgres_server import Postgres

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


def canary_values(name: str) -> dict[str, Any]:
    """Return unique values: a search finds them wherever they leak."""
    return {
        "password": f"canaryPw7kP0mZx2Lw9RtY4vBn6{name[::-1]}",
        "django_secret_key": f"canaryDj8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDx{name}",
        "stripe_secret_key": f"sk_live_canaryStripeAbCdEfGhIj{name}",
        "stripe_publishable_key": f"pk_live_canaryStripeAbCdEfGhIj{name}",
        "email_host": "smtp.canary-host.net",
        "email_port": 587,
        "email_user": f"canary-user-{name}@canary-host.net",
        "email_password": f"canary mail+pass/word=ü{name}",
        "other_tools_key": {"nested": [f"canary-nested-{name}"]},
    }


@dataclass(frozen=True)
class Deployment:
    """A deployment of one test.

    Attributes:
        name: prefix of all its names.
        environment: environment variables for a command.
        database: ``DATABASES["default"]`` of this process.
    """

    name: str
    postgres: Postgres
    client: SecretsManagerClient
    environment: Mapping[str, str]
    database: dict[str, Any] = field(repr=False)

    @property
    def tenants(self) -> list[str]:
        return [f"{self.name}_one", f"{self.name}_two"]

    @property
    def role(self) -> str:
        return f"{self.name}_app"

    def initial(self) -> dict[str, Any]:
        """Return the initial secret."""
        address, master = self.postgres.address, self.postgres.master
        return {
            "engine": "postgresql",
            "host": address.host,
            "port": address.port,
            "username": self.role,
            "dbClusterIdentifier": "startupwebapp-multi-tenant-prod",
            "master_username": master.user,
            "master_password": master.password.reveal(),
            **canary_values(self.name),
        }

    def put(self, **changes: Any) -> None:
        """Write the secret without a command; None removes a key."""
        values = {key: value for key, value in (self.initial() | changes).items() if value is not None}
        self.put_text(json.dumps(values))
        self.use_login(values)

    def use_login(self, values: Mapping[str, Any]) -> None:
        """Set ``DATABASES["default"]`` from a secret, as production settings do when a process starts."""
        keys = {"host": "HOST", "port": "PORT", "username": "USER", "password": "PASSWORD"}
        self.database.update({setting: str(values.get(key, "")) for key, setting in keys.items()})

    def put_text(self, text: str) -> None:
        """Write any text as the secret."""
        self.client.put_secret_value(SecretId=self.name, SecretString=text)

    def document(self, name: str = "") -> dict[str, Any]:
        """Return the secret of AWSCURRENT, or another one."""
        response = self.client.get_secret_value(SecretId=name or self.name, VersionStage="AWSCURRENT")
        return dict(json.loads(response["SecretString"]))

    def versions(self) -> dict[str, list[str]]:
        """Return all versions with their staging labels."""
        return dict(self.client.describe_secret(SecretId=self.name)["VersionIdsToStages"])

    def login(self) -> Login:
        """Return the login of the application role with the password from the secret."""
        return Login(self.postgres.address, self.role, Secret(self.document()["password"]))
