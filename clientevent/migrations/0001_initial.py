"""The tables of `clientevent`."""

from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("user", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Configuration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=60)),
                ("value", models.CharField(blank=True, max_length=255)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "verbose_name": "configuration",
                "verbose_name_plural": "configuration",
                "ordering": ("key",),
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        django.db.models.functions.text.Lower("key"), name="clientevent_configuration_key_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("key", ""), _negated=True), name="clientevent_configuration_has_key"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AjaxError",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "anonymous_id",
                    models.UUIDField(blank=True, help_text="The visitor's cookie, if there is no member.", null=True),
                ),
                ("url", models.CharField(max_length=500)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("error_id", models.CharField(max_length=100)),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="%(class)s_set",
                        to="user.member",
                    ),
                ),
            ],
            options={
                "verbose_name": "Ajax error",
                "db_table": "clientevent_ajax_error",
                "ordering": ("-created_at", "-pk"),
                "abstract": False,
                "indexes": [models.Index(fields=["-created_at"], name="clientevent_ajaxerror_at")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("url", ""), _negated=True), name="clientevent_ajaxerror_has_url"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ButtonClick",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "anonymous_id",
                    models.UUIDField(blank=True, help_text="The visitor's cookie, if there is no member.", null=True),
                ),
                ("url", models.CharField(max_length=500)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("button_id", models.CharField(max_length=100)),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="%(class)s_set",
                        to="user.member",
                    ),
                ),
            ],
            options={
                "db_table": "clientevent_button_click",
                "ordering": ("-created_at", "-pk"),
                "abstract": False,
                "indexes": [models.Index(fields=["-created_at"], name="clientevent_buttonclick_at")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("url", ""), _negated=True), name="clientevent_buttonclick_has_url"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Linkevent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "anonymous_id",
                    models.UUIDField(blank=True, help_text="The visitor's cookie, if there is no member.", null=True),
                ),
                ("url", models.CharField(max_length=500)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "ad",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="link_events",
                        to="user.ad",
                    ),
                ),
                (
                    "email",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="link_events",
                        to="user.email",
                    ),
                ),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="%(class)s_set",
                        to="user.member",
                    ),
                ),
                (
                    "prospect",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="link_events",
                        to="user.prospect",
                    ),
                ),
            ],
            options={
                "verbose_name": "link event",
                "ordering": ("-created_at", "-pk"),
                "abstract": False,
                "indexes": [models.Index(fields=["-created_at"], name="clientevent_linkevent_at")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("url", ""), _negated=True), name="clientevent_linkevent_has_url"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("email__isnull", True), ("ad__isnull", True), _connector="OR"),
                        name="clientevent_linkevent_one_source",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Pageview",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "anonymous_id",
                    models.UUIDField(blank=True, help_text="The visitor's cookie, if there is no member.", null=True),
                ),
                ("url", models.CharField(max_length=500)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "page_width",
                    models.PositiveIntegerField(blank=True, help_text="Width of the window in CSS pixels.", null=True),
                ),
                ("user_agent", models.CharField(blank=True, max_length=500)),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="%(class)s_set",
                        to="user.member",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-pk"),
                "abstract": False,
                "indexes": [models.Index(fields=["-created_at"], name="clientevent_pageview_at")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("url", ""), _negated=True), name="clientevent_pageview_has_url"
                    )
                ],
            },
        ),
    ]
