"""The running parts of a local cloud as values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

#: The roles of every local PostgreSQL: the superuser of RDS, and the master user of its customer.
SUPERUSER, MASTER = "rdsadmin", "postgres"
#: The account- and Region-specific part of an RDS endpoint.
ENDPOINT_ID = "cqbgoe8omhyh"


@dataclass(frozen=True)
class CloudNames:
    """Names in the emulated AWS account, from the settings of the project.

    Attributes:
        secret: name of the secret with the database credentials.
        region: AWS Region.
        instance: identifier of the RDS instance.
        role: role of the application in PostgreSQL.
        app_group: name of the application's security group.
        bastion_group: name of the bastion host's security group.
    """

    secret: str
    region: str = "us-east-1"
    instance: str = "local"
    role: str = "app"
    app_group: str = "backend"
    bastion_group: str = "bastion"

    @property
    def host(self) -> str:
        """The endpoint of the RDS instance, and the only name in the database's certificate."""
        return f"{self.instance}.{ENDPOINT_ID}.{self.region}.rds.amazonaws.com"


@dataclass(frozen=True)
class PostgresState:
    """One PostgreSQL server.

    Attributes:
        version: for example ``16.4``.
        bin_dir: directory of its programs.
        host: name in its certificate. No DNS server resolves it: connect to `hostaddr`.
        port: port with TLS, for clients.
        internal_port: the server's own port; differs from `port` if a TLS proxy is in front of it.
        pid: process ID of the postmaster.
        ca_file: certificate of the CA that signed its certificate.
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
        """The major version, for example ``16``."""
        return int(self.version.partition(".")[0])

    def connection(self, user: str, password: str, dbname: str = "postgres") -> dict[str, Any]:
        """Return keyword arguments for `psycopg.connect`, with ``sslmode=verify-full``."""
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
    """The SMTP server. It requires STARTTLS and a login; `messages_dir` has one ``.eml`` file per message."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    messages_dir: str


@dataclass(frozen=True)
class CloudState:
    """A running local cloud.

    Attributes:
        postgres: its servers; the secret has the address of the first.
    """

    directory: str
    names: CloudNames
    ca_file: str
    aws_endpoint_url: str
    postgres: tuple[PostgresState, ...]
    smtp: SmtpState
    rdsadmin_password: str = field(repr=False)
    master_password: str = field(repr=False)

    @property
    def main(self) -> PostgresState:
        """The server whose address is in the secret."""
        return self.postgres[0]

    def as_master(self, server: PostgresState | None = None, dbname: str = "postgres") -> dict[str, Any]:
        """Return keyword arguments for `psycopg.connect` as the master user, by default on the main server."""
        return (server or self.main).connection(MASTER, self.master_password, dbname)

    def as_superuser(self, server: PostgresState | None = None, dbname: str = "postgres") -> dict[str, Any]:
        """Return the same for RDS's superuser, which no customer of RDS has."""
        return (server or self.main).connection(SUPERUSER, self.rdsadmin_password, dbname)

    def to_json(self) -> str:
        """Return the state with all passwords as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CloudState:
        """Return the state that `to_json` serialized."""
        document: dict[str, Any] = json.loads(text)
        postgres = tuple(PostgresState(**server) for server in document.pop("postgres"))
        names, smtp = CloudNames(**document.pop("names")), SmtpState(**document.pop("smtp"))
        return cls(names=names, postgres=postgres, smtp=smtp, **document)
