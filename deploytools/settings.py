"""`production_settings` for a production settings module: everything that a deployment needs, from the secret.

::

    # shop/settings_production.py
    import os

    from deploytools.settings import production_settings
    from shop.settings import *

    globals().update(
        production_settings(
            globals(),
            tenant=os.environ.get("DATABASE_NAME", ""),
            allowed_hosts=os.environ.get("ALLOWED_HOSTS", "").split(","),
        )
    )
    SESSION_COOKIE_AGE = 3600  # An assignment after the call overrides its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import django
from django import conf

from deploytools.conf import Settings, parse_settings
from deploytools.errors import ConfigurationError, SecretError
from deploytools.loader import FIX_COMMAND, TENANT_FIX_COMMAND, load_tenant_secret, load_version
from deploytools.secrets import contract
from deploytools.secrets.custom_fields import custom_fields, violations
from deploytools.secrets.document import Document, value_of
from deploytools.tenants.options import alias_violations, tenant_name

__all__ = ["production_settings"]

#: Django's backends of other databases. They are replaced by the PostgreSQL backend of the same package.
OTHER_ENGINE = re.compile(r"django\.(db\.backends|contrib\.gis\.db\.backends)\.(sqlite3|spatialite|mysql|oracle|dummy)")
DJANGO_ENGINE = "django.db.backends.postgresql"
POSTGRESQL = {"db.backends": "deploytools.backend", "contrib.gis.db.backends": "django.contrib.gis.db.backends.postgis"}
#: Options of a connection that only the secret and ``DEPLOYTOOLS`` decide.
DECIDED_OPTIONS = ("sslmode", "sslrootcert", "hostaddr", "service", "passfile")
CONNECT_TIMEOUT = 5
CONN_MAX_AGE = 600

SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
MAIL_TIMEOUT = 10

YEAR = 31_536_000


def production_settings(
    base: Mapping[str, Any],
    *,
    tenant: str,
    allowed_hosts: Iterable[str],
    from_secret: Mapping[str, str] | None = None,
    base_settings: str = "",
) -> dict[str, Any]:
    """Return the settings of production. It reads the secret and changes nothing, `base` included.

    Args:
        base: the base settings, for example ``globals()`` after ``from shop.settings import *``. ``DEPLOYTOOLS``,
            ``DATABASES`` and the settings of mail are used.
        tenant: the database that this process serves.
        allowed_hosts: the host names of the site. Surrounding whitespace and empty names are removed.
        from_secret: more settings, by name, and the keys of the secret that have their values, for example
            ``{"STRIPE_SECRET_KEY": "stripe_secret_key"}``. These keys are required, as those that ``SECRET_FIELDS``
            requires at this ``STAGE``.
        base_settings: the name of the base settings module, for the commands in hints. Empty: the default of
            ``manage.py`` is the base settings.

    Returns:
        ``SECRET_KEY`` and its fallbacks; ``DATABASES``, in which ``default`` is the database `tenant` with the login
        from the secret; mail, if ``PRESETS`` has ``email``; what ``check --deploy`` requires; the settings of
        `from_secret`. The reference describes each.

    Raises:
        ConfigurationError: `tenant`, `allowed_hosts` or ``SECRET_NAME`` is not set, ``DEPLOYTOOLS`` is not valid, or
            only another alias than ``default`` has a tenant in ``DATABASES``.
        DeployError: as `deploytools.loader.load_secrets`.
    """
    settings = _parse(base, tenant)
    hosts = [host.strip() for host in allowed_hosts if host.strip()]
    _require_values(settings, hosts)
    own = from_secret or {}
    option = f" --settings {base_settings}" if base_settings else ""
    secret, login, source = _read_secrets(settings, own.values(), option)
    return {
        "SECRET_KEY": secret["django_secret_key"].reveal(),
        "SECRET_KEY_FALLBACKS": _secret_key_fallbacks(secret, settings.secret_name),
        "DATABASES": _databases(base.get("DATABASES", {}), login, source, settings),
        **(_mail(base, secret, settings.secret_name) if "email" in settings.presets else {}),
        **_deployment(hosts, settings.probe_paths),
        **{name: secret[key].reveal() for name, key in own.items()},
    }


def _read_secrets(settings: Settings, own: Iterable[str], option: str) -> tuple[Document, Document, Mapping[str, str]]:
    """Return the shared secret, the one with the login, and ``LOGIN``, with which new connections read it again.

    Args:
        own: keys that the host requires.
        option: an option for the commands in hints.
    """
    required = contract.required_keys({}, stage=settings.stage, fields=custom_fields(settings.secret_fields))
    version, secret = load_version(
        settings.secret_name,
        region=settings.region,
        presets=settings.presets,
        required=[*own, *required],
        fix_command=FIX_COMMAND + option,
    )
    login, name = secret, settings.secret_name
    if not settings.is_shared:  # This process reads the login of its own tenant only.
        name = settings.tenant_secret_prefix + settings.database
        login = load_tenant_secret(name, region=settings.region, fix_command=TENANT_FIX_COMMAND + option)
    return secret, login, {"SECRET": name, "REGION": settings.region, "VERSION": version}


def _parse(base: Mapping[str, Any], tenant: str) -> Settings:
    given = base.get("DEPLOYTOOLS", {})
    if not isinstance(given, dict):
        raise ConfigurationError("DEPLOYTOOLS is not a dict.", hint='Write: DEPLOYTOOLS = {"SECRET_NAME": "prod/shop"}')
    settings = parse_settings(given, database=tenant)
    tenants = {tenant, *map(tenant_name, settings.tenants)} - {""}
    for message, hint in (
        *violations(settings.secret_fields, settings.presets),
        *alias_violations(base.get("DATABASES", {}), tenants),
    ):
        raise ConfigurationError(message, hint=hint)
    return settings


def _require_values(settings: Settings, hosts: Sequence[str]) -> None:
    if not settings.secret_name:
        raise ConfigurationError(
            'DEPLOYTOOLS["SECRET_NAME"] is not set.',
            hint='Set it in the base settings, for example: DEPLOYTOOLS = {"SECRET_NAME": "prod/shop"}',
        )
    missing = [name for name, value in (("DATABASE_NAME", settings.database), ("ALLOWED_HOSTS", hosts)) if not value]
    if missing:
        first = next(iter(settings.tenants), "shop_one")
        example = first if isinstance(first, str) else "shop_one"
        raise ConfigurationError(
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not set in the environment.",
            hint=f"For example: export DATABASE_NAME={example} ALLOWED_HOSTS=www.example.com",
        )


def _secret_key_fallbacks(secret: Document, name: str) -> list[str]:
    value = value_of(secret, contract.FALLBACKS_KEY, [])
    if contract.secret_keys(value):
        raise SecretError(
            f"{contract.FALLBACKS_KEY} in the secret {name} is not a list of strings.",
            hint=f'Write it to a JSON file as a list, {{"{contract.FALLBACKS_KEY}": ["…"]}}, and run: {FIX_COMMAND}',
        )
    return list(value)


def _databases(
    base: Mapping[str, Mapping[str, Any]], login: Document, source: Mapping[str, str], settings: Settings
) -> dict[str, Any]:
    default = dict(base.get("default", {}))
    engine = default.get("ENGINE") or "django.db.backends.dummy"
    if other := OTHER_ENGINE.fullmatch(engine):
        engine = POSTGRESQL[other[1]]
        default = {key: value for key, value in default.items() if key not in ("OPTIONS", "TEST")}
    if engine == DJANGO_ENGINE:
        engine = POSTGRESQL["db.backends"]
    given = default.get("OPTIONS", {})
    # Django refuses persistent connections from a pool.
    persistent = {} if given.get("pool") else {"CONN_MAX_AGE": CONN_MAX_AGE, "CONN_HEALTH_CHECKS": True}
    decided = {"sslmode": settings.sslmode, "sslrootcert": settings.sslrootcert, "hostaddr": settings.hostaddr}
    default = {
        **persistent,
        **default,
        "ENGINE": engine,
        "NAME": settings.database,
        "HOST": login["host"].reveal(),
        "PORT": str(settings.port or login["port"].reveal()),
        "USER": login["username"].reveal(),
        "PASSWORD": login["password"].reveal(),
        "LOGIN": {**default.get("LOGIN", {}), **source},
        "OPTIONS": {
            "connect_timeout": CONNECT_TIMEOUT,
            "application_name": "django",
            **{name: value for name, value in given.items() if name not in DECIDED_OPTIONS},
            **{name: value for name, value in decided.items() if value},
        },
    }
    return {**base, "default": default}


def _mail(base: Mapping[str, Any], secret: Document, name: str) -> dict[str, Any]:
    """Return the settings of mail. A relay without a login has no ``email_user`` and ``email_password``."""
    values = {key: value_of(secret, key, "") for key in ("email_user", "email_password")}
    if problem := contract.port(secret["email_port"].reveal()):
        raise SecretError(
            f"email_port in the secret {name} {problem}.", hint=f"Write it to a JSON file and run: {FIX_COMMAND}"
        )
    port, user = int(secret["email_port"].reveal()), values["email_user"]
    is_ssl = port in contract.IMPLICIT_TLS_PORTS
    sender = {"DEFAULT_FROM_EMAIL": user} if "@" in user and "DEFAULT_FROM_EMAIL" not in base else {}
    if django.VERSION >= (6, 1) and not any(name in base for name in getattr(conf, "DEPRECATED_EMAIL_SETTINGS", ())):
        options = {
            "host": secret["email_host"].reveal(),
            "port": port,
            "username": user,
            "password": values["email_password"],
            "use_ssl" if is_ssl else "use_tls": True,
            "timeout": MAIL_TIMEOUT,
        }
        mailer = {"BACKEND": SMTP_BACKEND, "OPTIONS": options}
        return {"MAILERS": {**base.get("MAILERS", {}), "default": mailer}, **sender}
    return {
        **sender,
        "EMAIL_BACKEND": SMTP_BACKEND,
        "EMAIL_HOST": secret["email_host"].reveal(),
        "EMAIL_PORT": port,
        "EMAIL_HOST_USER": user,
        "EMAIL_HOST_PASSWORD": values["email_password"],
        "EMAIL_USE_SSL": is_ssl,
        "EMAIL_USE_TLS": not is_ssl,
        "EMAIL_TIMEOUT": base.get("EMAIL_TIMEOUT") or MAIL_TIMEOUT,
    }


def _deployment(hosts: Sequence[str], probe_paths: Sequence[str]) -> dict[str, Any]:
    """Return the settings that ``check --deploy`` requires. The load balancer terminates TLS."""
    return {
        "DEBUG": False,
        "ALLOWED_HOSTS": list(hosts),
        "CSRF_TRUSTED_ORIGINS": [
            "https://" + ("*" + host if host.startswith(".") else host) for host in hosts if host != "*"
        ],
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
        "SECURE_SSL_REDIRECT": True,
        # Load balancers request these over plain HTTP and count a redirect as a failure.
        "SECURE_REDIRECT_EXEMPT": [f"^{re.escape(path.lstrip('/'))}$" for path in probe_paths],
        "SECURE_HSTS_SECONDS": YEAR,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
        "SECURE_HSTS_PRELOAD": True,
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        # Django's runner would create test databases on the production instance.
        "TEST_RUNNER": "deploytools.testing.RefusingRunner",
    }
