"""What a load balancer asks: ``/healthz`` (the process answers) and ``/readyz`` (database and migrations, too).

``/order/products``, the catalogue as JSON, is the app's own (`order.views`); it may be asked by address as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable
from health_check.views import HealthCheckView

PROBES = ("/healthz", "/readyz", "/order/products")


@dataclasses.dataclass
class Migrations(HealthCheck):
    """Every migration of the code has been applied to the database of `alias`."""

    alias: str = "default"

    def run(self) -> None:
        """Raises `ServiceUnavailable` with the number of migrations that are missing."""
        connection = connections[self.alias]
        try:
            executor = MigrationExecutor(connection)
            missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        except Error as error:
            raise ServiceUnavailable("The migrations could not be read") from error
        finally:
            connection.close_if_unusable_or_obsolete()
        if missing:
            raise ServiceUnavailable(f"Migrations that are not applied: {missing}")


class ReadyView(HealthCheckView):
    """``/readyz``: 200 when this process can serve its tenant, 500 otherwise; ``?format=json`` names the parts."""

    checks = ("health_check.checks.Database", Migrations)


@never_cache
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """``/healthz``: the process answers. Looks at nothing else, so that a slow database gets no container killed."""
    return HttpResponse("ok\n", content_type="text/plain")


class ProbeHostMiddleware:
    """Lets a load balancer probe by address: its ``Host`` is the container's IP, which is in no ALLOWED_HOSTS."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """Gives probes, and nothing else, a host name that is allowed."""
        if request.path in PROBES and settings.ALLOWED_HOSTS:
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0].lstrip(".*") or "localhost"
        return self.get_response(request)
