"""`load_sample_data`: what it makes, that a second run makes nothing, and that it is all or nothing."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.models import Count, Sum

from order import models as order
from tests.shop.builders import make
from tests.shop.test_tables import MODELS
from tests.test_project import manage
from user import models as user

pytestmark = pytest.mark.django_db

CREATED = (
    "Created 287 rows (0 were there): 13 products, 13 product images, 20 SKUs, 60 SKU prices, 19 SKU inventory, "
    "6 SKU images, 20 product SKUs, 4 discount codes, 6 users, 6 members, 6 default shipping addresses, "
    "6 agreements to the terms of use, 2 prospects, 5 carts, 7 cart lines, 1 cart discounts, 9 orders, 14 order lines, "
    "3 order discounts, 9 order shipping methods, 9 order shipping addresses, 9 order billing addresses, "
    "31 order statuses, 9 order payments."
)


def load(**options: bool) -> str:
    """What the command says, without the tenant's name."""
    out = StringIO()
    call_command("load_sample_data", stdout=out, **options)
    tenant, _, text = out.getvalue().strip().partition(": ")
    assert tenant == connection.settings_dict["NAME"]
    return text


def refused(**options: bool) -> tuple[str, int]:
    """The two lines that a person sees, and the exit code."""
    with pytest.raises(CommandError) as caught:
        load(**options)
    return str(caught.value), caught.value.returncode


def contents() -> dict[str, list[Any]]:
    """Every row of every table."""
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in MODELS}


def test_a_second_run_changes_nothing():
    assert load() == CREATED
    before = contents()
    assert load() == "The sample data was there already (287 rows): nothing to do."
    assert contents() == before


def test_a_run_mends_what_is_missing_and_leaves_what_was_changed():
    load()
    order.Sku.objects.get(code="SMP-LAMP").prices.all().delete()
    order.Product.objects.filter(identifier="SMP-mug").update(title="Another mug")
    order.SkuInventory.objects.update(quantity=0)
    assert load() == "Created 3 rows (284 were there): 3 SKU prices."
    assert order.Product.objects.get(identifier="SMP-mug").title == "Another mug"
    assert order.SkuInventory.objects.aggregate(Sum("quantity")) == {"quantity__sum": 0}


def test_there_is_an_order_a_cart_and_a_payment_in_every_state():
    load()
    assert {each.status_identifier for each in order.Order.objects.with_status()} == set(order.OrderState)
    assert set(order.Cart.objects.values_list("state", flat=True)) == set(order.CartState)
    assert set(order.OrderPayment.objects.values_list("state", flat=True)) == set(order.PaymentState)
    assert set(order.DiscountCode.objects.values_list("type__action", flat=True)) == set(order.DiscountAction)
    assert user.Member.objects.filter(carts__isnull=False, orders__isnull=False).exists()


def test_its_orders_add_up():
    load()
    lines = Sum("lines__line_total")
    for each in order.Order.objects.annotate(goods=lines, kinds=Count("lines")):
        assert each.goods == each.subtotal  # type: ignore[attr-defined]
        assert each.shipping == each.shipping_method.cost
        assert each.discount == sum((used.amount for used in each.discounts.all()), Decimal(0))
        assert [payment.amount for payment in each.payments.all()] == [each.total]
        times = [each.placed_at, *each.statuses.values_list("set_at", flat=True)]
        assert times == sorted(times)


def test_its_pages_show_it(client):
    load()
    assert client.get("/order/products").json()["count"] == 12
    for product in order.Product.objects.published():
        assert client.get(product.get_absolute_url()).status_code == 200


def test_its_members_cannot_log_in(client):
    load()
    for member in user.Member.objects.select_related("user"):
        assert not member.user.has_usable_password()
        assert member.user.email.endswith("@sample.example.com")


def test_flush_takes_the_samples_away_and_nothing_else():
    mine = [make(order.Product), make(order.Order), make(order.Cart), make(user.Member), make(order.DiscountCode)]
    before = contents()
    load()
    assert load(flush=True).startswith("Removed 287 sample rows. Created 287 rows (0 were there): ")
    from order.sample_data import flush

    flush()
    assert contents() == before
    assert all(type(row)._default_manager.filter(pk=row.pk).exists() for row in mine)


def test_flush_of_a_shop_without_samples():
    assert load(flush=True) == CREATED


def test_flush_refuses_under_production_settings(settings):
    load()
    before = contents()
    settings.PRODUCTION = True
    assert refused(flush=True) == (
        "--flush removes the sample data, and these are the production settings: nothing was changed.\n"
        "Hint: If this shop may lose it: python manage.py load_sample_data --flush --force",
        1,
    )
    assert contents() == before
    assert load(flush=True, force=True).startswith("Removed 287 sample rows. ")


def test_flush_refuses_while_a_real_order_has_a_sample_in_it():
    load()
    line = make(order.OrderSku, sku=order.Sku.objects.get(code="SMP-LAMP"))
    before = contents()
    assert refused(flush=True) == (
        f"The sample data is in use (order line {line.pk}): nothing was changed.\n"
        "Hint: Delete these first, or do without --flush.",
        1,
    )
    assert contents() == before


def test_what_fails_half_way_leaves_nothing():
    make(order.Product, slug="workshop")  # the last but one of the samples' addresses
    before = contents()
    text, code = refused()
    assert (text.splitlines()[0], code) == (
        f"A row of {connection.settings_dict['NAME']} that is no sample is in the way (order_product_slug_key): "
        "nothing was changed.",
        1,
    )
    assert text.splitlines()[1].startswith("Hint: Sample data is for a new shop")
    assert contents() == before


def test_a_reference_row_that_is_missing():
    order.ShippingMethod.objects.filter(identifier="express").delete()
    before = contents()
    text, code = refused()
    assert (text.splitlines()[0], code) == (
        f"A row that migrate makes is missing in {connection.settings_dict['NAME']}: nothing was changed. "
        "ShippingMethod matching query does not exist.",
        2,
    )
    assert contents() == before


@pytest.mark.parametrize(
    ("database", "says"),
    [
        (None, "does not have the shop's tables.\nHint: Run: python manage.py migrate"),
        ("nowhere_at_all", "cannot be reached.\nHint: Run: python manage.py check_rds"),
    ],
    ids=["not migrated", "not there"],
)
def test_a_database_that_is_not_ready(empty_database, database, says):
    settings = connections.settings[empty_database]
    names = {"DATABASE_USER": "USER", "DATABASE_PASSWORD": "PASSWORD", "DATABASE_HOST": "HOST", "DATABASE_PORT": "PORT"}
    name = database or settings["NAME"]
    out, err, code = manage(
        "load_sample_data",
        **{variable: settings[key] for variable, key in names.items()},
        DATABASE_NAME=name,
        PGHOSTADDR=settings["OPTIONS"]["hostaddr"],
    )
    assert (out, err, code) == ("", f"Error: {name} {says}\n", 2)
