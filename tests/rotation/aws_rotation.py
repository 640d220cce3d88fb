"""What AWS does before it invokes a rotation function, and the function's environment."""

from __future__ import annotations

from contextlib import suppress

from botocore.exceptions import ClientError

from deploytools.postgres.connections import ServerAddress
from tests.deployment import Deployment

TOKEN = "t" * 32


def function_environment(address: ServerAddress) -> dict[str, str]:
    return {
        "AWS_DEFAULT_REGION": "us-east-1",
        "PGHOSTADDR": address.hostaddr,
        "PGPORT": str(address.port),
        "PGSSLROOTCERT": address.sslrootcert,
    }


def begin_rotation(deployment: Deployment, secret: str = "") -> None:
    """Begin a rotation. The emulator attaches AWSPENDING as AWS does; then it does not find the function."""
    with suppress(ClientError):
        deployment.client.rotate_secret(
            SecretId=secret or deployment.name,
            ClientRequestToken=TOKEN,
            RotationLambdaARN="arn:aws:lambda:us-east-1:123456789012:function:absent",
            RotationRules={"AutomaticallyAfterDays": 30},
        )
    found = deployment.client.describe_secret(SecretId=secret or deployment.name)
    assert found["VersionIdsToStages"][TOKEN] == ["AWSPENDING"]
