"""Run a Django project in a container: entrypoint, gunicorn defaults, JSON logs, health checks.

Three modules are run by name; the rest of the public API is in ``__all__``::

    python -m deploytools.container COMMAND…                      entrypoint: checks, migrations, then exec COMMAND
    python -m deploytools.container.probe                         health check of the container
    gunicorn --config python:deploytools.container.gunicorn_config PROJECT.wsgi

The names in ``__all__`` are imported on first use: the entrypoint must handle SIGTERM before anything slow is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploytools.container.health import ProbeHostMiddleware, ReadinessView, liveness
    from deploytools.container.json_logs import JsonFormatter, logging_configuration
    from deploytools.container.request_id import RequestIdMiddleware

__all__ = [
    "JsonFormatter",
    "ProbeHostMiddleware",
    "ReadinessView",
    "RequestIdMiddleware",
    "liveness",
    "logging_configuration",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    modules = {"JsonFormatter": "json_logs", "logging_configuration": "json_logs", "RequestIdMiddleware": "request_id"}
    return getattr(import_module(f"{__name__}.{modules.get(name, 'health')}"), name)
