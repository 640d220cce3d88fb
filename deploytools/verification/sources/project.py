"""Facts of the Django project: what its own deployment checks say."""

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
    """

    settings: str
    messages: tuple[tuple[str, str], ...]


@fact(deadline=30)
def project() -> ProjectReport:
    """``check --deploy`` under the settings in use."""
    found = [message for message in run_checks(include_deployment_checks=True) if message.level >= WARNING]
    messages = tuple(sorted((str(message.id), str(message.msg)) for message in found))
    return ProjectReport(os.environ.get("DJANGO_SETTINGS_MODULE", settings.SETTINGS_MODULE), messages)
