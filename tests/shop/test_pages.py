"""The shop's pages: what they show, in which currency, and of which tenant."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from order import models as order
from tests.shop.builders import make
from tests.shop.markup import Page

pytestmark = pytest.mark.django_db


def product(title: str = "Mug", *, prices: tuple[str, ...] = ("12.00",), currency: str = "USD", **values: Any) -> Any:
    """A product with a picture and an active SKU for each price."""
    made = make(order.Product, title=title, **values)
    make(order.ProductImage, product=made)
    for amount in prices:
        sku = make(order.Sku)
        make(order.ProductSku, product=made, sku=sku)
        make(order.SkuPrice, sku=sku, amount=Decimal(amount), currency=currency)
        make(order.SkuInventory, sku=sku)
        make(order.SkuImage, sku=sku)
    return made


def configure(key: str, value: str) -> None:
    order.Configuration.objects.update_or_create(key=key, defaults={"value": value})


def get(client: Client, url: str, status: int = 200) -> Page:
    answer = client.get(url)
    assert answer.status_code == status
    return Page(answer.content.decode())


def texts(page: Page, *tags: str) -> list[str]:
    return [" ".join(element.text.split()) for element in page.all(*tags)]


def prices(page: Page) -> list[str]:
    return [" ".join(e.text.split()) for e in page.all("p", "td") if "price" in e.attributes.get("class", "").split()]


# The list.


def test_the_list_shows_what_is_published_by_title_with_its_price(client):
    product("Zebra mug", prices=("18.00", "16.50"))
    product("Apple mug", prices=("12.00", "12.00"))
    product("Milk mug", prices=())
    product("Secret mug", is_published=False)
    page = get(client, "/")
    assert texts(page, "h2") == ["Apple mug", "Milk mug", "Zebra mug"]
    assert prices(page) == ["$12.00", "Not on sale", "from $16.50"]
    assert "3 products" in texts(page, "p")


def test_old_prices_other_currencies_and_what_is_no_longer_sold_make_no_price(client):
    made = product(prices=("12.00",))
    make(order.SkuPrice, sku=made.skus.get(), amount=Decimal("1.00"), valid_until="2026-01-01T00:00Z")
    make(order.SkuPrice, sku=made.skus.get(), amount=Decimal("2.00"), currency="EUR")
    gone = make(order.Sku, is_active=False)
    make(order.ProductSku, product=made, sku=gone)
    make(order.SkuPrice, sku=gone, amount=Decimal("3.00"))
    assert prices(get(client, "/")) == ["$12.00"]
    assert prices(get(client, made.get_absolute_url())) == ["$12.00"]


def test_an_empty_shop_says_so(client):
    page = get(client, "/")
    assert "The shelves are still empty. Come back soon." in texts(page, "p")
    assert "0 products" in texts(page, "p")


@pytest.mark.parametrize(
    ("query", "titles", "words"),
    [
        ("", 24, "Page 1 of 2"),
        ("?page=2", 1, "Page 2 of 2"),
        ("?page=99", 1, "Page 2 of 2"),
        ("?page=mug", 24, "Page 1 of 2"),
    ],
)
def test_a_long_list_has_pages(client, query, titles, words):
    for number in range(25):
        make(order.Product, title=f"Mug {number:02}")
    page = get(client, f"/{query}")
    assert (len(page.all("h2")), words in texts(page, "span")) == (titles, True)


# A product.


def test_a_product_page_shows_its_skus_pictures_and_films(client):
    made = product("Mug", prices=(), headline="Holds coffee", description="Round.\n\nGreen.")
    for code, color, stock, price in (
        ("A", "Green", {"quantity": 9}, "18.00"),
        ("B", "Sand", {"quantity": 3, "reorder_level": 4}, "18.50"),
        ("C", "Red", {"quantity": 0}, None),
        ("D", "Blue", {"quantity": 0, "is_back_orderable": True}, "1234.50"),
        ("E", "", None, "7.00"),
    ):
        sku = make(order.Sku, code=code, color=color, title="Mug")
        make(order.ProductSku, product=made, sku=sku, position=ord(code))
        if stock is not None:
            make(order.SkuInventory, sku=sku, **stock)
        if price:
            make(order.SkuPrice, sku=sku, amount=Decimal(price))
    make(order.ProductVideo, product=made, url="https://films.example.com/mug", title="How it is made")
    page = get(client, made.get_absolute_url())
    assert texts(page, "tr")[1:] == [
        "Green A In stock $18.00",
        "Sand B Only 3 left $18.50",
        "Red C Sold out Not on sale",
        "Blue D On back order $1,234.50",
        "Mug E Always available $7.00",
    ]
    assert {"Holds coffee", "Round.", "Green."} <= set(texts(page, "p"))
    assert [image.attributes["alt"] for image in page.all("img") if image.inside("article")] == ["A mug"]
    (film,) = [link for link in page.all("a") if link.attributes["href"].startswith("https:")]
    assert (film.text, film.attributes["rel"]) == ("How it is made", "noopener external")


def test_a_product_without_skus_says_so(client):
    page = get(client, product(prices=()).get_absolute_url())
    assert "Nothing of this is on sale at the moment." in texts(page, "p")
    assert page.all("table") == []


@pytest.mark.parametrize("values", [{"is_published": False}, {"slug": "other"}])
def test_what_is_not_there_is_a_page_too(client, values):
    product(**{"slug": "mug"} | values)
    page = get(client, "/products/mug/", 404)
    assert texts(page, "h1") == ["There is nothing here"]
    assert [link.attributes["href"] for link in page.all("a") if link.inside("main")] == ["/"]


def test_what_a_shopkeeper_types_is_text(client):
    made = product("<script>alert(1)</script>", headline='"><img src=x>', description="<b>bold</b>")
    for url in ("/", made.get_absolute_url()):
        page = get(client, url)
        assert page.all("script", "b") == []
        assert "<script>alert(1)</script>" in texts(page, "h1", "h2")


# Which shop.


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ("USD", ["$12.00"]),
        ("EUR", ["€11.04"]),
        ("eur", ["€11.04"]),
        ("GBP", ["Not on sale"]),
        ("CHF", ["$12.00"]),
        ("", ["$12.00"]),
    ],
)
def test_the_shops_currency_is_a_row(client, wanted, shown):
    configure("currency", wanted)
    made = product(prices=("12.00",))
    make(order.SkuPrice, sku=made.skus.get(), amount=Decimal("11.04"), currency="EUR")
    assert prices(get(client, "/")) == shown
    assert prices(get(client, made.get_absolute_url())) == shown


@pytest.mark.parametrize(
    ("database", "configured", "name"),
    [
        ("healthtech_experiment", "", "Healthtech Experiment"),
        ("healthtech_experiment", "Good Health", "Good Health"),
        ("shop", "", "Shop"),
    ],
)
def test_every_page_says_which_shop_tenant_and_release_it_is(client, settings, monkeypatch, database, configured, name):
    settings.RELEASE = "2025.11.21-abc1234"
    configure("shop_name", configured)
    made = product()
    monkeypatch.setitem(connection.settings_dict, "NAME", database)
    for url, status in (("/", 200), (made.get_absolute_url(), 200), ("/nothing", 404)):
        page = get(client, url, status)
        assert texts(page, "dd") == [database, "2025.11.21-abc1234"]
        assert page.all("title")[0].text.endswith(name)
        assert texts(page, "a")[1] == name


def test_the_admin_says_which_shop_it_is(shopkeeper, settings, monkeypatch):
    settings.RELEASE = "abc1234"
    monkeypatch.setitem(connection.settings_dict, "NAME", "fintech_experiment")
    page = get(shopkeeper, "/admin/")
    assert "Tenant fintech_experiment · Release abc1234" in texts(page, "p")
    assert page.all("title")[0].text.endswith("Fintech Experiment")


# As JSON.


def test_products_as_json(client, settings):
    settings.RELEASE = "abc1234"
    configure("shop_name", "Good Mugs")
    product("Mug", prices=("18.00", "16.50"), identifier="MUG", slug="mug")
    product("Tea", prices=(), identifier="TEA", slug="tea")
    product("Secret", is_published=False)
    answer = client.get("/order/products", headers={"host": "10.0.3.7"})  # as a load balancer asks
    assert answer["Content-Type"] == "application/json"
    assert "no-store" in answer["Cache-Control"]
    assert json.loads(answer.content) == {
        "shop": "Good Mugs",
        "tenant": connection.settings_dict["NAME"],
        "release": "abc1234",
        "count": 2,
        "products": [
            {"identifier": "MUG", "title": "Mug", "url": "/products/mug/", "price": "16.50", "currency": "USD"},
            {"identifier": "TEA", "title": "Tea", "url": "/products/tea/", "price": None, "currency": "USD"},
        ],
    }


def test_json_names_a_page_of_products_and_counts_all(client):
    for _ in range(25):
        make(order.Product)
    answer = client.get("/order/products").json()
    assert (answer["count"], len(answer["products"])) == (25, 24)


@pytest.mark.parametrize("url", ["/", "/products/mug/", "/order/products", "/healthz"])
def test_pages_are_read_not_written(client, url):
    make(order.Product, slug="mug")
    assert (client.head(url).status_code, client.post(url).status_code) == (200, 405)


# Static files in production.


def test_production_links_hashed_names_and_survives_a_wrong_path(client, settings, tmp_path):
    settings.PRODUCTION = True
    settings.STATIC_ROOT = tmp_path
    call_command("collectstatic", interactive=False, verbosity=0)
    made = product()
    make(order.ProductImage, product=made, path="order/products/not-there.svg", alternative_text="Nothing")
    page = get(client, made.get_absolute_url())
    links = [e.attributes.get("href") or e.attributes["src"] for e in page.all("link", "img")]
    names = [link.removeprefix("/static/") for link in links]
    assert [name for name in names if not (tmp_path / name).is_file()] == []
    assert all(len(name.split(".")) == 3 for name in names), names
    assert [n.split(".")[0] for n in names if "missing" in n] == ["order/missing"]
