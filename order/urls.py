"""URLs of the shop."""

from __future__ import annotations

from django.urls import path

from order import views

app_name = "order"
urlpatterns = [
    path("", views.product_list, name="products"),
    path("products/<slug:slug>/", views.product_page, name="product"),
    path("order/products", views.products_as_json, name="products-json"),
]
