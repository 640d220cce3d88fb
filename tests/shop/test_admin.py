"""The admin: lists, forms, searches and filters work; the number of queries does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import reverse

from clientevent import models as clientevent
from order import models as order
from tests.shop.admin_pages import admin_url, get_row
from tests.shop.builders import make
from tests.shop.queries import query_count
from tests.shop.tables import FIXED, MODELS
from user import models as user

pytestmark = pytest.mark.django_db

REGISTERED = [model for model in MODELS if model in admin.site._registry]
INLINES = {model: [inline.model for inline in admin.site._registry[model].inlines] for model in REGISTERED}
EDITABLE = [model for model in REGISTERED if model not in FIXED]
#: With a search, with inlines, and with neither. The numbers of queries of the other models are slow tests.
QUICK = {order.Product, order.SkuType, user.Email}
_number = count(1)

each_model = pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)


def add_related(parent: Model, inline: type[Model], count: int) -> None:
    """Create `count` rows of an inline of `parent`, or as many as its constraints allow."""
    (key,) = [field for field in inline._meta.fields if field.related_model is type(parent)]
    if key.unique:
        if not inline._default_manager.filter(**{key.name: parent}).exists():
            make(inline, **{key.name: parent})
        return
    statuses = list(order.Status.objects.exclude(order_statuses__order_id=parent.pk))
    for _ in range(min(count, len(statuses)) if inline is order.OrderStatus else count):
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


def get_changelist(model: type[Model], query: str) -> HttpResponse:
    """Return the response of the list without rendering it, which takes most of the time."""
    request = RequestFactory().get(admin_url(model, "changelist") + query)
    request.user = User(is_staff=True, is_superuser=True)
    return admin.site._registry[model].changelist_view(request)


def test_all_models_are_in_the_admin():
    assert set(MODELS) == set(REGISTERED) | {inline for inlines in INLINES.values() for inline in inlines}


@each_model
def test_the_list_and_the_form_load(staff_client, model):
    row = get_row(model)
    for inline in INLINES[model]:
        add_related(row, inline, 2)
    assert str(row.pk) in staff_client.get(admin_url(model, "changelist")).content.decode()
    form = staff_client.get(admin_url(model, "change", row.pk))
    assert form.status_code == 200
    shown = {
        formset.opts.model: formset.formset.initial_form_count() for formset in form.context["inline_admin_formsets"]
    }
    assert list(shown) == INLINES[model]
    assert all(shown.values())
    can_add = admin.site._registry[model].has_add_permission(form.wsgi_request)
    assert staff_client.get(admin_url(model, "add")).status_code == (200 if can_add else 403)


@each_model
def test_all_columns_and_filters_work(db, model):
    get_row(model)
    changelist = get_changelist(model, "").context_data["cl"]  # type: ignore[attr-defined]
    assert len(changelist.list_display) > 2, "the list has more than one column"
    choices = [choice["query_string"] for spec in changelist.filter_specs for choice in spec.choices(changelist)]
    columns = [f"?o={number}" for number in range(1, len(changelist.list_display))]
    for query in [*choices, *columns, "?q=zebra" if changelist.search_fields else ""]:
        response = get_changelist(model, query)
        assert (query, response.status_code) == (query, 200)  # The admin redirects an invalid query.
        list(response.context_data["cl"].result_list)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "model",
    [pytest.param(model, marks=[] if model in QUICK else pytest.mark.slow) for model in EDITABLE],
    ids=lambda model: model._meta.label,
)
def test_the_number_of_queries_is_the_same_for_2_and_12_rows(staff_client, model):
    rows = [make(model) for _ in range(2)]
    pages = [admin_url(model, "changelist"), admin_url(model, "change", rows[0].pk)]
    if admin.site._registry[model].search_fields:
        pages.append(f"{pages[0]}?q=e")
    for inline in INLINES[model]:
        add_related(rows[0], inline, 2)
    ContentType.objects.get_for_models(*MODELS)  # Django caches them.
    expected = [query_count(staff_client, page) for page in pages]
    for _ in range(10):
        make(model)
    for inline in INLINES[model]:
        add_related(rows[0], inline, 10)
    assert [query_count(staff_client, page) for page in pages] == expected


def test_the_number_of_queries_of_autocomplete_is_the_same_for_2_and_12_rows(staff_client):
    page = f"{reverse('admin:autocomplete')}?app_label=order&model_name=cart&field_name=member&term="
    for _ in range(2):
        make(user.Member)
    staff_client.get(page)
    expected = query_count(staff_client, page)
    for _ in range(10):
        make(user.Member)
    assert query_count(staff_client, page) == expected
    assert len(staff_client.get(page).json()["results"]) == 12


SEARCHES: dict[str, tuple[type[Model], Callable[[], Any], str]] = {
    "product by a SKU's code": (
        order.Product,
        lambda: make(order.ProductSku, sku=make(order.Sku, code="ZEBRA-1")).product,
        "zebra",
    ),
    "product by title": (order.Product, lambda: make(order.Product, title="Zebra mug"), "zebra"),
    "SKU by color": (order.Sku, lambda: make(order.Sku, color="Zebra"), "zebra"),
    "discount code": (order.DiscountCode, lambda: make(order.DiscountCode, code="ZEBRA10"), "zebra10"),
    "order by number": (order.Order, lambda: make(order.Order, identifier="ZEBRA-1"), "zebra-1"),
    "order by customer": (
        order.Order,
        lambda: make(order.Order, member=make(user.Member, user=_user("zebra"))),
        "Zebra",
    ),
    "order by a line": (
        order.Order,
        lambda: make(order.OrderSku, sku=make(order.Sku, code="ZEBRA-1")).order,
        "zebra-1",
    ),
    "cart by a line": (order.Cart, lambda: make(order.CartSku, sku=make(order.Sku, code="ZEBRA-1")).cart, "zebra-1"),
    "member by address": (user.Member, lambda: make(user.Member, user=_user("zebra")), "zebra@example.com"),
    "prospect by address": (user.Prospect, lambda: make(user.Prospect, email="zebra@example.com"), "zebra@"),
    "chat message": (user.ChatMessage, lambda: make(user.ChatMessage, message="Is it a zebra?"), "zebra"),
    "page view": (clientevent.Pageview, lambda: make(clientevent.Pageview, url="/zebra"), "zebra"),
}


def _user(name: str) -> Any:
    return make(User, username=name, email=f"{name}@example.com", last_name=name.capitalize())


@pytest.mark.parametrize("case", sorted(SEARCHES))
def test_a_search_finds_the_matching_row_only(staff_client, case):
    model, create, words = SEARCHES[case]
    row = create()
    make(model)
    found = staff_client.get(admin_url(model, "changelist"), {"q": words}).context["cl"]
    assert list(found.result_list) == [row]


def test_orders_are_filtered_by_their_newest_status(staff_client):
    statuses = {status.identifier: status for status in order.Status.objects.all()}
    paid, shipped = make(order.Order), make(order.Order)
    make(order.OrderStatus, order=paid, status=statuses["paid"])
    for hour, state in enumerate(("paid", "shipped")):
        make(order.OrderStatus, order=shipped, status=statuses[state], set_at=f"2025-11-21T{hour:02}:00Z")
    url = admin_url(order.Order, "changelist")
    assert list(staff_client.get(url, {"status": "paid"}).context["cl"].result_list) == [paid]
    assert list(staff_client.get(url, {"status": "shipped"}).context["cl"].result_list) == [shipped]
    assert list(staff_client.get(url, {"status": "refunded"}).context["cl"].result_list) == []


def test_counts_are_correct_with_a_filter(staff_client):
    product, goods = make(order.Product), order.SkuType.objects.get(identifier="goods")
    for _ in range(3):
        make(order.ProductSku, product=product, sku=make(order.Sku, type=goods))
    found = staff_client.get(admin_url(order.Product, "changelist"), {"skus__type__id__exact": goods.pk})
    assert [(row.pk, row.sku_count) for row in found.context["cl"].result_list] == [(product.pk, 3)]


def test_the_sku_list_shows_stock_and_price_in_the_currency_of_the_shop(staff_client):
    order.Configuration.objects.filter(key="currency").update(value="EUR")
    sku = make(order.Sku)
    make(order.SkuInventory, sku=sku, quantity=1234)
    make(order.SkuPrice, sku=sku, amount=Decimal("7.00"))
    make(order.SkuPrice, sku=sku, amount=Decimal("6.44"), currency="EUR")
    page = staff_client.get(admin_url(order.Sku, "changelist")).content.decode()
    assert "€6.44" in page
    assert "$7.00" not in page
    assert ">1234<" in page
