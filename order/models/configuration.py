"""What a shopkeeper may change about the shop without a release."""

from __future__ import annotations

from StartupWebApp.reference import ConfigurationRow


class Configuration(ConfigurationRow):
    """Keys that the code reads: ``shop_name`` and ``currency``."""

    class Meta(ConfigurationRow.Meta):
        pass
