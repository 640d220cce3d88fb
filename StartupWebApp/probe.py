"""``python -m StartupWebApp.probe``: the container's health check. Exits with 0 when ``/healthz`` answers 200."""

from __future__ import annotations

import http.client
import os
import sys


def main() -> str:
    """Asks this container's own server. Returns what is wrong, or nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=2)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    return "" if status == 200 else f"it answered {status}"


if __name__ == "__main__":
    sys.exit(main() or 0)
