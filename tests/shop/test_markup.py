"""Every page is sound: no inline script or style, nothing from elsewhere, and readable without seeing it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from order import models as order
from tests.shop.builders import make
from tests.shop.markup import Element, Page

pytestmark = pytest.mark.django_db

SHOP = ["/", "/?page=2", "/products/mug/", "/nothing", "/readyz"]
ADMIN = ["/admin/login/", "/admin/", "/admin/order/order/", "/admin/order/product/add/", "/admin/order/sku/add/"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def page(request, shopkeeper):
    """The page at the address that the test names, in a shop with two pages of products."""
    made = make(order.Product, slug="mug", headline="Holds coffee")
    make(order.ProductImage, product=made)
    sku = make(order.Sku)
    make(order.ProductSku, product=made, sku=sku)
    make(order.SkuImage, sku=sku)
    for _ in range(24):
        make(order.Product)
    if request.param == "/admin/login/":
        shopkeeper.logout()
    read = Page(shopkeeper.get(request.param).content.decode())
    assert read.all("title")
    return read


of_the_shop = pytest.mark.parametrize("page", SHOP, indirect=True)
everywhere = pytest.mark.parametrize("page", SHOP + ADMIN, indirect=True)


@pytest.mark.parametrize("url", SHOP + ADMIN)
def test_the_policy_allows_nothing_inline_and_nothing_foreign(shopkeeper, url):
    answer = shopkeeper.get(url)
    directives = sorted(answer["Content-Security-Policy"].split("; "))
    assert directives == sorted(POLICY.split("; "))
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"


@everywhere
def test_no_inline_script_or_style(page):
    assert [e for e in page.all("script") if "src" not in e.attributes and e.attributes.get("type") not in DATA] == []
    assert page.all("style") == []
    assert [e for e in page.elements for name in e.attributes if name == "style" or name.startswith("on")] == []


#: A script of this type is data: no browser runs it, and the policy has nothing against it.
DATA = {"application/json"}


@everywhere
def test_nothing_from_elsewhere(page):
    links = [
        e.attributes.get(name, "") for e in page.elements for name in ("src", "href", "action", "poster", "srcset")
    ]
    assert [link for link in links if re.match(r"([a-z]+:)?//|(javascript|data):", link)] == []


@of_the_shop
def test_it_says_its_language_its_name_and_its_width(page):
    (html,), (title,) = page.all("html"), page.all("title")
    assert (html.attributes["lang"], bool(title.text.strip())) == ("en", True)
    (viewport,) = [m.attributes["content"] for m in page.all("meta") if m.attributes.get("name") == "viewport"]
    assert viewport == "width=device-width, initial-scale=1"  # and nobody is kept from zooming


@of_the_shop
def test_headings_begin_with_one_h1_and_skip_no_level(page):
    levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@of_the_shop
def test_every_image_has_a_text_or_says_that_it_has_none(page):
    assert [e for e in page.all("img") if "alt" not in e.attributes] == []
    assert [e for e in page.all("img") if not (e.attributes["width"] and e.attributes["height"])] == []


@of_the_shop
def test_every_link_and_table_can_be_understood_alone(page):
    assert [link for link in page.all("a") if not link.text.strip()] == []
    assert [header for header in page.all("th") if header.attributes.get("scope") not in {"col", "row"}] == []
    assert [nav for nav in page.all("nav") if not nav.attributes.get("aria-label")] == []
    assert [field for field in page.all("input", "select") if field.attributes.get("type") != "hidden"] == []
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("page", SHOP[:-1], indirect=True)
def test_the_first_link_skips_to_the_content(page):
    (main,) = page.all("main")
    assert page.all("a")[0].attributes == {"class": "skip", "href": f"#{main.attributes['id']}"}
    assert [len(page.all(landmark)) for landmark in ("header", "main", "footer")] == [1, 1, 1]


@pytest.mark.parametrize(("url", "current"), [("/", ["Products"]), ("/products/mug/", ["Mug"]), ("/nothing", [])])
def test_it_says_where_one_is(shopkeeper, url, current):
    make(order.Product, slug="mug", title="Mug")
    page = Page(shopkeeper.get(url).content.decode())
    assert [e.text for e in page.elements if e.attributes.get("aria-current") == "page"] == current


def test_markup_that_is_not_closed_is_noticed():
    with pytest.raises(AssertionError, match="</p>"):
        Page("<main><p><b>text</p></main>")
    assert Page("<p>a <b>b</b></p>").elements[0] == Element("p", {}, None, "a b")


# The style sheet.

CSS = (Path(django_settings.BASE_DIR) / "order/static/order/shop.css").read_text()
SCHEMES = [
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
]


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card"), ("accent", "paper"), ("accent", "card"),
     ("accent-ink", "accent")],
)  # fmt: skip
def test_text_has_the_contrast_that_wcag_asks_for(scheme, ink, ground):
    darker, lighter = sorted(luminance(scheme[name]) for name in (ink, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_the_style_sheet_loads_nothing():
    assert re.findall(r"url\(|@import|@font-face", CSS) == []
