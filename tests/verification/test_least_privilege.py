"""The IAM policy: no action more than is declared, each on as little as is known."""

from __future__ import annotations

import pytest

from deploytools.verification.least_privilege import Place, policy

ACTIONS = ("rds:DescribeDBInstances", "secretsmanager:GetSecretValue", "ec2:DescribeSecurityGroups")


@pytest.mark.parametrize(
    ("place", "resources"),
    [
        (
            Place("us-east-1", "123456789012", "rds/shop", "shop-prod"),
            {
                "*": ["ec2:DescribeSecurityGroups"],
                "arn:aws:rds:us-east-1:123456789012:db:shop-prod": ["rds:DescribeDBInstances"],
                "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop-??????": [
                    "secretsmanager:GetSecretValue"
                ],
            },
        ),
        (
            Place("us-gov-west-1", "", "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:x-abc123", ""),
            {
                "*": ["ec2:DescribeSecurityGroups", "rds:DescribeDBInstances"],
                "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:x-abc123": ["secretsmanager:GetSecretValue"],
            },
        ),
        (
            Place("cn-north-1", "", "rds/shop", "shop-prod"),
            {
                "*": ["ec2:DescribeSecurityGroups"],
                "arn:aws-cn:rds:cn-north-1:*:db:shop-prod": ["rds:DescribeDBInstances"],
                "arn:aws-cn:secretsmanager:cn-north-1:*:secret:rds/shop-??????": ["secretsmanager:GetSecretValue"],
            },
        ),
    ],
)
def test_each_action_on_as_little_as_is_known(place, resources):
    document = policy([*ACTIONS, ACTIONS[0]], place)
    assert document["Version"] == "2012-10-17"
    assert {item["Resource"]: item["Action"] for item in document["Statement"]} == resources
    assert {item["Effect"] for item in document["Statement"]} == {"Allow"}


def test_the_tenants_own_secrets_are_read_too():
    place = Place("us-east-1", "123456789012", "rds/shop", "shop-prod", "rds/tenants/")
    actions = [*ACTIONS, "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"]
    found = {tuple(item["Action"]): item["Resource"] for item in policy(actions, place)["Statement"]}
    shared = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop-??????"
    assert found["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"] == [
        shared,
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/tenants/*",
    ]
    assert found[("secretsmanager:GetResourcePolicy",)] == shared
