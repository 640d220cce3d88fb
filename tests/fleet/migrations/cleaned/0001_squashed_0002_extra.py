from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name, [("id", models.BigAutoField(primary_key=True, serialize=False)), ("text", models.TextField())]
        )
        for name in ("Note", "Extra")
    ]
