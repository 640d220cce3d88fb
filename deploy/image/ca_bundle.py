"""Build step: puts the CA bundle into the image, or says in two lines why it cannot. No imports from the project.

Usage: ``python ca_bundle.py SOURCE TARGET``; an empty SOURCE means that nobody wants certificates verified.
"""

from __future__ import annotations

import shutil
import ssl
import sys
from pathlib import Path


def main(source: str, target: str) -> str:
    """Copies the bundle. Returns what is wrong, or nothing."""
    to = Path(target)
    to.parent.mkdir(parents=True, exist_ok=True)
    if not source:
        return ""
    if not Path(source).is_file():
        return (
            f"error: there is no CA bundle at {source}, and without one no certificate can be verified\n"
            "hint: put AWS's there (https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem), name another "
            "path in the build context with --build-arg RDS_CA_BUNDLE=PATH, or verify nothing with an empty one"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=source)
    except (ssl.SSLError, ValueError):
        return f"error: {source} holds no certificate in PEM form\nhint: download AWS's global-bundle.pem again"
    shutil.copyfile(source, to)
    to.chmod(0o444)
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]) or 0)
