"""The migration operation that inserts reference rows. Released migrations use it: do not change what it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.apps.registry import Apps
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython
from django.db.models import ProtectedError


def seed(app_label: str, model_name: str, key: str, rows: Iterable[Mapping[str, Any]]) -> RunPython:
    """Return an operation that inserts `rows`.

    Forwards it inserts missing rows and keeps existing ones, which may have been edited in the admin. Backwards it
    deletes the rows that no other row refers to, so that the orders of a tenant are kept.

    Args:
        app_label: app of the model.
        model_name: name of the model class.
        key: the field that identifies a row.
        rows: field values, including `key`.
    """
    rows = [dict(row) for row in rows]

    def insert(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        manager = apps.get_model(app_label, model_name)._default_manager.using(schema_editor.connection.alias)
        for row in rows:
            manager.get_or_create(**{key: row[key]}, defaults=row)

    def delete_unreferenced(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        manager = apps.get_model(app_label, model_name)._default_manager.using(schema_editor.connection.alias)
        for row in manager.filter(**{f"{key}__in": [row[key] for row in rows]}):
            try:
                row.delete()
            except ProtectedError:
                continue

    return RunPython(insert, delete_unreferenced)
