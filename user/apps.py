"""Configuration of the app `user`."""

from __future__ import annotations

from django.apps import AppConfig


class UserConfig(AppConfig):
    """The label ``user`` is the prefix of the table names."""

    name = "user"
    verbose_name = "Customers"
