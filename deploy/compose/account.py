"""For compose.yaml: the AWS account that the guide assumes, in the emulator.

Usage: ``python account.py URL PASSWORD``.
"""

from __future__ import annotations

import sys

from localcloud.world import World


def main(endpoint_url: str, master_password: str) -> None:
    """Fills the account behind `endpoint_url`, unless it is filled already."""
    world = World(endpoint_url)
    if not world.secretsmanager.list_secrets()["SecretList"]:
        world.fill(5432, master_password)
    world.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
