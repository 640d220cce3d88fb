"""Facts of the Django project: what its own deployment checks say, and the settings that meet the outside."""

from __future__ import annotations

import os
from dataclasses import dataclass

from django.conf import settings
from django.core.checks import WARNING, run_checks

from deploytools.secret.contract import problems
from deploytools.secret.document import Document
from deploytools.verification.registry import fact

DJANGO_KEY = "django_secret_key"


@dataclass(frozen=True)
class ProjectReport:
    """What Django says of the settings in use.

    Attributes:
        settings: the settings module.
        messages: (id, text) of each message of ``check --deploy`` from WARNING on, by id.
        silenced: ids of those that ``SILENCED_SYSTEM_CHECKS`` takes out of them.
        allowed_hosts: ``ALLOWED_HOSTS``.
        trusted_origins: ``CSRF_TRUSTED_ORIGINS``.
        proxy_header: ``SECURE_PROXY_SSL_HEADER``; empty: not set.
    """

    settings: str
    messages: tuple[tuple[str, str], ...]
    allowed_hosts: tuple[str, ...] = ()
    trusted_origins: tuple[str, ...] = ()
    proxy_header: tuple[str, ...] = ()
    silenced: tuple[str, ...] = ()


@fact(deadline=30)
def project() -> ProjectReport:
    """``check --deploy`` under the settings in use, and what they say of hosts and of the proxy before them."""
    found = [message for message in run_checks(include_deployment_checks=True) if message.level >= WARNING]
    return ProjectReport(
        settings=os.environ.get("DJANGO_SETTINGS_MODULE", settings.SETTINGS_MODULE),
        messages=tuple(sorted((str(item.id), str(item.msg)) for item in found if not item.is_silenced())),
        allowed_hosts=tuple(settings.ALLOWED_HOSTS),
        trusted_origins=tuple(settings.CSRF_TRUSTED_ORIGINS),
        proxy_header=tuple(settings.SECURE_PROXY_SSL_HEADER or ()),
        silenced=tuple(sorted({str(item.id) for item in found if item.is_silenced()})),
    )


@dataclass(frozen=True)
class OldKeys:
    """The keys that Django accepts besides the one in use.

    Attributes:
        number: how many there are.
        problems: what is wrong with which of them, by its place in ``SECRET_KEY_FALLBACKS``.
    """

    number: int
    problems: tuple[tuple[int, str], ...]


@fact()
def old_keys() -> OldKeys:
    """``SECRET_KEY_FALLBACKS``, by the rules for the secret's ``django_secret_key``; none of them is kept."""
    keys = [str(key) for key in settings.SECRET_KEY_FALLBACKS]
    found = []
    for index, key in enumerate(keys):
        broken = problems(Document({DJANGO_KEY: key}), stage="launch")
        found += [(index, item.sentence) for item in broken]
        found += [(index, "is the key in use")] if key == settings.SECRET_KEY else []
    return OldKeys(len(keys), tuple(found))
