"""Registers the app `user`."""

from __future__ import annotations

from django.apps import AppConfig


class UserConfig(AppConfig):
    """Label ``user``: the tables' names begin with it."""

    name = "user"
    verbose_name = "Customers"
