"""Facts of the Django project: what its own deployment checks say, and the settings that meet the outside."""

from __future__ import annotations

import os
from dataclasses import dataclass

from django.conf import settings
from django.core.checks import WARNING, run_checks

from deploytools.verification.registry import fact


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
