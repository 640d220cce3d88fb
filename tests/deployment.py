"""One deployment of its own on the shared local cloud: a secret, a role, tenants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploytools.databases.server import Login
from deploytools.secret.value import Secret
from tests.postgres import Postgres

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


def canary_values(name: str) -> dict[str, Any]:
    """Values that are found wherever they leak to, and that no other test uses."""
    return {
        "password": f"canaryPw7kP0mZx2Lw9RtY4vBn6{name}",
        "django_secret_key": f"canaryDj8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDx{name}",
        "stripe_secret_key": f"sk_live_canaryStripeAbCdEfGhIj{name}",
        "stripe_publishable_key": f"pk_live_canaryStripeAbCdEfGhIj{name}",
        "email_host": "smtp.canary-host.net",
        "email_port": 587,
        "email_user": f"canary-user-{name}@canary-host.net",
        "email_password": f"canary mail+pass/word=ü{name}",
        "somebody_elses": {"nested": [f"canary-nested-{name}"]},
    }


@dataclass(frozen=True)
class Deployment:
    """What a test works on.

    Attributes:
        name: the prefix of everything in it.
        environment: what a command needs to find it.
    """

    name: str
    postgres: Postgres
    client: SecretsManagerClient
    environment: Mapping[str, str]

    @property
    def tenants(self) -> list[str]:
        return [f"{self.name}_one", f"{self.name}_two"]

    @property
    def role(self) -> str:
        return f"{self.name}_app"

    def initial(self) -> dict[str, Any]:
        """The secret as a test finds it."""
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
        """Write the secret behind the commands' back; None takes a key out."""
        values = {key: value for key, value in (self.initial() | changes).items() if value is not None}
        self.put_text(json.dumps(values))

    def put_text(self, text: str) -> None:
        """As `put`, with any text."""
        self.client.put_secret_value(SecretId=self.name, SecretString=text)

    def document(self) -> dict[str, Any]:
        """What AWSCURRENT holds."""
        answer = self.client.get_secret_value(SecretId=self.name, VersionStage="AWSCURRENT")
        return dict(json.loads(answer["SecretString"]))

    def versions(self) -> dict[str, list[str]]:
        """All versions with their labels."""
        return dict(self.client.describe_secret(SecretId=self.name)["VersionIdsToStages"])

    def login(self) -> Login:
        """The application's role with the password in the secret."""
        return Login(self.postgres.address, self.role, Secret(self.document()["password"]))
