"""Runs until a test inserts a row, so that a test decides how long a migration takes."""

import time

from django.db import migrations


def wait(apps, schema_editor):
    notes = apps.get_model("fleet", "Note").objects
    for _ in range(600):
        if notes.filter(text="go on").exists():
            return
        time.sleep(0.05)


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]
    operations = [migrations.RunPython(wait, migrations.RunPython.noop)]
