"""Debian's PgBouncer in front of a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from deploytools.postgres.connections import Login, ServerAddress
from tests.postgres_server import Postgres
from tests.sockets import free_port

BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def pgbouncer(
    directory: Path, postgres: Postgres, *logins: Login, mode: str, ignore: str = ""
) -> Iterator[list[Login]]:
    """Run PgBouncer for `logins`; yield the logins through it.

    Args:
        mode: ``pool_mode``: ``session`` or ``transaction``.
        ignore: ``ignore_startup_parameters``.
    """
    if BINARY is None:
        message = "PgBouncer is not installed. Run: apt-get install pgbouncer"
        if os.environ.get("DEPLOYTOOLS_ALL_POSTGRES"):
            pytest.fail(message)
        pytest.skip(message)
    port = free_port()
    users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
    users.write_text("".join(f'"{login.user}" "{login.password.reveal()}"\n' for login in logins))
    configuration.write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres.address.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = scram-sha-256\nauth_file = {users}\nserver_tls_sslmode = require\n"
        f"pool_mode = {mode}\nignore_startup_parameters = {ignore}\nunix_socket_dir =\nlogfile = {directory}/log\n"
    )
    for path in (directory, *directory.iterdir()):
        if os.geteuid() == 0:
            shutil.chown(path, "postgres")
    as_user = ["-u", "postgres"] if os.geteuid() == 0 else []
    with subprocess.Popen([BINARY, "-q", *as_user, str(configuration)], stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            address = ServerAddress("127.0.0.1", port, sslmode="disable")
            yield [replace(login, address=address) for login in logins]
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("PgBouncer did not start")
