"""The admin of the catalog: products, SKUs with prices and stock, discounts, shipping methods."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet, Value
from django.http import HttpRequest

from order.models import (
    Configuration,
    DiscountCode,
    DiscountType,
    Product,
    ProductImage,
    ProductSku,
    ProductVideo,
    ShippingMethod,
    Sku,
    SkuImage,
    SkuInventory,
    SkuPrice,
    SkuType,
)
from order.models.money import format_money
from order.shop import current_shop
from user.admin_classes import ASSUME_HTTPS, BaseInlineFormSet, FixedRows, Inline, ModelAdmin, ModelForm


class ProductSkuInline(Inline):
    model = ProductSku
    related = ("sku",)
    verbose_name_plural = "SKUs"


class ProductImageInline(Inline):
    model = ProductImage


class ProductVideoInline(Inline):
    model = ProductVideo
    formfield_overrides = ASSUME_HTTPS


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """Products, ordered by title."""

    list_display = ("title", "identifier", "is_published", "sku_count", "updated_at")
    list_filter = ("is_published", "skus__type")
    search_fields = ("title", "identifier", "headline", "skus__code")
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012
    readonly_fields = ("created_at", "updated_at")
    inlines = (ProductSkuInline, ProductImageInline, ProductVideoInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        """Return products with the number of their SKUs."""
        products: QuerySet[Product] = super().get_queryset(request)
        return products.annotate(sku_count=Count("product_skus", distinct=True))

    @admin.display(description="SKUs", ordering="sku_count")
    def sku_count(self, product: Any) -> int:
        """Return the number of SKUs."""
        count: int = product.sku_count
        return count


class SkuPriceFormSet(BaseInlineFormSet):
    """The prices of a SKU: one form can end the current price and add a new one."""

    def clean(self) -> None:
        """Require one current price per currency; Django does not check the constraint across forms.

        Raises:
            ValidationError: a currency would have two current prices.
        """
        super().clean()
        kept = [form.cleaned_data for form in self.forms if form.is_valid() and form not in self.deleted_forms]
        current = [price["currency"] for price in kept if price.get("currency") and not price["valid_until"]]
        if len(current) != len(set(current)):
            raise ValidationError("Only one current price per currency is allowed. Set “valid until” of the old price.")


class SkuPriceForm(ModelForm):
    def _get_validation_exclusions(self) -> set[str]:
        # SkuPriceFormSet checks the constraint. Django 6.0 would also, before the form of the old price is saved.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded | {"sku"}


class SkuPriceInline(Inline):
    model = SkuPrice
    form = SkuPriceForm
    formset = SkuPriceFormSet


class SkuInventoryInline(Inline):
    model = SkuInventory


class SkuImageInline(Inline):
    model = SkuImage


@admin.register(Sku)
class SkuAdmin(ModelAdmin):
    """SKUs, ordered by code, with stock and current price."""

    list_display = ("code", "title", "color", "size", "stock", "price", "is_active")
    list_filter = ("is_active", "type", "color", "size")
    list_select_related = ("inventory",)
    search_fields = ("code", "title", "color", "size")
    inlines = (SkuPriceInline, SkuInventoryInline, SkuImageInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sku]:
        """Return SKUs with their current price in the shop's currency."""
        currency = current_shop().currency
        priced = Sku.objects.with_price(currency).annotate(price_currency=Value(currency))
        return priced.order_by(*self.get_ordering(request))

    @admin.display(description="stock", ordering="inventory__quantity")
    def stock(self, sku: Sku) -> int | None:
        """Return the quantity in stock; None: not counted."""
        inventory: SkuInventory | None = getattr(sku, "inventory", None)
        return None if inventory is None else inventory.quantity

    @admin.display(description="price", ordering="current_price")
    def price(self, sku: Any) -> str | None:
        """Return the current price."""
        return None if sku.current_price is None else format_money(sku.current_price, sku.price_currency)


@admin.register(DiscountCode)
class DiscountCodeAdmin(ModelAdmin):
    """Discount codes, with the dates from and until which they are valid."""

    list_display = ("code", "type", "percent_off", "amount_off", "minimum_subtotal", "starts_at", "ends_at")
    list_filter = ("type", "is_combinable", "starts_at", "ends_at")
    list_select_related = ("type",)
    search_fields = ("code", "description")


@admin.register(ShippingMethod)
class ShippingMethodAdmin(ModelAdmin):
    """Shipping methods."""

    formfield_overrides = ASSUME_HTTPS
    list_display = ("title", "identifier", "carrier", "price", "currency", "is_active")
    list_filter = ("is_active", "carrier")
    search_fields = ("title", "identifier", "carrier")


@admin.register(SkuType)
class SkuTypeAdmin(ModelAdmin):
    """SKU types."""

    list_display = ("title", "identifier", "description")
    search_fields = ("title", "identifier")


@admin.register(DiscountType)
class DiscountTypeAdmin(FixedRows):
    """Discount types, one for each action."""

    readonly_fields = ("identifier", "action")


@admin.register(Configuration)
class ConfigurationAdmin(ModelAdmin):
    """The configuration of the shop."""

    list_display = ("key", "value", "description")
    search_fields = ("key", "description")
