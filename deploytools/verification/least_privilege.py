"""The IAM policy that a run needs and no more, from what its facts declare. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: Actions that AWS can bind to the secret, and to the instance; every other one takes all resources only, or
#: resources whose names are not known before they were looked up.
OF_SECRET = frozenset(
    f"secretsmanager:{operation}"
    for operation in ("DescribeSecret", "GetResourcePolicy", "GetSecretValue", "ListSecretVersionIds")
)
#: Those that a login as a tenant's own role needs on the tenant's own secret.
OF_LOGIN = frozenset({"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"})
#: Those of the fire test; an alarm has any name.
OF_ALARMS = frozenset({"cloudwatch:DescribeAlarmHistory", "cloudwatch:SetAlarmState"})
OF_INSTANCE = frozenset({"rds:DescribeDBInstances", "rds:ListTagsForResource"})


@dataclass(frozen=True)
class Place:
    """What the settings say about where things are.

    Attributes:
        account: empty: any.
        secret: name or ARN of the secret.
        instance: identifier of the RDS instance; empty: only the secret knows it.
        tenant_secrets: what the names of the tenants' own secrets begin with; empty: they share one.
    """

    region: str
    account: str
    secret: str
    instance: str
    tenant_secrets: str = ""

    @property
    def tenant_secrets_arn(self) -> str:
        """Of all tenants' own secrets."""
        return self._arn("secretsmanager", f"secret:{self.tenant_secrets}*")

    @property
    def secret_arn(self) -> str:
        """With AWS's six characters after the name."""
        return (
            self.secret
            if self.secret.startswith("arn:")
            else self._arn("secretsmanager", f"secret:{self.secret}-??????")
        )

    @property
    def instance_arn(self) -> str:
        """Of the one instance, or of all where it is not known."""
        return self._arn("rds", f"db:{self.instance}") if self.instance else "*"

    @property
    def alarms_arn(self) -> str:
        """Of all alarms of the Region."""
        return self._arn("cloudwatch", "alarm:*")

    def _arn(self, service: str, resource: str) -> str:
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        partition = next((name for prefix, name in prefixes.items() if self.region.startswith(prefix)), "aws")
        return f"arn:{partition}:{service}:{self.region}:{self.account or '*'}:{resource}"


def policy(actions: Iterable[str], place: Place) -> dict[str, Any]:
    """An IAM policy document that allows exactly `actions`, each on as little as AWS can tell apart."""
    by_resources: dict[tuple[str, ...], list[str]] = {}
    for action in sorted(set(actions)):
        by_resources.setdefault(_resources(action, place), []).append(action)
    statements = [
        {"Effect": "Allow", "Action": allowed, "Resource": resources[0] if len(resources) == 1 else list(resources)}
        for resources, allowed in sorted(by_resources.items())
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _resources(action: str, place: Place) -> tuple[str, ...]:
    if action in OF_LOGIN and place.tenant_secrets:
        return place.secret_arn, place.tenant_secrets_arn
    if action in OF_SECRET:
        return (place.secret_arn,)
    if action in OF_ALARMS:
        return (place.alarms_arn,)
    return (place.instance_arn if action in OF_INSTANCE else "*",)
