"""Facts of the Django project: the messages of its system checks, and settings that a deployment depends on."""

from __future__ import annotations

import os
from dataclasses import dataclass

from django.apps import apps as installed_apps
from django.conf import settings
from django.core.checks import ERROR, WARNING, Tags, run_checks

from deploytools.secrets.contract import find_problems
from deploytools.secrets.document import Document
from deploytools.verification.registry import fact

DJANGO_KEY = "django_secret_key"


@dataclass(frozen=True)
class AppsReport:
    """The installed apps.

    Attributes:
        errors: errors of Django's system checks of the models.
        silenced: ids of the errors in ``SILENCED_SYSTEM_CHECKS``.
    """

    apps: int
    models: int
    errors: tuple[str, ...]
    silenced: tuple[str, ...] = ()


@fact(deadline=30)
def apps() -> AppsReport:
    """The installed apps and the errors of the system checks of their models.

    The other system checks load every view and middleware, which a connection does not need: `project` runs them.
    Neither opens a database; Django 6.1 would, for a model with a ``GeneratedField``.
    """
    found = [message for message in run_checks(tags=[Tags.models], databases=[]) if message.level >= ERROR]
    return AppsReport(
        len(list(installed_apps.get_app_configs())),
        len(installed_apps.get_models()),
        tuple(f"{message.id}: {message.msg}" for message in found if not message.is_silenced()),
        tuple(sorted({str(message.id) for message in found if message.is_silenced()})),
    )


@dataclass(frozen=True)
class ProjectReport:
    """The result of ``check --deploy``, and settings that concern hosts and the load balancer.

    Attributes:
        messages: (id, text) of each message of level WARNING or higher, by id.
        proxy_ssl_header: ``SECURE_PROXY_SSL_HEADER``; empty: not set.
        silenced: ids of the messages in ``SILENCED_SYSTEM_CHECKS``.
    """

    settings_module: str
    messages: tuple[tuple[str, str], ...]
    allowed_hosts: tuple[str, ...] = ()
    trusted_origins: tuple[str, ...] = ()
    proxy_ssl_header: tuple[str, ...] = ()
    silenced: tuple[str, ...] = ()


@fact(deadline=30)
def project() -> ProjectReport:
    """The result of ``check --deploy`` under the current settings, and the settings of hosts and the load balancer."""
    found = [
        message for message in run_checks(include_deployment_checks=True, databases=[]) if message.level >= WARNING
    ]
    return ProjectReport(
        settings_module=os.environ.get("DJANGO_SETTINGS_MODULE", settings.SETTINGS_MODULE),
        messages=tuple(sorted((str(item.id), str(item.msg)) for item in found if not item.is_silenced())),
        allowed_hosts=tuple(settings.ALLOWED_HOSTS),
        trusted_origins=tuple(settings.CSRF_TRUSTED_ORIGINS),
        proxy_ssl_header=tuple(settings.SECURE_PROXY_SSL_HEADER or ()),
        silenced=tuple(sorted({str(item.id) for item in found if item.is_silenced()})),
    )


@dataclass(frozen=True)
class SecretKeyFallbacks:
    """The keys in ``SECRET_KEY_FALLBACKS``, without their values.

    Attributes:
        problems: (index, problem) for each rule that a key violates.
    """

    number: int
    problems: tuple[tuple[int, str], ...]


@fact()
def secret_key_fallbacks() -> SecretKeyFallbacks:
    """``SECRET_KEY_FALLBACKS``, validated by the rules for the secret's ``django_secret_key``."""
    keys = [str(key) for key in settings.SECRET_KEY_FALLBACKS]
    found = []
    for index, key in enumerate(keys):
        violated = find_problems(Document({DJANGO_KEY: key}), stage="launch")
        found += [(index, item.message) for item in violated]
        found += [(index, "is the key in use")] if key == settings.SECRET_KEY else []
    return SecretKeyFallbacks(len(keys), tuple(found))
