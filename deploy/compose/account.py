"""For compose.yaml: create the resources of the emulated AWS account.

Usage: ``python account.py URL PASSWORD``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from deploytools.local.aws_account import AwsAccount, secret_document
from deploytools.local.cloud_state import CloudNames

NAMES = CloudNames("rds/startupwebapp/multi-tenant/master", instance="startupwebapp-multi-tenant-prod")
#: The values that the infrastructure code writes: placeholders.
SECRET = Path(__file__).with_name("secret.json")


def main(endpoint_url: str, master_password: str) -> None:
    """Create the resources in the account at `endpoint_url`, unless it has some."""
    account = AwsAccount(endpoint_url, NAMES)
    if not account.secretsmanager.list_secrets()["SecretList"]:
        given = json.loads(SECRET.read_text(encoding="utf-8"))
        account.create_resources(5432, master_password, secret_document(NAMES, 5432, master_password) | given)
    account.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
