"""The admin: every list and form loads, searches find, filters filter, and the queries do not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from clientevent import models as clientevent
from order import models as order
from tests.shop.builders import make
from tests.shop.test_tables import CLOSED, MODELS
from user import models as user

pytestmark = pytest.mark.django_db

REGISTERED = [model for model in MODELS if model in admin.site._registry]
INLINES = {model: [inline.model for inline in admin.site._registry[model].inlines] for model in REGISTERED}
READ_ONLY = [
    user.EmailSent,
    user.EmailUnsubscribeReason,
    clientevent.Pageview,
    clientevent.AjaxError,
    clientevent.ButtonClick,
    clientevent.Linkevent,
]
OPEN = [model for model in REGISTERED if model not in CLOSED]
_number = count(1)

each_model = pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)


def address(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def a_row(model: type[Model]) -> Any:
    """A row of `model`; of a closed set, the one that is there."""
    return (model in CLOSED and model._default_manager.first()) or make(model)


def parts(parent: Model, inline: type[Model], how_many: int) -> None:
    """That many more rows of `parent` in one of its inlines, or as many as there can be."""
    (key,) = [field for field in inline._meta.fields if field.related_model is type(parent)]
    if key.unique:
        if not inline._default_manager.filter(**{key.name: parent}).exists():
            make(inline, **{key.name: parent})
        return
    statuses = list(order.Status.objects.exclude(order_statuses__order_id=parent.pk))
    for _ in range(min(how_many, len(statuses)) if inline is order.OrderStatus else how_many):
        values: dict[str, Any] = {key.name: parent}
        if inline in {order.ProductImage, order.SkuImage}:
            values["path"] = f"order/products/{next(_number)}.svg"
        if inline is order.ProductVideo:
            values["url"] = f"https://example.com/{next(_number)}"
        if inline is order.SkuPrice:
            values["valid_until"] = "2026-11-01T00:00Z"
        if inline is order.OrderStatus:
            values["status"] = statuses.pop()
        make(inline, **values)


def queries(client: Client, url: str) -> int:
    """How many queries the page costs the second time: the first time fills Django's caches."""
    client.get(url)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def test_every_table_is_in_the_admin():
    assert set(MODELS) == set(REGISTERED) | {inline for inlines in INLINES.values() for inline in inlines}


@each_model
def test_list_and_form_load(shopkeeper, model):
    row = a_row(model)
    for inline in INLINES[model]:
        parts(row, inline, 2)
    assert str(row.pk) in shopkeeper.get(address(model, "changelist")).content.decode()
    form = shopkeeper.get(address(model, "change", row.pk))
    assert form.status_code == 200
    shown = {
        formset.opts.model: formset.formset.initial_form_count() for formset in form.context["inline_admin_formsets"]
    }
    assert list(shown) == INLINES[model]
    assert all(shown.values())
    may_add = admin.site._registry[model].has_add_permission(form.wsgi_request)
    assert shopkeeper.get(address(model, "add")).status_code == (200 if may_add else 403)


@each_model
def test_every_column_sorts_and_every_choice_of_every_filter_loads(shopkeeper, model):
    a_row(model)
    url = address(model, "changelist")
    found = shopkeeper.get(url).context["cl"]
    assert len(found.list_display) > 2, "a list says more than a name"
    choices = [c["query_string"] for spec in found.filter_specs for c in spec.choices(found)]
    columns = [f"?o={number}" for number in range(1, len(found.list_display))]
    for query in [*choices, *columns, "?q=zebra" if found.search_fields else ""]:
        answer = shopkeeper.get(url + query)
        assert (query, answer.status_code) == (query, 200)  # An address that the admin does not know is redirected.


@pytest.mark.parametrize("model", OPEN, ids=lambda model: model._meta.label)
def test_twelve_rows_cost_as_many_queries_as_two(shopkeeper, model):
    rows = [make(model) for _ in range(2)]
    pages = [address(model, "changelist"), address(model, "change", rows[0].pk)]
    if admin.site._registry[model].search_fields:
        pages.append(f"{pages[0]}?q=e")
    with_two = [queries(shopkeeper, page) for page in pages]
    for _ in range(10):
        make(model)
    assert [queries(shopkeeper, page) for page in pages] == with_two


@pytest.mark.parametrize("model", [model for model in OPEN if INLINES[model]], ids=lambda model: model._meta.label)
def test_twelve_rows_of_each_inline_cost_as_many_queries_as_two(shopkeeper, model):
    row = make(model)
    page = address(model, "change", row.pk)
    for inline in INLINES[model]:
        parts(row, inline, 2)
    with_two = queries(shopkeeper, page)
    for inline in INLINES[model]:
        parts(row, inline, 10)
    assert queries(shopkeeper, page) == with_two


def test_what_autocompletes_costs_the_same_for_twelve_as_for_two(shopkeeper):
    page = f"{reverse('admin:autocomplete')}?app_label=order&model_name=cart&field_name=member&term="
    for _ in range(2):
        make(user.Member)
    with_two = queries(shopkeeper, page)
    for _ in range(10):
        make(user.Member)
    assert queries(shopkeeper, page) == with_two
    assert len(shopkeeper.get(page).json()["results"]) == 12


SEARCHES: dict[str, tuple[type[Model], Callable[[], Any], str]] = {
    "product by a SKU's code": (
        order.Product,
        lambda: make(order.ProductSku, sku=make(order.Sku, code="ZEBRA-1")).product,
        "zebra",
    ),
    "product by title": (order.Product, lambda: make(order.Product, title="Zebra mug"), "zebra"),
    "SKU by colour": (order.Sku, lambda: make(order.Sku, color="Zebra"), "zebra"),
    "discount code": (order.DiscountCode, lambda: make(order.DiscountCode, code="ZEBRA10"), "zebra10"),
    "order by number": (order.Order, lambda: make(order.Order, identifier="ZEBRA-1"), "zebra-1"),
    "order by customer": (
        order.Order,
        lambda: make(order.Order, member=make(user.Member, user=_somebody("zebra"))),
        "Zebra",
    ),
    "order by a line": (
        order.Order,
        lambda: make(order.OrderSku, sku=make(order.Sku, code="ZEBRA-1")).order,
        "zebra-1",
    ),
    "cart by a line": (order.Cart, lambda: make(order.CartSku, sku=make(order.Sku, code="ZEBRA-1")).cart, "zebra-1"),
    "member by address": (user.Member, lambda: make(user.Member, user=_somebody("zebra")), "zebra@example.com"),
    "prospect by address": (user.Prospect, lambda: make(user.Prospect, email="zebra@example.com"), "zebra@"),
    "chat message": (user.ChatMessage, lambda: make(user.ChatMessage, message="Is it a zebra?"), "zebra"),
    "page view": (clientevent.Pageview, lambda: make(clientevent.Pageview, url="/zebra"), "zebra"),
}


def _somebody(name: str) -> Any:
    return make(User, username=name, email=f"{name}@example.com", last_name=name.capitalize())


@pytest.mark.parametrize("case", sorted(SEARCHES))
def test_a_search_finds_it_and_nothing_else(shopkeeper, case):
    model, wanted, words = SEARCHES[case]
    row = wanted()
    make(model)
    found = shopkeeper.get(address(model, "changelist"), {"q": words}).context["cl"]
    assert list(found.result_list) == [row]


def test_orders_are_filtered_by_where_they_are_not_by_where_they_were(shopkeeper):
    statuses = {status.identifier: status for status in order.Status.objects.all()}
    waiting, sent = make(order.Order), make(order.Order)
    make(order.OrderStatus, order=waiting, status=statuses["paid"])
    for hour, state in enumerate(("paid", "shipped")):
        make(order.OrderStatus, order=sent, status=statuses[state], set_at=f"2025-11-21T{hour:02}:00Z")
    url = address(order.Order, "changelist")
    assert list(shopkeeper.get(url, {"status": "paid"}).context["cl"].result_list) == [waiting]
    assert list(shopkeeper.get(url, {"status": "shipped"}).context["cl"].result_list) == [sent]
    assert list(shopkeeper.get(url, {"status": "refunded"}).context["cl"].result_list) == []


def test_the_counts_in_a_list_are_right_under_a_filter(shopkeeper):
    product, goods = make(order.Product), order.SkuType.objects.get(identifier="goods")
    for _ in range(3):
        make(order.ProductSku, product=product, sku=make(order.Sku, type=goods))
    found = shopkeeper.get(address(order.Product, "changelist"), {"skus__type__id__exact": goods.pk})
    assert [(row.pk, row.sku_count) for row in found.context["cl"].result_list] == [(product.pk, 3)]


def test_sku_list_shows_stock_and_the_price_in_the_shops_currency(shopkeeper):
    order.Configuration.objects.filter(key="currency").update(value="EUR")
    sku = make(order.Sku)
    make(order.SkuInventory, sku=sku, quantity=1234)
    make(order.SkuPrice, sku=sku, amount=Decimal("7.00"))
    make(order.SkuPrice, sku=sku, amount=Decimal("6.44"), currency="EUR")
    page = shopkeeper.get(address(order.Sku, "changelist")).content.decode()
    assert "€6.44" in page
    assert "$7.00" not in page
    assert ">1234<" in page
