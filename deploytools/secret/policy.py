"""The least that `sync_secrets` needs to be allowed, as an IAM policy for one secret. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_PREFIX = "secretsmanager:"

#: To look.
READ = (_PREFIX + "DescribeSecret", _PREFIX + "GetSecretValue")
#: To merge values, and to roll back.
WRITE = (_PREFIX + "PutSecretValue", _PREFIX + "UpdateSecretVersionStage")
#: Only with ``--create`` and ``--restore``.
LIFE = (_PREFIX + "CreateSecret", _PREFIX + "RestoreSecret", _PREFIX + "TagResource")
#: Only with a customer-managed key.
KEY = ("kms:Decrypt", "kms:GenerateDataKey")


def policy(name: str, region: str, *, with_life: bool = False, kms_key_arn: str = "") -> dict[str, Any]:
    """The policy's document.

    Args:
        name: name or ARN of the secret.
        with_life: also what ``--create`` and ``--restore`` need.
        kms_key_arn: the customer-managed key that encrypts it, where there is one.
    """
    arn = secret_arn(name, region)
    statements = [_statement("SyncSecrets", (*READ, *WRITE), arn)]
    if with_life:
        statements.append(_statement("CreateAndRestore", LIFE, arn))
    if kms_key_arn:
        statements.append(_statement("EncryptAndDecrypt", KEY, kms_key_arn))
    return {"Version": "2012-10-17", "Statement": statements}


def secret_arn(name: str, region: str) -> str:
    """The ARN of a secret; AWS puts a hyphen and six characters behind the name."""
    if name.startswith("arn:"):
        return name
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:secretsmanager:{region}:*:secret:{name}-??????"


def _statement(name: str, actions: Sequence[str], resource: str) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": sorted(actions), "Resource": resource}
