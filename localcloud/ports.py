"""Ports on loopback."""

from __future__ import annotations

import socket

from localcloud.errors import LocalCloudError

LOOPBACK = "127.0.0.1"


def reserve(port: int = 0) -> socket.socket:
    """A bound socket: listen on it, or close it just before a program listens there. 0 takes a free port.

    Raises:
        LocalCloudError: the port is in use, or not ours to take.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((LOOPBACK, port))
    except OSError as exc:
        reserved.close()
        raise LocalCloudError(
            f"Port {port} cannot be used: {exc.strerror}.",
            hint="Leave --pg-port out to get a free one, or name another.",
        ) from exc
    return reserved


def number(reserved: socket.socket) -> int:
    """The port that a socket is bound to."""
    return int(reserved.getsockname()[1])
