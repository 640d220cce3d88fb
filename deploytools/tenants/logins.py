"""The logins of one run of create_tenant_dbs: the master user's, the shared role's, and each tenant's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connections import Login
from deploytools.secrets.store import SecretStore
from deploytools.tenants.credentials import TenantSecrets, read_when_not_rotating
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX, DesiredState, Tenant
from deploytools.tenants.state import SecretChange

T = TypeVar("T")


@dataclass(frozen=True)
class TenantLogins:
    """The logins, from the secrets as they are at that moment.

    Attributes:
        app: the login of the shared role, with the password in the shared secret.
        secrets: the tenants' own secrets, or None if they share the role.
        shared_secret: read again before a password is set, or None.
    """

    master: Login
    app: Login
    desired: DesiredState
    secrets: TenantSecrets | None = None
    shared_secret: SecretStore | None = None

    def read(self) -> tuple[Mapping[str, SecretChange], Mapping[str, Login]]:
        """Return, by tenant, the change that its own secret needs, and its login if that has a password."""
        return self.secrets.read(self.desired.tenants) if self.secrets else ({}, {})

    def of_tenant(self, tenant: Tenant) -> Login:
        """Return the login that works in the tenant's database."""
        return self.secrets.login(tenant.name) if self.secrets else self.app

    def of_tables(self, database: str) -> Login:
        """Return the login that owns the tables: the tenant's, or the one that creates the template."""
        for tenant in self.desired.tenants:
            if tenant.name == database:
                return self.of_tenant(tenant)
        return self.app if self.desired.is_shared else self.master

    def current(self, role: str) -> Login:
        """Return the login of `role` in its secret now: a rotation might have changed it since the plan.

        The shared secret might have another login by now.
        """
        if self.secrets:
            names = {tenant.name for tenant in self.desired.tenants}
            tenant = role if role in names else role.removesuffix(SECOND_LOGIN_SUFFIX)
            return self.secrets.login_when_not_rotating(tenant)
        if self.shared_secret is None:
            return self.app
        return self.app.with_credentials(read_when_not_rotating(self.shared_secret))

    def run_as_tenant(self, tenant: Tenant, task: Callable[[Login], T]) -> T:
        """Run `task` with the tenant's login; if its password is rejected, once more with the secret's current one."""
        login = self.of_tenant(tenant)
        try:
            return task(login)
        except ConnectionFailed as failure:
            if failure.kind is not ConnectionFailure.PASSWORD:
                raise
            current = self.current(login.user)
            if current == login:
                raise
            return task(current)
