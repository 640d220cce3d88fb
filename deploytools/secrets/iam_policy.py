"""The least-privilege IAM policies of `sync_secrets` and `rotate_credentials`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: What reads a secret and changes it by compare-and-swap.
READ = ("GetSecretValue",)
CHANGE = ("DescribeSecret", "GetSecretValue", "ListSecretVersionIds", "PutSecretValue", "UpdateSecretVersionStage")


def policy(
    name: str, region: str, *, with_create: bool = False, kms_key_arn: str = "", ecs: tuple[str, str] = ("", "")
) -> dict[str, Any]:
    """Return the policy document.

    Args:
        ecs: cluster and name, or ARN, of the ECS service that reads the secret: ``--restart`` restarts it, ``--unset``
            reads its task definition. Empty: there is none.
        kms_key_arn: ARN of the customer managed key that encrypts the secret. Empty: there is none.
    """
    arn = secret_arn(name, region)
    statements = [_statement("SyncSecrets", "secretsmanager", CHANGE, arn)]
    if with_create:
        statements.append(_statement("CreateSecret", "secretsmanager", ("CreateSecret", "TagResource"), arn))
    if kms_key_arn:
        statements.append(_statement("EncryptAndDecrypt", "kms", ("Decrypt", "GenerateDataKey"), kms_key_arn))
    statements.append(_statement("History", "cloudtrail", ("LookupEvents",), "*"))
    if ecs[1]:
        statements.append(
            _statement("EcsService", "ecs", ("DescribeServices", "UpdateService"), _ecs_arn(*ecs, region))
        )
        statements.append(_statement("TaskDefinition", "ecs", ("DescribeTaskDefinition",), "*"))
    return _policy(statements)


def rotation_policy(
    names: Sequence[str], region: str, *, master: str = "", instance: str = "", rotates_master: bool = False
) -> dict[str, Any]:
    """Return the policy document of a rotation, by the command or by AWS.

    Args:
        names: names or ARNs of the secrets, with ``*`` for any characters.
        master: name or ARN of the secret with the master user's login. Empty: the one that RDS manages for `instance`.
        instance: identifier of the RDS instance; required without `master`.
        rotates_master: whether the master user's password is rotated.
    """
    service, (first, *more) = "secretsmanager", [secret_arn(name, region) for name in names]
    resource = [first, *more] if more else first
    if master:
        shared, own = (READ, CHANGE) if rotates_master else (CHANGE, READ)
        login = _statement("MasterUser", service, own, secret_arn(master, region))
        return _policy([_statement("Secret", service, shared, resource), login])
    rotate, modify = (("DescribeSecret", "RotateSecret"), ("ModifyDBInstance",)) if rotates_master else ((), ())
    database = f"arn:{partition(region)}:rds:{region}:*:db:{instance}"
    managed = f"arn:{partition(region)}:secretsmanager:{region}:*:secret:rds!db-*"
    of_instance = {"StringLike": {"aws:ResourceTag/aws:rds:primaryDBInstanceArn": database}}
    return _policy(
        [
            _statement("Secret", service, CHANGE, resource),
            _statement("MasterUser", service, (*READ, *rotate), managed) | {"Condition": of_instance},
            _statement("Instance", "rds", ("DescribeDBInstances", *modify), database),
        ]
    )


def secret_arn(name: str, region: str) -> str:
    """Return the ARN of a secret. AWS appends a hyphen and six characters to the name."""
    if name.startswith("arn:"):
        return name
    return f"arn:{partition(region)}:secretsmanager:{region}:*:secret:{name}-??????"


def _ecs_arn(cluster: str, service: str, region: str) -> str:
    if service.startswith("arn:"):
        return service
    return f"arn:{partition(region)}:ecs:{region}:*:service/{cluster.rpartition('/')[2]}/{service}"


def partition(region: str) -> str:
    """Return the part of AWS that a Region is in."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(name: str, service: str, actions: Sequence[str], resource: str | list[str]) -> dict[str, Any]:
    allowed = [f"{service}:{action}" for action in actions]
    return {"Sid": name, "Effect": "Allow", "Action": allowed, "Resource": resource}
