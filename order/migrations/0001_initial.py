"""The tables of `order`."""

from __future__ import annotations

from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models

import order.models.stock


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("user", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="DiscountCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(max_length=40)),
                ("description", models.CharField(blank=True, max_length=255)),
                ("percent_off", models.DecimalField(blank=True, decimal_places=2, max_digits=5, null=True)),
                ("amount_off", models.DecimalField(blank=True, decimal_places=2, max_digits=10, null=True)),
                (
                    "currency",
                    models.CharField(
                        choices=[("USD", "US dollar"), ("EUR", "Euro"), ("GBP", "Pound sterling")],
                        default="USD",
                        max_length=3,
                    ),
                ),
                (
                    "minimum_subtotal",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0.00"),
                        max_digits=10,
                        validators=[django.core.validators.MinValueValidator(Decimal("0.00"))],
                    ),
                ),
                ("is_combinable", models.BooleanField(default=False)),
                ("starts_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "order_discount_code",
                "ordering": ("code",),
            },
        ),
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "identifier",
                    models.CharField(help_text="Identifies the product in lists and reports.", max_length=40),
                ),
                (
                    "slug",
                    models.SlugField(
                        help_text="The last part of the URL of the product page.", max_length=80, unique=True
                    ),
                ),
                ("title", models.CharField(max_length=120)),
                ("headline", models.CharField(blank=True, max_length=200)),
                ("description", models.TextField(blank=True)),
                ("is_published", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ("title", "pk"),
            },
        ),
        migrations.CreateModel(
            name="Sku",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(help_text="The code on the label.", max_length=40)),
                ("title", models.CharField(max_length=120)),
                ("color", models.CharField(blank=True, max_length=40)),
                ("size", models.CharField(blank=True, max_length=40)),
                ("is_active", models.BooleanField(default=True, help_text="Inactive SKUs are not sold.")),
            ],
            options={
                "verbose_name": "SKU",
                "ordering": ("code",),
            },
        ),
        migrations.CreateModel(
            name="Cart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "anonymous_id",
                    models.UUIDField(blank=True, help_text="The visitor's cookie, if there is no member.", null=True),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("ordered", "Ordered"), ("abandoned", "Abandoned")],
                        default="open",
                        max_length=12,
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        choices=[("USD", "US dollar"), ("EUR", "Euro"), ("GBP", "Pound sterling")],
                        default="USD",
                        max_length=3,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="carts",
                        to="user.member",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="CartPayment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stripe_customer_token", models.CharField(max_length=255)),
                ("stripe_card_id", models.CharField(blank=True, max_length=255)),
                ("email", models.EmailField(max_length=254)),
                (
                    "cart",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="payment", to="order.cart"
                    ),
                ),
            ],
            options={
                "db_table": "order_cart_payment",
            },
        ),
        migrations.CreateModel(
            name="CartShippingAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("line1", models.CharField(max_length=200, verbose_name="address line 1")),
                ("line2", models.CharField(blank=True, max_length=200, verbose_name="address line 2")),
                ("city", models.CharField(max_length=100)),
                ("region", models.CharField(blank=True, max_length=100, verbose_name="state or region")),
                ("postal_code", models.CharField(blank=True, max_length=20)),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z]{2}$", "Enter a two-letter country code, such as US."
                            )
                        ],
                    ),
                ),
                (
                    "cart",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shipping_address", to="order.cart"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "cart shipping addresses",
                "db_table": "order_cart_shipping_address",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Configuration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=60)),
                ("value", models.CharField(blank=True, max_length=255)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "verbose_name": "configuration",
                "verbose_name_plural": "configuration",
                "ordering": ("key",),
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        django.db.models.functions.text.Lower("key"), name="order_configuration_key_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("key", ""), _negated=True), name="order_configuration_has_key"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CartDiscount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "cart",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="discounts", to="order.cart"
                    ),
                ),
                (
                    "discount_code",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cart_discounts",
                        to="order.discountcode",
                    ),
                ),
            ],
            options={
                "db_table": "order_cart_discount",
            },
        ),
        migrations.CreateModel(
            name="DiscountType",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("percent", "A percentage off the subtotal"),
                            ("amount", "An amount off the subtotal"),
                            ("free-shipping", "Free shipping"),
                        ],
                        max_length=20,
                        unique=True,
                    ),
                ),
            ],
            options={
                "db_table": "order_discount_type",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("identifier__regex", "^[a-z0-9][a-z0-9-]*$")),
                        name="order_discounttype_identifier",
                        violation_error_message="The identifier can contain lowercase letters, digits and hyphens only.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("action__in", ["percent", "amount", "free-shipping"])),
                        name="order_discount_type_action",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="discountcode",
            name="type",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="codes", to="order.discounttype"
            ),
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.CharField(help_text="The order number shown to the customer.", max_length=20)),
                ("email", models.EmailField(max_length=254)),
                (
                    "currency",
                    models.CharField(
                        choices=[("USD", "US dollar"), ("EUR", "Euro"), ("GBP", "Pound sterling")],
                        default="USD",
                        max_length=3,
                    ),
                ),
                ("subtotal", models.DecimalField(decimal_places=2, help_text="Total of the lines.", max_digits=10)),
                ("discount", models.DecimalField(decimal_places=2, default=Decimal("0.00"), max_digits=10)),
                ("shipping", models.DecimalField(decimal_places=2, default=Decimal("0.00"), max_digits=10)),
                ("tax", models.DecimalField(decimal_places=2, default=Decimal("0.00"), max_digits=10)),
                (
                    "total",
                    models.DecimalField(
                        decimal_places=2, help_text="Subtotal − discount + shipping + tax.", max_digits=10
                    ),
                ),
                ("placed_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="orders",
                        to="user.member",
                    ),
                ),
                (
                    "prospect",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="orders",
                        to="user.prospect",
                    ),
                ),
            ],
            options={
                "ordering": ("-placed_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="OrderBillingAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("line1", models.CharField(max_length=200, verbose_name="address line 1")),
                ("line2", models.CharField(blank=True, max_length=200, verbose_name="address line 2")),
                ("city", models.CharField(max_length=100)),
                ("region", models.CharField(blank=True, max_length=100, verbose_name="state or region")),
                ("postal_code", models.CharField(blank=True, max_length=20)),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z]{2}$", "Enter a two-letter country code, such as US."
                            )
                        ],
                    ),
                ),
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="billing_address", to="order.order"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "order billing addresses",
                "db_table": "order_order_billing_address",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="OrderDiscount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount", models.DecimalField(decimal_places=2, max_digits=10)),
                (
                    "discount_code",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="order_discounts",
                        to="order.discountcode",
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="discounts", to="order.order"
                    ),
                ),
            ],
            options={
                "db_table": "order_order_discount",
            },
        ),
        migrations.CreateModel(
            name="OrderPayment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "provider_reference",
                    models.CharField(help_text="ID of the payment in Stripe.", max_length=255, unique=True),
                ),
                ("amount", models.DecimalField(decimal_places=2, max_digits=10)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("authorised", "Authorized"),
                            ("captured", "Captured"),
                            ("failed", "Failed"),
                            ("refunded", "Refunded"),
                        ],
                        default="authorised",
                        max_length=12,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="payments", to="order.order"
                    ),
                ),
            ],
            options={
                "db_table": "order_order_payment",
                "ordering": ("-created_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="OrderShippingAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("line1", models.CharField(max_length=200, verbose_name="address line 1")),
                ("line2", models.CharField(blank=True, max_length=200, verbose_name="address line 2")),
                ("city", models.CharField(max_length=100)),
                ("region", models.CharField(blank=True, max_length=100, verbose_name="state or region")),
                ("postal_code", models.CharField(blank=True, max_length=20)),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z]{2}$", "Enter a two-letter country code, such as US."
                            )
                        ],
                    ),
                ),
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shipping_address", to="order.order"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "order shipping addresses",
                "db_table": "order_order_shipping_address",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ProductImage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "path",
                    models.CharField(
                        help_text="Relative to the static files, for example order/products/mug.svg.",
                        max_length=200,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[\\w-]+(/[\\w-]+)*\\.(svg|png|jpg|webp|avif)$",
                                "Enter a path relative to the static files.",
                            )
                        ],
                    ),
                ),
                ("alternative_text", models.CharField(max_length=200)),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="Lowest first.")),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="images", to="order.product"
                    ),
                ),
            ],
            options={
                "db_table": "order_product_image",
                "ordering": ("position", "pk"),
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ProductVideo",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("url", models.URLField()),
                ("title", models.CharField(max_length=120)),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="Lowest first.")),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="videos", to="order.product"
                    ),
                ),
            ],
            options={
                "db_table": "order_product_video",
                "ordering": ("position", "pk"),
            },
        ),
        migrations.CreateModel(
            name="ShippingMethod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
                ("carrier", models.CharField(blank=True, max_length=60)),
                (
                    "currency",
                    models.CharField(
                        choices=[("USD", "US dollar"), ("EUR", "Euro"), ("GBP", "Pound sterling")],
                        default="USD",
                        max_length=3,
                    ),
                ),
                (
                    "price",
                    models.DecimalField(
                        decimal_places=2,
                        max_digits=10,
                        validators=[django.core.validators.MinValueValidator(Decimal("0.00"))],
                    ),
                ),
                ("tracking_url", models.URLField(blank=True, help_text="The tracking number is appended to this URL.")),
                ("is_active", models.BooleanField(default=True)),
            ],
            options={
                "db_table": "order_shipping_method",
                "ordering": ("price", "pk"),
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("identifier__regex", "^[a-z0-9][a-z0-9-]*$")),
                        name="order_shippingmethod_identifier",
                        violation_error_message="The identifier can contain lowercase letters, digits and hyphens only.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("price__gte", Decimal("0.00"))),
                        name="order_shipping_method_price_not_negative",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("currency__in", ["USD", "EUR", "GBP"])),
                        name="order_shipping_method_currency",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OrderShippingMethod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("cost", models.DecimalField(decimal_places=2, max_digits=10)),
                ("tracking_number", models.CharField(blank=True, max_length=80)),
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shipping_method", to="order.order"
                    ),
                ),
                (
                    "shipping_method",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="order_shipping_methods",
                        to="order.shippingmethod",
                    ),
                ),
            ],
            options={
                "db_table": "order_order_shipping_method",
            },
        ),
        migrations.CreateModel(
            name="CartShippingMethod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "cart",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shipping_method", to="order.cart"
                    ),
                ),
                (
                    "shipping_method",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cart_shipping_methods",
                        to="order.shippingmethod",
                    ),
                ),
            ],
            options={
                "db_table": "order_cart_shipping_method",
            },
        ),
        migrations.CreateModel(
            name="ProductSku",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="Lowest first.")),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="product_skus", to="order.product"
                    ),
                ),
                (
                    "sku",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="product_skus",
                        to="order.sku",
                        verbose_name="SKU",
                    ),
                ),
            ],
            options={
                "verbose_name": "product SKU",
                "db_table": "order_product_sku",
                "ordering": ("position", "pk"),
            },
        ),
        migrations.AddField(
            model_name="product",
            name="skus",
            field=models.ManyToManyField(related_name="products", through="order.ProductSku", to="order.sku"),
        ),
        migrations.CreateModel(
            name="OrderSku",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=120)),
                ("quantity", models.PositiveIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ("price_each", models.DecimalField(decimal_places=2, max_digits=10)),
                (
                    "line_total",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.expressions.CombinedExpression(
                            models.F("quantity"), "*", models.F("price_each")
                        ),
                        output_field=models.DecimalField(decimal_places=2, max_digits=20),
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="order.order"
                    ),
                ),
                (
                    "sku",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="order_lines",
                        to="order.sku",
                        verbose_name="SKU",
                    ),
                ),
            ],
            options={
                "verbose_name": "order line",
                "db_table": "order_order_sku",
                "ordering": ("pk",),
            },
        ),
        migrations.CreateModel(
            name="CartSku",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "quantity",
                    models.PositiveIntegerField(default=1, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                ("added_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "cart",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="order.cart"
                    ),
                ),
                (
                    "sku",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cart_lines",
                        to="order.sku",
                        verbose_name="SKU",
                    ),
                ),
            ],
            options={
                "verbose_name": "cart line",
                "db_table": "order_cart_sku",
                "ordering": ("pk",),
            },
        ),
        migrations.CreateModel(
            name="SkuImage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "path",
                    models.CharField(
                        help_text="Relative to the static files, for example order/products/mug.svg.",
                        max_length=200,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[\\w-]+(/[\\w-]+)*\\.(svg|png|jpg|webp|avif)$",
                                "Enter a path relative to the static files.",
                            )
                        ],
                    ),
                ),
                ("alternative_text", models.CharField(max_length=200)),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="Lowest first.")),
                (
                    "sku",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="images",
                        to="order.sku",
                        verbose_name="SKU",
                    ),
                ),
            ],
            options={
                "verbose_name": "SKU image",
                "db_table": "order_sku_image",
                "ordering": ("position", "pk"),
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="SkuInventory",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("quantity", models.PositiveIntegerField(default=0)),
                (
                    "reorder_level",
                    models.PositiveIntegerField(default=0, help_text="Reorder when the quantity reaches this level."),
                ),
                (
                    "is_back_orderable",
                    models.BooleanField(default=False, help_text="Customers can order when the quantity is 0."),
                ),
                (
                    "sku",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="inventory",
                        to="order.sku",
                        verbose_name="SKU",
                    ),
                ),
            ],
            options={
                "verbose_name": "SKU inventory",
                "verbose_name_plural": "SKU inventory",
                "db_table": "order_sku_inventory",
            },
        ),
        migrations.CreateModel(
            name="SkuPrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "currency",
                    models.CharField(
                        choices=[("USD", "US dollar"), ("EUR", "Euro"), ("GBP", "Pound sterling")],
                        default="USD",
                        max_length=3,
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=2, max_digits=10)),
                (
                    "valid_from",
                    models.DateTimeField(
                        default=django.utils.timezone.now, validators=[order.models.stock.validate_not_in_future]
                    ),
                ),
                (
                    "valid_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="Leave empty for the current price.",
                        null=True,
                        validators=[order.models.stock.validate_not_in_future],
                    ),
                ),
                (
                    "sku",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="prices",
                        to="order.sku",
                        verbose_name="SKU",
                    ),
                ),
            ],
            options={
                "verbose_name": "SKU price",
                "db_table": "order_sku_price",
                "ordering": ("currency", "-valid_from"),
            },
        ),
        migrations.CreateModel(
            name="SkuType",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "verbose_name": "SKU type",
                "db_table": "order_sku_type",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("identifier__regex", "^[a-z0-9][a-z0-9-]*$")),
                        name="order_skutype_identifier",
                        violation_error_message="The identifier can contain lowercase letters, digits and hyphens only.",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="sku",
            name="type",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="skus", to="order.skutype"
            ),
        ),
        migrations.CreateModel(
            name="Status",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "verbose_name_plural": "statuses",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "identifier__in",
                                ["placed", "paid", "packed", "shipped", "delivered", "cancelled", "refunded"],
                            )
                        ),
                        name="order_status_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OrderStatus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("set_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("note", models.CharField(blank=True, max_length=255)),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="statuses", to="order.order"
                    ),
                ),
                (
                    "status",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="order_statuses", to="order.status"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "order statuses",
                "db_table": "order_order_status",
                "ordering": ("set_at", "pk"),
            },
        ),
        migrations.AddIndex(
            model_name="cart",
            index=models.Index(fields=["-created_at"], name="order_cart_created"),
        ),
        migrations.AddIndex(
            model_name="cart",
            index=models.Index(fields=["state", "-created_at"], name="order_cart_state"),
        ),
        migrations.AddConstraint(
            model_name="cart",
            constraint=models.CheckConstraint(
                condition=models.Q(("member__isnull", True), ("anonymous_id__isnull", True), _connector="XOR"),
                name="order_cart_one_owner",
                violation_error_message="A cart must have either a member or an anonymous ID.",
            ),
        ),
        migrations.AddConstraint(
            model_name="cart",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")),
                fields=("member",),
                name="order_cart_one_open_a_member",
                violation_error_message="This member already has an open cart.",
            ),
        ),
        migrations.AddConstraint(
            model_name="cart",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")), fields=("anonymous_id",), name="order_cart_one_open_a_visitor"
            ),
        ),
        migrations.AddConstraint(
            model_name="cart",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "ordered", "abandoned"])), name="order_cart_state_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="cart",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__in", ["USD", "EUR", "GBP"])), name="order_cart_currency"
            ),
        ),
        migrations.AddConstraint(
            model_name="cartpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(("stripe_customer_token", ""), _negated=True), name="order_cart_payment_has_token"
            ),
        ),
        migrations.AddConstraint(
            model_name="cartshippingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(("country__regex", "^[A-Z]{2}$")), name="order_cartshippingaddress_country"
            ),
        ),
        migrations.AddConstraint(
            model_name="cartshippingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True),
                    models.Q(("line1", ""), _negated=True),
                    models.Q(("city", ""), _negated=True),
                ),
                name="order_cartshippingaddress_complete",
            ),
        ),
        migrations.AddConstraint(
            model_name="cartdiscount",
            constraint=models.UniqueConstraint(fields=("cart", "discount_code"), name="order_cart_discount_unique"),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("code"), name="order_discount_code_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("code__regex", "^\\S+$")),
                name="order_discount_code_no_space",
                violation_error_message="The code must not contain spaces.",
            ),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("percent_off__isnull", True), ("amount_off__isnull", True), _connector="OR"),
                name="order_discount_code_one_value",
            ),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("percent_off__isnull", True),
                    models.Q(("percent_off__gt", 0), ("percent_off__lte", 100)),
                    _connector="OR",
                ),
                name="order_discount_code_percent",
                violation_error_message="The percentage must be greater than 0 and at most 100.",
            ),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_off__isnull", True), ("amount_off__gt", Decimal("0.00")), _connector="OR"),
                name="order_discount_code_amount",
                violation_error_message="The amount must be greater than 0.",
            ),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("minimum_subtotal__gte", Decimal("0.00"))),
                name="order_discount_code_minimum_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__isnull", True), ("ends_at__gt", models.F("starts_at")), _connector="OR"),
                name="order_discount_code_ends_after_start",
                violation_error_message="“Ends at” must be after “starts at”.",
            ),
        ),
        migrations.AddConstraint(
            model_name="discountcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__in", ["USD", "EUR", "GBP"])), name="order_discount_code_currency"
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["-placed_at"], name="order_order_placed"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("identifier"), name="order_order_identifier_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("identifier", ""), _negated=True), name="order_order_has_identifier"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                django.db.models.expressions.CombinedExpression(
                                    models.F("subtotal"), "-", models.F("discount")
                                ),
                                "+",
                                models.F("shipping"),
                            ),
                            "+",
                            models.F("tax"),
                        ),
                    )
                ),
                name="order_order_total_adds_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("discount__gte", Decimal("0.00")),
                    ("shipping__gte", Decimal("0.00")),
                    ("subtotal__gte", Decimal("0.00")),
                    ("tax__gte", Decimal("0.00")),
                    ("total__gte", Decimal("0.00")),
                ),
                name="order_order_amounts_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "discount__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("subtotal"), "+", models.F("shipping")
                        ),
                    )
                ),
                name="order_order_discount_within",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("member__isnull", True), ("prospect__isnull", True), _connector="OR"),
                name="order_order_one_customer",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__in", ["USD", "EUR", "GBP"])), name="order_order_currency"
            ),
        ),
        migrations.AddConstraint(
            model_name="orderbillingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(("country__regex", "^[A-Z]{2}$")), name="order_orderbillingaddress_country"
            ),
        ),
        migrations.AddConstraint(
            model_name="orderbillingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True),
                    models.Q(("line1", ""), _negated=True),
                    models.Q(("city", ""), _negated=True),
                ),
                name="order_orderbillingaddress_complete",
            ),
        ),
        migrations.AddConstraint(
            model_name="orderdiscount",
            constraint=models.UniqueConstraint(fields=("order", "discount_code"), name="order_order_discount_unique"),
        ),
        migrations.AddConstraint(
            model_name="orderdiscount",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", Decimal("0.00"))), name="order_order_discount_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="orderpayment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "captured")), fields=("order",), name="order_order_payment_paid_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="orderpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["authorised", "captured", "failed", "refunded"])),
                name="order_order_payment_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="orderpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0.00"))), name="order_order_payment_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="ordershippingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(("country__regex", "^[A-Z]{2}$")), name="order_ordershippingaddress_country"
            ),
        ),
        migrations.AddConstraint(
            model_name="ordershippingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True),
                    models.Q(("line1", ""), _negated=True),
                    models.Q(("city", ""), _negated=True),
                ),
                name="order_ordershippingaddress_complete",
            ),
        ),
        migrations.AddConstraint(
            model_name="productimage",
            constraint=models.CheckConstraint(
                condition=models.Q(("alternative_text", ""), _negated=True), name="order_productimage_has_text"
            ),
        ),
        migrations.AddConstraint(
            model_name="productimage",
            constraint=models.UniqueConstraint(fields=("product", "path"), name="order_product_image_unique"),
        ),
        migrations.AddConstraint(
            model_name="productvideo",
            constraint=models.UniqueConstraint(fields=("product", "url"), name="order_product_video_unique"),
        ),
        migrations.AddConstraint(
            model_name="ordershippingmethod",
            constraint=models.CheckConstraint(
                condition=models.Q(("cost__gte", Decimal("0.00"))), name="order_order_shipping_method_cost_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="productsku",
            constraint=models.UniqueConstraint(fields=("product", "sku"), name="order_product_sku_unique"),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("is_published", True)), fields=["title"], name="order_product_published"
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("identifier"), name="order_product_identifier_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(("identifier", ""), _negated=True), name="order_product_has_identifier"
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(("slug__regex", "^[a-z0-9_-]+$")),
                name="order_product_slug_is_small",
                violation_error_message="The slug can contain lowercase letters, digits, hyphens and underscores only.",
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(("title", ""), _negated=True), name="order_product_has_title"
            ),
        ),
        migrations.AddConstraint(
            model_name="ordersku",
            constraint=models.UniqueConstraint(fields=("order", "sku"), name="order_order_sku_unique"),
        ),
        migrations.AddConstraint(
            model_name="ordersku",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gt", 0)), name="order_order_sku_quantity_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="ordersku",
            constraint=models.CheckConstraint(
                condition=models.Q(("price_each__gte", Decimal("0.00"))), name="order_order_sku_price_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="cartsku",
            constraint=models.UniqueConstraint(fields=("cart", "sku"), name="order_cart_sku_unique"),
        ),
        migrations.AddConstraint(
            model_name="cartsku",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gt", 0)), name="order_cart_sku_quantity_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="skuimage",
            constraint=models.CheckConstraint(
                condition=models.Q(("alternative_text", ""), _negated=True), name="order_skuimage_has_text"
            ),
        ),
        migrations.AddConstraint(
            model_name="skuimage",
            constraint=models.UniqueConstraint(fields=("sku", "path"), name="order_sku_image_unique"),
        ),
        migrations.AddConstraint(
            model_name="skuinventory",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 0), ("reorder_level__gte", 0)),
                name="order_sku_inventory_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="skuprice",
            constraint=models.UniqueConstraint(
                condition=models.Q(("valid_until__isnull", True)),
                fields=("sku", "currency"),
                include=("amount",),
                name="order_sku_price_one_current",
                violation_error_message="Set “valid until” of the current price in this currency first.",
            ),
        ),
        migrations.AddConstraint(
            model_name="skuprice",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0.00"))),
                name="order_sku_price_positive",
                violation_error_message="The price must be greater than 0.",
            ),
        ),
        migrations.AddConstraint(
            model_name="skuprice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_until__isnull", True), ("valid_until__gt", models.F("valid_from")), _connector="OR"
                ),
                name="order_sku_price_ends_after_start",
                violation_error_message="“Valid until” must be after “valid from”.",
            ),
        ),
        migrations.AddConstraint(
            model_name="skuprice",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__in", ["USD", "EUR", "GBP"])), name="order_sku_price_currency"
            ),
        ),
        migrations.AddIndex(
            model_name="sku",
            index=models.Index(fields=["code"], name="order_sku_code"),
        ),
        migrations.AddConstraint(
            model_name="sku",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("code"), name="order_sku_code_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="sku",
            constraint=models.CheckConstraint(
                condition=models.Q(("code", ""), _negated=True), name="order_sku_has_code"
            ),
        ),
        migrations.AddIndex(
            model_name="orderstatus",
            index=models.Index(fields=["order", "-set_at"], name="order_order_status_newest"),
        ),
        migrations.AddConstraint(
            model_name="orderstatus",
            constraint=models.UniqueConstraint(fields=("order", "status"), name="order_order_status_once"),
        ),
    ]
