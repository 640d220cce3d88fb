"""Stock keeping units (SKUs), their prices and inventory."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Lower
from django.utils import timezone

from order.models.catalog import Picture
from order.models.money import ZERO, currency_constraint, currency_field, format_money, money_field
from user.models.reference import ReferenceRow


class SkuType(ReferenceRow):
    """The type of a SKU: goods, download or service."""

    class Meta(ReferenceRow.Meta):
        db_table = "order_sku_type"
        verbose_name = "SKU type"


class SkuQuerySet(models.QuerySet["Sku"]):
    """Queries for SKUs."""

    def with_price(self, currency: str) -> SkuQuerySet:
        """Add `current_price` in `currency`, None if there is none."""
        current = SkuPrice.objects.filter(sku=OuterRef("pk"), currency=currency, valid_until__isnull=True)
        return self.annotate(current_price=Subquery(current.values("amount")))  # type: ignore[no-redef]


class Sku(models.Model):
    """A stock keeping unit: a variant of a product, for example one color and size."""

    current_price: Decimal | None  # added by `with_price`
    if TYPE_CHECKING:
        inventory: SkuInventory

    code = models.CharField(max_length=40, help_text="The code on the label.")
    type = models.ForeignKey(SkuType, on_delete=models.PROTECT, related_name="skus")
    title = models.CharField(max_length=120)
    color = models.CharField(max_length=40, blank=True)
    size = models.CharField(max_length=40, blank=True)
    is_active = models.BooleanField(default=True, help_text="Inactive SKUs are not sold.")

    objects = SkuQuerySet.as_manager()

    class Meta:
        ordering = ("code",)
        verbose_name = "SKU"
        indexes = (models.Index(fields=["code"], name="order_sku_code"),)
        constraints = (
            models.UniqueConstraint(Lower("code"), name="order_sku_code_unique"),
            models.CheckConstraint(condition=~Q(code=""), name="order_sku_has_code"),
        )

    def __str__(self) -> str:
        return f"{self.code} {self.title}"

    @property
    def variant(self) -> str:
        """Return the color and the size, or the title if both are empty."""
        return ", ".join(part for part in (self.color, self.size) if part) or self.title

    @property
    def availability(self) -> str:
        """Return the availability as shown on the product page."""
        inventory: SkuInventory | None = getattr(self, "inventory", None)
        return "Always available" if inventory is None else inventory.availability


class SkuInventory(models.Model):
    """The stock of a SKU. A SKU without inventory is always available, for example a download."""

    sku = models.OneToOneField(Sku, on_delete=models.CASCADE, related_name="inventory", verbose_name="SKU")
    quantity = models.PositiveIntegerField(default=0)
    reorder_level = models.PositiveIntegerField(default=0, help_text="Reorder when the quantity reaches this level.")
    is_back_orderable = models.BooleanField(default=False, help_text="Customers can order when the quantity is 0.")

    class Meta:
        db_table = "order_sku_inventory"
        verbose_name = "SKU inventory"
        verbose_name_plural = "SKU inventory"
        constraints = (
            models.CheckConstraint(
                condition=Q(quantity__gte=0) & Q(reorder_level__gte=0), name="order_sku_inventory_not_negative"
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} in stock"

    @property
    def availability(self) -> str:
        """Return the availability as shown on the product page."""
        if self.quantity > self.reorder_level:
            return "In stock"
        if self.quantity:
            return f"Only {self.quantity} left"
        return "On back order" if self.is_back_orderable else "Sold out"


def validate_not_in_future(moment: datetime) -> None:
    """Require a date and time in the past: prices cannot be scheduled.

    Raises:
        ValidationError: `moment` is in the future.
    """
    if moment > timezone.now():
        raise ValidationError("The date must not be in the future. Prices change when they are entered.")


class SkuPrice(models.Model):
    """A price of a SKU and the period in which it is valid. Each currency has at most one current price."""

    sku = models.ForeignKey(Sku, on_delete=models.CASCADE, related_name="prices", verbose_name="SKU")
    currency = currency_field()
    amount = money_field()
    valid_from = models.DateTimeField(default=timezone.now, validators=[validate_not_in_future])
    valid_until = models.DateTimeField(
        null=True, blank=True, validators=[validate_not_in_future], help_text="Leave empty for the current price."
    )

    class Meta:
        db_table = "order_sku_price"
        ordering = ("currency", "-valid_from")
        verbose_name = "SKU price"
        constraints = (
            models.UniqueConstraint(
                fields=["sku", "currency"],
                condition=Q(valid_until__isnull=True),
                include=["amount"],
                name="order_sku_price_one_current",
                violation_error_message="Set “valid until” of the current price in this currency first.",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=ZERO),
                name="order_sku_price_positive",
                violation_error_message="The price must be greater than 0.",
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="order_sku_price_ends_after_start",
                violation_error_message="“Valid until” must be after “valid from”.",
            ),
            currency_constraint("order_sku_price_currency"),
        )

    def __str__(self) -> str:
        return format_money(self.amount, self.currency)


class SkuImage(Picture):
    """An image of a SKU."""

    sku = models.ForeignKey(Sku, on_delete=models.CASCADE, related_name="images", verbose_name="SKU")

    class Meta(Picture.Meta):
        db_table = "order_sku_image"
        verbose_name = "SKU image"
        constraints = (
            *Picture.Meta.constraints,
            models.UniqueConstraint(fields=["sku", "path"], name="order_sku_image_unique"),
        )
