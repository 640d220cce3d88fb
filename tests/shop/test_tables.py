"""The 57 tables by name, and that a row of each can be made, shown and found again."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.models import DecimalField, FloatField

from order.models import DiscountType, Status
from tests.shop.builders import DEFAULTS, make
from user.models import AdStatus, EmailStatus

pytestmark = pytest.mark.django_db

DJANGO = [
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "auth_user",
    "auth_user_groups",
    "auth_user_user_permissions",
    "django_admin_log",
    "django_content_type",
    "django_migrations",
    "django_session",
]
USER = [
    "member",
    "prospect",
    "default_shipping_address",
    "email_unsubscribe_reasons",
    "terms_of_use_version",
    "member_terms_of_use_version_agreed",
    "email_type",
    "email_status",
    "email",
    "email_sent",
    "ad_type",
    "ad_status",
    "ad",
    "chat_message",
]
ORDER = [
    "configuration",
    "product",
    "product_image",
    "product_video",
    "product_sku",
    "sku_type",
    "sku_inventory",
    "sku",
    "sku_price",
    "sku_image",
    "cart",
    "cart_sku",
    "cart_shipping_address",
    "cart_payment",
    "cart_discount",
    "cart_shipping_method",
    "shipping_method",
    "discount_type",
    "discount_code",
    "order",
    "order_sku",
    "order_discount",
    "order_shipping_method",
    "order_payment",
    "order_shipping_address",
    "order_billing_address",
    "order_status",
    "status",
]
CLIENTEVENT = ["configuration", "pageview", "ajax_error", "button_click", "linkevent"]

TABLES = sorted(
    DJANGO
    + [f"user_{name}" for name in USER]
    + [f"order_{name}" for name in ORDER]
    + [f"clientevent_{name}" for name in CLIENTEVENT]
)
MODELS = [model for label in ("user", "order", "clientevent") for model in apps.get_app_config(label).get_models()]
#: Closed sets, of which the seeds have all.
CLOSED = {DiscountType, Status, EmailStatus, AdStatus}


def test_the_counts_of_the_issue():
    assert [len(names) for names in (DJANGO, USER, ORDER, CLIENTEVENT, TABLES)] == [10, 14, 28, 5, 57]


def test_migrate_makes_these_tables_and_no_others():
    assert sorted(connection.introspection.table_names()) == TABLES


def test_every_migration_is_written():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_row_of_each_table(model):
    if model in CLOSED:
        model._default_manager.all().delete()
    row = make(model)
    assert model._default_manager.get(pk=row.pk) == row
    assert str(row).strip()


def test_there_is_a_builder_for_each_model():
    assert set(MODELS) <= set(DEFAULTS)


def test_money_is_decimal_with_two_places_everywhere():
    amounts = {
        (field.max_digits, field.decimal_places)
        for model in MODELS
        for field in model._meta.get_fields()
        if isinstance(field, DecimalField) and field.name != "percent_off"
    }
    floats = [f for model in MODELS for f in model._meta.get_fields() if isinstance(f, FloatField)]
    assert (amounts, floats) == ({(10, 2)}, [])
