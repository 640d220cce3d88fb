"""Build step of an image: copy the CA bundle into it. Imports nothing from the project.

Usage: ``python -m deploytools.container.ca_bundle SOURCE TARGET``. An empty SOURCE builds an image without a bundle.
"""

from __future__ import annotations

import shutil
import ssl
import sys
from pathlib import Path

URL = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"


def main(source: str, target: str) -> str:
    """Copy the bundle. Return an error message, or an empty string."""
    to = Path(target)
    to.parent.mkdir(parents=True, exist_ok=True)
    if not source:
        return ""
    if not Path(source).is_file():
        return (
            f"Error: CA bundle not found: {source}.\n"
            f"Hint: Download {URL} to that path, or pass another path in the build context with --build-arg "
            "RDS_CA_BUNDLE=PATH. An empty value builds an image without a bundle."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=source)
    except (ssl.SSLError, ValueError):
        return f"Error: {source} is not a CA bundle in PEM format.\nHint: Download {URL} again."
    shutil.copyfile(source, to)
    to.chmod(0o444)
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]) or 0)
