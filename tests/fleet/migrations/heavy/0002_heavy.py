"""Operations that lock or rewrite `fleet_note`, and some that do not."""

import django.db.models.deletion
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]
    operations = [
        migrations.AddField("note", "code", models.IntegerField(default=1)),
        migrations.AddField("note", "created", models.DateTimeField(db_default=models.functions.Now())),
        migrations.AddField("note", "token", models.UUIDField(db_default=RandomUUID())),
        migrations.AddField("note", "optional", models.IntegerField(null=True)),
        migrations.AlterField("note", "optional", models.IntegerField(default=0)),
        migrations.AlterField("note", "text", models.CharField(max_length=2000)),
        migrations.AddIndex("note", models.Index(fields=["text"], name="fleet_note_text")),
        migrations.AddConstraint(
            "note", models.CheckConstraint(condition=models.Q(code__gt=0), name="fleet_note_positive")
        ),
        migrations.AddConstraint("note", models.UniqueConstraint(fields=["token"], name="fleet_note_unique")),
        migrations.AddField(
            "note",
            "parent",
            models.ForeignKey("fleet.note", on_delete=django.db.models.deletion.CASCADE, null=True, db_index=False),
        ),
        migrations.CreateModel(
            "Extra", [("id", models.BigAutoField(primary_key=True, serialize=False)), ("text", models.TextField())]
        ),
        migrations.AddIndex("extra", models.Index(fields=["text"], name="fleet_extra_text")),
        migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop),
    ]
