"""The policy document. tests/management checks that it allows exactly the actions that the command calls."""

from __future__ import annotations

from typing import Any

import pytest

from deploytools.secrets.iam_policy import CHANGE, policy, rotation_policy, secret_arn

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/shop-AbCdEf"


def test_policy():
    assert policy("prod/shop", "us-east-1") == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "SyncSecrets",
                "Effect": "Allow",
                "Action": [
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:GetSecretValue",
                    "secretsmanager:ListSecretVersionIds",
                    "secretsmanager:PutSecretValue",
                    "secretsmanager:UpdateSecretVersionStage",
                ],
                "Resource": "arn:aws:secretsmanager:us-east-1:*:secret:prod/shop-??????",
            },
            {"Sid": "History", "Effect": "Allow", "Action": ["cloudtrail:LookupEvents"], "Resource": "*"},
        ],
    }


def test_policy_with_create_and_kms_key():
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    document = policy(ARN, "eu-west-1", with_create=True, kms_key_arn=key, ecs=("shop", "web"))
    assert [(item["Sid"], item["Action"], item["Resource"]) for item in document["Statement"][1:]] == [
        (
            "CreateSecret",
            ["secretsmanager:CreateSecret", "secretsmanager:TagResource"],
            ARN,
        ),
        ("EncryptAndDecrypt", ["kms:Decrypt", "kms:GenerateDataKey"], key),
        ("History", ["cloudtrail:LookupEvents"], "*"),
        (
            "EcsService",
            ["ecs:DescribeServices", "ecs:UpdateService"],
            "arn:aws:ecs:eu-west-1:*:service/shop/web",
        ),
        ("TaskDefinition", ["ecs:DescribeTaskDefinition"], "*"),
    ]


def test_policy_with_arns_of_ecs():
    cluster, service = "arn:aws:ecs:us-east-1:1:cluster/shop", "arn:aws:ecs:us-east-1:1:service/shop/web"
    resources = [
        policy("s", "us-east-1", ecs=ecs)["Statement"][2]["Resource"]
        for ecs in ((cluster, "web"), ("default", service))
    ]
    assert resources == ["arn:aws:ecs:us-east-1:*:service/shop/web", service]


@pytest.mark.parametrize(
    ("name", "region", "expected"),
    [
        (ARN, "us-east-1", ARN),
        ("s", "cn-north-1", "arn:aws-cn:secretsmanager:cn-north-1:*:secret:s-??????"),
        ("s", "us-gov-west-1", "arn:aws-us-gov:secretsmanager:us-gov-west-1:*:secret:s-??????"),
    ],
)
def test_arn(name, region, expected):
    assert secret_arn(name, region) == expected


def test_policy_of_a_rotation():
    def resources(*names: str, **more: Any) -> list[object]:
        return [item["Resource"] for item in rotation_policy(names, "us-east-1", **more)["Statement"]]

    prefix = "arn:aws:secretsmanager:us-east-1:*:secret"
    database = "arn:aws:rds:us-east-1:*:db:main"
    assert resources("shop", instance="main") == [f"{prefix}:shop-??????", f"{prefix}:rds!db-*", database]
    (_, managed, _) = rotation_policy(["shop"], "us-east-1", instance="main")["Statement"]
    assert managed["Condition"] == {"StringLike": {"aws:ResourceTag/aws:rds:primaryDBInstanceArn": database}}
    assert resources("shop", "shop/tenant/*", instance="main") == [
        [f"{prefix}:shop-??????", f"{prefix}:shop/tenant/*-??????"], f"{prefix}:rds!db-*",
        "arn:aws:rds:us-east-1:*:db:main",
    ]  # fmt: skip
    assert resources("shop", master=ARN) == [f"{prefix}:shop-??????", ARN]


def test_policy_of_a_rotation_of_the_master_user():
    def actions(**more: Any) -> list[set[str]]:
        policy = rotation_policy(["shop"], "us-east-1", rotates_master=True, **more)
        return [set(item["Action"]) for item in policy["Statement"]]

    read = {"secretsmanager:GetSecretValue"}
    change = {f"secretsmanager:{action}" for action in CHANGE}
    assert actions(master=ARN) == [read, change]
    assert actions(instance="main") == [
        change,
        read | {"secretsmanager:DescribeSecret", "secretsmanager:RotateSecret"},
        {"rds:DescribeDBInstances", "rds:ModifyDBInstance"},
    ]
