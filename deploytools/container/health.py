"""Health checks for load balancers: ``/healthz`` (liveness) and ``/readyz`` (readiness: database and migrations)."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.db import Error, connections, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from deploytools.conf import read_setting
from deploytools.errors import ConfigurationError
from deploytools.tenants.migration_graph import read_graph
from deploytools.wording import count

logger = logging.getLogger(__name__)

#: Seconds for which the result of a check is returned again. Clients cannot cause more checks than one a second.
CACHE_SECONDS = 1.0
#: Seconds that a request waits for a check that another request has started.
WAIT_SECONDS = 2.0


class _Readiness:
    """Whether the database can be used. One thread of the process checks at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Check again with the next request."""
        self._problem, self._valid_until = "", 0.0

    def problem(self) -> str:
        """Return why the process is not ready, or an empty string."""
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            return "A check of the database is in progress"
        try:
            if time.monotonic() >= self._valid_until:
                self._problem = _find_problem()
                self._valid_until = time.monotonic() + CACHE_SECONDS
            return self._problem
        finally:
            self._lock.release()


readiness = _Readiness()
_graph = cache(read_graph)  # The code of a process does not change.


def _find_problem() -> str:
    """Read the applied migrations with the connection of this thread, which is closed again if it was not open."""
    connection = connections["default"]
    was_open = connection.connection is not None
    try:
        unapplied = _graph().missing_from(frozenset(MigrationRecorder(connection).applied_migrations()))
    except Error as error:
        logger.warning("The database cannot be used: %s", str(error).strip())
        return "The database cannot be used"
    except ConfigurationError as error:
        return str(error)
    finally:
        if not was_open:
            connection.close()
    return f"{count(len(unapplied), 'migration')} not applied" if unapplied else ""


@method_decorator([never_cache, transaction.non_atomic_requests], name="dispatch")
class ReadinessView(View):
    """``/readyz``: 200 if this process can serve its tenant, else 503. The body is JSON.

    It has the release that the container runs, from the environment variable ``RELEASE``.
    """

    def get(self, request: HttpRequest) -> HttpResponse:
        """Return the state, and the reason if the process is not ready."""
        problem, release = readiness.problem(), os.environ.get("RELEASE", "")
        state = {"ready": not problem} | ({"reason": problem} if problem else {})
        return JsonResponse(state | ({"release": release} if release else {}), status=503 if problem else 200)


@never_cache
@require_safe
def liveness(request: HttpRequest) -> HttpResponse:
    """``/healthz``: 200 if the process answers. Does not query the database: a slow one must not restart containers."""
    return HttpResponse("ok\n", content_type="text/plain")


class ProbeHostMiddleware:
    """Accept health checks whose ``Host`` is the container's IP address, which is not in ALLOWED_HOSTS.

    Must come before any middleware that reads the host. ``DEPLOYTOOLS["PROBE_PATHS"]`` lists the paths.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.paths = frozenset(read_setting("PROBE_PATHS"))

    def __call__(self, request: HttpRequest) -> Any:
        """Replace the host of a health check with an allowed one."""
        if request.path in self.paths and django_settings.ALLOWED_HOSTS:
            request.META["HTTP_HOST"] = django_settings.ALLOWED_HOSTS[0].lstrip(".*") or "localhost"
        return self.get_response(request)
