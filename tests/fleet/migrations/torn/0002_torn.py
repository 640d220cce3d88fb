"""A migration that is not atomic: what it does before it fails is kept."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("fleet", "0001_initial")]
    operations = [
        migrations.RunSQL("INSERT INTO fleet_note (text) VALUES ('half')"),
        migrations.RunSQL("SELECT 1 / 0"),
    ]
