"""Check that PostgreSQL answers on a local port with the expected certificate. Does not log in."""

from __future__ import annotations

import socket
import ssl
import struct

from deploytools.errors import DeployError
from deploytools.postgres.failures import BUNDLE_URL

#: SSLRequest of PostgreSQL's protocol: length 8, then the request code.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
TIMEOUT_SECONDS = 5.0


def create_context(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context equivalent to ``sslmode=verify-full`` with this CA bundle."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    download = f"Download {BUNDLE_URL} and pass its path: --ca FILE"
    if not ca_file:
        raise DeployError("No CA bundle: neither --ca nor PGSSLROOTCERT is set.", hint=download)
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise DeployError(f"Cannot load the CA bundle {ca_file}: {error.strerror or error}.", hint=download) from error
    return context


def answers(port: int, host: str, context: ssl.SSLContext) -> bool:
    """Return whether PostgreSQL answers on local `port` with a valid certificate for `host`; False: no answer yet.

    Raises:
        DeployError: another server answers, so that waiting does not help.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as plain:
            plain.sendall(SSL_REQUEST)
            response = plain.recv(1)
            if not response:
                return False
            if response != b"S":
                raise DeployError(
                    f"The server on local port {port} is not PostgreSQL with TLS.",
                    hint="RDS always supports TLS, so this is another server. Check --host and --port.",
                )
            with context.wrap_socket(plain, server_hostname=host):
                return True
    except ssl.SSLCertVerificationError as error:
        raise DeployError(
            f"The certificate of the server on local port {port} is not valid for {host}: "
            f"{error.verify_message.rstrip('.')}.",
            hint="Check that --host is the endpoint of the RDS instance and --ca is the CA bundle of AWS. "
            "No credentials were sent.",
        ) from error
    except OSError:
        return False
