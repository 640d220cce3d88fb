"""Recognize servers on this machine by the host in the settings. Pure."""

from __future__ import annotations

from ipaddress import ip_address


def is_local(host: str) -> bool:
    """Return whether a host is ``localhost``, a loopback address, or the directory or name of a socket."""
    try:
        return host.lower() == "localhost" or host.startswith(("/", "@")) or ip_address(host).is_loopback
    except ValueError:
        return False
