"""Carts."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from order.models.money import currency_constraint, currency_field
from order.models.stock import Sku
from order.models.terms import DiscountCode, ShippingMethod
from user.models import Member
from user.models.address import PostalAddress


class CartState(models.TextChoices):
    """States of a cart."""

    OPEN = "open", "Open"
    ORDERED = "ordered", "Ordered"
    ABANDONED = "abandoned", "Abandoned"


class Cart(models.Model):
    """The cart of a member or of an anonymous visitor. Each has at most one open cart."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, null=True, blank=True, related_name="carts")
    anonymous_id = models.UUIDField(null=True, blank=True, help_text="The visitor's cookie, if there is no member.")
    state = models.CharField(max_length=12, choices=CartState, default=CartState.OPEN)
    currency = currency_field()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-created_at", "-pk")
        indexes = (
            models.Index(fields=["-created_at"], name="order_cart_created"),
            models.Index(fields=["state", "-created_at"], name="order_cart_state"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(member__isnull=True) ^ Q(anonymous_id__isnull=True),
                name="order_cart_one_owner",
                violation_error_message="A cart must have either a member or an anonymous ID.",
            ),
            models.UniqueConstraint(
                fields=["member"],
                condition=Q(state=CartState.OPEN),
                name="order_cart_one_open_a_member",
                violation_error_message="This member already has an open cart.",
            ),
            models.UniqueConstraint(
                fields=["anonymous_id"], condition=Q(state=CartState.OPEN), name="order_cart_one_open_a_visitor"
            ),
            models.CheckConstraint(condition=Q(state__in=CartState.values), name="order_cart_state_known"),
            currency_constraint("order_cart_currency"),
        )

    def __str__(self) -> str:
        return f"Cart {self.pk}"


class CartSku(models.Model):
    """A line of a cart."""

    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="lines")
    sku = models.ForeignKey(Sku, on_delete=models.CASCADE, related_name="cart_lines", verbose_name="SKU")
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "order_cart_sku"
        ordering = ("pk",)
        verbose_name = "cart line"
        constraints = (
            models.UniqueConstraint(fields=["cart", "sku"], name="order_cart_sku_unique"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="order_cart_sku_quantity_positive"),
        )

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"


class CartShippingAddress(PostalAddress):
    """The shipping address of a cart."""

    cart = models.OneToOneField(Cart, on_delete=models.CASCADE, related_name="shipping_address")

    class Meta(PostalAddress.Meta):
        db_table = "order_cart_shipping_address"
        verbose_name_plural = "cart shipping addresses"


class CartPayment(models.Model):
    """The payment method of a cart: tokens of Stripe, no card numbers."""

    cart = models.OneToOneField(Cart, on_delete=models.CASCADE, related_name="payment")
    stripe_customer_token = models.CharField(max_length=255)
    stripe_card_id = models.CharField(max_length=255, blank=True)
    email = models.EmailField()

    class Meta:
        db_table = "order_cart_payment"
        constraints = (
            models.CheckConstraint(condition=~Q(stripe_customer_token=""), name="order_cart_payment_has_token"),
        )

    def __str__(self) -> str:
        return self.email


class CartDiscount(models.Model):
    """A discount code entered in a cart."""

    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="discounts")
    discount_code = models.ForeignKey(DiscountCode, on_delete=models.CASCADE, related_name="cart_discounts")

    class Meta:
        db_table = "order_cart_discount"
        constraints = (models.UniqueConstraint(fields=["cart", "discount_code"], name="order_cart_discount_unique"),)

    def __str__(self) -> str:
        return str(self.discount_code)


class CartShippingMethod(models.Model):
    """The shipping method of a cart."""

    cart = models.OneToOneField(Cart, on_delete=models.CASCADE, related_name="shipping_method")
    shipping_method = models.ForeignKey(ShippingMethod, on_delete=models.CASCADE, related_name="cart_shipping_methods")

    class Meta:
        db_table = "order_cart_shipping_method"

    def __str__(self) -> str:
        return str(self.shipping_method)
