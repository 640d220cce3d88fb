"""Separate names of two tenants on a shared server, with the logins: with one role, or with a role for each tenant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from deploytools.conf import Settings
from deploytools.postgres.connections import Connection, Login, locked_session, session
from deploytools.secrets.document import Document, Secret
from deploytools.tenants.credentials import TenantSecrets
from deploytools.tenants.logins import TenantLogins
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.plan import DatabasePlan
from deploytools.tenants.provisioning import ProvisioningResult, TenantProvisioner
from tests.fakes.secretsmanager import Fake
from tests.postgres_server import Postgres

PASSWORD = Secret("correct-horse-battery-staple-0123456789")
PREFIX = "rds/shop/tenant/"


@dataclass(frozen=True)
class Listener:
    """A progress listener that calls a function after each step."""

    on_step: Callable[[Operation], object]

    def step_done(self, step: Operation) -> None:
        self.on_step(step)

    def tenant_done(self, result: ProvisioningResult) -> None:
        pass


class Killed(BaseException):
    """Ends a run like kill -9: no further code of the command runs."""


def errors(results: tuple[ProvisioningResult, ...]) -> list[str | None]:
    return [str(result.error) if result.error else None for result in results]


@dataclass(frozen=True)
class BaseSite:
    """Two tenants on one server."""

    postgres: Postgres
    master: Login
    app: Login
    desired: DesiredState

    @property
    def names(self) -> list[str]:
        return [tenant.name for tenant in self.desired.tenants]

    def provisioner(self, connection: Connection, **changes: Any) -> TenantProvisioner:
        return TenantProvisioner(connection, TenantLogins(self.master, self.app, replace(self.desired, **changes)))

    def plan(self, **changes: Any) -> DatabasePlan:
        with session(self.master) as connection:
            return self.provisioner(connection, **changes).plan()

    def apply(
        self, step_done: Callable[[Operation], object] = lambda step: None, **changes: Any
    ) -> tuple[ProvisioningResult, ...]:
        with locked_session(self.master, wait=30) as connection:
            provisioner = self.provisioner(connection, **changes)
            return provisioner.apply(provisioner.plan(), Listener(step_done))


@dataclass(frozen=True)
class Site(BaseSite):
    """Two tenants that share a role."""

    run = BaseSite.apply


@dataclass(frozen=True)
class SeparateSite(BaseSite):
    """Two tenants with separate roles and secrets."""

    fake: Fake

    @property
    def secrets(self) -> TenantSecrets:
        address = self.postgres.address
        settings = Settings(
            tenant_secret_prefix=PREFIX,
            hostaddr=address.hostaddr,
            sslmode=address.sslmode,
            sslrootcert=address.sslrootcert,
        )
        return TenantSecrets(cast(Any, self.fake), settings, Document({"host": address.host, "port": address.port}))

    def provisioner(self, connection: Connection, **changes: Any) -> TenantProvisioner:
        desired = replace(self.desired, **changes)
        secrets = None if desired.is_shared else self.secrets
        return TenantProvisioner(connection, TenantLogins(self.master, self.app, desired, secrets))

    def run(self, on_step: Callable[[Operation], object] = lambda step: None, **changes: Any) -> list[str | None]:
        return errors(self.apply(on_step, **changes))

    def verify(self, **changes: Any) -> tuple[ProvisioningResult, ...]:
        with session(self.master) as connection:
            return self.provisioner(connection, **changes).verify()

    def document(self, name: str) -> dict[str, Any]:
        stored = self.fake.secrets[PREFIX + name]
        value = stored.versions[stored.labels["AWSCURRENT"]]
        assert value is not None
        return dict(json.loads(value["SecretString"]))

    def login(self, name: str) -> Login:
        return Login(self.postgres.address, name, Secret(self.document(name)["password"]))


def make_site(postgres: Postgres) -> Iterator[Site]:
    name = postgres.fresh_name()
    app = Login(postgres.address, f"{name}_app", PASSWORD)
    yield Site(postgres, postgres.master, app, DesiredState(app.user, (Tenant(f"{name}_one"), Tenant(f"{name}_two"))))
    postgres.sweep(name)


def make_separate_site(postgres: Postgres) -> Iterator[SeparateSite]:
    for shared in make_site(postgres):
        desired = replace(shared.desired, is_shared=False)
        yield SeparateSite(postgres, shared.master, shared.app, desired, Fake(PREFIX + shared.names[0]))
