"""Shipping methods and discounts."""

from __future__ import annotations

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone

from order.models.money import ZERO, currency_constraint, currency_field, money_field
from user.models.reference import ReferenceRow


class ShippingMethod(ReferenceRow):
    """A shipping method and its price."""

    carrier = models.CharField(max_length=60, blank=True)
    currency = currency_field()
    price = money_field(validators=[MinValueValidator(ZERO)])
    tracking_url = models.URLField(blank=True, help_text="The tracking number is appended to this URL.")
    is_active = models.BooleanField(default=True)

    class Meta(ReferenceRow.Meta):
        db_table = "order_shipping_method"
        ordering = ("price", "pk")
        constraints = (
            *ReferenceRow.Meta.constraints,
            models.CheckConstraint(condition=Q(price__gte=ZERO), name="order_shipping_method_price_not_negative"),
            currency_constraint("order_shipping_method_currency"),
        )


class DiscountAction(models.TextChoices):
    """Actions of a discount."""

    PERCENT = "percent", "A percentage off the subtotal"
    AMOUNT = "amount", "An amount off the subtotal"
    FREE_SHIPPING = "free-shipping", "Free shipping"


class DiscountType(ReferenceRow):
    """A type of discount, one for each action."""

    action = models.CharField(max_length=20, choices=DiscountAction, unique=True)

    class Meta(ReferenceRow.Meta):
        db_table = "order_discount_type"
        constraints = (
            *ReferenceRow.Meta.constraints,
            models.CheckConstraint(condition=Q(action__in=DiscountAction.values), name="order_discount_type_action"),
        )


class DiscountCode(models.Model):
    """A discount code. `percent_off` or `amount_off` is set, or neither for free shipping."""

    code = models.CharField(max_length=40)
    type = models.ForeignKey(DiscountType, on_delete=models.PROTECT, related_name="codes")
    description = models.CharField(max_length=255, blank=True)
    percent_off = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    amount_off = money_field(null=True, blank=True)
    currency = currency_field()
    minimum_subtotal = money_field(default=ZERO, validators=[MinValueValidator(ZERO)])
    is_combinable = models.BooleanField(default=False)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "order_discount_code"
        ordering = ("code",)
        constraints = (
            models.UniqueConstraint(Lower("code"), name="order_discount_code_unique"),
            models.CheckConstraint(
                condition=Q(code__regex=r"^\S+$"),
                name="order_discount_code_no_space",
                violation_error_message="The code must not contain spaces.",
            ),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=True) | Q(amount_off__isnull=True), name="order_discount_code_one_value"
            ),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=True) | Q(percent_off__gt=0, percent_off__lte=100),
                name="order_discount_code_percent",
                violation_error_message="The percentage must be greater than 0 and at most 100.",
            ),
            models.CheckConstraint(
                condition=Q(amount_off__isnull=True) | Q(amount_off__gt=ZERO),
                name="order_discount_code_amount",
                violation_error_message="The amount must be greater than 0.",
            ),
            models.CheckConstraint(
                condition=Q(minimum_subtotal__gte=ZERO), name="order_discount_code_minimum_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="order_discount_code_ends_after_start",
                violation_error_message="“Ends at” must be after “starts at”.",
            ),
            currency_constraint("order_discount_code_currency"),
        )

    def __str__(self) -> str:
        return self.code

    def clean(self) -> None:
        """Check that the values match the type.

        Raises:
            ValidationError: a value is missing or must be empty.
        """
        if self.type_id is None:
            return
        action = DiscountAction(self.type.action)
        required = (action is DiscountAction.PERCENT, action is DiscountAction.AMOUNT)
        if (self.percent_off is not None, self.amount_off is not None) != required:
            instruction = {
                DiscountAction.PERCENT: "set “percent off” only",
                DiscountAction.AMOUNT: "set “amount off” only",
                DiscountAction.FREE_SHIPPING: "set neither “percent off” nor “amount off”",
            }[action]
            raise ValidationError(f"For the type “{self.type}”, {instruction}.")

    def discount(self, subtotal: Decimal, shipping: Decimal) -> Decimal:
        """Return the discount, at most `subtotal` or, for free shipping, `shipping`.

        Args:
            subtotal: price of the lines.
            shipping: price of the shipping method.
        """
        if subtotal < self.minimum_subtotal:
            return ZERO
        if self.percent_off is not None:
            return (subtotal * self.percent_off / 100).quantize(ZERO)
        if self.amount_off is not None:
            return min(self.amount_off, subtotal)
        return shipping
