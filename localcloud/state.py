"""What runs, as values, and the file `state.json` that tells others. Nothing is started or asked here."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STATE_FILE = "state.json"

#: The roles of every local PostgreSQL: RDS's own superuser, and the master that RDS gives to its customer.
SUPERUSER, MASTER = "rdsadmin", "postgres"


@dataclass(frozen=True)
class PostgresState:
    """One PostgreSQL server.

    Attributes:
        version: as in ``16.4``.
        bin_dir: where its programs are.
        host: the name in its certificate; no DNS knows it, hence `hostaddr`.
        port: where clients connect, with TLS.
        internal_port: where the server itself listens; another one when TLS is added in front of it.
        pid: its postmaster.
        ca_file: the authority that signed its certificate.
    """

    version: str
    bin_dir: str
    host: str
    hostaddr: str
    port: int
    internal_port: int
    pid: int
    data_dir: str
    log_file: str
    ca_file: str

    @property
    def major(self) -> int:
        """The major version, as in ``16``."""
        return int(self.version.partition(".")[0])

    def connection(self, user: str, password: str, dbname: str = "postgres") -> dict[str, Any]:
        """Keyword arguments for `psycopg.connect`: with TLS, and the certificate and its name verified."""
        return {
            "host": self.host,
            "hostaddr": self.hostaddr,
            "port": str(self.port),
            "user": user,
            "password": password,
            "dbname": dbname,
            "sslmode": "verify-full",
            "sslrootcert": self.ca_file,
            "connect_timeout": "10",
        }


@dataclass(frozen=True)
class SmtpState:
    """The SMTP server: STARTTLS and a login are required. `messages_dir` holds what was sent, one ``.eml`` each."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    messages_dir: str


@dataclass(frozen=True)
class CloudState:
    """A running local cloud.

    Attributes:
        has_owners: it ends with its last owner; else when it is told to.
        postgres: its servers; the first is the one that the secret names.
    """

    directory: str
    supervisor_pid: int
    has_owners: bool
    ca_file: str
    aws_endpoint_url: str
    postgres: tuple[PostgresState, ...]
    smtp: SmtpState
    rdsadmin_password: str = field(repr=False)
    master_password: str = field(repr=False)

    @property
    def main(self) -> PostgresState:
        """The server that the secret names."""
        return self.postgres[0]

    def as_master(self, server: PostgresState | None = None, dbname: str = "postgres") -> dict[str, Any]:
        """Keyword arguments for `psycopg.connect` as the master, on the main server unless another is given."""
        return (server or self.main).connection(MASTER, self.master_password, dbname)

    def as_superuser(self, server: PostgresState | None = None, dbname: str = "postgres") -> dict[str, Any]:
        """The same as RDS's own superuser, which a real customer never is."""
        return (server or self.main).connection(SUPERUSER, self.rdsadmin_password, dbname)

    def save(self) -> None:
        """Write `state.json` into the directory, readable by its owner only, at once or not at all."""
        target = Path(self.directory, STATE_FILE)
        unfinished = target.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with open(unfinished, "x", opener=lambda path, flags: os.open(path, flags, 0o600), encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=2)
        unfinished.replace(target)

    @classmethod
    def load(cls, directory: Path) -> CloudState | None:
        """What `save` wrote, or None when nothing is there, or something that another version wrote."""
        try:
            document: dict[str, Any] = json.loads(Path(directory, STATE_FILE).read_text(encoding="utf-8"))
            postgres = tuple(PostgresState(**server) for server in document.pop("postgres"))
            return cls(postgres=postgres, smtp=SmtpState(**document.pop("smtp")), **document)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
