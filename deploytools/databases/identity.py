"""Is it the server that was meant? A tunnel's port where a local PostgreSQL listens must not get tenants.

With ``verify-full`` the certificate's name says so. Without, a server must look like RDS, or be named by its
``system_identifier``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import psycopg

from deploytools.databases.server import Connection, ServerAddress, translating
from deploytools.errors import Refused


@dataclass(frozen=True)
class ServerIdentity:
    """What a server says of itself.

    Attributes:
        answers_at: the address at its own end of the connection; empty: a socket.
        has_rds_superuser: whether it has RDS's role ``rds_superuser``.
        system_identifier: what initdb made and replicas share, or None where it may not be read.
    """

    answers_at: str
    has_rds_superuser: bool
    system_identifier: str | None

    @property
    def is_on_loopback(self) -> bool:
        """Whether client and server are on one machine."""
        return not self.answers_at or ipaddress.ip_address(self.answers_at).is_loopback


def read_identity(connection: Connection) -> ServerIdentity:
    """What the server says of itself."""
    with translating("say which server it is"):
        row = connection.execute(
            """
            SELECT coalesce(host(inet_server_addr()), '') AS answers_at,
                   EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser') AS is_rds
            """
        ).fetchone()
    try:
        found = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        found = None
    return ServerIdentity(
        answers_at=row.answers_at if row else "",
        has_rds_superuser=bool(row and row.is_rds),
        system_identifier=found.system_identifier if found else None,
    )


def require_meant(identity: ServerIdentity, address: ServerAddress, expected: str | None) -> None:
    """Whether `identity` is the server that `address` means.

    Args:
        expected: the ``system_identifier`` that it must have, or None.

    Raises:
        Refused: it is another one, or it cannot be shown.
    """
    if expected is not None:
        if identity.system_identifier != expected:
            raise Refused(
                f"{address} is another server: its system_identifier is "
                f"{identity.system_identifier or 'not to be read'}, not {expected}; nothing was changed.",
                hint="Look at where the tunnel leads, or at what --expect-system-identifier says.",
            )
        return
    if address.sslmode == "verify-full":
        return
    doubts = [
        doubt
        for doubt, is_there in (
            ("it has no role rds_superuser, so that it is not RDS", not identity.has_rds_superuser),
            ("it answers on this machine", identity.is_on_loopback),
        )
        if is_there
    ]
    if doubts:
        raise Refused(
            f"With sslmode={address.sslmode} nothing shows that {address} is the server that is meant "
            f"({' and '.join(doubts)}); nothing was changed.",
            hint="Set DB_SSLROOTCERT to AWS's CA bundle: then its certificate is compared with the host's name. Or say "
            f"that it is the one: --expect-system-identifier {identity.system_identifier or 'NUMBER'}",
        )
