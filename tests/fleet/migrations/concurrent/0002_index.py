"""`CREATE INDEX CONCURRENTLY` waits for every session that holds a snapshot."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("fleet", "0001_initial")]
    operations = [
        migrations.RunSQL("SELECT pg_sleep(0.5)"),
        migrations.RunSQL("CREATE INDEX CONCURRENTLY fleet_note_text ON fleet_note (text)"),
    ]
