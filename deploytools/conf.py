"""``settings.DEPLOYTOOLS`` as one frozen, typed value, read where a command starts and passed on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from deploytools.errors import ConfigurationError

ISOLATIONS = ("shared", "role-per-tenant")
GROUPINGS = ("area", "guide")
STAGES = ("pre-launch", "launch")
PRESETS = ("database", "django", "stripe", "email")
#: The presets that every deployment has, chosen or not.
ALWAYS = ("database", "django")
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def _setting(
    default: Any, *types: type, choices: Sequence[str] = (), convert: Callable[[Any], object] = lambda value: value
) -> Any:
    """Return a field of `Settings`; `convert` makes its value from the setting's."""
    metadata = {"types": types or (type(default),), "choices": tuple(choices), "convert": convert}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def _with_always(presets: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*ALWAYS, *presets)))


def _port(value: int | str) -> int:
    if not 0 < int(value) < 65536:
        raise ValueError
    return int(value)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run. The setting of a field has its name in capital letters.

    Attributes:
        secret_name: name or ARN of the secret in AWS Secrets Manager. Required: ``deploytools.E007``.
        region: AWS Region of the secret and of the RDS instance.
        tenants: the tenants as written in the settings; `deploytools.tenants.options.parse_tenants` parses them.
        tenant_options: options of the tenants that do not set their own.
        isolation: ``shared``: one role owns all tenant databases. ``role-per-tenant``: each tenant has its own role
            and secret.
        tenant_secret_prefix: with ``role-per-tenant``, the prefix of the name of a tenant's own secret. Default: the
            secret's name and ``/tenant/``.
        rds_instance: identifier of the RDS instance. Empty: ``dbClusterIdentifier`` of the secret, or else the first
            label of its ``host``, if that is the endpoint of an instance.
        app_role: role that owns the databases. Empty: ``owner`` of the secret, which takes precedence, or else its
            ``username``. The application logs in as ``username``: as this role, or as a member of it.
        stage: ``pre-launch`` (some failures only warn) or ``launch``.
        group_by: how reports group checks: ``area``, or ``guide``: by the steps of a deployment guide.
        account: ID of the AWS account of this deployment. Empty: any.
        waivers: accepted failures as written in the settings; `deploytools.verification.waivers` parses them.
        presets: groups of keys in the secret: ``database``, ``django``, ``stripe``, ``email``. The first two are
            always included. Other groups have no checks.
        secret_fields: the host's own keys of the secret, as written in the settings.
        locale: locale of new databases, for example ``en_US.UTF-8``. Empty: the server's default.
        sslmode: libpq's ``sslmode`` for every connection of these commands.
        sslrootcert: path of the CA bundle (RDS: ``global-bundle.pem``). Empty: libpq's default.
        hostaddr: address to connect to instead of the one the host name resolves to: the local end of a tunnel.
        port: port to connect to instead of the secret's. None: the secret's.
            These three default to libpq's environment variables: see `LIBPQ_VARIABLES`.
        app_security_groups: IDs or names of the application's security groups. Empty: not set.
        bastion_security_groups: IDs or names of the bastion host's security groups. Empty: there is no bastion host.
        bastion_instance: ID of the bastion host's EC2 instance. Empty: there is none.
        ecs_cluster: name or ARN of the ECS cluster of `ecs_service`. Empty: ``default``.
        ecs_service: name or ARN of the ECS service that runs the application. Empty: it does not run on ECS.
        task_role: name or ARN of the application's IAM role. Empty: the role of the ECS task definition, if any.
        task_actions: what the role is allowed besides reading its secret: IAM actions, each with its resources.
        processes: connections that the processes of one tenant hold at most: tasks × workers × threads. 0: not set.
        max_age_days: days after which a credential must be rotated. 0: not set.
        url: address of the application, for example ``https://www.example.com``. Empty: not set.
        health_path: path below `url` that returns 200 when the application can serve requests.
        probe_paths: paths that `deploytools.container.ProbeHostMiddleware` serves to load balancers for any host.
        database: the database of this process: ``DATABASES["default"]["NAME"]``, or the tenant of ``--tenant``.
        history: whether the Git history is searched for values of the secret (``verify_deploy --git-history``).
        absent: the keys of `OPTIONAL` that are None: the deployment has no such resource.
    """

    secret_name: str = _setting("")
    region: str = _setting("us-east-1")
    tenants: Sequence[object] = _setting((), list, tuple)
    tenant_options: Mapping[str, object] = _setting({})
    isolation: str = _setting("shared", choices=ISOLATIONS)
    tenant_secret_prefix: str = _setting("")
    rds_instance: str = _setting("")
    app_role: str = _setting("")
    stage: str = _setting("launch", choices=STAGES)
    group_by: str = _setting("area", choices=GROUPINGS)
    account: str = _setting("")
    waivers: Sequence[object] = _setting((), list, tuple)
    presets: Sequence[str] = _setting(ALWAYS, list, tuple, choices=PRESETS, convert=_with_always)
    secret_fields: Mapping[str, Mapping[str, Any]] = _setting({})
    locale: str = _setting("")
    sslmode: str = _setting("verify-full", choices=SSLMODES)
    sslrootcert: str = _setting("", str, Path, convert=str)
    hostaddr: str = _setting("")
    port: int | None = _setting(None, int, str, convert=_port)
    app_security_groups: Sequence[str] = _setting((), list, tuple, convert=tuple)
    bastion_security_groups: Sequence[str] = _setting((), list, tuple, convert=tuple)
    bastion_instance: str = _setting("")
    ecs_cluster: str = _setting("")
    ecs_service: str = _setting("")
    task_role: str = _setting("")
    task_actions: Mapping[str, object] = _setting({})
    processes: int = _setting(0)
    max_age_days: int = _setting(0)
    url: str = _setting("", convert=lambda url: url.rstrip("/"))
    health_path: str = _setting("/")
    probe_paths: Sequence[str] = _setting(("/healthz", "/readyz"), list, tuple, convert=tuple)
    database: str = ""
    absent: frozenset[str] = frozenset()
    history: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether one role owns all tenant databases."""
        return self.isolation == "shared"


#: The fields that ``settings.DEPLOYTOOLS`` sets, by key.
SETTINGS = {option.name.upper(): option for option in fields(Settings) if option.metadata}


#: The settings that can be None: the deployment has no such resource.
OPTIONAL = ("BASTION_INSTANCE", "ECS_SERVICE", "TASK_ROLE", "URL")

#: libpq's environment variables of settings that are not set. PGPORT counts with PGHOSTADDR only.
LIBPQ_VARIABLES = {"SSLROOTCERT": "PGSSLROOTCERT", "HOSTADDR": "PGHOSTADDR", "PORT": "PGPORT"}

#: The environment variables of settings that are not set.
VARIABLES = {**LIBPQ_VARIABLES, "APP_ROLE": "DEPLOYTOOLS_APP_ROLE"}


def read_settings() -> Settings:
    """Return the settings of now, with defaults, so that ``override_settings`` works."""
    given = getattr(django_settings, "DEPLOYTOOLS", {})
    database = str(django_settings.DATABASES.get("default", {}).get("NAME", ""))
    return parse_settings(given if isinstance(given, dict) else {}, database=database)  # deploytools.E001 reports it.


def parse_settings(given: Mapping[str, object], *, database: str = "") -> Settings:
    """Return the value of a ``DEPLOYTOOLS`` dict, with defaults.

    Raises:
        ConfigurationError: a value has the wrong type, or is not one of the choices.
    """
    absent = frozenset(key for key in OPTIONAL if key in given and given[key] is None)
    given = {key: value for key, value in given.items() if value != "" and key not in absent}
    values = {key.lower(): _value(key, given[key]) for key in SETTINGS if key in given}
    for key, name in VARIABLES.items():
        is_used = key != "PORT" or os.environ.get("PGHOSTADDR")
        if key not in given and is_used and os.environ.get(name):
            values[key.lower()] = _value(key, os.environ[name], variable=name)
    values.setdefault("tenant_secret_prefix", f"{values.get('secret_name', '')}/tenant/")
    return Settings(**values, database=database, absent=absent)


def is_valid(key: str, value: object) -> bool:
    """Return whether `value` has a type of the setting `key` and is one of its choices, or a list of them."""
    types, choices = SETTINGS[key].metadata["types"], SETTINGS[key].metadata["choices"]
    if value is None and key in OPTIONAL:
        return True
    items = value if isinstance(value, list | tuple) else (value,)
    has_type = isinstance(value, types) and not isinstance(value, bool)
    return has_type and (not choices or all(item in choices for item in items))


def _value(key: str, value: object, *, variable: str = "") -> Any:
    if is_valid(key, value):
        with suppress(ValueError):
            return SETTINGS[key].metadata["convert"](value)
    name = f"The environment variable {variable}" if variable else f'DEPLOYTOOLS["{key}"]'
    hint = f"Correct it: export {variable}=…" if variable else "Run: python manage.py check"
    raise ConfigurationError(f"{name} has an invalid value: {value!r}.", hint=hint)


def read_setting(key: str) -> Any:
    """Return the value of one setting, whatever the others are."""
    given = getattr(django_settings, "DEPLOYTOOLS", {})
    if isinstance(given, dict) and key in given and not (key in OPTIONAL and given[key] is None):
        return _value(key, given[key])
    return getattr(Settings(), key.lower())
