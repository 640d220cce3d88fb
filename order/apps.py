"""Registers the app `order`."""

from __future__ import annotations

from django.apps import AppConfig


class OrderConfig(AppConfig):
    """Label ``order``: the tables' names begin with it."""

    name = "order"
    verbose_name = "Shop"
