"""``python -m deploytools.container.probe``: health check of a container. Exit code 0 if the server is alive.

A server with `deploytools.container.gunicorn_config` answers outside of its request threads. Of any other server,
``/healthz`` is requested.
"""

from __future__ import annotations

import http.client
import os
import sys

from deploytools.container.liveness_socket import is_answered

TIMEOUT_SECONDS = 2.0


def main() -> str:
    """Return an error message if the server in this container is not alive, or an empty string."""
    port = os.environ.get("PORT") or "8000"
    try:
        return "" if is_answered(port, TIMEOUT_SECONDS) else "No worker of the server answers."
    except (ConnectionRefusedError, FileNotFoundError):
        return _request_healthz(port)
    except OSError as error:
        return f"No worker of the server answers: {error}"


def _request_healthz(port: str) -> str:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
        connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"No response from port {port}: {error}"
    return "" if status == 200 else f"/healthz returned status {status}, expected 200."


if __name__ == "__main__":
    sys.exit(main() or 0)
