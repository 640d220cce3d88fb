"""Reference rows that the code depends on."""

from __future__ import annotations

from django.db import migrations

from user.reference_rows import seed


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
                    "description": "Record events of browsers: yes or no",
                },
                {"key": "keep_days", "value": "90", "description": "Days until an event is deleted"},
            ],
        ),
    ]
