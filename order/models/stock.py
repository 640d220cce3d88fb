"""What is bought and sold: stock keeping units, their prices and how many there are."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Lower
from django.utils import timezone

from order.models.catalogue import Picture
from order.models.money import ZERO, currency_constraint, currency_field, format_money, money_field
from StartupWebApp.reference import ReferenceRow


class SkuType(ReferenceRow):
    """Goods, downloads, services."""

    class Meta(ReferenceRow.Meta):
        db_table = "order_sku_type"
        verbose_name = "SKU type"


class SkuQuerySet(models.QuerySet["Sku"]):
    """What the pages ask of SKUs."""

    def with_price(self, currency: str) -> SkuQuerySet:
        """Adds `current_price`: the price now in `currency`, None where there is none."""
        current = SkuPrice.objects.filter(sku=OuterRef("pk"), currency=currency, valid_until__isnull=True)
        return self.annotate(current_price=Subquery(current.values("amount")))  # type: ignore[no-redef]


class Sku(models.Model):
    """One thing on a shelf: a colour and a size of something."""

    current_price: Decimal | None  # added by `with_price`
    if TYPE_CHECKING:
        inventory: SkuInventory

    code = models.CharField(max_length=40, help_text="As printed on the label.")
    type = models.ForeignKey(SkuType, on_delete=models.PROTECT, related_name="skus")
    title = models.CharField(max_length=120)
    color = models.CharField(max_length=40, blank=True)
    size = models.CharField(max_length=40, blank=True)
    is_active = models.BooleanField(default=True, help_text="Off: no longer sold.")

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
        """What tells it from its neighbours on a product's page: colour and size, or else the title."""
        return ", ".join(part for part in (self.color, self.size) if part) or self.title

    @property
    def availability(self) -> str:
        """In words, for the product's page."""
        inventory: SkuInventory | None = getattr(self, "inventory", None)
        return "Always available" if inventory is None else inventory.availability


class SkuInventory(models.Model):
    """How many there are. A SKU without a row is one that never runs out, such as a download."""

    sku = models.OneToOneField(Sku, on_delete=models.CASCADE, related_name="inventory", verbose_name="SKU")
    quantity = models.PositiveIntegerField(default=0)
    reorder_level = models.PositiveIntegerField(default=0, help_text="Order more when this few are left.")
    is_back_orderable = models.BooleanField(default=False, help_text="May be sold when there are none.")

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
        """In words, for the product's page."""
        if self.quantity > self.reorder_level:
            return "In stock"
        if self.quantity:
            return f"Only {self.quantity} left"
        return "On back order" if self.is_back_orderable else "Sold out"


def not_to_come(moment: datetime) -> None:
    """Raises `ValidationError` for a moment to come: a price that is entered is the price at once."""
    if moment > timezone.now():
        raise ValidationError("This is still to come: prices change when they are entered.")


class SkuPrice(models.Model):
    """What a SKU costs, from when until when. A new price ends the old one: there is one current price a currency."""

    sku = models.ForeignKey(Sku, on_delete=models.CASCADE, related_name="prices", verbose_name="SKU")
    currency = currency_field()
    amount = money_field()
    valid_from = models.DateTimeField(default=timezone.now, validators=[not_to_come])
    valid_until = models.DateTimeField(
        null=True, blank=True, validators=[not_to_come], help_text="Empty: the current price."
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
                violation_error_message="This SKU has a current price in this currency: end that one first.",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=ZERO),
                name="order_sku_price_positive",
                violation_error_message="A price is more than nothing.",
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="order_sku_price_ends_after_start",
                violation_error_message="A price ends after it starts.",
            ),
            currency_constraint("order_sku_price_currency"),
        )

    def __str__(self) -> str:
        return format_money(self.amount, self.currency)


class SkuImage(Picture):
    """A picture of one SKU."""

    sku = models.ForeignKey(Sku, on_delete=models.CASCADE, related_name="images", verbose_name="SKU")

    class Meta(Picture.Meta):
        db_table = "order_sku_image"
        verbose_name = "SKU image"
        constraints = (
            *Picture.Meta.constraints,
            models.UniqueConstraint(fields=["sku", "path"], name="order_sku_image_unique"),
        )
