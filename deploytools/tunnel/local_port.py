"""Check that the local port of a tunnel is free, and find the process that uses it."""

from __future__ import annotations

import shutil
import socket
import subprocess

from deploytools.errors import DeployError


def require_free(port: int) -> None:
    """Check that no process on this machine listens on `port`.

    Raises:
        DeployError: the port is in use. The tenants must never be created on a local PostgreSQL by mistake.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DeployError(
                f"Local port {port} is already in use by {_listener(port)}.",
                hint=f"Stop that process or choose another port: --local-port {port + 1}",
            ) from error


def _listener(port: int) -> str:
    """Return the process that listens on `port`. The system does not name the processes of other users."""
    return _from_lsof(port) or _from_ss(port) or "an unknown process"


def _from_lsof(port: int) -> str:
    lines = _output("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc").split("\n")
    fields = {line[:1]: line[1:] for line in reversed(lines) if line}
    return f"{fields['c']} (process {fields['p']})" if fields.keys() >= {"c", "p"} else ""


def _from_ss(port: int) -> str:
    first_line = _output("ss", "-ltnpH", f"sport = :{port}").split("\n")[0]
    return first_line.partition("users:")[2].strip()


def _output(*command: str) -> str:
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
