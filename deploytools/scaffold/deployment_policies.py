"""The IAM policies of a deployment, from the permissions that the code declares.

The application's role has the permissions of the startup checks, the role of jobs those of all checks. Neither can
write the secret: operators do that with `sync_secrets` and `create_tenant_dbs`, and have their own policy.
"""

from __future__ import annotations

from typing import Any

from deploytools.conf import Settings
from deploytools.secrets.iam_policy import policy as secret_policy
from deploytools.secrets.iam_policy import secret_arn
from deploytools.verification import account
from deploytools.verification.least_privilege import policy
from deploytools.verification.registry import load_registry


def deployment_policies(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the policies by the name of their file."""
    registry = load_registry().with_presets(settings.presets)
    tags = {"policy-app.json": ["startup"], "policy-job.json": list[str]()}
    found = {
        name: policy([*registry.actions_for(registry.select(tag)), account.ACTION], settings)
        for name, tag in tags.items()
    }
    return found | {"policy-operator.json": _operator_policy(settings)}


def _operator_policy(settings: Settings) -> dict[str, Any]:
    ecs = (settings.ecs_cluster or "default", settings.ecs_service)
    document = secret_policy(settings.secret_name, settings.region, with_create=True, ecs=ecs)
    if not settings.is_shared:
        tenants = secret_arn(f"{settings.tenant_secret_prefix}*", settings.region)
        for statement in document["Statement"]:
            if ":secretsmanager:" in statement["Resource"]:
                statement["Resource"] = [statement["Resource"], tenants]
    return document
