"""The AWS account of the credentials, verified before any fact is read from AWS."""

from __future__ import annotations

from deploytools import aws
from deploytools.errors import AwsError, NoCredentials, WrongAccount

ACTION = "sts:GetCallerIdentity"


def verify_account(region: str, *, expected: str) -> str:
    """Return the ID of the AWS account of the credentials; empty if it is unknown and none is expected.

    Args:
        expected: the account ID that is required; empty: any.

    Raises:
        NoCredentials: there are no usable credentials.
        WrongAccount: the credentials belong to another account.
        AwsError: AWS did not return the account, and one is expected.
    """
    try:
        with aws.translate_aws_errors(ACTION, "the credentials"):
            found = str(aws.client("sts", region).get_caller_identity()["Account"])
    except NoCredentials:
        raise
    except AwsError:
        if expected:
            raise
        return ""
    if expected and found != expected:
        raise WrongAccount(
            f"The AWS credentials belong to account {found}, expected {expected}. Nothing was read.",
            hint='Select other credentials (AWS_PROFILE, aws sso login), or correct DEPLOYTOOLS["ACCOUNT"].',
        )
    return found
