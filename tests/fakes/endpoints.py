"""Loopback endpoints for boto3: an AWS emulator, a server that closes connections, and a closed port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

REGION = "us-east-1"


def environment(endpoint: str) -> dict[str, str]:
    """Return variables with invented credentials and `endpoint`, without the machine's own AWS configuration."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_DEFAULT_REGION": REGION,
    }


@contextmanager
def emulator() -> Iterator[str]:
    """Start moto's server and yield its URL."""
    from moto.server import ThreadedMotoServer  # It takes long to import.

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@contextmanager
def ministack() -> Iterator[str]:
    """Start ministack as a process and yield its URL. It has other requirements, and so a directory of its own."""
    directory = Path(os.environ.get("MINISTACK_PATH") or Path(sys.prefix) / "ministack")
    if not (directory / "ministack").is_dir():
        pytest.skip("ministack is not installed. Run: scripts/ministack")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    variables = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "secretsmanager"}
    variables["PYTHONPATH"] = str(directory)
    command = [sys.executable, "-m", "ministack"]
    process = subprocess.Popen(
        command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def hanging_up() -> Iterator[str]:
    """Yield the URL of a server that reads each request and closes the connection without a response."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def closed() -> str:
    """Return the URL of a closed port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
