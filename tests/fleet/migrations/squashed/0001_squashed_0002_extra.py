from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    replaces = [("fleet", "0001_initial"), ("fleet", "0002_extra")]
    dependencies = []
    operations = [
        migrations.CreateModel(
            name, [("id", models.BigAutoField(primary_key=True, serialize=False)), ("text", models.TextField())]
        )
        for name in ("Note", "Extra")
    ]
