"""The pages of the shop: the product list, a product, and the list as JSON for health checks."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_safe

from order.models import Product, ProductSku, Sku
from order.shop import current_shop

PAGE_SIZE = 24
#: Pages are the same for all visitors.
cached = cache_control(public=True, max_age=60)


@cached
@require_safe
def product_list(request: HttpRequest) -> HttpResponse:
    """``/``: the published products, ordered by title."""
    shop = current_shop()
    products = Product.objects.published().with_price(shop.currency).prefetch_related("images")
    page = Paginator(products, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "order/product_list.html", {"shop": shop, "page": page})


@cached
@require_safe
def product_page(request: HttpRequest, slug: str) -> HttpResponse:
    """``/products/<slug>/``: a product with its SKUs, prices and images."""
    shop = current_shop()
    skus = Sku.objects.with_price(shop.currency).select_related("inventory").prefetch_related("images")
    products = Product.objects.published().prefetch_related(
        "images",
        "videos",
        Prefetch("product_skus", queryset=ProductSku.objects.filter(sku__is_active=True)),
        Prefetch("product_skus__sku", queryset=skus),
    )
    product = get_object_or_404(products, slug=slug)
    return render(request, "order/product.html", {"shop": shop, "product": product})


@never_cache
@require_safe
def products_as_json(request: HttpRequest) -> JsonResponse:
    """``/order/products``: shop, tenant, release, and up to `PAGE_SIZE` published products; ``count`` counts all."""
    shop = current_shop()
    products = Product.objects.published()
    rows = [
        {
            "identifier": product.identifier,
            "title": product.title,
            "url": product.get_absolute_url(),
            "price": None if product.lowest_price is None else str(product.lowest_price),
            "currency": shop.currency,
        }
        for product in products.with_price(shop.currency)[:PAGE_SIZE]
    ]
    return JsonResponse(
        {
            "shop": shop.name,
            "tenant": shop.tenant,
            "release": shop.release,
            "count": products.count(),
            "products": rows,
        }
    )
