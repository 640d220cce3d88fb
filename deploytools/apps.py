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
        from deploytools.checks import check_secret_fields, check_settings, check_tenants, check_waivers

        for check in (check_settings, check_tenants, check_waivers, check_secret_fields):
            checks.register(check, "deploytools")
