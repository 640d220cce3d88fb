"""URL configuration."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from deploytools.container import ReadinessView, liveness

urlpatterns = [
    path("", include("order.urls")),
    path("admin/", admin.site.urls),
    path("healthz", liveness, name="healthz"),
    path("readyz", ReadinessView.as_view(), name="readyz"),
]

handler500 = "StartupWebApp.error_pages.server_error"
