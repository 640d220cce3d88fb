"""Liveness of the server, outside of its request threads: blocked requests must not get the container killed.

The arbiter opens a Unix socket, and a thread of each worker answers on it while the main loop of its worker runs. The
socket has a name without a file (abstract, Linux only), which is unique as long as the port of the server is.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

RESPONSE = b"ok"
#: Seconds after which a worker that waits for a probe reads its heartbeat again.
INTERVAL = 1.0


def address(port: str) -> str:
    """Return the name of the socket of the server on `port`."""
    return f"\0deploytools-liveness-{port}"


def listen(port: str) -> socket.socket:
    """Open the socket.

    Raises:
        OSError: another server has opened it.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(address(port))
    except OSError:
        listener.close()
        raise
    listener.listen()
    listener.settimeout(INTERVAL)
    return listener


def answer(listener: socket.socket, heartbeat: Callable[[], float], limit: float) -> None:
    """Answer probes for as long as this process runs.

    A worker without a recent heartbeat leaves probes to the others; gunicorn restarts it.

    Args:
        heartbeat: returns the time (monotonic) at which the main loop of the worker ran last.
        limit: seconds for which a heartbeat is recent.
    """
    while True:
        if time.monotonic() - heartbeat() > limit:
            time.sleep(INTERVAL)
            continue
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:  # For example, too many open files: do not try again without a pause.
            time.sleep(INTERVAL)
            continue
        with connection, contextlib.suppress(OSError):
            connection.sendall(RESPONSE)


def is_answered(port: str, seconds: float) -> bool:
    """Return whether a worker answers.

    Raises:
        OSError: no server has opened the socket, or no worker answers within `seconds`.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(address(port))
        return client.recv(len(RESPONSE)) == RESPONSE
