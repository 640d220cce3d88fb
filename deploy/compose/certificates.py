"""For compose.yaml: a certificate authority and the database's certificate, made once, into two volumes.

Usage: ``python certificates.py AUTHORITY SERVER UID``; the server's key is readable by user UID alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from localcloud.certificates import issue


def main(authority: Path, server: Path, owner: int) -> None:
    """Writes ``ca.pem`` into `authority`, ``server.crt`` and ``server.key`` into `server`, unless they are there."""
    key, certificate = server / "server.key", server / "server.crt"
    if key.exists() and certificate.exists() and (authority / "ca.pem").exists():
        return
    issued = issue(authority).database
    key.touch(mode=0o600)
    issued.private_key_pem.write_to_path(key)
    for index, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(certificate, append=index > 0)
    for path in (key, certificate):
        os.chown(path, owner, owner)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
