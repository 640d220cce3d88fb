"""Each named constraint is violated once. `test_valid_rows_are_allowed` has rows that are similar and valid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from clientevent import models as clientevent
from order import models as order
from tests.shop.builders import NOON, make
from tests.shop.tables import MODELS
from user import models as user

pytestmark = pytest.mark.django_db

EARLIER = NOON - timedelta(days=1)
ONE = Decimal("1.00")
LESS = Decimal("-0.01")
FIRST_VISITOR = uuid4()


def wrong(model: Any, **values: Any) -> Callable[[], object]:
    """Return a function that creates one invalid row."""
    return lambda: make(model, **values)


def twice(model: Any, first: dict[str, Any], second: dict[str, Any] | None = None) -> Callable[[], object]:
    """Return a function that creates two rows, of which the second is invalid."""

    def both() -> object:
        made = make(model, **first)
        same = {name: getattr(made, name) for name in first}
        return make(model, **(same if second is None else second))

    return both


def pair(model: Any, *fields: str, **values: Any) -> Callable[[], object]:
    """Return a function that creates two rows with the same values of `fields`."""

    def both() -> object:
        made = make(model, **values)
        return make(model, **{name: getattr(made, name) for name in fields}, **values)

    return both


def addresses(model: Any, name: str) -> dict[str, Callable[[], object]]:
    return {f"{name}_country": wrong(model, country="us"), f"{name}_complete": wrong(model, city="")}


def both_people(model: Any) -> Callable[[], object]:
    return lambda: make(model, member=make(user.Member), prospect=make(user.Prospect))


VIOLATIONS: dict[str, Callable[[], object]] = {
    # user
    "user_emailtype_identifier": wrong(user.EmailType, identifier="Member"),
    "user_email_status_known": wrong(user.EmailStatus, identifier="lost"),
    "user_adtype_identifier": wrong(user.AdType, identifier="Search"),
    "user_ad_status_known": wrong(user.AdStatus, identifier="lost"),
    "user_prospect_has_email": wrong(user.Prospect, email=""),
    "user_terms_version_unique": twice(user.TermsOfUseVersion, {"version": "2a"}, {"version": "2A"}),
    "user_terms_has_version": wrong(user.TermsOfUseVersion, version=""),
    "user_email_has_code": wrong(user.Email, code=""),
    "user_ad_has_code": wrong(user.Ad, code=""),
    "user_member_one_wish": wrong(user.Member, newsletter_subscriber=True, email_unsubscribed=True),
    "user_member_stripe_customer_unique": twice(user.Member, {"stripe_customer_token": "cus_1"}),
    "user_prospect_email_unique": twice(user.Prospect, {"email": "ada@example.com"}, {"email": "Ada@example.com"}),
    **addresses(user.DefaultShippingAddress, "user_defaultshippingaddress"),
    "user_agreement_unique": pair(user.MemberTermsOfUseVersionAgreed, "member", "version"),
    "user_unsubscribe_reason_one_person": both_people(user.EmailUnsubscribeReason),
    "user_unsubscribe_reason_known": wrong(user.EmailUnsubscribeReason, reason="bored"),
    "user_email_code_unique": twice(user.Email, {"code": "news"}, {"code": "NEWS"}),
    "user_email_sent_one_person": both_people(user.EmailSent),
    "user_ad_code_unique": twice(user.Ad, {"code": "spring"}, {"code": "Spring"}),
    "user_ad_ends_after_start": wrong(user.Ad, starts_at=NOON, ends_at=NOON),
    "user_chat_message_not_empty": wrong(user.ChatMessage, message=""),
    "user_chat_message_one_person": both_people(user.ChatMessage),
    "user_chat_message_answered_after": wrong(user.ChatMessage, created_at=NOON, answered_at=EARLIER),
    # order: catalog
    "order_configuration_key_unique": twice(order.Configuration, {"key": "color"}, {"key": "Color"}),
    "order_product_identifier_unique": twice(order.Product, {"identifier": "mug"}, {"identifier": "MUG"}),
    "order_configuration_has_key": wrong(order.Configuration, key=""),
    "order_product_has_identifier": wrong(order.Product, identifier=""),
    "order_product_has_title": wrong(order.Product, title=""),
    "order_product_slug_is_small": wrong(order.Product, slug="Mug"),
    "order_skutype_identifier": wrong(order.SkuType, identifier="Goods"),
    "order_productimage_has_text": wrong(order.ProductImage, alternative_text=""),
    "order_product_image_unique": pair(order.ProductImage, "product"),
    "order_product_video_unique": pair(order.ProductVideo, "product"),
    "order_product_sku_unique": pair(order.ProductSku, "product", "sku"),
    "order_sku_code_unique": twice(order.Sku, {"code": "MUG-1"}, {"code": "mug-1"}),
    "order_sku_has_code": wrong(order.Sku, code=""),
    "order_sku_inventory_not_negative": wrong(order.SkuInventory, quantity=-1),
    "order_sku_price_one_current": pair(order.SkuPrice, "sku"),
    "order_sku_price_positive": wrong(order.SkuPrice, amount=Decimal("0.00")),
    "order_sku_price_ends_after_start": wrong(order.SkuPrice, valid_until=NOON),
    "order_sku_price_currency": wrong(order.SkuPrice, currency="XXX"),
    "order_skuimage_has_text": wrong(order.SkuImage, alternative_text=""),
    "order_sku_image_unique": pair(order.SkuImage, "sku"),
    # order: terms
    "order_shippingmethod_identifier": wrong(order.ShippingMethod, identifier="Express"),
    "order_discounttype_identifier": lambda: order.DiscountType.objects.update(identifier="Percent"),
    "order_shipping_method_price_not_negative": wrong(order.ShippingMethod, price=LESS),
    "order_shipping_method_currency": wrong(order.ShippingMethod, currency="usd"),
    "order_discount_type_action": wrong(order.DiscountType, action="gift"),
    "order_discount_code_unique": twice(order.DiscountCode, {"code": "HELLO"}, {"code": "hello"}),
    "order_discount_code_no_space": wrong(order.DiscountCode, code="TEN OFF"),
    "order_discount_code_one_value": wrong(order.DiscountCode, percent_off=ONE, amount_off=ONE),
    "order_discount_code_percent": wrong(order.DiscountCode, percent_off=Decimal("100.01")),
    "order_discount_code_amount": wrong(order.DiscountCode, amount_off=Decimal("0.00")),
    "order_discount_code_minimum_not_negative": wrong(order.DiscountCode, minimum_subtotal=LESS),
    "order_discount_code_ends_after_start": wrong(order.DiscountCode, ends_at=EARLIER),
    "order_discount_code_currency": wrong(order.DiscountCode, currency=""),
    # order: carts
    "order_cart_one_owner": lambda: make(order.Cart, member=make(user.Member), anonymous_id=uuid4()),
    "order_cart_one_open_a_member": lambda: pair(order.Cart, member=make(user.Member))(),
    "order_cart_one_open_a_visitor": twice(order.Cart, {"anonymous_id": uuid4()}),
    "order_cart_state_known": wrong(order.Cart, state="lost"),
    "order_cart_currency": wrong(order.Cart, currency="ABC"),
    "order_cart_sku_unique": pair(order.CartSku, "cart", "sku"),
    "order_cart_sku_quantity_positive": wrong(order.CartSku, quantity=0),
    **addresses(order.CartShippingAddress, "order_cartshippingaddress"),
    "order_cart_payment_has_token": wrong(order.CartPayment, stripe_customer_token=""),
    "order_cart_discount_unique": pair(order.CartDiscount, "cart", "discount_code"),
    # order: orders
    "order_status_known": wrong(order.Status, identifier="lost"),
    "order_order_identifier_unique": twice(order.Order, {"identifier": "o-1"}, {"identifier": "O-1"}),
    "order_order_has_identifier": wrong(order.Order, identifier=""),
    "order_order_total_adds_up": wrong(order.Order, subtotal=Decimal("20.00"), total=Decimal("20.01")),
    "order_order_amounts_not_negative": wrong(order.Order, tax=LESS, total=Decimal("19.99")),
    "order_order_discount_within": wrong(order.Order, discount=Decimal("21"), tax=Decimal("5"), total=Decimal("4")),
    "order_order_one_customer": both_people(order.Order),
    "order_order_currency": wrong(order.Order, currency="CHF"),
    "order_order_sku_unique": pair(order.OrderSku, "order", "sku"),
    "order_order_sku_quantity_positive": wrong(order.OrderSku, quantity=0),
    "order_order_sku_price_not_negative": wrong(order.OrderSku, price_each=LESS),
    "order_order_discount_unique": pair(order.OrderDiscount, "order", "discount_code"),
    "order_order_discount_not_negative": wrong(order.OrderDiscount, amount=LESS),
    "order_order_shipping_method_cost_not_negative": wrong(order.OrderShippingMethod, cost=LESS),
    "order_order_payment_paid_once": pair(order.OrderPayment, "order", state="captured"),
    "order_order_payment_state_known": wrong(order.OrderPayment, state="lost"),
    "order_order_payment_positive": wrong(order.OrderPayment, amount=Decimal("0.00")),
    **addresses(order.OrderShippingAddress, "order_ordershippingaddress"),
    **addresses(order.OrderBillingAddress, "order_orderbillingaddress"),
    "order_order_status_once": pair(order.OrderStatus, "order", "status"),
    # clientevent
    "clientevent_configuration_key_unique": twice(clientevent.Configuration, {"key": "color"}, {"key": "COLOR"}),
    "clientevent_configuration_has_key": wrong(clientevent.Configuration, key=""),
    "clientevent_pageview_has_url": wrong(clientevent.Pageview, url=""),
    "clientevent_ajaxerror_has_url": wrong(clientevent.AjaxError, url=""),
    "clientevent_buttonclick_has_url": wrong(clientevent.ButtonClick, url=""),
    "clientevent_linkevent_has_url": wrong(clientevent.Linkevent, url=""),
    "clientevent_linkevent_one_source": lambda: make(clientevent.Linkevent, email=make(user.Email), ad=make(user.Ad)),
}


def test_every_constraint_has_a_violation():
    names = {constraint.name for model in MODELS for constraint in model._meta.constraints}
    assert names == set(VIOLATIONS)


@pytest.mark.parametrize("name", sorted(VIOLATIONS))
def test_the_database_rejects_the_violation(name):
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        VIOLATIONS[name]()
    assert caught.value.__cause__.diag.constraint_name == name  # type: ignore[union-attr]


@pytest.mark.parametrize("person", ["member", "prospect"])
def test_an_unsubscribe_reason_requires_a_person(person):
    with pytest.raises(IntegrityError, match="user_unsubscribe_reason_one_person"):
        make(user.EmailUnsubscribeReason, **{person: None})


@pytest.mark.parametrize(
    "allowed",
    [
        pytest.param(lambda: pair(user.Member, stripe_customer_token="")(), id="members without a token"),
        pytest.param(
            lambda: [
                make(order.SkuPrice, sku=sku, **values)
                for sku in [make(order.Sku)]
                for values in (
                    {"valid_until": NOON + timedelta(days=1)},
                    {"valid_until": NOON + timedelta(days=2)},
                    {},
                    {"currency": "EUR"},
                )
            ],
            id="old prices and one current price per currency",
        ),
        pytest.param(
            lambda: [
                make(order.Cart, member=member, state=state)
                for member in [make(user.Member)]
                for state in ("ordered", "ordered", "abandoned", "open")
            ],
            id="one open cart and closed ones",
        ),
        pytest.param(
            lambda: [make(order.Cart, anonymous_id=FIRST_VISITOR, state=state) for state in ("ordered", "open")],
            id="visitor returns",
        ),
        pytest.param(
            lambda: [
                make(order.OrderPayment, order=paid, state=state)
                for paid in [make(order.Order)]
                for state in ("failed", "failed", "captured", "refunded")
            ],
            id="failed attempts before a payment",
        ),
        pytest.param(
            lambda: make(
                order.Order,
                discount=Decimal("25.00"),
                shipping=Decimal("5.00"),
                tax=Decimal("0.00"),
                total=Decimal("0.00"),
            ),
            id="discount of 100 percent and free shipping",
        ),
        pytest.param(lambda: make(order.DiscountCode, percent_off=Decimal("100")), id="100 percent off"),
    ],
)
def test_valid_rows_are_allowed(allowed):
    allowed()


def test_the_line_total_is_generated():
    line = make(order.OrderSku, quantity=3, price_each=Decimal("9.95"))
    line.refresh_from_db()
    assert line.line_total == Decimal("29.85")


@pytest.mark.parametrize(
    ("action", "values", "is_valid"),
    [
        ("percent", {"percent_off": Decimal(10)}, True),
        ("percent", {"percent_off": None, "amount_off": Decimal(10)}, False),
        ("amount", {"percent_off": None, "amount_off": Decimal(10)}, True),
        ("amount", {"percent_off": Decimal(10)}, False),
        ("free-shipping", {"percent_off": None}, True),
        ("free-shipping", {"percent_off": Decimal(10)}, False),
    ],
)
def test_the_values_of_a_discount_code_must_match_its_type(action, values, is_valid):
    kind = order.DiscountType(identifier=action, title=action, action=action)
    kind.pk = 1
    code = order.DiscountCode(code="X", type=kind, **values)
    if is_valid:
        code.clean()
    else:
        with pytest.raises(ValidationError):
            code.clean()


@pytest.mark.parametrize(
    ("values", "subtotal", "discount"),
    [
        ({"percent_off": Decimal(10)}, "18.00", "1.80"),
        ({"percent_off": Decimal("33.33")}, "10.00", "3.33"),
        ({"amount_off": Decimal(5)}, "18.00", "5.00"),
        ({"amount_off": Decimal(5)}, "3.00", "3.00"),
        ({}, "18.00", "4.95"),
        ({"amount_off": Decimal(5), "minimum_subtotal": Decimal(30)}, "29.99", "0.00"),
        ({"amount_off": Decimal(5), "minimum_subtotal": Decimal(30)}, "30.00", "5.00"),
    ],
)
def test_the_discount_of_a_code(values, subtotal, discount):
    assert order.DiscountCode(**values).discount(Decimal(subtotal), Decimal("4.95")) == Decimal(discount)
