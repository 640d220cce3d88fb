"""Succeeds on a database whose name ends with `_one`; fails on others after a change."""

import sys

from django.db import migrations


def fail(apps, schema_editor):
    apps.get_model("fleet", "Note").objects.create(text="half")
    sys.stdout.write("printed by a migration\n")
    if not schema_editor.connection.settings_dict["NAME"].endswith("_one"):
        raise ValueError("a bug in a migration")


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]
    operations = [migrations.RunPython(fail, migrations.RunPython.noop)]
