"""The admin of orders and their statuses."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import localtime

from order.models import (
    Order,
    OrderBillingAddress,
    OrderDiscount,
    OrderPayment,
    OrderShippingAddress,
    OrderShippingMethod,
    OrderSku,
    OrderState,
    OrderStatus,
    Status,
)
from order.models.money import format_money
from user.admin_classes import AddressInline, FixedRows, Inline, ModelAdmin, ReadOnlyInline


class OrderSkuInline(ReadOnlyInline):
    model = OrderSku
    related = ("sku",)
    fields = ("sku", "title", "quantity", "price_each", "line_total")
    readonly_fields = ("line_total",)


class OrderDiscountInline(ReadOnlyInline):
    model = OrderDiscount
    related = ("discount_code",)


class OrderPaymentInline(ReadOnlyInline):
    model = OrderPayment
    fields = ("provider_reference", "amount", "state", "created_at")


class OrderStatusInline(Inline):
    """The history of the order: statuses are added, never changed or deleted."""

    model = OrderStatus
    related = ("status",)
    extra = 1

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the history is kept."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the history is kept."""
        return False


class OrderShippingMethodInline(Inline):
    """The shipping method; only the tracking number can be changed."""

    model = OrderShippingMethod
    related = ("shipping_method",)
    readonly_fields = ("shipping_method", "cost")
    can_delete = False


class OrderShippingAddressInline(AddressInline):
    model = OrderShippingAddress


class OrderBillingAddressInline(AddressInline):
    model = OrderBillingAddress


class StatusFilter(admin.SimpleListFilter):
    """Filter orders by their newest status."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all states."""
        return [(value, str(label)) for value, label in OrderState.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the orders in the selected state."""
        return queryset.filter(status_identifier=self.value()) if self.value() else queryset


@admin.register(Order)
class OrderAdmin(ModelAdmin):
    """Orders, newest first. Amounts and lines cannot be changed; statuses can be added."""

    list_display = ("identifier", "customer", "current_status", "amount", "placed")
    list_filter = (StatusFilter, "placed_at", "currency")
    date_hierarchy = "placed_at"
    search_fields = ("identifier", "email", "member__user__first_name", "member__user__last_name", "lines__sku__code")
    readonly_fields = (
        "identifier",
        "member",
        "prospect",
        "currency",
        "subtotal",
        "discount",
        "shipping",
        "tax",
        "total",
        "placed_at",
    )
    fieldsets = (
        (None, {"fields": (("identifier", "placed_at"), ("member", "prospect"), "email")}),
        ("Amounts", {"fields": (("subtotal", "discount"), ("shipping", "tax"), ("total", "currency"))}),
    )
    inlines = (
        OrderSkuInline,
        OrderStatusInline,
        OrderShippingMethodInline,
        OrderDiscountInline,
        OrderPaymentInline,
        OrderShippingAddressInline,
        OrderBillingAddressInline,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """Return orders with their customer and their newest status."""
        return Order.objects.with_status().select_related("member__user", "prospect")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: orders are placed by customers."""
        return False

    @admin.display(description="customer", ordering="email")
    def customer(self, order: Order) -> str:
        """Return the member's name, or the email address if there is no account."""
        return str(order.member or order.email)

    @admin.display(description="status", ordering="status_title")
    def current_status(self, order: Order) -> str | None:
        """Return the title of the newest status."""
        return order.status_title

    @admin.display(description="placed", ordering="placed_at")
    def placed(self, order: Order) -> str:
        """Return the day of the order."""
        return f"{localtime(order.placed_at):%Y-%m-%d}"

    @admin.display(description="total", ordering="total")
    def amount(self, order: Order) -> str:
        """Return the total."""
        return format_money(order.total, order.currency)


@admin.register(Status)
class StatusAdmin(FixedRows):
    """Titles of the order statuses."""
