"""The one reader of ``settings.DEPLOYTOOLS``: typed, with a default that fits the guide, read at access."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from django.conf import settings

from deploytools.errors import ConfigurationError

ISOLATIONS = ("shared", "role-per-tenant")
STAGES = ("pre-launch", "launch")
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

#: Each key with the types it may have and its default.
KEYS: Mapping[str, tuple[tuple[type, ...], object]] = {
    "SECRET_NAME": ((str,), "rds/startupwebapp/multi-tenant/master"),
    "REGION": ((str,), "us-east-1"),
    "TENANTS": ((list, tuple), ()),
    "TENANT_OPTIONS": ((dict,), {}),
    "ISOLATION": ((str,), "shared"),
    "TENANT_SECRET_PREFIX": ((str,), "rds/startupwebapp/tenant/"),
    "RDS_INSTANCE": ((str,), ""),
    "APP_ROLE": ((str,), ""),
    "STAGE": ((str,), "launch"),
    "ACCOUNT": ((str,), ""),
    "WAIVERS": ((list, tuple), ()),
    "REQUIRED_KEYS": ((list, tuple), ("host", "port", "username", "password")),
    "SECRET_FIELDS": ((dict,), {}),
    "LOCALE": ((str,), ""),
    "SSLMODE": ((str,), "verify-full"),
    "SSLROOTCERT": ((str, Path), ""),
    "HOSTADDR": ((str,), ""),
    "PORT": ((int, str), ""),
    "APP_SECURITY_GROUPS": ((list, tuple), ()),
    "BASTION_SECURITY_GROUPS": ((list, tuple), ()),
    "BASTION_INSTANCE": ((str,), ""),
    "ECS_CLUSTER": ((str,), ""),
    "ECS_SERVICE": ((str,), ""),
    "TASK_ROLE": ((str,), ""),
    "PROCESSES": ((int,), 0),
    "URL": ((str,), ""),
    "HEALTH_PATH": ((str,), "/"),
}
CHOICES: Mapping[str, Sequence[str]] = {"ISOLATION": ISOLATIONS, "STAGE": STAGES, "SSLMODE": SSLMODES}


class Configuration:
    """``settings.DEPLOYTOOLS`` with defaults; read at each access, so that ``override_settings`` works."""

    def __init__(self) -> None:
        self._overrides: dict[str, object] = {}

    @contextmanager
    def overriding(self, **values: object) -> Iterator[None]:
        """While it lasts, in all threads, `values` are what the settings hold: for what an option names."""
        before = self._overrides
        self._overrides = before | values
        try:
            yield
        finally:
            self._overrides = before

    def _get(self, key: str) -> Any:
        given = getattr(settings, "DEPLOYTOOLS", {})
        written = given if isinstance(given, dict) else {}  # deploytools.E001 tells of anything else.
        value = (written | self._overrides).get(key, KEYS[key][1])
        if not isinstance(value, KEYS[key][0]) or (key in CHOICES and value not in CHOICES[key]):
            raise ConfigurationError(
                f'DEPLOYTOOLS["{key}"] is {value!r}, which it cannot be.', hint="Run: python manage.py check"
            )
        return value

    @property
    def secret_name(self) -> str:
        """Name or ARN of the secret in AWS Secrets Manager."""
        return cast(str, self._get("SECRET_NAME"))

    @property
    def region(self) -> str:
        """The AWS Region of the secret and of the RDS instance."""
        return cast(str, self._get("REGION"))

    @property
    def tenants(self) -> Sequence[object]:
        """The wanted tenants as they are written; `deploytools.databases.access.wanted_tenants` parses them."""
        return cast(Sequence[object], self._get("TENANTS"))

    @property
    def tenant_options(self) -> Mapping[str, object]:
        """Options of the tenants that do not say otherwise."""
        return cast(Mapping[str, object], self._get("TENANT_OPTIONS"))

    @property
    def is_shared(self) -> bool:
        """Whether one role owns all tenants' databases; else each tenant has a role and a secret of its own."""
        return cast(str, self._get("ISOLATION")) == "shared"

    @property
    def tenant_secret_prefix(self) -> str:
        """What comes before a tenant's name in the name of its own secret."""
        return cast(str, self._get("TENANT_SECRET_PREFIX"))

    @property
    def required_keys(self) -> tuple[str, ...]:
        """The keys of the secret that the consumer, the production settings, cannot start without."""
        return tuple(self._get("REQUIRED_KEYS"))

    @property
    def secret_fields(self) -> Mapping[str, Mapping[str, Any]]:
        """The host's own keys of the secret as they are written; `deploytools.secret.host` makes rows of them."""
        return cast(Mapping[str, Mapping[str, Any]], self._get("SECRET_FIELDS"))

    @property
    def rds_instance(self) -> str:
        """Identifier of the RDS instance; empty: the secret's ``dbClusterIdentifier``."""
        return cast(str, self._get("RDS_INSTANCE"))

    @property
    def app_role(self) -> str:
        """The role that owns the databases and that the application logs in as; empty: the secret's ``username``."""
        return cast(str, self._get("APP_ROLE"))

    @property
    def stage(self) -> str:
        """``pre-launch`` (some rules only warn) or ``launch``."""
        return cast(str, self._get("STAGE"))

    @property
    def account(self) -> str:
        """The number of the AWS account that this deployment is in; empty: any."""
        return cast(str, self._get("ACCOUNT"))

    @property
    def waivers(self) -> Sequence[object]:
        """Failures that are accepted, as written; `deploytools.verification.waivers` parses them."""
        return cast(Sequence[object], self._get("WAIVERS"))

    @property
    def database(self) -> str:
        """The database of this process: ``DATABASES["default"]["NAME"]``, or what the option ``--tenant`` names."""
        return str(self._overrides.get("DATABASE") or settings.DATABASES.get("default", {}).get("NAME", ""))

    @property
    def locale(self) -> str:
        """Locale of new databases, for example ``en_US.UTF-8``; empty: the server's own."""
        return cast(str, self._get("LOCALE"))

    @property
    def sslmode(self) -> str:
        """libpq's ``sslmode`` for every connection these commands make."""
        return cast(str, self._get("SSLMODE"))

    @property
    def sslrootcert(self) -> str:
        """Path of the CA bundle (RDS: ``global-bundle.pem``); empty: libpq's default, ``~/.postgresql/root.crt``."""
        return str(self._get("SSLROOTCERT"))

    @property
    def hostaddr(self) -> str:
        """Address to connect to in place of the one the host name resolves to: the near end of a tunnel."""
        return cast(str, self._get("HOSTADDR"))

    @property
    def port(self) -> int | None:
        """Port to connect to in place of the secret's: the near end of a tunnel."""
        return int(self._get("PORT")) if self._get("PORT") != "" else None

    @property
    def app_security_groups(self) -> tuple[str, ...]:
        """Ids or names of the security groups that the application runs in; empty: nobody says."""
        return tuple(self._get("APP_SECURITY_GROUPS"))

    @property
    def bastion_security_groups(self) -> tuple[str, ...]:
        """Ids or names of the bastion host's security groups; empty: there is none."""
        return tuple(self._get("BASTION_SECURITY_GROUPS"))

    @property
    def bastion_instance(self) -> str:
        """Id of the bastion host's EC2 instance; empty: there is none."""
        return cast(str, self._get("BASTION_INSTANCE"))

    @property
    def ecs_cluster(self) -> str:
        """Name or ARN of the ECS cluster of `ecs_service`; empty: ``default``."""
        return cast(str, self._get("ECS_CLUSTER"))

    @property
    def ecs_service(self) -> str:
        """Name or ARN of the ECS service that runs the application; empty: it runs elsewhere."""
        return cast(str, self._get("ECS_SERVICE"))

    @property
    def task_role(self) -> str:
        """Name or ARN of the application's IAM role; empty: that of the ECS service's task definition, if any."""
        return cast(str, self._get("TASK_ROLE"))

    @property
    def processes(self) -> int:
        """How many connections one tenant's processes hold at most: tasks × workers × threads; 0: nobody says."""
        return cast(int, self._get("PROCESSES"))

    @property
    def url(self) -> str:
        """Where the application is reached from outside, for example ``https://www.example.com``; empty: nowhere."""
        return cast(str, self._get("URL")).rstrip("/")

    @property
    def health_path(self) -> str:
        """Path below `url` that answers 200 when the application can serve."""
        return cast(str, self._get("HEALTH_PATH"))


configuration = Configuration()
