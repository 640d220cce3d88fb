"""The rows that the code knows by name, so that a tenant is usable right after `migrate`."""

from __future__ import annotations

from django.db import migrations

from StartupWebApp.reference import seed


class Migration(migrations.Migration):
    dependencies = [("clientevent", "0001_initial")]

    operations = [
        seed(
            "clientevent",
            "Configuration",
            "key",
            [
                {
                    "key": "log_client_events",
                    "value": "yes",
                    "description": "Whether browsers report events: yes or no",
                },
                {"key": "keep_days", "value": "90", "description": "How many days an event is kept"},
            ],
        ),
    ]
