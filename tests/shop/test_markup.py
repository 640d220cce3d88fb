"""The HTML of all pages: valid, accessible, and allowed by the content security policy."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker

from order import models as order
from tests.shop.builders import make, make_product
from tests.shop.markup import Element, Page

pytestmark = pytest.mark.django_db

SHOP = ["/", "/?page=2", "/products/mug/", "/nothing"]
ADMIN = ["/admin/login/", "/admin/", "/admin/order/order/", "/admin/order/product/add/", "/admin/order/sku/add/"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture(scope="module")
def responses(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[str, Any]:
    """The responses of all URLs by URL, requested once by a superuser, in a shop with two pages of products."""
    with django_db_blocker.unblock(), transaction.atomic():
        product = make_product("Mug", slug="mug", headline="Holds coffee")
        for _ in range(24):
            make(order.Product)
        client = Client()
        client.force_login(make(User, is_staff=True, is_superuser=True))
        found = {url: (Client() if url == "/admin/login/" else client).get(url) for url in SHOP + ADMIN}
        assert product.get_absolute_url() in found
        transaction.set_rollback(True)
    return found


@pytest.fixture
def page(request, responses):
    """The page at the URL of the test."""
    read = Page(responses[request.param].content.decode())
    assert read.all("title")
    return read


shop_pages = pytest.mark.parametrize("page", SHOP, indirect=True)
all_pages = pytest.mark.parametrize("page", SHOP + ADMIN, indirect=True)


@pytest.mark.parametrize("url", SHOP + ADMIN)
def test_security_headers(responses, url):
    response = responses[url]
    directives = sorted(response["Content-Security-Policy"].split("; "))
    assert directives == sorted(POLICY.split("; "))
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"


@all_pages
def test_no_inline_script_or_style(page):
    assert [e for e in page.all("script") if "src" not in e.attributes and e.attributes.get("type") not in DATA] == []
    assert page.all("style") == []
    assert [e for e in page.elements for name in e.attributes if name == "style" or name.startswith("on")] == []


#: Scripts of these types are data, which browsers do not execute.
DATA = {"application/json"}


@all_pages
def test_no_resources_of_other_sites(page):
    links = [
        e.attributes.get(name, "") for e in page.elements for name in ("src", "href", "action", "poster", "srcset")
    ]
    assert [link for link in links if re.match(r"([a-z]+:)?//|(javascript|data):", link)] == []


@shop_pages
def test_language_title_and_viewport_are_set(page):
    (html,), (title,) = page.all("html"), page.all("title")
    assert (html.attributes["lang"], bool(title.text.strip())) == ("en", True)
    (viewport,) = [m.attributes["content"] for m in page.all("meta") if m.attributes.get("name") == "viewport"]
    assert viewport == "width=device-width, initial-scale=1"  # zooming is not disabled


@shop_pages
def test_heading_levels(page):
    levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@shop_pages
def test_images_have_alternative_text_and_size(page):
    assert [e for e in page.all("img") if "alt" not in e.attributes] == []
    assert [e for e in page.all("img") if not (e.attributes["width"] and e.attributes["height"])] == []


@shop_pages
def test_links_tables_and_landmarks_are_labeled(page):
    assert [link for link in page.all("a") if not link.text.strip()] == []
    assert [header for header in page.all("th") if header.attributes.get("scope") not in {"col", "row"}] == []
    assert [nav for nav in page.all("nav") if not nav.attributes.get("aria-label")] == []
    assert [field for field in page.all("input", "select") if field.attributes.get("type") != "hidden"] == []
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("page", SHOP[:-1], indirect=True)
def test_the_first_link_skips_to_the_main_content(page):
    (main,) = page.all("main")
    assert page.all("a")[0].attributes == {"class": "skip", "href": f"#{main.attributes['id']}"}
    assert [len(page.all(landmark)) for landmark in ("header", "main", "footer")] == [1, 1, 1]


@pytest.mark.parametrize(("url", "current"), [("/", ["Products"]), ("/products/mug/", ["Mug"]), ("/nothing", [])])
def test_the_current_page_is_marked(staff_client, url, current):
    make(order.Product, slug="mug", title="Mug")
    page = Page(staff_client.get(url).content.decode())
    assert [e.text for e in page.elements if e.attributes.get("aria-current") == "page"] == current


def test_the_parser_reports_an_element_that_is_not_closed():
    with pytest.raises(AssertionError, match="</p>"):
        Page("<main><p><b>text</p></main>")
    assert Page("<p>a <b>b</b></p>").elements[0] == Element("p", {}, None, "a b")


# Style sheet

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
def test_text_contrast_meets_wcag(scheme, ink, ground):
    darker, lighter = sorted(luminance(scheme[name]) for name in (ink, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_the_style_sheet_loads_no_resources():
    assert re.findall(r"url\(|@import|@font-face", CSS) == []
