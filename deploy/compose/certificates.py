"""For compose.yaml: create a certificate authority and the database's certificate in two volumes, once.

Usage: ``python certificates.py AUTHORITY SERVER HOST UID``. Only the user UID can read the server's private key.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deploytools.local.certificates import issue


def main(authority: Path, server: Path, host: str, owner: int) -> None:
    """Write ``ca.pem`` into `authority`, ``server.crt`` and ``server.key`` into `server`, unless they exist."""
    key, certificate = server / "server.key", server / "server.crt"
    if key.exists() and certificate.exists() and (authority / "ca.pem").exists():
        return
    issued = issue(authority, host).database
    key.touch(mode=0o600)
    issued.private_key_pem.write_to_path(key)
    for index, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(certificate, append=index > 0)
    for path in (key, certificate):
        os.chown(path, owner, owner)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
