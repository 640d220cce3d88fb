"""Exceeds the transaction_timeout that it sets. PostgreSQL 17 added that setting."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]
    operations = [
        migrations.RunSQL("INSERT INTO fleet_note (text) VALUES ('half')"),
        migrations.RunSQL("SET LOCAL transaction_timeout = '50ms'"),
        migrations.RunSQL("SELECT pg_sleep(10)"),
    ]
