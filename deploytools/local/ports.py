"""Ports on loopback."""

from __future__ import annotations

import socket

from deploytools.local.cloud_error import LocalCloudError

LOOPBACK = "127.0.0.1"


def reserve(port: int = 0) -> socket.socket:
    """Return a socket bound to `port` (0: any free port). Listen on it, or close it just before a program does.

    Raises:
        LocalCloudError: the port is in use, or the user is not allowed to bind it.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((LOOPBACK, port))
    except OSError as exc:
        reserved.close()
        raise LocalCloudError(
            f"Cannot bind port {port}: {exc.strerror}.", hint="Omit --pg-port to use a free port, or set another one."
        ) from exc
    return reserved


def number(reserved: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    return int(reserved.getsockname()[1])
