"""The least-privilege policy: only the declared actions, on the known resources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploytools.conf import Settings
from deploytools.verification.least_privilege import SCOPES, policy, resources
from tests.verification.zoo.world import OURS, REGISTRY

ACTIONS = ("rds:DescribeDBInstances", "secretsmanager:GetSecretValue", "ec2:DescribeSecurityGroups")
HERE = Settings(
    account="123456789012", secret_name="rds/shop", rds_instance="shop-prod", ecs_cluster="prod", ecs_service="web"
)


def allowed(document: dict[str, Any]) -> dict[str, tuple[list[str], Any]]:
    """By Sid: the actions and the resources."""
    return {item["Sid"]: (item["Action"], item["Resource"]) for item in document["Statement"]}


@pytest.mark.parametrize(
    ("settings", "secret", "instance", "key"),
    [
        (
            HERE,
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop-??????",
            "arn:aws:rds:*:123456789012:db:*",
            "arn:aws:kms:us-east-1:123456789012:key/*",
        ),
        (
            Settings(
                region="us-gov-west-1", secret_name="arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:x-abc123"
            ),
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:x-abc123",
            "arn:aws-us-gov:rds:*:*:db:*",
            "arn:aws-us-gov:kms:us-gov-west-1:*:key/*",
        ),
        (
            Settings(region="us-gov-west-1", secret_name="arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:rds/x"),
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:rds/x-??????",
            "arn:aws-us-gov:rds:*:*:db:*",
            "arn:aws-us-gov:kms:us-gov-west-1:*:key/*",
        ),
        (
            Settings(region="cn-north-1", secret_name="rds/shop", rds_instance="shop-prod"),
            "arn:aws-cn:secretsmanager:cn-north-1:*:secret:rds/shop-??????",
            "arn:aws-cn:rds:*:*:db:*",
            "arn:aws-cn:kms:cn-north-1:*:key/*",
        ),
    ],
)
def test_actions_are_limited_to_the_known_resources(settings, secret, instance, key):
    document = policy([*ACTIONS, ACTIONS[0]], settings)
    assert document["Version"] == "2012-10-17"
    assert allowed(document) == {
        "NotBoundByAws": (["ec2:DescribeSecurityGroups"], "*"),
        "Logins": (["secretsmanager:GetSecretValue"], secret),
        "Instance": (["rds:DescribeDBInstances"], instance),
        "Decryption": ("kms:Decrypt", key),
    }
    assert {item["Effect"] for item in document["Statement"]} == {"Allow"}


def test_a_key_can_be_used_only_by_secrets_manager_for_the_secret():
    *_, statement = policy(ACTIONS, HERE)["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"},
        "StringLike": {
            "kms:EncryptionContext:SecretARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop-??????"
        },
    }
    assert "Decryption" not in allowed(policy(["secretsmanager:DescribeSecret"], HERE))


def test_kms_via_service_in_china():
    *_, statement = policy(ACTIONS, Settings(region="cn-north-1", secret_name="rds/shop"))["Statement"]
    name = "secretsmanager.cn-north-1.amazonaws.com"
    assert statement["Condition"]["StringEquals"]["kms:ViaService"] == [name, f"{name}.cn"]


def test_role_per_tenant_adds_the_tenant_secrets():
    settings = replace(HERE, isolation="role-per-tenant", tenant_secret_prefix="rds/tenants/")
    actions = [*ACTIONS, "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"]
    document = policy(actions, settings)
    shared = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop-??????"
    both = [shared, "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/tenants/*"]
    assert allowed(document)["Logins"] == (["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], both)
    assert allowed(document)["Secret"] == (["secretsmanager:GetResourcePolicy"], shared)
    assert document["Statement"][-1]["Condition"]["StringLike"]["kms:EncryptionContext:SecretARN"] == both


@pytest.mark.parametrize(
    ("action", "resources"),
    [
        ("ecs:DescribeServices", "arn:aws:ecs:us-east-1:123456789012:service/prod/web"),
        ("ecs:DescribeClusters", "arn:aws:ecs:us-east-1:123456789012:cluster/prod"),
        ("iam:GetRole", "arn:aws:iam::123456789012:role/*"),
        ("iam:GetPolicy", ["arn:aws:iam::123456789012:policy/*", "arn:aws:iam::aws:policy/*"]),
        ("sns:ListSubscriptionsByTopic", "arn:aws:sns:us-east-1:123456789012:*"),
        ("kms:GetKeyPolicy", "arn:aws:kms:us-east-1:123456789012:key/*"),
        ("cloudwatch:DescribeAlarms", "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*"),
        (
            "rds:DescribeDBClusters",
            [f"arn:aws:rds:us-east-1:123456789012:{name}:*" for name in ("cluster", "cluster-pg", "cluster-snapshot")],
        ),
        (
            "rds:DescribePendingMaintenanceActions",
            ["arn:aws:rds:us-east-1:123456789012:db:*", "arn:aws:rds:us-east-1:123456789012:cluster:*"],
        ),
        ("rds:DescribeDBParameters", "arn:aws:rds:us-east-1:123456789012:pg:*"),
        (
            "rds:DescribeDBSnapshots",
            ["arn:aws:rds:us-east-1:123456789012:db:*", "arn:aws:rds:us-east-1:123456789012:snapshot:*"],
        ),
        (
            "ec2:GetManagedPrefixListEntries",
            ["arn:aws:ec2:us-east-1:123456789012:prefix-list/*", "arn:aws:ec2:us-east-1:aws:prefix-list/*"],
        ),
        ("ses:GetEmailIdentity", "arn:aws:ses:*:123456789012:identity/*"),
        ("shop:DescribeBasket", "*"),
    ],
)
def test_resources_of_an_action(action, resources):
    (statement,) = policy([action], HERE)["Statement"]
    assert (statement["Action"], statement["Resource"]) == ([action], resources)


def test_resources_of_an_ecs_service():
    named = Settings(
        account="1",
        ecs_cluster="arn:aws:ecs:us-east-1:1:cluster/prod",
        ecs_service="arn:aws:ecs:us-east-1:1:service/prod/web",
    )
    assert resources(named, "Service") == ("arn:aws:ecs:us-east-1:1:service/prod/web",)
    assert resources(Settings(account="1"), "Service") == ("arn:aws:ecs:us-east-1:1:service/*/*",)


def test_every_declared_action_has_a_scope():
    """For a new action, see the Service Authorization Reference of AWS."""
    known = {action for of_scope in SCOPES.values() for action in of_scope}
    assert set(REGISTRY.actions_for(OURS)) - known == set()


def test_the_whole_policy_fits_into_a_managed_policy():
    """The limit is 6,144 characters without white space."""
    text = str(policy(REGISTRY.actions_for(OURS), HERE)).replace(" ", "")
    assert len(text) < 6144
