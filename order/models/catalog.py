"""Products, their images and videos."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone

MISSING_IMAGE = "order/missing.svg"


class ProductQuerySet(models.QuerySet["Product"]):
    """Queries for products."""

    def published(self) -> ProductQuerySet:
        """Return the products that visitors can see."""
        return self.filter(is_published=True)

    def with_price(self, currency: str) -> ProductQuerySet:
        """Add `lowest_price` and `highest_price` of the active SKUs in `currency`, None if there is no current price.

        Subqueries, because they run for the products of one page only; a join would group the whole catalog first.
        """
        on_sale = ProductSku.objects.filter(
            product=OuterRef("pk"),
            sku__is_active=True,
            sku__prices__currency=currency,
            sku__prices__valid_until__isnull=True,
        )
        amounts = on_sale.values("sku__prices__amount")
        return self.annotate(  # type: ignore[no-redef]
            lowest_price=Subquery(amounts.order_by("sku__prices__amount")[:1]),
            highest_price=Subquery(amounts.order_by("-sku__prices__amount")[:1]),
        )


class Product(models.Model):
    """A product with its own page. Customers buy one of its SKUs."""

    lowest_price: Decimal | None  # added by `with_price`
    highest_price: Decimal | None

    identifier = models.CharField(max_length=40, help_text="Identifies the product in lists and reports.")
    slug = models.SlugField(max_length=80, unique=True, help_text="The last part of the URL of the product page.")
    title = models.CharField(max_length=120)
    headline = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    is_published = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    skus = models.ManyToManyField("order.Sku", through="order.ProductSku", related_name="products")

    objects = ProductQuerySet.as_manager()

    class Meta:
        ordering = ("title", "pk")
        indexes = (models.Index(fields=["title"], condition=Q(is_published=True), name="order_product_published"),)
        constraints = (
            models.UniqueConstraint(Lower("identifier"), name="order_product_identifier_unique"),
            models.CheckConstraint(condition=~Q(identifier=""), name="order_product_has_identifier"),
            models.CheckConstraint(
                condition=Q(slug__regex=r"^[a-z0-9_-]+$"),
                name="order_product_slug_is_small",
                violation_error_message="The slug can contain lowercase letters, digits, hyphens and underscores only.",
            ),
            models.CheckConstraint(condition=~Q(title=""), name="order_product_has_title"),
        )

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the URL of the product page."""
        return reverse("order:product", args=[self.slug])


class Picture(models.Model):
    """An image: a static file and its alternative text."""

    path = models.CharField(
        max_length=200,
        validators=[
            RegexValidator(r"^[\w-]+(/[\w-]+)*\.(svg|png|jpg|webp|avif)$", "Enter a path relative to the static files.")
        ],
        help_text="Relative to the static files, for example order/products/mug.svg.",
    )
    alternative_text = models.CharField(max_length=200)
    position = models.PositiveSmallIntegerField(default=0, help_text="Lowest first.")

    class Meta:
        abstract = True
        ordering = ("position", "pk")
        constraints: ClassVar[tuple[models.BaseConstraint, ...]] = (
            models.CheckConstraint(condition=~Q(alternative_text=""), name="%(app_label)s_%(class)s_has_text"),
        )

    def __str__(self) -> str:
        return self.alternative_text

    @property
    def url(self) -> str:
        """Return the URL of the file, or of a placeholder: a wrong path must not make the page fail."""
        try:
            return staticfiles_storage.url(self.path)
        except ValueError:
            return staticfiles_storage.url(MISSING_IMAGE)


class ProductImage(Picture):
    """An image of a product. The product list shows the first one."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="images")

    class Meta(Picture.Meta):
        db_table = "order_product_image"
        constraints = (
            *Picture.Meta.constraints,
            models.UniqueConstraint(fields=["product", "path"], name="order_product_image_unique"),
        )


class ProductVideo(models.Model):
    """A video about a product on another site. Pages link to it and do not embed it."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="videos")
    url = models.URLField()
    title = models.CharField(max_length=120)
    position = models.PositiveSmallIntegerField(default=0, help_text="Lowest first.")

    class Meta:
        db_table = "order_product_video"
        ordering = ("position", "pk")
        constraints = (models.UniqueConstraint(fields=["product", "url"], name="order_product_video_unique"),)

    def __str__(self) -> str:
        return self.title


class ProductSku(models.Model):
    """A SKU that is sold on the page of a product."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="product_skus")
    sku = models.ForeignKey("order.Sku", on_delete=models.CASCADE, related_name="product_skus", verbose_name="SKU")
    position = models.PositiveSmallIntegerField(default=0, help_text="Lowest first.")

    class Meta:
        db_table = "order_product_sku"
        ordering = ("position", "pk")
        verbose_name = "product SKU"
        constraints = (models.UniqueConstraint(fields=["product", "sku"], name="order_product_sku_unique"),)

    def __str__(self) -> str:
        return str(self.sku)
