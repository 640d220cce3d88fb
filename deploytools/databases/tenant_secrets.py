"""Each tenant's own secret, in the JSON shape that AWS's rotation functions expect, behind the one store."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploytools import aws
from deploytools.conf import configuration
from deploytools.databases.access import server_address
from deploytools.databases.server import Login, ServerAddress
from deploytools.databases.state import SecretNeed
from deploytools.databases.steps import WriteSecret
from deploytools.databases.tenants import Tenant
from deploytools.errors import DeployError, ForeignDatabase, RotationUnderWay, SecretEmpty, SecretNotFound
from deploytools.secret.document import Document
from deploytools.secret.store import SecretStore
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync
from deploytools.secret.value import Secret

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

PASSWORD_LENGTH = 40
PASSWORD_CHARACTERS = string.ascii_letters + string.digits

#: Secrets read at the same time; AWS allows thousands a second.
CONCURRENT_READS = 8


def settled(store: SecretStore) -> Document:
    """What the secret holds now, unless a rotation is under way: it sets the role's password before the secret's.

    Raises:
        RotationUnderWay: wait for its end.
    """
    state = store.read()
    if state.pending_version:
        raise RotationUnderWay(
            f"A rotation of {state.name} is under way: the password was left as it is.",
            hint="Run it again when the rotation has finished.",
        )
    return state.document


def new_password() -> Secret[str]:
    """A random password that PostgreSQL, RDS, URLs and shells all take."""
    return Secret("".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(PASSWORD_LENGTH)))


@dataclass(frozen=True)
class TenantSecrets:
    """The tenants' secrets in one Region.

    Attributes:
        prefix: what comes before the tenant's name in the name of its secret.
        host: the server, as the application reaches it.
        port: likewise; not a tunnel's.
        address: how the commands reach it.
        master_arn: ARN of the master's secret, which AWS's rotation for alternating users needs; empty: not known.
    """

    client: SecretsManagerClient
    region: str
    prefix: str
    host: str
    port: int
    address: ServerAddress
    master_arn: str = ""

    def read(self, tenants: Iterable[Tenant]) -> tuple[dict[str, SecretNeed], dict[str, Login]]:
        """What each tenant's secret needs, and the logins of those that have a password already, by tenant.

        Raises:
            AwsError: AWS could not be asked.
        """
        names = [tenant.name for tenant in tenants]
        with ThreadPoolExecutor(CONCURRENT_READS) as pool:
            found = dict(zip(names, pool.map(self._read_one, names), strict=True))
        logins = {name: self._login(name, document) for name, (_, document) in found.items() if _password(document)}
        return {name: need for name, (need, _) in found.items()}, logins

    def write(self, step: WriteSecret) -> Login:
        """Create the tenant's secret with a new password, or write the keys of `step`; returns the login in it.

        Raises:
            SecretConflict, RotationUnderWay, SecretExists: somebody else writes it.
            AwsError: AWS could not be asked.
        """
        store = self._store(step.tenant)
        if step.is_new:
            document = Document({**self._fixed(step.tenant), "password": new_password().reveal()})
            store.create(document)
            return self._login(step.tenant, document)

        def replan(state: SecretState) -> SyncPlan:
            need = self._need(step.tenant, state.document)
            values: dict[str, str | int] = {**self._fixed(step.tenant), "password": new_password().reveal()}
            given = Document({key: values[key] for key in need.keys})
            return plan_sync(state, given, stage="launch")

        return self._login(step.tenant, store.write(replan(store.read()), replan).after)

    def login(self, tenant: str) -> Login:
        """The login in the tenant's secret."""
        return self._login(tenant, self._store(tenant).read_current()[1])

    def settled_login(self, tenant: str) -> Login:
        """The login in the tenant's secret as it is now, to set the role's password by.

        Raises:
            RotationUnderWay: a rotation is about to change both sides.
        """
        return self._login(tenant, settled(self._store(tenant)))

    def _store(self, tenant: str) -> SecretStore:
        return SecretStore(self.client, self.prefix + tenant, self.region)

    def _fixed(self, tenant: str) -> dict[str, str | int]:
        """Everything but the password; the keys are those of AWS's rotation functions for PostgreSQL."""
        fixed: dict[str, str | int] = {"engine": "postgres", "host": self.host, "port": self.port}
        fixed |= {"username": tenant, "dbname": tenant}
        return fixed | ({"masterarn": self.master_arn} if self.master_arn else {})

    def _read_one(self, tenant: str) -> tuple[SecretNeed, Document]:
        name, nothing = self.prefix + tenant, Document({})
        try:
            _, document = self._store(tenant).read_current()
        except (SecretNotFound, SecretEmpty):
            return SecretNeed(name, (*self._fixed(tenant), "password"), is_new=True), nothing
        except DeployError as error:
            return SecretNeed(name, obstacle=error), nothing
        need = self._need(tenant, document)
        return need, nothing if need.obstacle else document

    def _need(self, tenant: str, document: Document) -> SecretNeed:
        name, fixed = self.prefix + tenant, self._fixed(tenant)
        for key in ("username", "dbname"):
            found = document[key].reveal() if key in document else fixed[key]
            if found != fixed[key]:
                return SecretNeed(
                    name,
                    obstacle=ForeignDatabase(
                        f"The secret {name} has {key} {found}, not {fixed[key]}; it was left alone.",
                        hint="It is somebody else's, or a rotation for alternating users made it: with "
                        "ISOLATION role-per-tenant use AWS's rotation for a single user.",
                    ),
                )
        stored = {key: document[key].reveal() for key in fixed if key in document}
        keys = [key for key, value in fixed.items() if str(stored.get(key, "")) != str(value)]
        return SecretNeed(name, (*keys, *(() if _password(document) else ("password",))))

    def _login(self, tenant: str, document: Mapping[str, Secret[object]]) -> Login:
        return Login(self.address, tenant, Secret(_password(document)))


def _password(document: Mapping[str, Secret[object]]) -> str:
    return str(document["password"].reveal() or "") if "password" in document else ""


def tenant_secrets(secret: Document, master_arn: str = "") -> TenantSecrets | None:
    """The tenants' own secrets, or None where they share one.

    Args:
        secret: the secret that all tenants share; host and port come from it.
        master_arn: ARN of the secret with the master's credentials; empty: not known.
    """
    if configuration.is_shared:
        return None
    return TenantSecrets(
        client=aws.client("secretsmanager", configuration.region),
        region=configuration.region,
        prefix=configuration.tenant_secret_prefix,
        host=str(secret["host"].reveal()),
        port=int(secret["port"].reveal()),
        address=server_address(secret),
        master_arn=master_arn,
    )
