"""The IAM policy: no action more than is declared, each on as little as is known."""

from __future__ import annotations

from typing import Any

import pytest

from deploytools.verification.least_privilege import SCOPES, Place, policy
from tests.verification.world import OURS, REGISTRY

ACTIONS = ("rds:DescribeDBInstances", "secretsmanager:GetSecretValue", "ec2:DescribeSecurityGroups")
HERE = Place("us-east-1", "123456789012", "rds/shop", "shop-prod", cluster="prod", service="web")


def allowed(document: dict[str, Any]) -> dict[str, tuple[list[str], Any]]:
    """By Sid: the actions and the resources."""
    return {item["Sid"]: (item["Action"], item["Resource"]) for item in document["Statement"]}


@pytest.mark.parametrize(
    ("place", "secret", "instance", "key"),
    [
        (
            HERE,
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop-??????",
            "arn:aws:rds:us-east-1:123456789012:db:shop-prod",
            "arn:aws:kms:us-east-1:123456789012:key/*",
        ),
        (
            Place("us-gov-west-1", "", "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:x-abc123", ""),
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:x-abc123",
            "arn:aws-us-gov:rds:us-gov-west-1:*:db:*",
            "arn:aws-us-gov:kms:us-gov-west-1:*:key/*",
        ),
        (
            Place("us-gov-west-1", "", "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:rds/x", ""),
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:rds/x-??????",
            "arn:aws-us-gov:rds:us-gov-west-1:*:db:*",
            "arn:aws-us-gov:kms:us-gov-west-1:*:key/*",
        ),
        (
            Place("cn-north-1", "", "rds/shop", "shop-prod"),
            "arn:aws-cn:secretsmanager:cn-north-1:*:secret:rds/shop-??????",
            "arn:aws-cn:rds:cn-north-1:*:db:shop-prod",
            "arn:aws-cn:kms:cn-north-1:*:key/*",
        ),
    ],
)
def test_each_action_on_as_little_as_is_known(place, secret, instance, key):
    document = policy([*ACTIONS, ACTIONS[0]], place)
    assert document["Version"] == "2012-10-17"
    assert allowed(document) == {
        "NotBoundByAws": (["ec2:DescribeSecurityGroups"], "*"),
        "Logins": (["secretsmanager:GetSecretValue"], secret),
        "Instance": (["rds:DescribeDBInstances"], instance),
        "Decryption": ("kms:Decrypt", key),
    }
    assert {item["Effect"] for item in document["Statement"]} == {"Allow"}


def test_a_key_is_used_by_secrets_manager_and_for_the_secret_alone():
    *_, statement = policy(ACTIONS, HERE)["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"},
        "StringLike": {
            "kms:EncryptionContext:SecretARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop-??????"
        },
    }
    assert "Decryption" not in allowed(policy(["secretsmanager:DescribeSecret"], HERE))


def test_in_china_services_have_names_of_two_kinds():
    *_, statement = policy(ACTIONS, Place("cn-north-1", "", "rds/shop", ""))["Statement"]
    name = "secretsmanager.cn-north-1.amazonaws.com"
    assert statement["Condition"]["StringEquals"]["kms:ViaService"] == [name, f"{name}.cn"]


def test_the_tenants_own_secrets_are_read_too():
    place = Place("us-east-1", "123456789012", "rds/shop", "shop-prod", "rds/tenants/")
    actions = [*ACTIONS, "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"]
    document = policy(actions, place)
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
        ("rds:DescribeDBParameters", "arn:aws:rds:us-east-1:123456789012:pg:*"),
        (
            "rds:DescribeDBSnapshots",
            ["arn:aws:rds:us-east-1:123456789012:db:shop-prod", "arn:aws:rds:us-east-1:123456789012:snapshot:*"],
        ),
        (
            "ec2:GetManagedPrefixListEntries",
            ["arn:aws:ec2:us-east-1:123456789012:prefix-list/*", "arn:aws:ec2:us-east-1:aws:prefix-list/*"],
        ),
        ("ses:GetEmailIdentity", "arn:aws:ses:*:123456789012:identity/*"),
        ("shop:DescribeBasket", "*"),
    ],
)
def test_what_is_bound_to_a_resource(action, resources):
    (statement,) = policy([action], HERE)["Statement"]
    assert (statement["Action"], statement["Resource"]) == ([action], resources)


def test_a_cluster_and_a_service_may_be_named_by_arn_or_not_at_all():
    named = Place(
        "us-east-1",
        "1",
        "x",
        "",
        cluster="arn:aws:ecs:us-east-1:1:cluster/prod",
        service="arn:aws:ecs:us-east-1:1:service/prod/web",
    )
    assert named.resources("Service") == ("arn:aws:ecs:us-east-1:1:service/prod/web",)
    assert Place("us-east-1", "1", "x", "").resources("Service") == ("arn:aws:ecs:us-east-1:1:service/*/*",)


def test_every_action_of_ours_is_known_to_be_bound_or_not():
    """What is new is to be looked up in AWS's Service Authorization Reference."""
    known = {action for of_scope in SCOPES.values() for action in of_scope}
    assert set(REGISTRY.actions_for(OURS)) - known == set()


def test_the_policy_of_everything_fits_into_a_managed_policy():
    """AWS takes 6,144 characters, white space not counted."""
    text = str(policy(REGISTRY.actions_for(OURS), HERE)).replace(" ", "")
    assert len(text) < 6144
