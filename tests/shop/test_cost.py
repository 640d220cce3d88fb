"""The queries of the pages: their number does not grow with the rows, and they use indexes."""

from __future__ import annotations

import pytest
from django.db import connection

from order import models as order
from tests.shop.builders import make_product
from tests.shop.queries import query_count

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("url", ["/", "/order/products"])
def test_the_number_of_queries_is_the_same_for_2_and_12_products(client, url):
    for _ in range(2):
        make_product(prices=("1.00", "2.00"))
    with_two = query_count(client, url)
    for _ in range(10):
        make_product(prices=("1.00", "2.00"))
    assert query_count(client, url) == with_two


def test_the_number_of_queries_is_the_same_for_2_and_12_skus(client):
    small, large = make_product(prices=("1.00",) * 2), make_product(prices=("1.00",) * 12)
    assert query_count(client, large.get_absolute_url()) == query_count(client, small.get_absolute_url())


@pytest.mark.parametrize(
    ("query", "index"),
    [
        pytest.param(lambda: order.Product.objects.published()[:24], "order_product_published", id="product list"),
        pytest.param(lambda: order.Product.objects.with_price("USD")[:24], "order_sku_price_one_current", id="prices"),
        pytest.param(lambda: order.Sku.objects.with_price("USD")[:24], "order_sku_price_one_current", id="SKU price"),
        pytest.param(lambda: order.Sku.objects.filter(code="A"), "order_sku_code", id="SKU"),
        pytest.param(lambda: order.Order.objects.all()[:100], "order_order_placed", id="orders"),
        pytest.param(lambda: order.Order.objects.with_status()[:100], "order_order_status_newest", id="order statuses"),
        pytest.param(lambda: order.Cart.objects.all()[:100], "order_cart_created", id="carts"),
    ],
)
def test_queries_of_the_pages_use_an_index(query, index):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        assert f" {index} " in query().explain()
