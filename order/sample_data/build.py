"""Create the rows of the sample data. Existing rows are found by their key and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db.models import Model

from order import models
from order.models.money import ZERO
from order.sample_data.catalog import CODES, EURO, PRODUCTS, SampleCode, SampleProduct, SampleSku
from order.sample_data.customers import CARTS, MEMBERS, ORDERS, PROSPECTS, SampleCart, SampleOrder, SamplePerson
from user.models import DefaultShippingAddress, Member, MemberTermsOfUseVersionAgreed, Prospect, TermsOfUseVersion

Row = TypeVar("Row", bound=Model)

OPENED = datetime(2025, 1, 6, tzinfo=UTC)
PRICES_ROSE = datetime(2025, 6, 2, tzinfo=UTC)
SALES_TAX = Decimal("0.0825")


class Builder:
    """Creates the sample data and counts created and existing rows.

    Args:
        now: orders and carts are dated some days before it.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.created: Counter[type[Model]] = Counter()
        self.found = 0

    def get_or_create(self, model: type[Row], defaults: Mapping[str, Any] | None = None, **key: Any) -> Row:
        """Return the row with this key; create it if it does not exist."""
        row, is_new = model._default_manager.get_or_create(defaults=defaults, **key)
        if is_new:
            self.created[model] += 1
        else:
            self.found += 1
        return row

    def build(self) -> None:
        """Create all rows, referenced rows first."""
        for product in PRODUCTS:
            self.product(product)
        for code in CODES:
            self.code(code)
        for person in MEMBERS:
            self.member(person)
        for person in PROSPECTS:
            self.get_or_create(
                Prospect, {"first_name": person.first_name, "last_name": person.last_name}, email=person.email
            )
        for cart in CARTS:
            self.cart(cart)
        for order in ORDERS:
            self.order(order)

    def product(self, sample: SampleProduct) -> None:
        """Create a product with its image and SKUs."""
        product = self.get_or_create(
            models.Product,
            {
                "slug": sample.identifier.lower().removeprefix("smp-"),
                "title": sample.title,
                "headline": sample.headline,
                "description": sample.description,
                "is_published": sample.is_published,
            },
            identifier=sample.identifier,
        )
        words = {"alternative_text": sample.alternative_text}
        self.get_or_create(models.ProductImage, words, product=product, path=f"order/products/{sample.image}.svg")
        for position, sample_sku in enumerate(sample.skus):
            sku = self.sku(sample_sku, sample)
            self.get_or_create(models.ProductSku, {"position": position}, product=product, sku=sku)

    def sku(self, sample: SampleSku, product: SampleProduct) -> models.Sku:
        """Create a SKU with its prices, inventory and image."""
        sku = self.get_or_create(
            models.Sku,
            {
                "type": models.SkuType.objects.get(identifier=product.type),
                "title": product.title,
                "color": sample.color,
                "size": sample.size,
            },
            code=sample.code,
        )
        dollars = Decimal(sample.price)
        was = {"amount": dollars - 1, "valid_until": PRICES_ROSE}
        self.get_or_create(models.SkuPrice, was, sku=sku, currency="USD", valid_from=OPENED)
        for currency, amount in (("USD", dollars), ("EUR", (dollars * EURO).quantize(ZERO))):
            now = {"amount": amount, "valid_from": PRICES_ROSE}
            self.get_or_create(models.SkuPrice, now, sku=sku, currency=currency, valid_until=None)
        if sample.quantity is not None:
            stock = {"quantity": sample.quantity, "reorder_level": 4, "is_back_orderable": sample.is_back_orderable}
            self.get_or_create(models.SkuInventory, stock, sku=sku)
        if sample.image:
            words = {"alternative_text": f"The color {sample.color.lower()}"}
            self.get_or_create(models.SkuImage, words, sku=sku, path=f"order/products/{sample.image}.svg")
        return sku

    def code(self, sample: SampleCode) -> None:
        """Create a discount code."""
        value = None if sample.value is None else Decimal(sample.value)
        self.get_or_create(
            models.DiscountCode,
            {
                "type": models.DiscountType.objects.get(identifier=sample.type),
                "description": sample.description,
                "percent_off": value if sample.type == "percent-off" else None,
                "amount_off": value if sample.type == "amount-off" else None,
                "minimum_subtotal": Decimal(sample.minimum),
                "starts_at": OPENED,
                "ends_at": PRICES_ROSE if sample.is_over else None,
            },
            code=sample.code,
        )

    def member(self, person: SamplePerson) -> None:
        """Create an account without a usable password, its member, address and agreement to the terms of use."""
        names = {"first_name": person.first_name, "last_name": person.last_name, "email": person.email}
        user = self.get_or_create(User, {**names, "password": make_password(None)}, username=person.email)
        preferences = {"newsletter_subscriber": person.is_subscriber, "email_verified": True}
        member = self.get_or_create(Member, preferences, user=user)
        self.get_or_create(DefaultShippingAddress, person.address, member=member)
        terms = TermsOfUseVersion.objects.latest("published_at")
        self.get_or_create(MemberTermsOfUseVersionAgreed, {"agreed_at": self.now}, member=member, version=terms)

    def cart(self, sample: SampleCart) -> None:
        """Create a cart with its lines and discount code."""
        if isinstance(sample.owner, str):
            key: dict[str, Any] = {"member": self.customer(sample.owner)["member"]}
        else:
            key = {"anonymous_id": sample.owner}
        made = {"created_at": self.now - timedelta(days=sample.days_ago)}
        cart = self.get_or_create(models.Cart, made, **key, state=sample.state)
        for code, quantity in sample.lines:
            self.get_or_create(models.CartSku, {"quantity": quantity}, cart=cart, sku=models.Sku.objects.get(code=code))
        if sample.code:
            self.get_or_create(
                models.CartDiscount, cart=cart, discount_code=models.DiscountCode.objects.get(code=sample.code)
            )

    def customer(self, first_name: str) -> dict[str, Any]:
        """Return the columns that identify the customer: ``member`` or ``prospect``, and ``email``."""
        person = next(person for person in (*MEMBERS, *PROSPECTS) if person.first_name == first_name)
        if person in MEMBERS:
            return {"member": Member.objects.get(user__username=person.email), "email": person.email}
        return {"prospect": Prospect.objects.get(email=person.email), "email": person.email}

    def order(self, sample: SampleOrder) -> None:
        """Create an order with its lines, discount, shipping method, addresses, statuses and payment."""
        lines = [(models.Sku.objects.with_price("USD").get(code=code), quantity) for code, quantity in sample.lines]
        method = models.ShippingMethod.objects.get(identifier=sample.shipping)
        code = models.DiscountCode.objects.get(code=sample.code) if sample.code else None
        subtotal = sum(((sku.current_price or ZERO) * quantity for sku, quantity in lines), ZERO)
        discount = code.discount(subtotal, method.price) if code else ZERO
        tax = (max(subtotal - discount, ZERO) * SALES_TAX).quantize(ZERO)
        order = self.get_or_create(
            models.Order,
            {
                **self.customer(sample.customer),
                "subtotal": subtotal,
                "discount": discount,
                "shipping": method.price,
                "tax": tax,
                "total": subtotal - discount + method.price + tax,
                "placed_at": self.now - timedelta(days=sample.days_ago),
            },
            identifier=sample.identifier,
        )
        for sku, quantity in lines:
            sold = {"title": f"{sku.title}, {sku.variant}", "quantity": quantity, "price_each": sku.current_price}
            self.get_or_create(models.OrderSku, sold, order=order, sku=sku)
        if code:
            self.get_or_create(models.OrderDiscount, {"amount": discount}, order=order, discount_code=code)
        self.get_or_create(models.OrderShippingMethod, {"shipping_method": method, "cost": method.price}, order=order)
        self.history(order, sample)

    def history(self, order: models.Order, sample: SampleOrder) -> None:
        """Create the addresses, the statuses, some hours apart, and the payment of an order."""
        person = next(person for person in (*MEMBERS, *PROSPECTS) if person.first_name == sample.customer)
        self.get_or_create(models.OrderShippingAddress, person.address, order=order)
        self.get_or_create(models.OrderBillingAddress, person.address, order=order)
        for step, state in enumerate(sample.statuses):
            reached = {"set_at": order.placed_at + timedelta(hours=9 * step)}
            self.get_or_create(
                models.OrderStatus, reached, order=order, status=models.Status.objects.get(identifier=state)
            )
        paid = {"order": order, "amount": order.total, "state": sample.payment, "created_at": order.placed_at}
        self.get_or_create(models.OrderPayment, paid, provider_reference=f"pi_sample_{sample.identifier}")
