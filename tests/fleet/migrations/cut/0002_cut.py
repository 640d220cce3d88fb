"""Terminates its own session."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]
    operations = [
        migrations.RunSQL("INSERT INTO fleet_note (text) VALUES ('half')"),
        migrations.RunSQL("SELECT pg_terminate_backend(pg_backend_pid())"),
    ]
