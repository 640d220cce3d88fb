"""The policy as a document; that it is enough and no more is shown where the command runs (tests/management)."""

from __future__ import annotations

import pytest

from deploytools.secret.policy import policy, secret_arn

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
                    "secretsmanager:PutSecretValue",
                    "secretsmanager:UpdateSecretVersionStage",
                ],
                "Resource": "arn:aws:secretsmanager:us-east-1:*:secret:prod/shop-??????",
            }
        ],
    }


def test_with_more():
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    made = policy(ARN, "eu-west-1", with_life=True, kms_key_arn=key)
    assert [(item["Sid"], item["Action"], item["Resource"]) for item in made["Statement"][1:]] == [
        (
            "CreateAndRestore",
            ["secretsmanager:CreateSecret", "secretsmanager:RestoreSecret", "secretsmanager:TagResource"],
            ARN,
        ),
        ("EncryptAndDecrypt", ["kms:Decrypt", "kms:GenerateDataKey"], key),
    ]


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
