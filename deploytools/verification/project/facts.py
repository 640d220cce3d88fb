"""Facts of the Django project: the messages of its system checks, and settings that a deployment depends on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps as installed_apps
from django.conf import settings
from django.core.checks import ERROR, WARNING, Tags, run_checks

from deploytools.secrets.contract import find_problems
from deploytools.secrets.document import Document
from deploytools.verification.mail.sender_domain import NO_DOMAIN
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
        weak: settings that do not work in production, or weaken it, and that no system check reports.
        cookie_domains: ``SESSION_COOKIE_DOMAIN`` and ``CSRF_COOKIE_DOMAIN``, if set.
    """

    settings_module: str
    messages: tuple[tuple[str, str], ...]
    allowed_hosts: tuple[str, ...] = ()
    trusted_origins: tuple[str, ...] = ()
    proxy_ssl_header: tuple[str, ...] = ()
    silenced: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    cookie_domains: tuple[tuple[str, str], ...] = ()


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
        weak=tuple(_weak_settings()),
        cookie_domains=tuple(
            (name, str(domain))
            for name in ("SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_DOMAIN")
            if (domain := getattr(settings, name))
        ),
    )


#: Apps of development, and hashers of passwords that are fast, for tests.
TOOLS = {"debug_toolbar", "django_browser_reload"}
FAST = re.compile(r".*\.(Unsalted)?(MD5|SHA1)PasswordHasher")

#: Caches that other processes do not share.
NOT_SHARED = re.compile(r"django\.core\.cache\.backends\.(locmem\.LocMem|dummy\.Dummy)Cache")


def _weak_settings() -> Iterator[str]:
    if settings.DEBUG_PROPAGATE_EXCEPTIONS:
        yield "DEBUG_PROPAGATE_EXCEPTIONS is True"
    if settings.ADMINS and NO_DOMAIN.fullmatch(settings.SERVER_EMAIL.rpartition("@")[2].rstrip(">")):
        yield f"SERVER_EMAIL is {settings.SERVER_EMAIL}, from which no mail to ADMINS is accepted"
    if settings.PASSWORD_HASHERS and FAST.fullmatch(settings.PASSWORD_HASHERS[0]):
        yield f"PASSWORD_HASHERS begins with {settings.PASSWORD_HASHERS[0]}"
    if settings.SESSION_SERIALIZER.endswith("PickleSerializer"):
        yield f"SESSION_SERIALIZER is {settings.SESSION_SERIALIZER}"
    cache = settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {}).get("BACKEND", "")
    if settings.SESSION_ENGINE == "django.contrib.sessions.backends.cache" and NOT_SHARED.fullmatch(cache):
        yield f"SESSION_ENGINE uses {cache}, in which other processes do not find a session"
    if getattr(settings, "CORS_ALLOW_ALL_ORIGINS", False) and getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        yield "CORS_ALLOW_ALL_ORIGINS and CORS_ALLOW_CREDENTIALS are True"
    yield from (
        f"MIGRATION_MODULES[{app!r}] is None: its tables are not migrated"
        for app, module in settings.MIGRATION_MODULES.items()
        if module is None and app in installed_apps.app_configs
    )
    yield from (f"INSTALLED_APPS contains {app}" for app in settings.INSTALLED_APPS if app in TOOLS)


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
