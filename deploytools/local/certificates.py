"""The certificate authority of a local cloud. Its private key is kept in memory only."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """The CA certificate as a file, and the server certificates that it signed."""

    ca_file: Path
    database: trustme.LeafCert
    mail: trustme.LeafCert


def issue(directory: Path, database_host: str) -> Certificates:
    """Create a CA, a certificate for the database's host name only, and one for the SMTP server on loopback."""
    authority = trustme.CA(organization_name="deploytools local cloud")
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    return Certificates(ca_file, authority.issue_cert(database_host), authority.issue_cert("localhost", "127.0.0.1"))


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return a context for TLS 1.2 or newer with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate.configure_cert(context)
    return context
