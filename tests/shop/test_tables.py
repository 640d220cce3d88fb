"""The 57 tables: names, and a row in each."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import DecimalField, FloatField

from tests.shop.builders import DEFAULTS, make
from tests.shop.tables import CLIENTEVENT, DJANGO, FIXED, MODELS, ORDER, TABLES, USER

pytestmark = pytest.mark.django_db


def test_number_of_tables_by_app():
    assert [len(names) for names in (DJANGO, USER, ORDER, CLIENTEVENT, TABLES)] == [10, 14, 28, 5, 57]


def test_migrate_creates_exactly_these_tables():
    assert sorted(connection.introspection.table_names()) == TABLES


def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_row_of_each_table(model):
    if model in FIXED:
        model._default_manager.all().delete()
    row = make(model)
    assert model._default_manager.get(pk=row.pk) == row
    assert str(row).strip()


def test_each_model_has_a_builder():
    assert set(MODELS) <= set(DEFAULTS)


def test_amounts_are_decimals_with_two_places():
    amounts = {
        (field.max_digits, field.decimal_places)
        for model in MODELS
        for field in model._meta.get_fields()
        if isinstance(field, DecimalField) and field.name != "percent_off"
    }
    floats = [f for model in MODELS for f in model._meta.get_fields() if isinstance(f, FloatField)]
    assert (amounts, floats) == ({(10, 2)}, [])
