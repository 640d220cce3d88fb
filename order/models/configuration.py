"""The configuration of the shop."""

from __future__ import annotations

from user.models.reference import ConfigurationRow


class Configuration(ConfigurationRow):
    """The keys are ``shop_name`` and ``currency``."""

    class Meta(ConfigurationRow.Meta):
        pass
