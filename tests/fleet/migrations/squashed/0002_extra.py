from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]
    operations = [
        migrations.CreateModel(
            "Extra", [("id", models.BigAutoField(primary_key=True, serialize=False)), ("text", models.TextField())]
        ),
    ]
