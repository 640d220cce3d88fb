"""Ports on loopback."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def reserve(port: int = 0) -> socket.socket:
    """Return a socket bound to `port` (0: any free port). Listen on it, or close it just before a program does."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, port))
    return reserved


def number(reserved: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    return int(reserved.getsockname()[1])
