"""The tables and models of the shop."""

from __future__ import annotations

from django.apps import apps

from order.models import DiscountType, Status
from user.models import AdStatus, EmailStatus

DJANGO = [
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "auth_user",
    "auth_user_groups",
    "auth_user_user_permissions",
    "django_admin_log",
    "django_content_type",
    "django_migrations",
    "django_session",
]
USER = [
    "member",
    "prospect",
    "default_shipping_address",
    "email_unsubscribe_reasons",
    "terms_of_use_version",
    "member_terms_of_use_version_agreed",
    "email_type",
    "email_status",
    "email",
    "email_sent",
    "ad_type",
    "ad_status",
    "ad",
    "chat_message",
]
ORDER = [
    "configuration",
    "product",
    "product_image",
    "product_video",
    "product_sku",
    "sku_type",
    "sku_inventory",
    "sku",
    "sku_price",
    "sku_image",
    "cart",
    "cart_sku",
    "cart_shipping_address",
    "cart_payment",
    "cart_discount",
    "cart_shipping_method",
    "shipping_method",
    "discount_type",
    "discount_code",
    "order",
    "order_sku",
    "order_discount",
    "order_shipping_method",
    "order_payment",
    "order_shipping_address",
    "order_billing_address",
    "order_status",
    "status",
]
CLIENTEVENT = ["configuration", "pageview", "ajax_error", "button_click", "linkevent"]

TABLES = sorted(
    DJANGO
    + [f"user_{name}" for name in USER]
    + [f"order_{name}" for name in ORDER]
    + [f"clientevent_{name}" for name in CLIENTEVENT]
)
MODELS = [model for label in ("user", "order", "clientevent") for model in apps.get_app_config(label).get_models()]
#: Models whose rows are all created by migrations; rows cannot be added or deleted.
FIXED = {DiscountType, Status, EmailStatus, AdStatus}
