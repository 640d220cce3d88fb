"""From the settings and the secrets to what a command connects with: the server's address, tenants, and logins."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploytools import aws
from deploytools.conf import Settings
from deploytools.errors import DeployError, RotationInProgress, SecretEmpty, SecretNotFound, UnmanagedDatabase
from deploytools.loader import LOGIN_KEYS, load_secrets, load_tenant_secret
from deploytools.postgres.connections import Login, ServerAddress
from deploytools.secrets.document import EMPTY, Document, Secret, value_of
from deploytools.secrets.inputs import ALPHABET, GENERATED_LENGTHS
from deploytools.secrets.plan import SecretState, SyncPlan, plan_sync
from deploytools.secrets.store import SecretStore
from deploytools.tenants.operations import WriteSecret
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX, Tenant
from deploytools.tenants.state import SecretChange

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

#: Concurrent reads of secrets; AWS allows thousands per second.
CONCURRENT_READS = 8


def server_address(settings: Settings, secret: Document) -> ServerAddress:
    """Return the server's address: the secret's host and port, or the local end of a tunnel from the settings."""
    return ServerAddress(
        host=str(secret["host"].reveal()),
        port=settings.port or int(secret["port"].reveal()),
        hostaddr=settings.hostaddr,
        sslmode=settings.sslmode,
        sslrootcert=settings.sslrootcert,
    )


def read_secret(settings: Settings) -> Document:
    """Return the shared secret, with all keys that a login needs."""
    return load_secrets(settings.secret_name, region=settings.region, required=LOGIN_KEYS)


def application_login(settings: Settings, secret: Document) -> Login:
    """Return the login in the shared secret: the role that owns the databases, or a member of it."""
    return login_with(settings, secret, secret)


def owner_role(settings: Settings, secret: Document) -> str:
    """Return the role that owns the databases: ``owner`` in the secret, else ``APP_ROLE``, else ``username``."""
    return str(value_of(secret, "owner") or "") or settings.app_role or str(secret["username"].reveal())


def login_with(settings: Settings, secret: Document, credentials: Document) -> Login:
    """Return a login with the user name and password of `credentials`, on the server of `secret`."""
    user, password = (str(credentials[key].reveal()) for key in ("username", "password"))
    return Login(server_address(settings, secret), user, Secret(password))


def login_secret_name(settings: Settings, tenant: str) -> str:
    """Return the name of the secret with the login to a tenant's database: the shared one, or the tenant's own."""
    return settings.secret_name if settings.is_shared else settings.tenant_secret_prefix + tenant


def tenant_login(settings: Settings, secret: Document, tenant: str) -> Login:
    """Return the login to a tenant's database: of the shared role, or of the tenant's own role from its own secret.

    Args:
        secret: the shared secret.
    """
    if settings.is_shared:
        return application_login(settings, secret)
    own = load_tenant_secret(login_secret_name(settings, tenant), region=settings.region)
    return login_with(settings, secret, own)


def read_when_not_rotating(store: SecretStore) -> Document:
    """Return the content of the secret, unless it is being rotated: a rotation sets the role's password first."""
    state = store.read()
    if state.pending_version:
        raise RotationInProgress(
            f"A rotation of {state.name} is in progress; its password was not used.",
            hint="Run the command again when the rotation has finished.",
        )
    return state.document


def new_password() -> Secret[str]:
    """Return a random password that needs no quoting in PostgreSQL, RDS, URLs and shells."""
    return Secret("".join(secrets.choice(ALPHABET) for _ in range(GENERATED_LENGTHS["password"])))


@dataclass(frozen=True)
class TenantSecrets:
    """The tenants' own secrets.

    Attributes:
        secret: the shared secret; its host and port are those for the application, not of a tunnel.
        master_arn: ARN of the master user's secret, which AWS's rotation for alternating users needs; empty: unknown.
    """

    client: SecretsManagerClient
    settings: Settings
    secret: Document
    master_arn: str = ""

    def read(self, tenants: Iterable[Tenant]) -> tuple[dict[str, SecretChange], dict[str, Login]]:
        """Return the change that each tenant's secret needs, and the logins with an existing password, by tenant."""
        names = [tenant.name for tenant in tenants]
        with ThreadPoolExecutor(CONCURRENT_READS) as pool:
            found = dict(zip(names, pool.map(self._read_one, names), strict=True))
        logins = {name: self._login(name, document) for name, (_, document) in found.items() if _password(document)}
        return {name: change for name, (change, _) in found.items()}, logins

    def write(self, step: WriteSecret) -> Login:
        """Create the tenant's secret with a new password, or write the keys of `step`; return the login in it.

        Raises:
            SecretConflict, RotationInProgress, SecretExists: another process is writing the secret.
            AwsError: AWS returned an error.
        """
        store = self._store(step.tenant)
        if step.is_new:
            document = Document({**self._fixed(step.tenant), "password": new_password().reveal()})
            store.create(document)
            return self._login(step.tenant, document)

        def replan(state: SecretState) -> SyncPlan:
            change = self._change(step.tenant, state.document)
            values: dict[str, str | int] = {**self._fixed(step.tenant), "password": new_password().reveal()}
            return plan_sync(state, Document({key: values[key] for key in change.keys}), stage="launch")

        return self._login(step.tenant, store.write(replan(store.read()), replan).after)

    def login(self, tenant: str) -> Login:
        return self._login(tenant, self._store(tenant).read_current()[1])

    def login_when_not_rotating(self, tenant: str) -> Login:
        """Return the login in the tenant's secret, from which its password can be set.

        Raises:
            RotationInProgress: a rotation is changing the password of the role and in the secret.
        """
        return self._login(tenant, read_when_not_rotating(self._store(tenant)))

    def _store(self, tenant: str) -> SecretStore:
        return SecretStore(self.client, self._name(tenant), self.settings.region, command="", tenant=tenant)

    def _name(self, tenant: str) -> str:
        return self.settings.tenant_secret_prefix + tenant

    def _fixed(self, tenant: str) -> dict[str, str | int]:
        """Return everything but the password, with the keys of AWS's rotation functions for PostgreSQL."""
        host, port = str(self.secret["host"].reveal()), int(self.secret["port"].reveal())
        fixed: dict[str, str | int] = {"engine": "postgres", "host": host, "port": port}
        fixed |= {"username": tenant, "dbname": tenant}
        return fixed | ({"masterarn": self.master_arn} if self.master_arn else {})

    def _read_one(self, tenant: str) -> tuple[SecretChange, Document]:
        name, empty = self._name(tenant), EMPTY
        try:
            _, document = self._store(tenant).read_current()
        except (SecretNotFound, SecretEmpty):
            return SecretChange(name, (*self._fixed(tenant), "password"), is_new=True), empty
        except DeployError as error:
            return SecretChange(name, error=error), empty
        change = self._change(tenant, document)
        return change, empty if change.error else document

    def _change(self, tenant: str, document: Document) -> SecretChange:
        name, second = self._name(tenant), tenant + SECOND_LOGIN_SUFFIX
        fixed, stored = self._fixed(tenant), {key: document[key].reveal() for key in document}
        login = second if stored.get("username") == second else ""
        fixed["username"] = login or tenant
        for key in ("username", "dbname"):
            found = stored.get(key, fixed[key])
            if found != fixed[key]:
                return SecretChange(
                    name,
                    error=UnmanagedDatabase(
                        f"Secret {name} has {key} {found}, expected {fixed[key]}; it was not changed.",
                        hint="Check whether it belongs to another application, or whether AWS rotates it for "
                        "alternating users. With ISOLATION role-per-tenant use rotate_credentials password --tenant.",
                    ),
                )
        keys = [key for key, value in fixed.items() if str(stored.get(key, "")) != str(value)]
        return SecretChange(name, (*keys, *(() if _password(document) else ("password",))), login=login)

    def _login(self, tenant: str, document: Mapping[str, Secret[object]]) -> Login:
        user = str(document["username"].reveal()) if "username" in document else tenant
        return Login(server_address(self.settings, self.secret), user, Secret(_password(document)))


def _password(document: Mapping[str, Secret[object]]) -> str:
    return str(value_of(document, "password") or "")


def tenant_secrets(settings: Settings, secret: Document, master_arn: str = "") -> TenantSecrets | None:
    """Return the tenants' own secrets, or None if the tenants share one.

    Args:
        secret: the shared secret; it has host and port.
        master_arn: ARN of the secret with the master user's credentials; empty: unknown.
    """
    if settings.is_shared:
        return None
    return TenantSecrets(aws.client("secretsmanager", settings.region), settings, secret, master_arn)
