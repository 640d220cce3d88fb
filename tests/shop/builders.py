"""Create rows of all models with default values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.db.models import Model

from clientevent import models as clientevent
from order import models as order
from user import models as user

NOON = datetime(2025, 11, 21, 12, tzinfo=UTC)
_number = count(1)


@dataclass(frozen=True)
class Unless:
    """A default value that is not used if the test sets the field `other`."""

    other: str
    value: Callable[[], Any]


def text(prefix: str) -> Callable[[], str]:
    """Return a function that returns unique values."""
    return lambda: f"{prefix}-{next(_number)}"


def a(model: type[Model]) -> Callable[[], Any]:
    """Return a function that creates a row of `model`."""
    return lambda: make(model)


def known(model: type[Model], identifier: str, **values: Any) -> Callable[[], Any]:
    """Return a function that returns a reference row; it is created if a test has emptied the tables."""
    return lambda: model._default_manager.get_or_create(identifier=identifier, defaults=values)[0]


def make(model: type[Model], **values: Any) -> Any:
    """Create a row of `model`."""
    columns = dict(values)
    for name, value in DEFAULTS[model].items():
        if name in values:
            continue
        if isinstance(value, Unless):
            if value.other not in values:
                columns[name] = value.value()
        else:
            columns[name] = value() if callable(value) else value
    return model._default_manager.create(**columns)


def make_product(
    title: str = "Mug", *, prices: tuple[str, ...] = ("12.00",), currency: str = "USD", **values: Any
) -> Any:
    """Create a product with an image and an active SKU for each price."""
    product = make(order.Product, title=title, **values)
    make(order.ProductImage, product=product)
    for amount in prices:
        sku = make(order.Sku)
        make(order.ProductSku, product=product, sku=sku)
        make(order.SkuPrice, sku=sku, amount=Decimal(amount), currency=currency)
        make(order.SkuInventory, sku=sku)
        make(order.SkuImage, sku=sku)
    return product


ADDRESS = {"name": "Ada", "line1": "1 Main Street", "city": "Portland", "country": "US"}
REFERENCE = {"identifier": text("reference"), "title": "Reference"}
EVENT = {"url": "/"}
IMAGE = {"path": "order/products/mug.svg", "alternative_text": "A mug"}

DEFAULTS: dict[type[Model], dict[str, Any]] = {
    User: {"username": text("user"), "email": "person@example.com"},
    user.Member: {"user": a(User)},
    user.Prospect: {"email": lambda: f"{text('prospect')()}@example.com"},
    user.DefaultShippingAddress: ADDRESS | {"member": a(user.Member)},
    user.TermsOfUseVersion: {
        "version": text("terms"),
        "published_at": lambda: datetime.fromtimestamp(1_000_000 + next(_number), UTC),
    },
    user.MemberTermsOfUseVersionAgreed: {"member": a(user.Member), "version": a(user.TermsOfUseVersion)},
    user.EmailUnsubscribeReason: {"member": Unless("prospect", a(user.Member)), "reason": "spam"},
    user.EmailType: REFERENCE,
    user.EmailStatus: {"identifier": "draft", "title": "Draft"},
    user.Email: {
        "code": text("email"),
        "type": a(user.EmailType),
        "status": known(user.EmailStatus, "draft", title="Draft"),
        "subject": "News",
        "from_address": "shop@example.com",
        "body_text": "…",
    },
    user.EmailSent: {"email": a(user.Email), "address": "person@example.com"},
    user.AdType: REFERENCE,
    user.AdStatus: {"identifier": "planned", "title": "Planned"},
    user.Ad: {
        "code": text("ad"),
        "type": a(user.AdType),
        "status": known(user.AdStatus, "planned", title="Planned"),
        "headline": "Buy",
        "final_url": "https://example.com",
    },
    user.ChatMessage: {"message": "Hello?"},
    order.Configuration: {"key": text("key")},
    order.Product: {"identifier": text("product"), "slug": text("product"), "title": "Mug", "is_published": True},
    order.ProductImage: IMAGE | {"product": a(order.Product)},
    order.ProductVideo: {"product": a(order.Product), "url": "https://example.com/film", "title": "Film"},
    order.SkuType: REFERENCE,
    order.Sku: {"code": text("SKU"), "type": a(order.SkuType), "title": "Mug, green"},
    order.ProductSku: {"product": a(order.Product), "sku": a(order.Sku)},
    order.SkuInventory: {"sku": a(order.Sku), "quantity": 9},
    order.SkuPrice: {"sku": a(order.Sku), "amount": Decimal("12.00"), "valid_from": NOON},
    order.SkuImage: IMAGE | {"sku": a(order.Sku)},
    order.ShippingMethod: REFERENCE | {"carrier": "UPS", "price": Decimal("5.00")},
    order.DiscountType: REFERENCE | {"action": "percent"},
    order.DiscountCode: {
        "code": text("CODE"),
        "type": known(order.DiscountType, "percent-off", title="Percentage", action="percent"),
        "percent_off": Unless("amount_off", lambda: Decimal("10")),
        "starts_at": NOON,
    },
    order.Cart: {"anonymous_id": Unless("member", uuid4)},
    order.CartSku: {"cart": a(order.Cart), "sku": a(order.Sku)},
    order.CartShippingAddress: ADDRESS | {"cart": a(order.Cart)},
    order.CartPayment: {"cart": a(order.Cart), "stripe_customer_token": "cus_1", "email": "person@example.com"},
    order.CartDiscount: {"cart": a(order.Cart), "discount_code": a(order.DiscountCode)},
    order.CartShippingMethod: {"cart": a(order.Cart), "shipping_method": a(order.ShippingMethod)},
    order.Status: {"identifier": "placed", "title": "Placed"},
    order.Order: {
        "identifier": text("O"),
        "email": "person@example.com",
        "subtotal": Decimal("20.00"),
        "total": Decimal("20.00"),
        "placed_at": NOON,
    },
    order.OrderSku: {
        "order": a(order.Order),
        "sku": a(order.Sku),
        "title": "Mug",
        "quantity": 2,
        "price_each": Decimal("10.00"),
    },
    order.OrderDiscount: {
        "order": a(order.Order),
        "discount_code": a(order.DiscountCode),
        "amount": Decimal("2.00"),
    },
    order.OrderShippingMethod: {
        "order": a(order.Order),
        "shipping_method": a(order.ShippingMethod),
        "cost": Decimal("5.00"),
    },
    order.OrderPayment: {
        "order": a(order.Order),
        "provider_reference": text("pi"),
        "amount": Decimal("20.00"),
    },
    order.OrderShippingAddress: ADDRESS | {"order": a(order.Order)},
    order.OrderBillingAddress: ADDRESS | {"order": a(order.Order)},
    order.OrderStatus: {
        "order": a(order.Order),
        "status": known(order.Status, "placed", title="Placed"),
        "set_at": NOON,
    },
    clientevent.Configuration: {"key": text("key")},
    clientevent.Pageview: EVENT,
    clientevent.AjaxError: EVENT | {"error_id": "E1"},
    clientevent.ButtonClick: EVENT | {"button_id": "buy"},
    clientevent.Linkevent: EVENT,
}
