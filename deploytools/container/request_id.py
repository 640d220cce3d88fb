"""An ID for each request: in its log records, in the response and as ``request.request_id`` on pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

#: The ID of the current request; empty outside of requests.
current: ContextVar[str] = ContextVar("request_id", default="")

#: What a load balancer sends: ``Root=1-67891233-abcdef012345678912345678;Self=…``. Other values are not used.
VALID = re.compile(r"[\w.=;:/+-]{1,200}", re.ASCII)


class RequestIdMiddleware:
    """Take the ID from ``X-Amzn-Trace-Id``, or generate one. Must come before all other middleware."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """Set the ID while the request is handled, and return it as ``X-Request-ID``."""
        sent = request.headers.get("X-Amzn-Trace-Id", "")
        name = sent if VALID.fullmatch(sent) else uuid.uuid4().hex
        request.request_id = name  # type: ignore[attr-defined]
        token = current.set(name)
        try:
            response = self.get_response(request)
        finally:
            current.reset(token)
        response["X-Request-ID"] = name
        return response
