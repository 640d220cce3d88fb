"""Base settings, from the environment and ``.env``. They need no access to AWS.

`StartupWebApp.settings_production` extends this module and reads all credentials from AWS Secrets Manager.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ

from deploytools.container import logging_configuration

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
#: True in settings_production: static files have hashed names, and ``load_sample_data --flush`` requires ``--force``.
PRODUCTION = False
#: The deployed version, for example a commit. It is shown on every page.
RELEASE = env.str("RELEASE", default="development")
SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-for-development-only")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "deploytools",
    "user",
    "order",
    "clientevent",
]

MIDDLEWARE = [
    "deploytools.container.RequestIdMiddleware",
    "deploytools.container.ProbeHostMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "StartupWebApp.urls"
WSGI_APPLICATION = "StartupWebApp.wsgi.application"
ASGI_APPLICATION = "StartupWebApp.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "StartupWebApp" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "order.shop.shop",
            ],
        },
    },
]

#: Each tenant has its own database. This process serves the tenant DATABASE_NAME.
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": env.str("DATABASE_NAME", default="startupwebapp_prod"),
        "USER": env.str("DATABASE_USER", default=""),
        "PASSWORD": env.str("DATABASE_PASSWORD", default=""),
        "HOST": env.str("DATABASE_HOST", default="localhost"),
        "PORT": env.str("DATABASE_PORT", default="5432"),
        "OPTIONS": {"connect_timeout": 5, "application_name": "StartupWebApp"},
    }
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "order.static_files.StaticFilesStorage"},
}
# Serve static files from the apps' directories. settings_production serves the files that collectstatic wrote.
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True

#: Only resources of this site, no inline scripts or styles. The admin works with this policy.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

#: Django 6.1 has no default mailer. Earlier versions do not read it.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGGING = logging_configuration(level=env.str("LOG_LEVEL", default="INFO"), style=env.str("LOG_FORMAT", default="text"))

# libpq's variables, which a tunnel and the local cloud set, take precedence over those of .env.
_has_address = bool(env.str("PGHOSTADDR", default=""))
_ca_bundle = env.str("PGSSLROOTCERT", default="") or env.str("DB_SSLROOTCERT", default="")


def _resource(name: str) -> str | None:
    """The name of an AWS resource; "none": the deployment has no such resource."""
    value = env.str(name, default="")
    return None if value == "none" else value


DEPLOYTOOLS: dict[str, Any] = {
    "SECRET_NAME": env.str("DB_SECRET_NAME", default="rds/startupwebapp/multi-tenant/master"),
    "REGION": env.str("AWS_REGION", default="us-east-1"),
    "TENANTS": env.list("TENANTS", default=["startupwebapp_prod", "healthtech_experiment", "fintech_experiment"]),
    "APP_ROLE": env.str("APP_ROLE", default=env.str("OWNER", default="")),
    "ISOLATION": env.str("ISOLATION", default="shared"),
    "TENANT_SECRET_PREFIX": env.str("TENANT_SECRET_PREFIX", default="rds/startupwebapp/tenant/"),
    "PRESETS": ["database", "django", "stripe", "email"],
    "STAGE": env.str("STAGE", default="pre-launch"),
    "ACCOUNT": env.str("AWS_ACCOUNT", default=""),
    "SSLMODE": "verify-full" if _ca_bundle else "require",
    "SSLROOTCERT": _ca_bundle,
    "HOSTADDR": "" if _has_address else env.str("DB_HOSTADDR", default=""),
    "PORT": "" if _has_address else env.str("DB_PORT", default=""),
    # The expected AWS resources. Checks of resources that are not set are not applicable.
    "GROUP_BY": "guide",
    "APP_SECURITY_GROUPS": env.list("APP_SECURITY_GROUPS", default=[]),
    "BASTION_SECURITY_GROUPS": env.list("BASTION_SECURITY_GROUPS", default=[]),
    "BASTION_INSTANCE": _resource("BASTION_INSTANCE"),
    "ECS_CLUSTER": env.str("ECS_CLUSTER", default=""),
    "ECS_SERVICE": _resource("ECS_SERVICE"),
    "TASK_ROLE": _resource("TASK_ROLE"),
    "PROCESSES": env.int("PROCESSES", default=0),
    "URL": _resource("URL"),
    "HEALTH_PATH": "/readyz",
    "PROBE_PATHS": ["/healthz", "/readyz", "/order/products"],
}
