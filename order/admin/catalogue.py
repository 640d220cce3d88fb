"""The shopkeeper's catalogue: products with their SKUs, SKUs with their prices, terms of sale."""

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
from StartupWebApp.shop import current_shop
from StartupWebApp.shopkeeping import ASSUME_HTTPS, BaseInlineFormSet, ClosedSet, Inline, ModelAdmin


class ProductSkuInline(Inline):
    """What is sold on a product's page."""

    model = ProductSku
    related = ("sku",)
    verbose_name_plural = "SKUs"


class ProductImageInline(Inline):
    """A product's pictures."""

    model = ProductImage


class ProductVideoInline(Inline):
    """A product's films."""

    model = ProductVideo
    formfield_overrides = ASSUME_HTTPS


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """Products by title."""

    list_display = ("title", "identifier", "is_published", "sku_count", "updated_at")
    list_filter = ("is_published", "skus__type")
    search_fields = ("title", "identifier", "headline", "skus__code")
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012
    readonly_fields = ("created_at", "updated_at")
    inlines = (ProductSkuInline, ProductImageInline, ProductVideoInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        """Products with the number of their SKUs."""
        products: QuerySet[Product] = super().get_queryset(request)
        return products.annotate(sku_count=Count("product_skus", distinct=True))

    @admin.display(description="SKUs", ordering="sku_count")
    def sku_count(self, product: Any) -> int:
        """How many SKUs the product has."""
        count: int = product.sku_count
        return count


class SkuPriceFormSet(BaseInlineFormSet):
    """All prices of a SKU: the old one can be ended and the new one added in one go."""

    def clean(self) -> None:
        """Raises `ValidationError` where a currency would have two current prices; Django checks no such constraint."""
        super().clean()
        kept = [form.cleaned_data for form in self.forms if form.is_valid() and form not in self.deleted_forms]
        current = [price["currency"] for price in kept if price.get("currency") and not price["valid_until"]]
        if len(current) != len(set(current)):
            raise ValidationError("A currency has one current price: say until when the old one was valid.")


class SkuPriceInline(Inline):
    """What a SKU costs and has cost."""

    model = SkuPrice
    formset = SkuPriceFormSet


class SkuInventoryInline(Inline):
    """How many there are."""

    model = SkuInventory


class SkuImageInline(Inline):
    """A SKU's pictures."""

    model = SkuImage


@admin.register(Sku)
class SkuAdmin(ModelAdmin):
    """SKUs by code, with stock and the current price."""

    list_display = ("code", "title", "color", "size", "stock", "price", "is_active")
    list_filter = ("is_active", "type", "color", "size")
    list_select_related = ("inventory",)
    search_fields = ("code", "title", "color", "size")
    inlines = (SkuPriceInline, SkuInventoryInline, SkuImageInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sku]:
        """SKUs with their current price in the shop's currency."""
        currency = current_shop().currency
        priced = Sku.objects.with_price(currency).annotate(price_currency=Value(currency))
        return priced.order_by(*self.get_ordering(request))

    @admin.display(description="stock", ordering="inventory__quantity")
    def stock(self, sku: Sku) -> int | None:
        """How many there are; None where that is not counted."""
        inventory: SkuInventory | None = getattr(sku, "inventory", None)
        return None if inventory is None else inventory.quantity

    @admin.display(description="price", ordering="current_price")
    def price(self, sku: Any) -> str | None:
        """What it costs now."""
        return None if sku.current_price is None else format_money(sku.current_price, sku.price_currency)


@admin.register(DiscountCode)
class DiscountCodeAdmin(ModelAdmin):
    """Discount codes, the current ones told from the others by their dates."""

    list_display = ("code", "type", "percent_off", "amount_off", "minimum_subtotal", "starts_at", "ends_at")
    list_filter = ("type", "is_combinable", "starts_at", "ends_at")
    list_select_related = ("type",)
    search_fields = ("code", "description")


@admin.register(ShippingMethod)
class ShippingMethodAdmin(ModelAdmin):
    """Ways of shipping."""

    formfield_overrides = ASSUME_HTTPS
    list_display = ("title", "identifier", "carrier", "price", "currency", "is_active")
    list_filter = ("is_active", "carrier")
    search_fields = ("title", "identifier", "carrier")


@admin.register(SkuType)
class SkuTypeAdmin(ModelAdmin):
    """Kinds of things that are sold."""

    list_display = ("title", "identifier", "description")
    search_fields = ("title", "identifier")


@admin.register(DiscountType)
class DiscountTypeAdmin(ClosedSet):
    """Kinds of discounts, one for each thing that the code can do."""

    readonly_fields = ("identifier", "action")


@admin.register(Configuration)
class ConfigurationAdmin(ModelAdmin):
    """The shop's settings."""

    list_display = ("key", "value", "description")
    search_fields = ("key", "description")
