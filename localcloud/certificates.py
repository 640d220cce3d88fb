"""The cloud's own certificate authority. Its key stays in memory and is gone with the supervisor."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

#: The endpoint of the guide: 73 characters, longer than a common name may be, so it stands in the alternative names.
RDS_HOST = "startupwebapp-multi-tenant-prod.cqbgoe8omhyh.us-east-1.rds.amazonaws.com"


@dataclass(frozen=True)
class Certificates:
    """The authority's certificate as a file, and the leaf certificates that it signed."""

    ca_file: Path
    database: trustme.LeafCert
    mail: trustme.LeafCert


def issue(directory: Path) -> Certificates:
    """A new authority, one certificate for the RDS host and no other name, one for the mail server on loopback."""
    authority = trustme.CA(organization_name="deploytools local cloud")
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    return Certificates(ca_file, authority.issue_cert(RDS_HOST), authority.issue_cert("localhost", "127.0.0.1"))


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate.configure_cert(context)
    return context
