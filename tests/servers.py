"""PostgreSQL servers of a test's own, which it may fill, break and kill; never the shared ones."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploytools.databases.server import Login, ServerAddress
from deploytools.secret.value import Secret
from localcloud import PostgresBinaries
from localcloud.certificates import RDS_HOST, Certificates, issue
from localcloud.placement import reachable
from localcloud.ports import LOOPBACK, number, reserve
from localcloud.postgres import PostgresServer
from localcloud.processes import give, server_user
from localcloud.state import MASTER, SUPERUSER
from tests.postgres import Postgres

PASSWORD = "the-password-of-a-server-of-a-tests-own-0123"


@dataclass(frozen=True)
class OwnServer:
    """One server that nobody else uses.

    Attributes:
        postgres: as other tests see a server.
        process: what runs it.
        certificates: its own, and of whoever signed it.
    """

    postgres: Postgres
    process: PostgresServer
    certificates: Certificates

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.process.data


@dataclass
class Standby(PostgresServer):
    """A read replica of `primary`, as streaming replication makes one."""

    primary: int = 0

    def initialise(self) -> None:
        """A base backup in place of initdb."""
        self.directory.mkdir(mode=0o700)
        give(self.directory, self.user)
        self.password_file.touch(mode=0o600)
        give(self.password_file, self.user)
        passwords = self.directory / "pgpass"
        passwords.touch(mode=0o600)
        give(passwords, self.user)
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
    """A server that ends with the block.

    Args:
        binaries: built with TLS.
        settings: lines of postgresql.conf.
        room: bytes that its disk has for databases, beyond what they take now; 0: what this machine has.
    """
    with _directory() as directory, ExitStack() as stack:
        certificates = issue(directory)
        server = stack.enter_context(_made(PostgresServer, binaries, directory / "primary", certificates))
        (server.data / "postgresql.auto.conf").write_text(settings)
        if room:
            stack.enter_context(_small_disk(server.data / "base", room))
        stack.enter_context(_running(server))
        server.add_roles(PASSWORD)
        yield _seen(server, certificates)


@contextmanager
def replica_of(primary: OwnServer, binaries: PostgresBinaries) -> Iterator[OwnServer]:
    """A read replica of a server of one's own, with what that holds now."""
    with (primary.data / "pg_hba.conf").open("a") as access:
        access.write(f"hostssl replication {SUPERUSER} {LOOPBACK}/32 scram-sha-256\n")
    with primary.postgres.admin() as admin:
        admin.execute("SELECT pg_reload_conf()")
    make = partial(Standby, primary=primary.postgres.address.port)
    with _directory() as directory:
        made = _made(make, binaries, directory / "standby", primary.certificates)
        with made as standby, _running(standby):
            yield _seen(standby, primary.certificates)


@contextmanager
def upgraded(old: OwnServer, binaries: PostgresBinaries) -> Iterator[OwnServer]:
    """What `old` holds, moved by pg_upgrade to a server of a later version on the same port; `old` has stopped."""
    old.process.ask_to_stop()
    old.process.stop()
    with _directory() as directory:
        port = old.process.port
        made = _made(PostgresServer, binaries, directory / "upgraded", old.certificates, port=port)
        with made as new:
            for server in (old.process, new):
                (server.data / "pg_hba.conf").write_text("local all all trust\n")
            _upgrade(old.process, new)
            with _running(new):
                yield _seen(new, old.certificates)


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
def _directory() -> Iterator[Path]:
    """Open to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="deploytools-server-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def _made(
    make: Callable[..., PostgresServer],
    binaries: PostgresBinaries,
    directory: Path,
    certificates: Certificates,
    *,
    port: int = 0,
) -> Iterator[PostgresServer]:
    """A server with its data directory, which does not run yet."""
    reserved, user = reserve(port), server_user()
    server = make(
        reachable(binaries, directory.parent, user),
        directory,
        reserved,
        number(reserved),
        certificates.database,
        certificates.ca_file,
        PASSWORD,
        user,
        threading.Event(),
    )
    try:
        server.initialise()
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
        server.ask_to_stop()
        server.stop()


@contextmanager
def _small_disk(directory: Path, room: int) -> Iterator[None]:
    """`directory` on a file system of its own, with what it holds and `room` bytes more. Only root may do that."""
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
    """Whether a disk of its own can be given to a server."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.getuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def used(disk: Path) -> int:
    """How many bytes `disk` holds."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def resize(disk: Path, size: int) -> None:
    """Let `disk` hold `size` bytes."""
    _mount(disk, "-o", f"remount,size={size}")


def _mount(disk: Path, *arguments: str) -> None:
    subprocess.run(["mount", *arguments, disk], check=True)


def _seen(server: PostgresServer, certificates: Certificates) -> OwnServer:
    address = ServerAddress(RDS_HOST, server.client_port, LOOPBACK, "verify-full", str(server.ca_file))
    postgres = Postgres(
        server.binaries.major,
        address,
        superuser=Login(address, SUPERUSER, Secret(PASSWORD)),
        master=Login(address, MASTER, Secret(PASSWORD)),
        log_file=server.log_file,
    )
    return OwnServer(postgres, server, certificates)
