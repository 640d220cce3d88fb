"""What changes a price on the way to the till: ways of shipping and discounts."""

from __future__ import annotations

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone

from order.models.money import ZERO, currency_constraint, currency_field, money_field
from StartupWebApp.reference import ReferenceRow


class ShippingMethod(ReferenceRow):
    """A carrier's service and its price."""

    carrier = models.CharField(max_length=60, blank=True)
    currency = currency_field()
    price = money_field(validators=[MinValueValidator(ZERO)])
    tracking_url = models.URLField(blank=True, help_text="The tracking number is put at its end.")
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
    """What a discount does."""

    PERCENT = "percent", "A percentage off the goods"
    AMOUNT = "amount", "An amount off the goods"
    FREE_SHIPPING = "free-shipping", "No shipping costs"


class DiscountType(ReferenceRow):
    """A kind of discount, one for each action."""

    action = models.CharField(max_length=20, choices=DiscountAction, unique=True)

    class Meta(ReferenceRow.Meta):
        db_table = "order_discount_type"
        constraints = (
            *ReferenceRow.Meta.constraints,
            models.CheckConstraint(condition=Q(action__in=DiscountAction.values), name="order_discount_type_action"),
        )


class DiscountCode(models.Model):
    """What a customer types. Exactly one of the two values is set, or none where shipping is free."""

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
                violation_error_message="A code has no spaces in it.",
            ),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=True) | Q(amount_off__isnull=True), name="order_discount_code_one_value"
            ),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=True) | Q(percent_off__gt=0, percent_off__lte=100),
                name="order_discount_code_percent",
                violation_error_message="A percentage is more than 0 and at most 100.",
            ),
            models.CheckConstraint(
                condition=Q(amount_off__isnull=True) | Q(amount_off__gt=ZERO),
                name="order_discount_code_amount",
                violation_error_message="An amount is more than nothing.",
            ),
            models.CheckConstraint(
                condition=Q(minimum_subtotal__gte=ZERO), name="order_discount_code_minimum_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="order_discount_code_ends_after_start",
                violation_error_message="A code ends after it starts.",
            ),
            currency_constraint("order_discount_code_currency"),
        )

    def __str__(self) -> str:
        return self.code

    def clean(self) -> None:
        """Raises `ValidationError` where the values are not those that the type asks for."""
        if self.type_id is None:
            return
        wants = {
            DiscountAction.PERCENT: (True, False),
            DiscountAction.AMOUNT: (False, True),
            DiscountAction.FREE_SHIPPING: (False, False),
        }[DiscountAction(self.type.action)]
        if (self.percent_off is not None, self.amount_off is not None) != wants:
            raise ValidationError(
                f"“{self.type}” asks for: {self.type.get_action_display().lower()}, and nothing else."
            )

    def discount(self, subtotal: Decimal, shipping: Decimal) -> Decimal:
        """What the code takes off, never more than there is.

        Args:
            subtotal: price of the goods.
            shipping: price of sending them.
        """
        if subtotal < self.minimum_subtotal:
            return ZERO
        if self.percent_off is not None:
            return (subtotal * self.percent_off / 100).quantize(ZERO)
        if self.amount_off is not None:
            return min(self.amount_off, subtotal)
        return shipping
