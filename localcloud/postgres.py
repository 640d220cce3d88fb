"""One PostgreSQL server: made, configured, started, given RDS's roles, stopped.

It listens on 127.0.0.1 only, with TLS where it was built with it; `tlsfront` stands before one that was not.
"""

from __future__ import annotations

import locale
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import trustme
from psycopg import sql

from localcloud import ports
from localcloud.binaries import PostgresBinaries
from localcloud.certificates import RDS_HOST
from localcloud.errors import LocalCloudError, last_lines
from localcloud.processes import ServerUser, give, spawn
from localcloud.state import MASTER, SUPERUSER, PostgresState

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
    """One server in its own directory: `initialise`, `start`, `wait_until_ready`, `add_roles`, `stop`, in this order.

    Args:
        directory: new and empty; holds the data and the log.
        reserved: the socket that keeps the server's port until it starts.
        client_port: where clients connect; the server's own port unless something stands before it.
        user: what it runs as; None for ourselves.
        stopping: set by somebody else to give up waiting.
    """

    binaries: PostgresBinaries
    directory: Path
    reserved: socket.socket
    client_port: int
    certificate: trustme.LeafCert
    ca_file: Path
    superuser_password: str
    user: ServerUser | None
    stopping: threading.Event
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.port = ports.number(self.reserved)
        self.data = self.directory / "data"
        self.log_file = self.directory / "postgresql.log"
        self.password_file = self.directory / "password"

    def initialise(self) -> None:
        """Begin to make the data directory; `start` waits for it."""
        self.directory.mkdir(mode=0o700)
        give(self.directory, self.user)
        self.password_file.touch(mode=0o600)
        give(self.password_file, self.user)
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

    def check(self) -> None:
        """Raises LocalCloudError if initdb has failed already: what is slower need not begin then."""
        if self.process and self.process.poll():
            raise self._failure("initdb failed")

    def start(self) -> None:
        """Start the server once its data directory is there.

        Raises:
            LocalCloudError: initdb failed.
        """
        self._wait_for_initdb()
        self.password_file.unlink()
        self._configure()
        self.reserved.close()
        self._spawn("postgres", "-D", str(self.data))

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            LocalCloudError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                if self._ended() or self.stopping.is_set() or time.monotonic() > deadline:
                    raise self._failure(f"PostgreSQL was not ready in {READY_SECONDS:.0f} s") from None
            time.sleep(0.02)

    def add_roles(self, master_password: str) -> None:
        """RDS's roles: the master is no superuser, owns the database `postgres`, and belongs to `rds_superuser`."""
        with self._connect() as connection:
            # The log shows statements: what it may show is a verifier, never the password.
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
        """What others need to know to use it."""
        return PostgresState(
            version=self.binaries.version,
            bin_dir=str(self.binaries.bin_dir),
            host=RDS_HOST,
            hostaddr=ports.LOOPBACK,
            port=self.client_port,
            internal_port=self.port,
            pid=self.process.pid if self.process else 0,
            data_dir=str(self.data),
            log_file=str(self.log_file),
            ca_file=str(self.ca_file),
        )

    def ask_to_stop(self) -> None:
        """Begin to stop whatever of it runs."""
        self.reserved.close()
        if self.process:
            self.process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """Wait until it has stopped after `ask_to_stop`, then be less polite."""
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
        while not self._ended():
            if self.stopping.is_set() or time.monotonic() > deadline:
                raise self._failure(f"initdb was not done in {INITDB_SECONDS:.0f} s")
            time.sleep(0.02)
        self.check()

    def _configure(self) -> None:
        has_tls = self.binaries.has_tls
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{CONFIGURATION}port = {self.port}\n{TLS_CONFIGURATION if has_tls else ''}")
        # hostssl: a plaintext client gets the server's own "no pg_hba.conf entry … no encryption", as on RDS.
        access = f"{'hostssl' if has_tls else 'host'} all all {ports.LOOPBACK}/32 scram-sha-256\n"
        (self.data / "pg_hba.conf").write_text(access, encoding="utf-8")
        if has_tls:
            key, certificate = self.data / "server.key", self.data / "server.crt"
            self.certificate.private_key_pem.write_to_path(key)
            for index, blob in enumerate(self.certificate.cert_chain_pems):
                blob.write_to_path(certificate, append=index > 0)
            for path in (key, certificate):
                path.chmod(0o600)
                give(path, self.user)

    def _connect(self) -> psycopg.Connection[Any]:
        parameters = self.state().connection(SUPERUSER, self.superuser_password)
        parameters["port"] = str(self.port)
        if not self.binaries.has_tls:
            parameters["sslmode"] = "disable"
        return psycopg.connect(**parameters, autocommit=True)

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _failure(self, sentence: str) -> LocalCloudError:
        name = f"PostgreSQL {self.binaries.version} in {self.binaries.bin_dir}"
        said = last_lines(self.log_file) or "nothing"
        return LocalCloudError(
            f"{sentence} ({name}). It said: {said}", hint="Try other binaries: DEPLOYTOOLS_PG_BIN=/path/to/bin."
        )


def _locale() -> str:
    """C.UTF-8 where this system's C library has it (macOS may not), else C: both sort by code point."""
    before = locale.setlocale(locale.LC_COLLATE)
    try:
        locale.setlocale(locale.LC_COLLATE, "C.UTF-8")
        return "C.UTF-8"
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_COLLATE, before)
