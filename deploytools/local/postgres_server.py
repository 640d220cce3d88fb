"""A PostgreSQL server: initdb, configuration, start, the roles of RDS, stop.

It listens on 127.0.0.1 only. A server that was built without TLS has a `tls_proxy` in front of it.
"""

from __future__ import annotations

import locale
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from deploytools.local import ports
from deploytools.local.binaries import PostgresBinaries
from deploytools.local.certificates import Certificates
from deploytools.local.cloud_error import LocalCloudError, last_lines
from deploytools.local.cloud_state import MASTER, SUPERUSER, PostgresState
from deploytools.local.processes import ServerUser, chown, spawn

INITDB_SECONDS, READY_SECONDS, STOP_SECONDS = 60.0, 30.0, 5.0

CONFIGURATION = f"""
listen_addresses = '{ports.LOOPBACK}'
unix_socket_directories = ''
max_connections = 100
shared_buffers = '32MB'
fsync = off
synchronous_commit = off
full_page_writes = off
password_encryption = 'scram-sha-256'
log_connections = on
log_statement = 'ddl'
log_min_error_statement = 'error'
log_line_prefix = '%m [%p] %q%u@%d '
"""

TLS_CONFIGURATION = """
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_min_protocol_version = 'TLSv1.2'
"""


@dataclass
class PostgresServer:
    """One server: `begin_initdb`, `start`, `wait_until_ready`, `create_roles`, `request_stop`, `stop`, in this order.

    Attributes:
        directory: for the data and the log; does not exist yet.
        listener: socket that is bound to the port for clients. A server without TLS has another port, for the proxy.
        host: name in the certificate.
        user: the user that runs it; None: the user of this process.
    """

    binaries: PostgresBinaries
    directory: Path
    listener: socket.socket
    host: str
    certificates: Certificates
    superuser_password: str
    user: ServerUser | None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.reserved = self.listener if self.binaries.has_tls else ports.reserve()
        self.port = ports.number(self.reserved)
        self.client_port = ports.number(self.listener)
        self.data = self.directory / "data"
        self.log_file = self.directory / "postgresql.log"
        self.password_file = self.directory / "password"

    def begin_initdb(self) -> None:
        """Start initdb; `start` waits for it."""
        self.directory.mkdir(mode=0o700)
        chown(self.directory, self.user)
        self.password_file.touch(mode=0o600)
        chown(self.password_file, self.user)
        self.password_file.write_text(self.superuser_password, encoding="utf-8")
        self._spawn(
            "initdb",
            f"--pgdata={self.data}",
            f"--username={SUPERUSER}",
            f"--pwfile={self.password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            f"--locale={_locale()}",
            "--no-sync",
            "--no-instructions",
        )

    def check_initdb(self) -> None:
        """Raise `LocalCloudError` if initdb has already failed."""
        if self.process and self.process.poll():
            raise self._failure("initdb failed")

    def start(self) -> None:
        """Wait for initdb, then start the server.

        Raises:
            LocalCloudError: initdb failed.
        """
        self._wait_for_initdb()
        self.password_file.unlink()
        self._configure()
        self.reserved.close()
        self._spawn("postgres", "-D", str(self.data))

    def wait_until_ready(self) -> None:
        """Wait until the server accepts connections.

        Raises:
            LocalCloudError: the server has exited or is not ready in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                if self._has_exited() or time.monotonic() > deadline:
                    raise self._failure(f"PostgreSQL was not ready in {READY_SECONDS:.0f} s") from None
            time.sleep(0.02)

    def create_roles(self, master_password: str) -> None:
        """Create the roles of RDS. The master user is not a superuser; it owns the database ``postgres``."""
        with self._connect() as connection:
            # The server logs statements: send a SCRAM verifier, never the password.
            verifier = connection.pgconn.encrypt_password(master_password.encode(), MASTER.encode(), b"scram-sha-256")
            master = sql.Identifier(MASTER)
            connection.execute("CREATE ROLE rds_superuser NOLOGIN")
            connection.execute("CREATE ROLE rds_iam NOLOGIN")
            connection.execute(
                sql.SQL(
                    "CREATE ROLE {} LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE PASSWORD {} VALID UNTIL 'infinity'"
                ).format(master, sql.Literal(verifier.decode()))
            )
            connection.execute(sql.SQL("GRANT rds_superuser, pg_monitor, pg_signal_backend TO {}").format(master))
            connection.execute(sql.SQL("ALTER DATABASE postgres OWNER TO {}").format(master))

    def state(self) -> PostgresState:
        """Return what clients need."""
        return PostgresState(
            version=self.binaries.version,
            bin_dir=str(self.binaries.bin_dir),
            host=self.host,
            hostaddr=ports.LOOPBACK,
            port=self.client_port,
            internal_port=self.port,
            pid=self.process.pid if self.process else 0,
            data_dir=str(self.data),
            log_file=str(self.log_file),
            ca_file=str(self.certificates.ca_file),
        )

    def request_stop(self) -> None:
        """Request a fast shutdown of the server or of initdb."""
        self.reserved.close()
        if self.process:
            self.process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """Wait for the shutdown; after five seconds each send SIGINT, SIGQUIT, SIGKILL."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self.process is None:
                return
            try:
                self.process.wait(STOP_SECONDS)
                return
            except subprocess.TimeoutExpired:
                self.process.send_signal(number)

    def _spawn(self, program: str, *arguments: str) -> None:
        with self.log_file.open("ab") as log:
            self.process = spawn([str(self.binaries.bin_dir / program), *arguments], log, self.user)

    def _wait_for_initdb(self) -> None:
        deadline = time.monotonic() + INITDB_SECONDS
        while not self._has_exited():
            if time.monotonic() > deadline:
                raise self._failure(f"initdb did not finish in {INITDB_SECONDS:.0f} s")
            time.sleep(0.02)
        self.check_initdb()

    def _configure(self) -> None:
        has_tls = self.binaries.has_tls
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{CONFIGURATION}port = {self.port}\n{TLS_CONFIGURATION if has_tls else ''}")
        # With hostssl a plaintext client gets "no pg_hba.conf entry … no encryption", as on RDS.
        access = f"{'hostssl' if has_tls else 'host'} all all {ports.LOOPBACK}/32 scram-sha-256\n"
        (self.data / "pg_hba.conf").write_text(access, encoding="utf-8")
        if has_tls:
            key, certificate = self.data / "server.key", self.data / "server.crt"
            self.certificates.database.private_key_pem.write_to_path(key)
            for index, blob in enumerate(self.certificates.database.cert_chain_pems):
                blob.write_to_path(certificate, append=index > 0)
            for path in (key, certificate):
                path.chmod(0o600)
                chown(path, self.user)

    def _connect(self) -> psycopg.Connection[Any]:
        parameters = self.state().connection(SUPERUSER, self.superuser_password)
        parameters["port"] = str(self.port)
        if not self.binaries.has_tls:
            parameters["sslmode"] = "disable"
        return psycopg.connect(**parameters, autocommit=True)

    def _has_exited(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _failure(self, sentence: str) -> LocalCloudError:
        name = f"PostgreSQL {self.binaries.version} in {self.binaries.bin_dir}"
        output = last_lines(self.log_file) or "none"
        return LocalCloudError(
            f"{sentence} ({name}). Output: {output}", hint="Try another installation: DEPLOYTOOLS_PG_BIN=/path/to/bin."
        )


def _locale() -> str:
    """Return C.UTF-8 if the C library has it (macOS might not), else C. Both sort by code point."""
    before = locale.setlocale(locale.LC_COLLATE)
    try:
        locale.setlocale(locale.LC_COLLATE, "C.UTF-8")
        return "C.UTF-8"
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_COLLATE, before)
