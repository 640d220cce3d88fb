"""What a shopkeeper may change in the admin, and what nobody may: forms are sent as a browser sends them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import reverse

from order import models as order
from tests.shop.builders import make
from tests.shop.markup import Page
from tests.shop.test_admin import READ_ONLY, a_row, address
from tests.shop.test_tables import CLOSED
from user import models as user

pytestmark = pytest.mark.django_db


def send(client: Client, url: str, **changes: Any) -> list[Any]:
    """Sends the form of the page at `url` with `changes` (``lines__0__note`` is the field ``lines-0-note``).

    Returns:
        What the form complains about; nothing where it was saved.
    """
    page = Page(client.get(url).content.decode())
    (form,) = [form for form in page.all("form") if form.attributes["id"].endswith("_form")]
    values = page.values(form) | {name.replace("__", "-"): value for name, value in changes.items()}
    answer = client.post(url, values)
    if answer.status_code == 302:
        return []
    formsets = [inline.formset for inline in answer.context["inline_admin_formsets"]]
    complaints = [answer.context["adminform"].form.errors]
    for formset in formsets:
        complaints += [formset.non_form_errors(), *formset.errors]
    return [complaint for complaint in complaints if complaint]


@pytest.fixture
def an_order() -> Any:
    """An order with one of everything."""
    row = make(order.Order)
    for part in (order.OrderSku, order.OrderShippingMethod, order.OrderPayment, order.OrderStatus, order.OrderDiscount):
        make(part, order=row)
    return row


def everything(row: order.Order) -> dict[str, Any]:
    """The order and its parts, as values."""
    parts = (row.lines, row.statuses, row.payments, row.discounts)
    return model_to_dict(row) | {rows.model.__name__: list(rows.order_by("pk").values()) for rows in parts}


def test_what_was_agreed_and_what_happened_stands(shopkeeper, an_order):
    url, before = address(order.Order, "change", an_order.pk), everything(an_order)
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
    assert send(shopkeeper, url, **forged) == []
    after = order.Order.objects.get()
    assert everything(after) == before
    assert after.shipping_method.cost == Decimal("5.00")


def test_an_order_goes_on(shopkeeper, an_order):
    url = address(order.Order, "change", an_order.pk)
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
    assert send(shopkeeper, url, **changes) == []
    after = order.Order.objects.with_status().get()
    assert (after.email, after.status_identifier, after.shipping_method.tracking_number) == (
        "new@example.com",
        "shipped",
        "1Z999",
    )


def test_an_order_in_the_books_is_not_deleted(shopkeeper, an_order):
    url = address(order.Order, "delete", an_order.pk)
    assert "would require deleting the following protected related objects" in shopkeeper.get(url).content.decode()
    shopkeeper.post(url, {"post": "yes"})
    assert order.Order.objects.filter(pk=an_order.pk).exists()


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model._meta.label)
def test_what_happened_is_not_edited(shopkeeper, model):
    row = make(model)
    before = model_to_dict(row)
    assert shopkeeper.post(address(model, "change", row.pk), {"url": "/forged", "address": "x"}).status_code == 403
    assert shopkeeper.post(address(model, "add"), {}).status_code == 403
    assert model_to_dict(model._default_manager.get()) == before


@pytest.mark.parametrize("model", sorted(CLOSED, key=str), ids=lambda model: model._meta.label)
def test_of_a_closed_set_only_the_words_change(shopkeeper, model):
    row = a_row(model)
    url = address(model, "change", row.pk)
    assert send(shopkeeper, url, title="Other words", identifier="forged", action="amount") == []
    after = model._default_manager.get(pk=row.pk)
    assert model_to_dict(after) == model_to_dict(row) | {"title": "Other words"}
    for page in (address(model, "add"), address(model, "delete", row.pk)):
        assert shopkeeper.post(page, {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()


def test_a_product_gets_a_sku(shopkeeper):
    product, sku = make(order.Product), make(order.Sku)
    changes = {"product_skus__TOTAL_FORMS": 1, "product_skus__0__sku": sku.pk, "product_skus__0__position": 0}
    assert send(shopkeeper, address(order.Product, "change", product.pk), **changes) == []
    assert [entry.sku for entry in product.product_skus.all()] == [sku]


LAST_YEAR = datetime(2024, 11, 21, tzinfo=UTC)
NEW_PRICE = {
    "prices__TOTAL_FORMS": 2,
    "prices__1__currency": "USD",
    "prices__1__amount": "13.00",
    "prices__1__valid_from_0": "2025-02-01",
    "prices__1__valid_from_1": "00:00",
}


def test_a_second_current_price_is_refused_in_words(shopkeeper):
    price = make(order.SkuPrice, valid_from=LAST_YEAR)
    complaints = send(shopkeeper, address(order.Sku, "change", price.sku_id), **NEW_PRICE)
    assert "A currency has one current price: say until when the old one was valid." in str(complaints)
    assert order.SkuPrice.objects.count() == 1


def test_a_new_price_ends_the_old_one_in_one_form(shopkeeper):
    price = make(order.SkuPrice, valid_from=LAST_YEAR)
    ended = {"prices__0__valid_until_0": "2025-02-01", "prices__0__valid_until_1": "00:00"}
    assert send(shopkeeper, address(order.Sku, "change", price.sku_id), **NEW_PRICE, **ended) == []
    assert order.Sku.objects.with_price("USD").get().current_price == Decimal("13.00")


@pytest.mark.parametrize("field", ["valid_from", "valid_until"])
def test_a_price_to_come_is_refused(shopkeeper, field):
    price = make(order.SkuPrice, valid_from=LAST_YEAR)
    tomorrow = {f"prices__0__{field}_0": "2999-01-01", f"prices__0__{field}_1": "00:00"}
    complaints = send(shopkeeper, address(order.Sku, "change", price.sku_id), **tomorrow)
    assert "This is still to come: prices change when they are entered." in str(complaints)


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        (order.DiscountCode, {"percent_off": ""}, "asks for: a percentage off the goods"),
        (order.DiscountCode, {"code": "TEN OFF"}, "A code has no spaces in it."),
        (order.Product, {"slug": "Mug"}, "An address is made of small letters"),
        (order.SkuType, {"identifier": "Goods"}, "An identifier is made of small letters"),
        (user.Member, {"newsletter_subscriber": "on", "email_unsubscribed": "on"}, "Who unsubscribed is no"),
    ],
)
def test_a_form_says_what_the_database_would_refuse(shopkeeper, model, changes, words):
    row = make(model)
    before = model_to_dict(model._default_manager.get(pk=row.pk))
    assert words in str(send(shopkeeper, address(model, "change", row.pk), **changes))
    assert model_to_dict(model._default_manager.get(pk=row.pk)) == before


def test_who_may_not_keep_shop_sees_nothing(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="visitor"))
    assert client.get(reverse("admin:index")).status_code == 302
