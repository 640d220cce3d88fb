"""Orders. They are kept when carts or accounts are deleted or prices change."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import DecimalField, F, OuterRef, Q, Subquery
from django.db.models.functions import Lower
from django.utils import timezone

from order.models.money import ZERO, currency_constraint, currency_field, money_field
from order.models.stock import Sku
from order.models.terms import DiscountCode, ShippingMethod
from user.models import Member, Prospect
from user.models.address import PostalAddress
from user.models.reference import ReferenceRow


class OrderState(models.TextChoices):
    """States of an order, in their usual sequence."""

    PLACED = "placed", "Placed"
    PAID = "paid", "Paid"
    PACKED = "packed", "Packed"
    SHIPPED = "shipped", "Shipped"
    DELIVERED = "delivered", "Delivered"
    CANCELLED = "cancelled", "Cancelled"
    REFUNDED = "refunded", "Refunded"


class Status(ReferenceRow):
    """The title of an order state."""

    class Meta(ReferenceRow.Meta):
        verbose_name_plural = "statuses"
        constraints = (
            models.CheckConstraint(condition=Q(identifier__in=OrderState.values), name="order_status_known"),
        )


class OrderQuerySet(models.QuerySet["Order"]):
    """Queries for orders."""

    def with_status(self) -> OrderQuerySet:
        """Add `status_title` and `status_identifier` of the newest status, None if there is none."""
        newest = OrderStatus.objects.filter(order=OuterRef("pk")).order_by("-set_at", "-pk")
        return self.annotate(  # type: ignore[no-redef]
            status_title=Subquery(newest.values("status__title")[:1]),
            status_identifier=Subquery(newest.values("status__identifier")[:1]),
        )


class Order(models.Model):
    """An order. Lines, amounts and addresses are copies, so they are kept when the account is deleted."""

    status_title: str | None  # added by `with_status`
    status_identifier: str | None

    identifier = models.CharField(max_length=20, help_text="The order number shown to the customer.")
    member = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, blank=True, related_name="orders")
    prospect = models.ForeignKey(Prospect, on_delete=models.SET_NULL, null=True, blank=True, related_name="orders")
    email = models.EmailField()
    currency = currency_field()
    subtotal = money_field(help_text="Total of the lines.")
    discount = money_field(default=ZERO)
    shipping = money_field(default=ZERO)
    tax = money_field(default=ZERO)
    total = money_field(help_text="Subtotal − discount + shipping + tax.")
    placed_at = models.DateTimeField(default=timezone.now)

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ("-placed_at", "-pk")
        indexes = (models.Index(fields=["-placed_at"], name="order_order_placed"),)
        constraints = (
            models.UniqueConstraint(Lower("identifier"), name="order_order_identifier_unique"),
            models.CheckConstraint(condition=~Q(identifier=""), name="order_order_has_identifier"),
            models.CheckConstraint(
                condition=Q(total=F("subtotal") - F("discount") + F("shipping") + F("tax")),
                name="order_order_total_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(subtotal__gte=ZERO, discount__gte=ZERO, shipping__gte=ZERO, tax__gte=ZERO, total__gte=ZERO),
                name="order_order_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(discount__lte=F("subtotal") + F("shipping")), name="order_order_discount_within"
            ),
            models.CheckConstraint(
                condition=Q(member__isnull=True) | Q(prospect__isnull=True), name="order_order_one_customer"
            ),
            currency_constraint("order_order_currency"),
        )

    def __str__(self) -> str:
        return self.identifier


class OrderSku(models.Model):
    """A line of an order, with title and price at the time of the order. A sold SKU cannot be deleted."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    sku = models.ForeignKey(Sku, on_delete=models.PROTECT, related_name="order_lines", verbose_name="SKU")
    title = models.CharField(max_length=120)
    quantity = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    price_each = money_field()
    line_total = models.GeneratedField(
        expression=F("quantity") * F("price_each"),
        output_field=DecimalField(max_digits=20, decimal_places=2),
        db_persist=True,
    )

    class Meta:
        db_table = "order_order_sku"
        ordering = ("pk",)
        verbose_name = "order line"
        constraints = (
            models.UniqueConstraint(fields=["order", "sku"], name="order_order_sku_unique"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="order_order_sku_quantity_positive"),
            models.CheckConstraint(condition=Q(price_each__gte=ZERO), name="order_order_sku_price_not_negative"),
        )

    def __str__(self) -> str:
        return f"{self.quantity} × {self.title}"

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        """Without asking the server whether it supports generated columns: so ``manage.py check`` needs no database."""
        return super().check(**kwargs | {"databases": []})


class OrderDiscount(models.Model):
    """A discount code used in an order and its amount. A used code cannot be deleted."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="discounts")
    discount_code = models.ForeignKey(DiscountCode, on_delete=models.PROTECT, related_name="order_discounts")
    amount = money_field()

    class Meta:
        db_table = "order_order_discount"
        constraints = (
            models.UniqueConstraint(fields=["order", "discount_code"], name="order_order_discount_unique"),
            models.CheckConstraint(condition=Q(amount__gte=ZERO), name="order_order_discount_not_negative"),
        )

    def __str__(self) -> str:
        return str(self.discount_code)


class OrderShippingMethod(models.Model):
    """The shipping method of an order."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="shipping_method")
    shipping_method = models.ForeignKey(ShippingMethod, on_delete=models.PROTECT, related_name="order_shipping_methods")
    cost = money_field()
    tracking_number = models.CharField(max_length=80, blank=True)

    class Meta:
        db_table = "order_order_shipping_method"
        constraints = (
            models.CheckConstraint(condition=Q(cost__gte=ZERO), name="order_order_shipping_method_cost_not_negative"),
        )

    def __str__(self) -> str:
        return str(self.shipping_method)


class PaymentState(models.TextChoices):
    """States of a payment."""

    AUTHORIZED = "authorised", "Authorized"
    CAPTURED = "captured", "Captured"
    FAILED = "failed", "Failed"
    REFUNDED = "refunded", "Refunded"


class OrderPayment(models.Model):
    """A payment or an attempted payment. An order with a payment cannot be deleted."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="payments")
    provider_reference = models.CharField(max_length=255, unique=True, help_text="ID of the payment in Stripe.")
    amount = money_field()
    state = models.CharField(max_length=12, choices=PaymentState, default=PaymentState.AUTHORIZED)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "order_order_payment"
        ordering = ("-created_at", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=["order"], condition=Q(state=PaymentState.CAPTURED), name="order_order_payment_paid_once"
            ),
            models.CheckConstraint(condition=Q(state__in=PaymentState.values), name="order_order_payment_state_known"),
            models.CheckConstraint(condition=Q(amount__gt=ZERO), name="order_order_payment_positive"),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.get_state_display().lower()}"


class OrderShippingAddress(PostalAddress):
    """The shipping address of an order."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="shipping_address")

    class Meta(PostalAddress.Meta):
        db_table = "order_order_shipping_address"
        verbose_name_plural = "order shipping addresses"


class OrderBillingAddress(PostalAddress):
    """The billing address of an order."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="billing_address")

    class Meta(PostalAddress.Meta):
        db_table = "order_order_billing_address"
        verbose_name_plural = "order billing addresses"


class OrderStatus(models.Model):
    """A status that an order reached. The newest row is the current one. Each status occurs at most once."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="statuses")
    status = models.ForeignKey(Status, on_delete=models.PROTECT, related_name="order_statuses")
    set_at = models.DateTimeField(default=timezone.now)
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        db_table = "order_order_status"
        ordering = ("set_at", "pk")
        verbose_name_plural = "order statuses"
        indexes = (models.Index(fields=["order", "-set_at"], name="order_order_status_newest"),)
        constraints = (models.UniqueConstraint(fields=["order", "status"], name="order_order_status_once"),)

    def __str__(self) -> str:
        return str(self.status)
