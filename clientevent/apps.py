"""Configuration of the app `clientevent`."""

from __future__ import annotations

from django.apps import AppConfig


class ClientEventConfig(AppConfig):
    """The label ``clientevent`` is the prefix of the table names."""

    name = "clientevent"
    verbose_name = "Client events"
