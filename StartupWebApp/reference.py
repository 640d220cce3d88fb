"""What the apps' reference rows have in common: their columns, and the migration operation that seeds them.

Migrations import `seed`, so what it does to a database never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython
from django.db.models.functions import Lower


class ReferenceRow(models.Model):
    """A row that code knows by its `identifier` and people by its `title`; seeded by a migration."""

    identifier = models.SlugField(max_length=40, unique=True)
    title = models.CharField(max_length=80)
    description = models.CharField(max_length=255, blank=True)

    class Meta:
        abstract = True
        constraints: ClassVar[tuple[models.BaseConstraint, ...]] = (
            models.CheckConstraint(
                condition=models.Q(identifier__regex=r"^[a-z0-9][a-z0-9-]*$"),
                name="%(app_label)s_%(class)s_identifier",
                violation_error_message="An identifier is made of small letters, digits and hyphens.",
            ),
        )

    def __str__(self) -> str:
        return self.title


class ConfigurationRow(models.Model):
    """One setting that a shopkeeper may change without a release."""

    key = models.CharField(max_length=60)
    value = models.CharField(max_length=255, blank=True)
    description = models.CharField(max_length=255, blank=True)

    class Meta:
        abstract = True
        ordering = ("key",)
        verbose_name = "configuration"
        verbose_name_plural = "configuration"
        constraints = (
            models.UniqueConstraint(Lower("key"), name="%(app_label)s_configuration_key_unique"),
            models.CheckConstraint(condition=~models.Q(key=""), name="%(app_label)s_configuration_has_key"),
        )

    def __str__(self) -> str:
        return f"{self.key} = {self.value}"


def seed(app_label: str, model_name: str, key: str, rows: Iterable[Mapping[str, Any]]) -> RunPython:
    """The operation that makes `rows` exist.

    Forwards it adds rows that are missing, and leaves those that a shopkeeper changed. Backwards it takes away those
    that nothing refers to: a tenant's orders outlive a migration that is taken back.

    Args:
        app_label: app of the model.
        model_name: name of the model's class.
        key: the field that a row is known by.
        rows: field values, `key` among them.
    """
    rows = [dict(row) for row in rows]

    def add(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        manager = apps.get_model(app_label, model_name)._default_manager.using(schema_editor.connection.alias)
        for row in rows:
            manager.get_or_create(**{key: row[key]}, defaults=row)

    def take_away(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        manager = apps.get_model(app_label, model_name)._default_manager.using(schema_editor.connection.alias)
        for found in manager.filter(**{f"{key}__in": [row[key] for row in rows]}):
            try:
                found.delete()
            except models.ProtectedError:
                continue

    return RunPython(add, take_away)
