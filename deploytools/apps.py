"""Registers deploytools with Django."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class DeployToolsConfig(AppConfig):
    """``INSTALLED_APPS = [..., "deploytools"]``."""

    name = "deploytools"
    verbose_name = "Deploy tools"

    def ready(self) -> None:
        """Register the system checks of ``settings.DEPLOYTOOLS``."""
        from deploytools.checks import check_settings

        checks.register(check_settings, "deploytools")
