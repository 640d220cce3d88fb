"""Who answers on a port: PostgreSQL with the right certificate, another server, or nobody yet. No login is made."""

from __future__ import annotations

import socket
import ssl
import struct

from operations.errors import OperationError

#: PostgreSQL's request for TLS: length 8, then the code that stands for it.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
SECONDS = 5.0


def context(ca_file: str) -> ssl.SSLContext:
    """What `verify-full` means: a certificate of this authority alone, for the name that is asked for.

    Raises:
        OperationError: there is no CA bundle.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        made.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise OperationError(
            f"The CA bundle {ca_file!r} cannot be used: {error.strerror or error}.",
            hint="Download https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem and name it: --ca FILE, "
            "or DB_SSLROOTCERT.",
        ) from error
    return made


def answers(port: int, host: str, trust: ssl.SSLContext) -> bool:
    """Whether PostgreSQL answers on `port` of this machine with a certificate for `host`; False: nobody yet.

    Raises:
        OperationError: somebody else answers, and always will.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as plain:
            plain.sendall(SSL_REQUEST)
            reply = plain.recv(1)
            if not reply:
                return False
            if reply != b"S":
                raise OperationError(
                    f"What answers on port {port} is no PostgreSQL with TLS.",
                    hint="RDS always speaks TLS, so this is another server: check the host and the port.",
                )
            with trust.wrap_socket(plain, server_hostname=host):
                return True
    except ssl.SSLCertVerificationError as error:
        raise OperationError(
            f"The server on port {port} does not prove to be {host}: {error.verify_message}.",
            hint="Is it the endpoint of the RDS instance, and is the CA bundle AWS's? Nothing was sent to that server.",
        ) from error
    except OSError:
        return False
