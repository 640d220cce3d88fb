"""Base settings: the environment (and ``.env``) only. Runs with no AWS at all, on a laptop and on a bastion host.

`StartupWebApp.settings_production` builds on this module and takes every secret from AWS Secrets Manager.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ

from StartupWebApp.logs import logging_configuration

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
#: True in settings_production: what harms a real shop asks for --force, and static files have hashed names.
PRODUCTION = False
#: What was deployed, for example a commit; on every page.
RELEASE = env.str("RELEASE", default="development")
SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-for-development-only-production-has-its-own-in-the-secret")
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
    "StartupWebApp.health.ProbeHostMiddleware",
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
                "StartupWebApp.shop.shop",
            ],
        },
    },
]

#: One database a tenant; DATABASE_NAME says which one this process serves.
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": env.str("DATABASE_NAME", default="startupwebapp_prod"),
        "USER": env.str("DATABASE_USER", default=""),
        "PASSWORD": env.str("DATABASE_PASSWORD", default=""),
        "HOST": env.str("DATABASE_HOST", default="localhost"),
        "PORT": env.str("DATABASE_PORT", default="5432"),
        "OPTIONS": {"connect_timeout": 5},
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
    "staticfiles": {"BACKEND": "StartupWebApp.static_files.StaticFilesStorage"},
}
# Straight from the apps' folders; settings_production turns both off and serves what collectstatic wrote.
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True

#: Everything from this shop and nothing from elsewhere, no inline script or style; the admin keeps to it, too.
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

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

EMAIL_HOST = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.int("EMAIL_PORT", default=1025)
EMAIL_TIMEOUT = 10

LOGGING = logging_configuration(level=env.str("LOG_LEVEL", default="INFO"), style=env.str("LOG_FORMAT", default="text"))

DEPLOYTOOLS: dict[str, Any] = {
    "SECRET_NAME": env.str("DB_SECRET_NAME", default="rds/startupwebapp/multi-tenant/master"),
    "REGION": env.str("AWS_REGION", default="us-east-1"),
    "TENANTS": env.list("TENANTS", default=["startupwebapp_prod", "healthtech_experiment", "fintech_experiment"]),
    "ISOLATION": env.str("ISOLATION", default="shared"),
    "TENANT_SECRET_PREFIX": env.str("TENANT_SECRET_PREFIX", default="rds/startupwebapp/tenant/"),
    # What settings_production reads of the secret, and cannot start without.
    "REQUIRED_KEYS": (
        "host",
        "port",
        "username",
        "password",
        "django_secret_key",
        "stripe_secret_key",
        "stripe_publishable_key",
        "email_host",
        "email_port",
        "email_user",
        "email_password",
    ),
    "STAGE": env.str("STAGE", default="pre-launch"),
    "ACCOUNT": env.str("AWS_ACCOUNT", default=""),
    "SSLMODE": "verify-full" if env.str("DB_SSLROOTCERT", default="") else "require",
    "SSLROOTCERT": env.str("DB_SSLROOTCERT", default=""),
    "HOSTADDR": env.str("DB_HOSTADDR", default=""),
    "PORT": env.str("DB_PORT", default=""),
    # What verify_deploy compares the account with; what is not set is not applicable, and it says so.
    "APP_SECURITY_GROUPS": env.list("APP_SECURITY_GROUPS", default=[]),
    "BASTION_SECURITY_GROUPS": env.list("BASTION_SECURITY_GROUPS", default=[]),
    "BASTION_INSTANCE": env.str("BASTION_INSTANCE", default=""),
    "ECS_CLUSTER": env.str("ECS_CLUSTER", default=""),
    "ECS_SERVICE": env.str("ECS_SERVICE", default=""),
    "TASK_ROLE": env.str("TASK_ROLE", default=""),
    "PROCESSES": env.int("PROCESSES", default=0),
    "URL": env.str("URL", default=""),
    "HEALTH_PATH": "/readyz",
}
