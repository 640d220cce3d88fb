"""Addresses of the shop."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from StartupWebApp.health import ReadyView, alive

urlpatterns = [
    path("", include("order.urls")),
    path("admin/", admin.site.urls),
    path("healthz", alive, name="healthz"),
    path("readyz", ReadyView.as_view(), name="readyz"),
]
