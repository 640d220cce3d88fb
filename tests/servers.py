"""Separate PostgreSQL servers, for tests that fill, break or kill a server."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploytools.local import PostgresBinaries
from deploytools.local.binaries import accessible_copy
from deploytools.local.certificates import Certificates, issue
from deploytools.local.cloud_state import MASTER, SUPERUSER
from deploytools.local.ports import LOOPBACK, reserve
from deploytools.local.postgres_server import PostgresServer
from deploytools.local.processes import chown, server_user
from deploytools.postgres.connections import Login, ServerAddress
from deploytools.secrets.document import Secret
from tests.local_cloud import NAMES
from tests.postgres_server import Postgres

PASSWORD = "password-of-a-separate-server-0123"


@dataclass(frozen=True)
class OwnServer:
    """A server for one test.

    Attributes:
        postgres: as for shared servers.
        process: the running server.
        certificates: its CA and certificate.
    """

    postgres: Postgres
    process: PostgresServer
    certificates: Certificates

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.process.data


@dataclass
class Standby(PostgresServer):
    """A read replica of the server at the port `primary`, by streaming replication."""

    primary: int = 0

    def begin_initdb(self) -> None:
        """Start a base backup instead of initdb."""
        self.directory.mkdir(mode=0o700)
        chown(self.directory, self.user)
        self.password_file.touch(mode=0o600)
        chown(self.password_file, self.user)
        passwords = self.directory / "pgpass"
        passwords.touch(mode=0o600)
        chown(passwords, self.user)
        passwords.write_text(f"*:*:*:{SUPERUSER}:{self.superuser_password}\n")
        source = f"host={LOOPBACK} port={self.primary} user={SUPERUSER} passfile={passwords} sslmode=require"
        self._spawn(
            "pg_basebackup",
            f"--pgdata={self.data}",
            f"--dbname={source}",
            "--checkpoint=fast",
            "--wal-method=fetch",
            "--write-recovery-conf",
            "--no-sync",
        )


@contextmanager
def own_server(binaries: PostgresBinaries, settings: str = "", *, room: int = 0) -> Iterator[OwnServer]:
    """Run a server inside the ``with`` block.

    Args:
        binaries: an installation with TLS.
        settings: lines of postgresql.conf.
        room: free bytes on the disk of its databases; 0: those of this machine.
    """
    with accessible_directory() as directory, ExitStack() as stack:
        certificates = issue(directory, NAMES.host)
        server = stack.enter_context(_initialized(PostgresServer, binaries, directory / "primary", certificates))
        (server.data / "postgresql.auto.conf").write_text(settings)
        if room:
            stack.enter_context(_small_disk(server.data / "base", room))
        stack.enter_context(_running(server))
        server.create_roles(PASSWORD)
        yield _separate(server, certificates)


@contextmanager
def replica_of(primary: OwnServer, binaries: PostgresBinaries) -> Iterator[OwnServer]:
    """Run a read replica of a separate server, with its present data."""
    with (primary.data / "pg_hba.conf").open("a") as access:
        access.write(f"hostssl replication {SUPERUSER} {LOOPBACK}/32 scram-sha-256\n")
    with primary.postgres.admin() as admin:
        admin.execute("SELECT pg_reload_conf()")
    make = partial(Standby, primary=primary.postgres.address.port)
    with accessible_directory() as directory:
        made = _initialized(make, binaries, directory / "standby", primary.certificates)
        with made as standby, _running(standby):
            yield _separate(standby, primary.certificates)


@contextmanager
def upgraded(old: OwnServer, binaries: PostgresBinaries) -> Iterator[OwnServer]:
    """Stop `old` and move its data with pg_upgrade to a server of a later version on the same port."""
    old.process.request_stop()
    old.process.stop()
    with accessible_directory() as directory:
        port = old.process.port
        made = _initialized(PostgresServer, binaries, directory / "upgraded", old.certificates, port=port)
        with made as new:
            for server in (old.process, new):
                (server.data / "pg_hba.conf").write_text("local all all trust\n")
            _upgrade(old.process, new)
            with _running(new):
                yield _separate(new, old.certificates)


def _upgrade(old: PostgresServer, new: PostgresServer) -> None:
    user = new.user
    done = subprocess.run(
        [
            new.binaries.bin_dir / "pg_upgrade",
            f"--old-bindir={old.binaries.bin_dir}",
            f"--new-bindir={new.binaries.bin_dir}",
            f"--old-datadir={old.data}",
            f"--new-datadir={new.data}",
            f"--username={SUPERUSER}",
        ],
        cwd=new.directory,
        capture_output=True,
        text=True,
        check=False,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def accessible_directory() -> Iterator[Path]:
    """A temporary directory that the user that runs PostgreSQL can enter."""
    with tempfile.TemporaryDirectory(prefix="deploytools-server-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def _initialized(
    make: Callable[..., PostgresServer],
    binaries: PostgresBinaries,
    directory: Path,
    certificates: Certificates,
    *,
    port: int = 0,
) -> Iterator[PostgresServer]:
    """A server after initdb, not running."""
    reserved, user = reserve(port), server_user()
    server = make(
        accessible_copy(binaries, directory.parent, user),
        directory,
        reserved,
        NAMES.host,
        certificates,
        PASSWORD,
        user,
    )
    try:
        server.begin_initdb()
        assert server.process
        assert server.process.wait(60) == 0, server.log_file.read_text()
        yield server
    finally:
        reserved.close()


@contextmanager
def _running(server: PostgresServer) -> Iterator[PostgresServer]:
    try:
        server.start()
        server.wait_until_ready()
        yield server
    finally:
        server.request_stop()
        server.stop()


@contextmanager
def _small_disk(directory: Path, room: int) -> Iterator[None]:
    """Move `directory` to a separate file system with `room` free bytes. Requires root."""
    owner, before = directory.stat(), directory.rename(directory.with_name("before"))
    directory.mkdir()
    _mount(directory, "-t", "tmpfs", "tmpfs")
    try:
        subprocess.run(["cp", "-a", f"{before}/.", directory], check=True)
        os.chown(directory, owner.st_uid, owner.st_gid)
        resize(directory, used(directory) + room)
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def can_mount() -> bool:
    """Return whether this user can mount a file system."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.getuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def used(disk: Path) -> int:
    """Return the number of used bytes of the file system."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def resize(disk: Path, size: int) -> None:
    """Change the size of the file system to `size` bytes."""
    _mount(disk, "-o", f"remount,size={size}")


def _mount(disk: Path, *arguments: str) -> None:
    subprocess.run(["mount", *arguments, disk], check=True)


def _separate(server: PostgresServer, certificates: Certificates) -> OwnServer:
    address = ServerAddress(NAMES.host, server.client_port, LOOPBACK, "verify-full", str(server.certificates.ca_file))
    postgres = Postgres(
        server.binaries.major,
        address,
        superuser=Login(address, SUPERUSER, Secret(PASSWORD)),
        master=Login(address, MASTER, Secret(PASSWORD)),
        log_file=server.log_file,
    )
    return OwnServer(postgres, server, certificates)
