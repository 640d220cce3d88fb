"""Registers the app `clientevent`."""

from __future__ import annotations

from django.apps import AppConfig


class ClientEventConfig(AppConfig):
    """Label ``clientevent``: the tables' names begin with it."""

    name = "clientevent"
    verbose_name = "Client events"
