"""Configuration of the app `order`."""

from __future__ import annotations

from django.apps import AppConfig


class OrderConfig(AppConfig):
    """The label ``order`` is the prefix of the table names."""

    name = "order"
    verbose_name = "Shop"
