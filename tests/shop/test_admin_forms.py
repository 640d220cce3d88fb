"""Changes in the admin: which are saved and which are refused. Forms are sent as a browser sends them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import reverse

from order import models as order
from tests.shop.admin_pages import READ_ONLY, admin_url, get_row
from tests.shop.builders import make
from tests.shop.markup import Page
from tests.shop.tables import FIXED
from user import models as user

pytestmark = pytest.mark.django_db


def submit(client: Client, url: str, **changes: Any) -> list[Any]:
    """Submit the form at `url` with `changes` (``lines__0__note`` is the field ``lines-0-note``).

    Returns:
        The errors of the form; empty if it was saved.
    """
    page = Page(client.get(url).content.decode())
    (form,) = [form for form in page.all("form") if form.attributes["id"].endswith("_form")]
    values = page.values(form) | {name.replace("__", "-"): value for name, value in changes.items()}
    response = client.post(url, values)
    if response.status_code == 302:
        return []
    formsets = [inline.formset for inline in response.context["inline_admin_formsets"]]
    errors = [response.context["adminform"].form.errors]
    for formset in formsets:
        errors += [formset.non_form_errors(), *formset.errors]
    return [error for error in errors if error]


@pytest.fixture
def order_with_parts() -> Any:
    """Create an order with one row of each part."""
    row = make(order.Order)
    for part in (order.OrderSku, order.OrderShippingMethod, order.OrderPayment, order.OrderStatus, order.OrderDiscount):
        make(part, order=row)
    return row


def order_values(row: order.Order) -> dict[str, Any]:
    """Return the values of the order and its parts."""
    parts = (row.lines, row.statuses, row.payments, row.discounts)
    return model_to_dict(row) | {rows.model.__name__: list(rows.order_by("pk").values()) for rows in parts}


def test_amounts_lines_and_history_of_an_order_cannot_be_changed(staff_client, order_with_parts):
    url, before = admin_url(order.Order, "change", order_with_parts.pk), order_values(order_with_parts)
    forged = {
        "identifier": "O-FORGED",
        "subtotal": "1.00",
        "total": "1.00",
        "currency": "EUR",
        "lines__0__quantity": "99",
        "lines__0__DELETE": "on",
        "payments__0__amount": "0.01",
        "payments__0__state": "refunded",
        "statuses__0__note": "never happened",
        "statuses__0__DELETE": "on",
        "discounts__0__amount": "20.00",
        "shipping_method__0__cost": "0.00",
    }
    assert submit(staff_client, url, **forged) == []
    after = order.Order.objects.get()
    assert order_values(after) == before
    assert after.shipping_method.cost == Decimal("5.00")


def test_statuses_and_tracking_number_can_be_added(staff_client, order_with_parts):
    url = admin_url(order.Order, "change", order_with_parts.pk)
    shipped = order.Status.objects.get(identifier="shipped")
    changes = {
        "email": "new@example.com",
        "shipping_method__0__tracking_number": "1Z999",
        "statuses__1__status": shipped.pk,
        "statuses__1__set_at_0": "2025-11-22",
        "statuses__1__set_at_1": "09:00",
        "statuses__1__note": "By noon",
        "statuses__TOTAL_FORMS": 2,
    }
    assert submit(staff_client, url, **changes) == []
    after = order.Order.objects.with_status().get()
    assert (after.email, after.status_identifier, after.shipping_method.tracking_number) == (
        "new@example.com",
        "shipped",
        "1Z999",
    )


def test_an_order_with_a_payment_cannot_be_deleted(staff_client, order_with_parts):
    url = admin_url(order.Order, "delete", order_with_parts.pk)
    assert "would require deleting the following protected related objects" in staff_client.get(url).content.decode()
    staff_client.post(url, {"post": "yes"})
    assert order.Order.objects.filter(pk=order_with_parts.pk).exists()


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model._meta.label)
def test_events_cannot_be_edited(staff_client, model):
    row = make(model)
    before = model_to_dict(row)
    assert staff_client.post(admin_url(model, "change", row.pk), {"url": "/forged", "address": "x"}).status_code == 403
    assert staff_client.post(admin_url(model, "add"), {}).status_code == 403
    assert model_to_dict(model._default_manager.get()) == before


@pytest.mark.parametrize("model", sorted(FIXED, key=str), ids=lambda model: model._meta.label)
def test_only_titles_of_fixed_rows_can_be_changed(staff_client, model):
    row = get_row(model)
    url = admin_url(model, "change", row.pk)
    assert submit(staff_client, url, title="Other title", identifier="forged", action="amount") == []
    after = model._default_manager.get(pk=row.pk)
    assert model_to_dict(after) == model_to_dict(row) | {"title": "Other title"}
    for page in (admin_url(model, "add"), admin_url(model, "delete", row.pk)):
        assert staff_client.post(page, {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()


def test_a_sku_can_be_added_to_a_product(staff_client):
    product, sku = make(order.Product), make(order.Sku)
    changes = {"product_skus__TOTAL_FORMS": 1, "product_skus__0__sku": sku.pk, "product_skus__0__position": 0}
    assert submit(staff_client, admin_url(order.Product, "change", product.pk), **changes) == []
    assert [entry.sku for entry in product.product_skus.all()] == [sku]


LAST_YEAR = datetime(2024, 11, 21, tzinfo=UTC)
NEW_PRICE = {
    "prices__TOTAL_FORMS": 2,
    "prices__1__currency": "USD",
    "prices__1__amount": "13.00",
    "prices__1__valid_from_0": "2025-02-01",
    "prices__1__valid_from_1": "00:00",
}


def test_a_second_current_price_is_refused(staff_client):
    price = make(order.SkuPrice, valid_from=LAST_YEAR)
    errors = submit(staff_client, admin_url(order.Sku, "change", price.sku_id), **NEW_PRICE)
    assert "Only one current price per currency is allowed. Set “valid until” of the old price." in str(errors)
    assert order.SkuPrice.objects.count() == 1


def test_one_form_can_end_a_price_and_add_a_new_one(staff_client):
    price = make(order.SkuPrice, valid_from=LAST_YEAR)
    ended = {"prices__0__valid_until_0": "2025-02-01", "prices__0__valid_until_1": "00:00"}
    assert submit(staff_client, admin_url(order.Sku, "change", price.sku_id), **NEW_PRICE, **ended) == []
    assert order.Sku.objects.with_price("USD").get().current_price == Decimal("13.00")


@pytest.mark.parametrize("field", ["valid_from", "valid_until"])
def test_a_price_in_the_future_is_refused(staff_client, field):
    price = make(order.SkuPrice, valid_from=LAST_YEAR)
    tomorrow = {f"prices__0__{field}_0": "2999-01-01", f"prices__0__{field}_1": "00:00"}
    errors = submit(staff_client, admin_url(order.Sku, "change", price.sku_id), **tomorrow)
    assert "The date must not be in the future. Prices change when they are entered." in str(errors)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (order.DiscountCode, {"percent_off": ""}, "For the type “Percentage”, set “percent off” only."),
        (order.DiscountCode, {"code": "TEN OFF"}, "The code must not contain spaces."),
        (
            order.Product,
            {"slug": "Mug"},
            "The slug can contain lowercase letters",
        ),
        (
            order.SkuType,
            {"identifier": "Goods"},
            "The identifier can contain lowercase letters",
        ),
        (
            user.Member,
            {"newsletter_subscriber": "on", "email_unsubscribed": "on"},
            "A member who unsubscribed cannot",
        ),
    ],
)
def test_constraint_violations_are_reported_by_the_form(staff_client, model, changes, message):
    row = make(model)
    before = model_to_dict(model._default_manager.get(pk=row.pk))
    assert message in str(submit(staff_client, admin_url(model, "change", row.pk), **changes))
    assert model_to_dict(model._default_manager.get(pk=row.pk)) == before


def test_a_user_without_staff_status_is_redirected(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="visitor"))
    assert client.get(reverse("admin:index")).status_code == 302
