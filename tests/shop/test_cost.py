"""What a page costs: queries that do not grow with the rows, and an index for each that could be slow."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from order import models as order
from tests.shop.test_pages import product

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("url", ["/", "/order/products"])
def test_twelve_products_cost_as_many_queries_as_two(client, url):
    for _ in range(2):
        product(prices=("1.00", "2.00"))
    with_two = queries(client, url)
    for _ in range(10):
        product(prices=("1.00", "2.00"))
    assert queries(client, url) == with_two


def test_twelve_skus_cost_as_many_queries_as_two(client):
    small, large = product(prices=("1.00",) * 2), product(prices=("1.00",) * 12)
    assert queries(client, large.get_absolute_url()) == queries(client, small.get_absolute_url())


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        pytest.param(lambda: order.Product.objects.published()[:24], "order_product_published", id="the list"),
        pytest.param(lambda: order.Product.objects.with_price("USD")[:24], "order_sku_price_one_current", id="prices"),
        pytest.param(lambda: order.Sku.objects.with_price("USD")[:24], "order_sku_price_one_current", id="a price"),
        pytest.param(lambda: order.Sku.objects.filter(code="A"), "order_sku_code", id="a SKU"),
        pytest.param(lambda: order.Order.objects.all()[:100], "order_order_placed", id="orders"),
        pytest.param(lambda: order.Order.objects.with_status()[:100], "order_order_status_newest", id="their statuses"),
        pytest.param(lambda: order.Cart.objects.all()[:100], "order_cart_created", id="carts"),
    ],
)
def test_what_the_pages_ask_has_an_index(asked, index):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        assert f" {index} " in asked().explain()
