"""The pages of the shop."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from order import models as order
from tests.shop.builders import make, make_product
from tests.shop.markup import Page

pytestmark = pytest.mark.django_db


def configure(key: str, value: str) -> None:
    order.Configuration.objects.update_or_create(key=key, defaults={"value": value})


def get(client: Client, url: str, status: int = 200) -> Page:
    response = client.get(url)
    assert response.status_code == status
    return Page(response.content.decode())


def texts(page: Page, *tags: str) -> list[str]:
    return [" ".join(element.text.split()) for element in page.all(*tags)]


def prices(page: Page) -> list[str]:
    return [" ".join(e.text.split()) for e in page.all("p", "td") if "price" in e.attributes.get("class", "").split()]


# Product list


def test_the_list_shows_published_products_with_prices(client):
    make_product("Zebra mug", prices=("18.00", "16.50"))
    make_product("Apple mug", prices=("12.00", "12.00"))
    make_product("Milk mug", prices=())
    make_product("Secret mug", is_published=False)
    page = get(client, "/")
    assert texts(page, "h2") == ["Apple mug", "Milk mug", "Zebra mug"]
    assert prices(page) == ["$12.00", "Not available", "from $16.50"]
    assert "3 products" in texts(page, "p")


def test_only_current_prices_of_active_skus_in_the_currency_count(client):
    product = make_product(prices=("12.00",))
    make(order.SkuPrice, sku=product.skus.get(), amount=Decimal("1.00"), valid_until="2026-01-01T00:00Z")
    make(order.SkuPrice, sku=product.skus.get(), amount=Decimal("2.00"), currency="EUR")
    inactive = make(order.Sku, is_active=False)
    make(order.ProductSku, product=product, sku=inactive)
    make(order.SkuPrice, sku=inactive, amount=Decimal("3.00"))
    assert prices(get(client, "/")) == ["$12.00"]
    assert prices(get(client, product.get_absolute_url())) == ["$12.00"]


def test_the_list_of_an_empty_shop(client):
    page = get(client, "/")
    assert "There are no products yet." in texts(page, "p")
    assert "0 products" in texts(page, "p")


@pytest.mark.parametrize(
    ("query", "titles", "label"),
    [
        ("", 24, "Page 1 of 2"),
        ("?page=2", 1, "Page 2 of 2"),
        ("?page=99", 1, "Page 2 of 2"),
        ("?page=mug", 24, "Page 1 of 2"),
    ],
)
def test_a_long_list_is_paginated(client, query, titles, label):
    for number in range(25):
        make(order.Product, title=f"Mug {number:02}")
    page = get(client, f"/{query}")
    assert (len(page.all("h2")), label in texts(page, "span")) == (titles, True)


# Product page


def test_a_product_page_shows_skus_images_and_videos(client):
    product = make_product("Mug", prices=(), headline="Holds coffee", description="Round.\n\nGreen.")
    for code, color, stock, price in (
        ("A", "Green", {"quantity": 9}, "18.00"),
        ("B", "Sand", {"quantity": 3, "reorder_level": 4}, "18.50"),
        ("C", "Red", {"quantity": 0}, None),
        ("D", "Blue", {"quantity": 0, "is_back_orderable": True}, "1234.50"),
        ("E", "", None, "7.00"),
    ):
        sku = make(order.Sku, code=code, color=color, title="Mug")
        make(order.ProductSku, product=product, sku=sku, position=ord(code))
        if stock is not None:
            make(order.SkuInventory, sku=sku, **stock)
        if price:
            make(order.SkuPrice, sku=sku, amount=Decimal(price))
    make(order.ProductVideo, product=product, url="https://videos.example.com/mug", title="How it is made")
    page = get(client, product.get_absolute_url())
    assert texts(page, "tr")[1:] == [
        "Green A In stock $18.00",
        "Sand B Only 3 left $18.50",
        "Red C Sold out Not available",
        "Blue D On back order $1,234.50",
        "Mug E Always available $7.00",
    ]
    assert {"Holds coffee", "Round.", "Green."} <= set(texts(page, "p"))
    assert [image.attributes["alt"] for image in page.all("img") if image.inside("article")] == ["A mug"]
    (video,) = [link for link in page.all("a") if link.attributes["href"].startswith("https:")]
    assert (video.text, video.attributes["rel"]) == ("How it is made", "noopener external")


def test_a_product_without_skus(client):
    page = get(client, make_product(prices=()).get_absolute_url())
    assert "This product is not available at the moment." in texts(page, "p")
    assert page.all("table") == []


@pytest.mark.parametrize("values", [{"is_published": False}, {"slug": "other"}])
def test_a_missing_or_unpublished_product_is_not_found(client, values):
    make_product(**{"slug": "mug"} | values)
    page = get(client, "/products/mug/", 404)
    assert texts(page, "h1") == ["Page not found"]
    assert [link.attributes["href"] for link in page.all("a") if link.inside("main")] == ["/"]


def test_text_is_escaped(client):
    product = make_product("<script>alert(1)</script>", headline='"><img src=x>', description="<b>bold</b>")
    for url in ("/", product.get_absolute_url()):
        page = get(client, url)
        assert page.all("script", "b") == []
        assert "<script>alert(1)</script>" in texts(page, "h1", "h2")


# Shop, tenant and release


@pytest.mark.parametrize(
    ("currency", "shown"),
    [
        ("USD", ["$12.00"]),
        ("EUR", ["€11.04"]),
        ("eur", ["€11.04"]),
        ("GBP", ["Not available"]),
        ("CHF", ["$12.00"]),
        ("", ["$12.00"]),
    ],
)
def test_the_currency_is_configurable(client, currency, shown):
    configure("currency", currency)
    product = make_product(prices=("12.00",))
    make(order.SkuPrice, sku=product.skus.get(), amount=Decimal("11.04"), currency="EUR")
    assert prices(get(client, "/")) == shown
    assert prices(get(client, product.get_absolute_url())) == shown


@pytest.mark.parametrize(
    ("database", "configured", "name"),
    [
        ("healthtech_experiment", "", "Healthtech Experiment"),
        ("healthtech_experiment", "Good Health", "Good Health"),
        ("shop", "", "Shop"),
    ],
)
def test_pages_show_shop_and_release_but_not_the_database(client, settings, monkeypatch, database, configured, name):
    settings.RELEASE = "2025.11.21-abc1234"
    configure("shop_name", configured)
    product = make_product()
    monkeypatch.setitem(connection.settings_dict, "NAME", database)
    for url in ("/", product.get_absolute_url()):
        page = get(client, url)
        assert texts(page, "dd") == ["2025.11.21-abc1234"]
        assert page.all("title")[0].text.endswith(name)
        assert texts(page, "a")[1] == name


def test_the_admin_shows_shop_tenant_and_release(staff_client, settings, monkeypatch):
    settings.RELEASE = "abc1234"
    monkeypatch.setitem(connection.settings_dict, "NAME", "fintech_experiment")
    page = get(staff_client, "/admin/")
    assert "Tenant fintech_experiment · Release abc1234" in texts(page, "p")
    assert page.all("title")[0].text.endswith("Fintech Experiment")


# JSON


def test_products_as_json(client, settings):
    settings.RELEASE = "abc1234"
    configure("shop_name", "Good Mugs")
    make_product("Mug", prices=("18.00", "16.50"), identifier="MUG", slug="mug")
    make_product("Tea", prices=(), identifier="TEA", slug="tea")
    make_product("Secret", is_published=False)
    response = client.get("/order/products", headers={"host": "10.0.3.7"})  # the Host of a load balancer
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"]
    assert json.loads(response.content) == {
        "shop": "Good Mugs",
        "tenant": connection.settings_dict["NAME"],
        "release": "abc1234",
        "count": 2,
        "products": [
            {"identifier": "MUG", "title": "Mug", "url": "/products/mug/", "price": "16.50", "currency": "USD"},
            {"identifier": "TEA", "title": "Tea", "url": "/products/tea/", "price": None, "currency": "USD"},
        ],
    }


def test_json_lists_one_page_and_counts_all_products(client):
    for _ in range(25):
        make(order.Product)
    response = client.get("/order/products").json()
    assert (response["count"], len(response["products"])) == (25, 24)


@pytest.mark.parametrize("url", ["/", "/products/mug/", "/order/products", "/healthz"])
def test_pages_accept_get_and_head_only(client, url):
    make(order.Product, slug="mug")
    assert (client.head(url).status_code, client.post(url).status_code) == (200, 405)


# Static files in production


@pytest.mark.slow
def test_production_uses_hashed_names_and_a_placeholder_for_missing_files(client, settings, tmp_path):
    settings.PRODUCTION = True
    settings.STATIC_ROOT = tmp_path
    call_command("collectstatic", interactive=False, verbosity=0)
    product = make_product()
    make(order.ProductImage, product=product, path="order/products/not-there.svg", alternative_text="Nothing")
    page = get(client, product.get_absolute_url())
    links = [e.attributes.get("href") or e.attributes["src"] for e in page.all("link", "img")]
    names = [link.removeprefix("/static/") for link in links]
    assert [name for name in names if not (tmp_path / name).is_file()] == []
    assert all(len(name.split(".")) == 3 for name in names), names
    assert [n.split(".")[0] for n in names if "missing" in n] == ["order/missing"]


@pytest.mark.parametrize(
    ("url", "status", "title"), [("/", 500, "The page cannot be shown"), ("/x", 404, "Page not found")]
)
def test_error_pages_do_not_need_collectstatic(client, settings, tmp_path, url, status, title):
    settings.PRODUCTION = True
    settings.STATIC_ROOT = tmp_path
    client.raise_request_exception = False
    page = get(client, url, status)
    assert texts(page, "h1") == [title]
    assert [link.attributes["href"] for link in page.all("link")] == [
        "/static/order/icon.svg",
        "/static/order/shop.css",
    ]


def test_pages_are_compressed_and_cached_for_a_minute(client):
    for _ in range(5):
        make_product()
    response = client.get("/", headers={"accept-encoding": "gzip"})
    assert (response["Content-Encoding"], response["Cache-Control"]) == ("gzip", "public, max-age=60")
