"""The least-privilege IAM policy for the declared actions of facts. Pure.

See the Service Authorization Reference of AWS for the resource types of each action.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING, Any

from deploytools.secrets.iam_policy import partition

if TYPE_CHECKING:
    from deploytools.conf import Settings

#: All actions by the ``Sid`` of their statement; those of the first have no resource-level permissions.
SCOPES: Mapping[str, Set[str]] = {
    "NotBoundByAws": {
        "application-autoscaling:DescribeScalableTargets",
        "cloudtrail:LookupEvents",
        "cloudwatch:GetMetricStatistics",
        "ec2:DescribeInstances",
        "ec2:DescribeNetworkAcls",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeRouteTables",
        "ec2:DescribeSecurityGroupRules",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ecs:DescribeTaskDefinition",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "rds:DescribeDBEngineVersions",
        "rds:DescribeDBMajorEngineVersions",
        "ses:GetAccount",
        "ssm:DescribeInstanceInformation",
        "sts:GetCallerIdentity",
    },
    "Secret": {"secretsmanager:GetResourcePolicy", "secretsmanager:ListSecretVersionIds"},
    "Logins": {"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"},
    "Instance": {"rds:DescribeDBInstances", "rds:ListTagsForResource"},
    "DbClusters": {
        "rds:DescribeDBClusterParameters",
        "rds:DescribeDBClusterSnapshotAttributes",
        "rds:DescribeDBClusterSnapshots",
        "rds:DescribeDBClusters",
    },
    "Maintenance": {"rds:DescribePendingMaintenanceActions"},
    "ParameterGroups": {"rds:DescribeDBParameters"},
    "Snapshots": {"rds:DescribeDBSnapshotAttributes", "rds:DescribeDBSnapshots"},
    "PrefixLists": {"ec2:GetManagedPrefixListEntries"},
    "Alarms": {"cloudwatch:DescribeAlarms"},
    "AlarmFunctions": {"lambda:GetPolicy"},
    "Topics": {"sns:GetSubscriptionAttributes", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"},
    "TopicKeys": {"kms:DescribeKey", "kms:GetKeyPolicy"},
    "LogGroups": {"logs:DescribeLogGroups"},
    "Cluster": {"ecs:DescribeClusters"},
    "Service": {"ecs:DescribeServices", "ecs:ListServiceDeployments"},
    "Roles": {
        "iam:GetRole",
        "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies",
        "iam:ListRolePolicies",
        "iam:SimulatePrincipalPolicy",
    },
    "InstanceProfiles": {"iam:GetInstanceProfile"},
    "Policies": {"iam:GetPolicy", "iam:GetPolicyVersion"},
    "Sender": {"ses:GetEmailIdentity"},
}
READ = "secretsmanager:GetSecretValue"
#: The characters that Secrets Manager adds to the name of a secret in its ARN.
SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")


def secret_arns(settings: Settings) -> tuple[str, ...]:
    """Return the ARN of the secret and, with an own secret for each tenant, the pattern of their ARNs.

    Secrets Manager adds six characters to the name of a secret; an ARN in the settings may have them already.
    """
    name = settings.secret_name
    named = name if name.startswith("arn:") else _arn(settings, "secretsmanager", f"secret:{name}")
    is_complete = named == name and SUFFIX.search(named)
    shared = named if is_complete else f"{named}-??????"
    if settings.is_shared:
        return (shared,)
    return (shared, _arn(settings, "secretsmanager", f"secret:{settings.tenant_secret_prefix}*"))


def key_arns(settings: Settings) -> tuple[str, ...]:
    """Return the pattern of all keys of the account: which key encrypts the secret is known only from AWS."""
    return (_arn(settings, "kms", "key/*"),)


def resources(settings: Settings, scope: str) -> tuple[str, ...]:
    """Return the resources that the actions of a scope are allowed on.

    The names of the instances of a DB cluster, of roles, parameter groups, snapshots, topics, keys and prefix lists are
    known only from AWS.
    """
    arn = partial(_arn, settings)
    instance, db_cluster = arn("rds", "db:*"), arn("rds", "cluster:*")
    cluster, service = "*", "*"
    if settings.ecs_service:
        cluster, service = _last(settings.ecs_cluster or "default"), _last(settings.ecs_service)
    return {
        "Secret": secret_arns(settings)[:1],
        "Logins": secret_arns(settings),
        "Instance": (arn("rds", "db:*", region="*"),),  # A read replica can be in another Region.
        "DbClusters": (db_cluster, arn("rds", "cluster-pg:*"), arn("rds", "cluster-snapshot:*")),
        "Maintenance": (instance, db_cluster),
        "ParameterGroups": (arn("rds", "pg:*"),),
        "Snapshots": (instance, arn("rds", "snapshot:*")),
        "PrefixLists": (arn("ec2", "prefix-list/*"), arn("ec2", "prefix-list/*", account="aws")),
        "Alarms": (arn("cloudwatch", "alarm:*"),),
        "AlarmFunctions": (arn("lambda", "function:*"),),
        "Topics": (arn("sns", "*"),),
        "TopicKeys": key_arns(settings),
        "LogGroups": (arn("logs", "log-group:*"),),
        "Cluster": (arn("ecs", f"cluster/{cluster}"),),
        "Service": (arn("ecs", f"service/{cluster}/{service}"),),
        "Roles": (arn("iam", "role/*", region=""),),
        "InstanceProfiles": (arn("iam", "instance-profile/*", region=""),),
        "Policies": (arn("iam", "policy/*", region=""), arn("iam", "policy/*", region="", account="aws")),
        "Sender": (arn("ses", "identity/*", region="*"),),
    }.get(scope, ("*",))


def _arn(settings: Settings, service: str, resource: str, *, region: str | None = None, account: str = "") -> str:
    region = settings.region if region is None else region
    return f"arn:{partition(settings.region)}:{service}:{region}:{account or settings.account or '*'}:{resource}"


def policy(actions: Iterable[str], settings: Settings) -> dict[str, Any]:
    """Return an IAM policy document that allows exactly `actions`, each on the resources of its scope.

    If a secret is read, its KMS key can be used, but only through Secrets Manager and for this secret.
    """
    wanted = set(actions)
    scoped = {scope: sorted(wanted & of_scope) for scope, of_scope in SCOPES.items()}
    unknown = wanted.difference(*SCOPES.values())
    scoped["NotBoundByAws"] = sorted({*scoped["NotBoundByAws"], *unknown})
    statements = [
        {"Sid": scope, "Effect": "Allow", "Action": allowed, "Resource": _one_or_many(resources(settings, scope))}
        for scope, allowed in scoped.items()
        if allowed
    ]
    if READ in wanted:
        statements.append({"Sid": "Decryption", **decryption(key_arns(settings), secret_arns(settings))})
    return {"Version": "2012-10-17", "Statement": statements}


def decryption(keys: Sequence[str], secrets: Sequence[str]) -> dict[str, Any]:
    """Return the statement that allows the use of customer-managed keys by Secrets Manager for these secrets only."""
    regions = {secret.split(":")[3] for secret in secrets}
    services = sorted(f"secretsmanager.{region}.amazonaws.com" for region in regions)
    services += [f"{service}.cn" for service in services if ".cn-" in service]
    return {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": _one_or_many(keys),
        "Condition": {
            "StringEquals": {"kms:ViaService": _one_or_many(services)},
            "StringLike": {"kms:EncryptionContext:SecretARN": _one_or_many(secrets)},
        },
    }


def _one_or_many(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _last(name: str) -> str:
    """Return the name at the end of an ARN, or the name itself."""
    return name.rpartition("/")[2]
