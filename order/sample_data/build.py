"""Makes rows of the sample data: each is looked up by its key first, so a second time makes nothing."""

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
from order.sample_data.catalogue import CODES, EURO, PRODUCTS, SampleCode, SampleProduct, SampleSku
from order.sample_data.customers import CARTS, MEMBERS, ORDERS, PROSPECTS, SampleCart, SampleOrder, SamplePerson
from user.models import DefaultShippingAddress, Member, MemberTermsOfUseVersionAgreed, Prospect, TermsOfUseVersion

Row = TypeVar("Row", bound=Model)

OPENED = datetime(2025, 1, 6, tzinfo=UTC)
PRICES_ROSE = datetime(2025, 6, 2, tzinfo=UTC)
SALES_TAX = Decimal("0.0825")


class Builder:
    """Builds the sample shop, and counts what it made and what was there.

    Args:
        now: orders and carts are placed some days before it.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.created: Counter[str] = Counter()
        self.found = 0

    def keep(self, model: type[Row], defaults: Mapping[str, Any] | None = None, **key: Any) -> Row:
        """The row with this key, made if it is missing."""
        row, is_new = model._default_manager.get_or_create(defaults=defaults, **key)
        if is_new:
            self.created[str(model._meta.verbose_name_plural)] += 1
        else:
            self.found += 1
        return row

    def build(self) -> None:
        """Everything, in the order in which things refer to each other."""
        for product in PRODUCTS:
            self.product(product)
        for code in CODES:
            self.code(code)
        for person in MEMBERS:
            self.member(person)
        for person in PROSPECTS:
            self.keep(Prospect, {"first_name": person.first_name, "last_name": person.last_name}, email=person.email)
        for cart in CARTS:
            self.cart(cart)
        for order in ORDERS:
            self.order(order)

    def product(self, sample: SampleProduct) -> None:
        """A product with its picture and its SKUs."""
        product = self.keep(
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
        self.keep(models.ProductImage, words, product=product, path=f"order/products/{sample.image}.svg")
        for position, sample_sku in enumerate(sample.skus):
            sku = self.sku(sample_sku, sample)
            self.keep(models.ProductSku, {"position": position}, product=product, sku=sku)

    def sku(self, sample: SampleSku, product: SampleProduct) -> models.Sku:
        """A SKU with its prices, stock and picture."""
        sku = self.keep(
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
        self.keep(models.SkuPrice, was, sku=sku, currency="USD", valid_from=OPENED)
        for currency, amount in (("USD", dollars), ("EUR", (dollars * EURO).quantize(ZERO))):
            now = {"amount": amount, "valid_from": PRICES_ROSE}
            self.keep(models.SkuPrice, now, sku=sku, currency=currency, valid_until=None)
        if sample.quantity is not None:
            stock = {"quantity": sample.quantity, "reorder_level": 4, "is_back_orderable": sample.is_back_orderable}
            self.keep(models.SkuInventory, stock, sku=sku)
        if sample.image:
            words = {"alternative_text": f"The colour {sample.color.lower()}"}
            self.keep(models.SkuImage, words, sku=sku, path=f"order/products/{sample.image}.svg")
        return sku

    def code(self, sample: SampleCode) -> None:
        """A discount code."""
        value = None if sample.value is None else Decimal(sample.value)
        self.keep(
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
        """An account that nobody can log in to, its member, address and agreement to the terms."""
        names = {"first_name": person.first_name, "last_name": person.last_name, "email": person.email}
        user = self.keep(User, {**names, "password": make_password(None)}, username=person.email)
        wishes = {"newsletter_subscriber": person.is_subscriber, "email_verified": True}
        member = self.keep(Member, wishes, user=user)
        self.keep(DefaultShippingAddress, person.address, member=member)
        terms = TermsOfUseVersion.objects.latest("published_at")
        self.keep(MemberTermsOfUseVersionAgreed, {"agreed_at": self.now}, member=member, version=terms)

    def cart(self, sample: SampleCart) -> None:
        """A cart with its lines and its code."""
        if isinstance(sample.owner, str):
            key: dict[str, Any] = {"member": self.customer(sample.owner)["member"]}
        else:
            key = {"anonymous_id": sample.owner}
        made = {"created_at": self.now - timedelta(days=sample.days_ago)}
        cart = self.keep(models.Cart, made, **key, state=sample.state)
        for code, quantity in sample.lines:
            self.keep(models.CartSku, {"quantity": quantity}, cart=cart, sku=models.Sku.objects.get(code=code))
        if sample.code:
            self.keep(models.CartDiscount, cart=cart, discount_code=models.DiscountCode.objects.get(code=sample.code))

    def customer(self, first_name: str) -> dict[str, Any]:
        """The columns of an order that say whose it is: ``member`` or ``prospect``, and ``email``."""
        person = next(person for person in (*MEMBERS, *PROSPECTS) if person.first_name == first_name)
        if person in MEMBERS:
            return {"member": Member.objects.get(user__username=person.email), "email": person.email}
        return {"prospect": Prospect.objects.get(email=person.email), "email": person.email}

    def order(self, sample: SampleOrder) -> None:
        """An order with its lines, terms, addresses, statuses and payment."""
        lines = [(models.Sku.objects.with_price("USD").get(code=code), quantity) for code, quantity in sample.lines]
        method = models.ShippingMethod.objects.get(identifier=sample.shipping)
        code = models.DiscountCode.objects.get(code=sample.code) if sample.code else None
        subtotal = sum(((sku.current_price or ZERO) * quantity for sku, quantity in lines), ZERO)
        discount = code.discount(subtotal, method.price) if code else ZERO
        tax = (max(subtotal - discount, ZERO) * SALES_TAX).quantize(ZERO)
        order = self.keep(
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
            self.keep(models.OrderSku, sold, order=order, sku=sku)
        if code:
            self.keep(models.OrderDiscount, {"amount": discount}, order=order, discount_code=code)
        self.keep(models.OrderShippingMethod, {"shipping_method": method, "cost": method.price}, order=order)
        self.history(order, sample)

    def history(self, order: models.Order, sample: SampleOrder) -> None:
        """Where an order went, who paid, and each status that it reached, some hours apart."""
        person = next(person for person in (*MEMBERS, *PROSPECTS) if person.first_name == sample.customer)
        self.keep(models.OrderShippingAddress, person.address, order=order)
        self.keep(models.OrderBillingAddress, person.address, order=order)
        for step, state in enumerate(sample.statuses):
            reached = {"set_at": order.placed_at + timedelta(hours=9 * step)}
            self.keep(models.OrderStatus, reached, order=order, status=models.Status.objects.get(identifier=state))
        paid = {"order": order, "amount": order.total, "state": sample.payment, "created_at": order.placed_at}
        self.keep(models.OrderPayment, paid, provider_reference=f"pi_sample_{sample.identifier}")
