"""Refuse to change an unexpected server, for example a local PostgreSQL on the tunnel's port.

With ``verify-full`` the certificate identifies the server. With another ``sslmode``, the server must look like RDS or
have the expected ``system_identifier``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import psycopg

from deploytools.errors import Refused
from deploytools.postgres.connections import Connection, ServerAddress, translate_database_errors


@dataclass(frozen=True)
class ServerIdentity:
    """What identifies a server.

    Attributes:
        server_address: the server's end of the connection; empty: a Unix socket.
        has_rds_superuser: whether it has RDS's role ``rds_superuser``.
        system_identifier: the identifier that initdb generated and replicas share; None if it cannot be read.
    """

    server_address: str
    has_rds_superuser: bool
    system_identifier: str | None

    @property
    def is_on_loopback(self) -> bool:
        """Whether client and server are on the same machine."""
        return not self.server_address or ipaddress.ip_address(self.server_address).is_loopback


def read_identity(connection: Connection) -> ServerIdentity:
    """Read what identifies the server."""
    with translate_database_errors("identify the server"):
        row = connection.execute(
            """
            SELECT coalesce(host(inet_server_addr()), '') AS server_address,
                   EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser') AS is_rds
            """
        ).fetchone()
    try:
        found = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        found = None
    return ServerIdentity(
        server_address=row.server_address if row else "",
        has_rds_superuser=bool(row and row.is_rds),
        system_identifier=found.system_identifier if found else None,
    )


def require_expected_server(identity: ServerIdentity, address: ServerAddress, expected: str | None) -> None:
    """Refuse to continue unless `identity` is the server that `address` means.

    Args:
        expected: the required ``system_identifier``, or None.

    Raises:
        Refused: it is another server, or its identity cannot be verified.
    """
    if expected is not None:
        if identity.system_identifier != expected:
            raise Refused(
                f"{address} is not the expected server: its system_identifier is "
                f"{identity.system_identifier or 'unknown'}, expected {expected}. Nothing was changed.",
                hint="Check which server the tunnel connects to, and the value of --expect-system-identifier.",
            )
        return
    if address.sslmode == "verify-full":
        return
    doubts = [] if identity.has_rds_superuser else ["it has no role rds_superuser, so it is not RDS"]
    if identity.is_on_loopback:
        doubts.append("it runs on this machine")
    if doubts:
        raise Refused(
            f"Cannot verify with sslmode={address.sslmode} that {address} is the expected server: "
            f"{' and '.join(doubts)}. Nothing was changed.",
            hint='Set DEPLOYTOOLS["SSLMODE"] to verify-full and DEPLOYTOOLS["SSLROOTCERT"] to AWS\'s CA bundle. Or, if '
            f"it is the expected server, add --expect-system-identifier {identity.system_identifier or 'NUMBER'}",
        )
