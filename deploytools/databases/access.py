"""From settings and secret to what a command connects to: tenants, server address, application's login."""

from __future__ import annotations

from dataclasses import replace

from deploytools.conf import configuration
from deploytools.databases.server import Login, ServerAddress
from deploytools.databases.tenants import Tenant, parse_tenants
from deploytools.errors import ConfigurationError
from deploytools.loader import load_secrets, load_tenant_secret
from deploytools.secret.document import Document
from deploytools.secret.value import Secret

#: What a login needs of the secret.
REQUIRED = ("host", "port", "username", "password")


def server_address(secret: Document) -> ServerAddress:
    """Where the server is: the secret's host and port, or the near end of a tunnel where the settings name one."""
    return ServerAddress(
        host=str(secret["host"].reveal()),
        port=configuration.port or int(secret["port"].reveal()),
        hostaddr=configuration.hostaddr,
        sslmode=configuration.sslmode,
        sslrootcert=configuration.sslrootcert,
    )


def application_login(secret: Document) -> Login:
    """The application's role, as the secret has it."""
    login = login_with(secret, secret)
    return replace(login, user=configuration.app_role or login.user)


def login_with(secret: Document, credentials: Document) -> Login:
    """Whose name and password `credentials` has, on the server that `secret` names."""
    user, password = (str(credentials[key].reveal()) for key in ("username", "password"))
    return Login(server_address(secret), user, Secret(password))


def login_secret_name(tenant: str) -> str:
    """Name of the secret with the login to a tenant's database: the shared one, or the tenant's own."""
    return configuration.secret_name if configuration.is_shared else configuration.tenant_secret_prefix + tenant


def tenant_login(secret: Document, tenant: str) -> Login:
    """Who works in a tenant's database: the shared role, or the tenant's own, from the tenant's own secret.

    Args:
        secret: the secret that all tenants share.
    """
    if configuration.is_shared:
        return application_login(secret)
    return login_with(secret, load_tenant_secret(login_secret_name(tenant), region=configuration.region))


def read_secret() -> Document:
    """The secret, with what a login needs."""
    return load_secrets(configuration.secret_name, region=configuration.region, required=REQUIRED)


def wanted_tenants() -> tuple[Tenant, ...]:
    """The tenants that the settings name.

    Raises:
        ConfigurationError: there are none, or with everything that is wrong with their names.
    """
    tenants = parse_tenants(configuration.tenants, configuration.tenant_options)
    if not tenants:
        raise ConfigurationError(
            "The settings name no tenants.", hint='For example: DEPLOYTOOLS = {"TENANTS": ["startupwebapp_prod"]}'
        )
    return tenants
