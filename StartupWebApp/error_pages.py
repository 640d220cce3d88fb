"""The page of an internal error. Like ``404.html``, it queries nothing from the database, which can be unavailable."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseServerError
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache


@never_cache
def server_error(request: HttpRequest) -> HttpResponseServerError:
    """Return the page with the ID of the request, with which its log records can be found."""
    return HttpResponseServerError(render_to_string("500.html", {"request": request}))
