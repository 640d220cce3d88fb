"""The command `load_sample_data`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.db.models import Count, Sum
from pytest_django.plugin import DjangoDbBlocker

from order import models as order
from tests.host_project import manage
from tests.shop.builders import make
from tests.shop.tables import MODELS
from user import models as user

pytestmark = pytest.mark.django_db

CREATED = (
    "Created 287 rows (0 already existed): 13 products, 13 product images, 20 SKUs, 60 SKU prices, 19 SKU inventory, "
    "6 SKU images, 20 product SKUs, 4 discount codes, 6 users, 6 members, 6 default shipping addresses, "
    "6 agreements to the terms of use, 2 prospects, 5 carts, 7 cart lines, 1 cart discount, 9 orders, 14 order lines, "
    "3 order discounts, 9 order shipping methods, 9 order shipping addresses, 9 order billing addresses, "
    "31 order statuses, 9 order payments."
)


def load(**options: bool) -> str:
    """Run the command; return its output without the tenant."""
    out = StringIO()
    call_command("load_sample_data", stdout=out, **options)
    tenant, _, text = out.getvalue().strip().partition(": ")
    assert tenant == connection.settings_dict["NAME"]
    return text


def refused(**options: bool) -> tuple[str, int]:
    """Run the command; return its error message and exit code."""
    with pytest.raises(CommandError) as caught:
        load(**options)
    return str(caught.value), caught.value.returncode


def contents() -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in MODELS}


@pytest.fixture(scope="class")
def sample_data(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Load the sample data once for a class, in a transaction around its tests; each test has a savepoint."""
    with django_db_blocker.unblock(), transaction.atomic():
        assert load() == CREATED
        yield
        transaction.set_rollback(True)


@pytest.mark.usefixtures("sample_data")
class TestExistingSampleData:
    def test_a_second_run_changes_nothing(self):
        before = contents()
        assert load() == "The sample data already exists (287 rows). No changes."
        assert contents() == before

    def test_missing_rows_are_created_and_changed_rows_are_kept(self):
        order.Sku.objects.get(code="SMP-LAMP").prices.all().delete()
        order.Product.objects.filter(identifier="SMP-mug").update(title="Another mug")
        order.SkuInventory.objects.update(quantity=0)
        assert load() == "Created 3 rows (284 already existed): 3 SKU prices."
        assert order.Product.objects.get(identifier="SMP-mug").title == "Another mug"
        assert order.SkuInventory.objects.aggregate(Sum("quantity")) == {"quantity__sum": 0}

    def test_there_are_orders_carts_and_payments_in_every_state(self):
        assert {each.status_identifier for each in order.Order.objects.with_status()} == set(order.OrderState)
        assert set(order.Cart.objects.values_list("state", flat=True)) == set(order.CartState)
        assert set(order.OrderPayment.objects.values_list("state", flat=True)) == set(order.PaymentState)
        assert set(order.DiscountCode.objects.values_list("type__action", flat=True)) == set(order.DiscountAction)
        assert user.Member.objects.filter(carts__isnull=False, orders__isnull=False).exists()

    def test_order_totals_are_correct(self):
        lines = Sum("lines__line_total")
        for each in order.Order.objects.annotate(goods=lines, kinds=Count("lines")):
            assert each.goods == each.subtotal  # type: ignore[attr-defined]
            assert each.shipping == each.shipping_method.cost
            assert each.discount == sum((used.amount for used in each.discounts.all()), Decimal(0))
            assert [payment.amount for payment in each.payments.all()] == [each.total]
            times = [each.placed_at, *each.statuses.values_list("set_at", flat=True)]
            assert times == sorted(times)

    def test_the_pages_show_the_products(self, client):
        assert client.get("/order/products").json()["count"] == 12
        for product in order.Product.objects.published():
            assert client.get(product.get_absolute_url()).status_code == 200

    def test_members_cannot_log_in(self, client):
        for member in user.Member.objects.select_related("user"):
            assert not member.user.has_usable_password()
            assert member.user.email.endswith("@sample.example.com")

    def test_flush_is_refused_with_production_settings(self, settings):
        before = contents()
        settings.PRODUCTION = True
        assert refused(flush=True) == (
            "--flush requires --force with production settings. Nothing was changed.\n"
            "Hint: To remove the sample data, run: python manage.py load_sample_data --flush --force",
            1,
        )
        assert contents() == before
        assert load(flush=True, force=True).startswith("Removed 287 sample rows. ")

    def test_flush_is_refused_if_an_order_contains_a_sample_sku(self):
        line = make(order.OrderSku, sku=order.Sku.objects.get(code="SMP-LAMP"))
        before = contents()
        assert refused(flush=True) == (
            f"The sample data is in use by order line {line.pk}. Nothing was changed.\n"
            "Hint: Delete these rows first, or run the command without --flush.",
            1,
        )
        assert contents() == before


@pytest.mark.slow
def test_flush_removes_sample_data_only():
    others = [make(order.Product), make(order.Order), make(order.Cart), make(user.Member), make(order.DiscountCode)]
    before = contents()
    load()
    assert load(flush=True).startswith("Removed 287 sample rows. Created 287 rows (0 already existed): ")
    from order.sample_data import flush

    flush()
    assert contents() == before
    assert all(type(row)._default_manager.filter(pk=row.pk).exists() for row in others)


@pytest.mark.slow
def test_flush_without_sample_data():
    assert load(flush=True) == CREATED


def test_a_conflict_rolls_back_all_changes():
    make(order.Product, slug="workshop")  # the slug of a sample product
    before = contents()
    text, code = refused()
    assert (text.splitlines()[0], code) == (
        f"The sample data conflicts with a row of {connection.settings_dict['NAME']} (order_product_slug_key). "
        "Nothing was changed.",
        1,
    )
    assert text.splitlines()[1].startswith("Hint: Change that row in the admin")
    assert contents() == before


def test_a_missing_reference_row():
    order.ShippingMethod.objects.filter(identifier="express").delete()
    before = contents()
    text, code = refused()
    assert (text.splitlines()[0], code) == (
        f"A reference row is missing in {connection.settings_dict['NAME']}: "
        "ShippingMethod matching query does not exist. Nothing was changed.",
        2,
    )
    assert contents() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "message"),
    [
        (None, "The tables of the shop do not exist in {}.\nHint: Run: python manage.py migrate"),
        ("no_such_database", "Cannot connect to {}.\nHint: Run: python manage.py check_rds"),
    ],
    ids=["not migrated", "does not exist"],
)
def test_a_database_that_is_not_ready(empty_database, database, message):
    settings = connections.settings[empty_database]
    names = {"DATABASE_USER": "USER", "DATABASE_PASSWORD": "PASSWORD", "DATABASE_HOST": "HOST", "DATABASE_PORT": "PORT"}
    name = database or settings["NAME"]
    out, err, code = manage(
        "load_sample_data",
        **{variable: settings[key] for variable, key in names.items()},
        DATABASE_NAME=name,
        PGHOSTADDR=settings["OPTIONS"]["hostaddr"],
    )
    assert (out, err, code) == ("", f"Error: {message.format(name)}\n", 2)
