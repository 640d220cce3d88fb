"""The IAM policy that a run needs and no more, from what its facts declare. Pure.

Which actions can be bound to which resources is what AWS's Service Authorization Reference says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: The actions that AWS binds to no resource: they are allowed on all, or not at all.
UNBOUND = frozenset(
    {
        "cloudtrail:LookupEvents",
        "ec2:DescribeInstances",
        "ec2:DescribeRouteTables",
        "ec2:DescribeSecurityGroupRules",
        "ec2:DescribeSecurityGroups",
        "ecs:DescribeTaskDefinition",
        "elasticloadbalancing:DescribeTargetHealth",
        "rds:DescribeDBMajorEngineVersions",
        "ses:GetAccount",
        "ssm:DescribeInstanceInformation",
        "sts:GetCallerIdentity",
    }
)
#: The others, by what they are about: the ``Sid`` of their statement.
SCOPES: Mapping[str, frozenset[str]] = {
    "NotBoundByAws": UNBOUND,
    "Secret": frozenset({"secretsmanager:GetResourcePolicy", "secretsmanager:ListSecretVersionIds"}),
    "Logins": frozenset({"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"}),
    "Instance": frozenset(
        {"rds:DescribeDBInstances", "rds:DescribePendingMaintenanceActions", "rds:ListTagsForResource"}
    ),
    "ParameterGroups": frozenset({"rds:DescribeDBParameters"}),
    "Snapshots": frozenset({"rds:DescribeDBSnapshotAttributes", "rds:DescribeDBSnapshots"}),
    "PrefixLists": frozenset({"ec2:GetManagedPrefixListEntries"}),
    "Alarms": frozenset({"cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms", "cloudwatch:SetAlarmState"}),
    "Topics": frozenset({"sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"}),
    "TopicKeys": frozenset({"kms:DescribeKey", "kms:GetKeyPolicy"}),
    "Cluster": frozenset({"ecs:DescribeClusters"}),
    "Service": frozenset({"ecs:DescribeServices", "ecs:ListServiceDeployments"}),
    "Roles": frozenset(
        f"iam:{operation}"
        for operation in (
            "GetRole",
            "GetRolePolicy",
            "ListAttachedRolePolicies",
            "ListRolePolicies",
            "SimulatePrincipalPolicy",
        )
    ),
    "Policies": frozenset({"iam:GetPolicy", "iam:GetPolicyVersion"}),
    "Sender": frozenset({"ses:GetEmailIdentity"}),
}
READ = "secretsmanager:GetSecretValue"
#: What AWS puts behind a secret's name in its ARN.
SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")


@dataclass(frozen=True)
class Place:
    """What the settings say about where things are; what they do not say is any of the account's.

    Attributes:
        account: empty: any.
        secret: name or ARN of the secret.
        instance: identifier of the RDS instance; empty: only the secret knows it.
        tenant_secrets: what the names of the tenants' own secrets begin with; empty: they share one.
        cluster, service: of ECS, by name or ARN; empty: none is named.
    """

    region: str
    account: str
    secret: str
    instance: str
    tenant_secrets: str = ""
    cluster: str = ""
    service: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret, with AWS's six characters after the name, which an ARN may have already; and the tenants' own."""
        named = self.secret if self.secret.startswith("arn:") else self._arn("secretsmanager", f"secret:{self.secret}")
        is_whole = named == self.secret and SUFFIX.search(named)
        shared = named if is_whole else f"{named}-??????"
        own = self._arn("secretsmanager", f"secret:{self.tenant_secrets}*")
        return (shared, own) if self.tenant_secrets else (shared,)

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of the account: which of them encrypts the secret is not known without asking."""
        return (self._arn("kms", "key/*"),)

    def resources(self, scope: str) -> tuple[str, ...]:
        """What the actions of one of `SCOPES` are allowed on.

        The roles and the parameter groups that are looked at, the snapshots, topics, keys and lists, have names that
        are not known before something else was looked up.
        """
        instance, cluster = self._arn("rds", f"db:{self.instance or '*'}"), _last(self.cluster) or "*"
        return {
            "Secret": self.secrets[:1],
            "Logins": self.secrets,
            "Instance": (instance,),
            "ParameterGroups": (self._arn("rds", "pg:*"),),
            "Snapshots": (instance, self._arn("rds", "snapshot:*")),
            "PrefixLists": (self._arn("ec2", "prefix-list/*"), self._arn("ec2", "prefix-list/*", account="aws")),
            "Alarms": (self._arn("cloudwatch", "alarm:*"),),
            "Topics": (self._arn("sns", "*"),),
            "TopicKeys": self.keys,
            "Cluster": (self._arn("ecs", f"cluster/{cluster}"),),
            "Service": (self._arn("ecs", f"service/{cluster}/{_last(self.service) or '*'}"),),
            "Roles": (self._arn("iam", "role/*", region=""),),
            "Policies": (
                self._arn("iam", "policy/*", region=""),
                self._arn("iam", "policy/*", region="", account="aws"),
            ),
            "Sender": (self._arn("ses", "identity/*", region="*"),),
        }.get(scope, ("*",))

    def _arn(self, service: str, resource: str, *, region: str | None = None, account: str = "") -> str:
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        partition = next((name for prefix, name in prefixes.items() if self.region.startswith(prefix)), "aws")
        where = self.region if region is None else region
        return f"arn:{partition}:{service}:{where}:{account or self.account or '*'}:{resource}"


def policy(actions: Iterable[str], place: Place) -> dict[str, Any]:
    """An IAM policy document that allows exactly `actions`, each on as little as AWS can tell apart.

    Where a secret is read, so may be the key that encrypts it, but through Secrets Manager and for that secret alone:
    with AWS's own key that allows nothing that is not allowed anyhow.
    """
    wanted = set(actions)
    scoped = {scope: sorted(wanted & of_scope) for scope, of_scope in SCOPES.items()}
    unknown = wanted.difference(*SCOPES.values())
    scoped["NotBoundByAws"] = sorted({*scoped["NotBoundByAws"], *unknown})
    statements = [
        {"Sid": scope, "Effect": "Allow", "Action": allowed, "Resource": _one_or_many(place.resources(scope))}
        for scope, allowed in scoped.items()
        if allowed
    ]
    if READ in wanted:
        statements.append({"Sid": "Decryption", **decryption(place.keys, place.secrets)})
    return {"Version": "2012-10-17", "Statement": statements}


def decryption(keys: Sequence[str], secrets: Sequence[str]) -> dict[str, Any]:
    """The statement that lets a customer-managed key be used, by Secrets Manager and for these secrets alone."""
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
    """The name at the end of an ARN, or the name that it is."""
    return name.rpartition("/")[2]
