"""Whose AWS account it is: asked before anything else, so that nothing is judged in the wrong one."""

from __future__ import annotations

from deploytools import aws
from deploytools.errors import AwsError, NoCredentials, WrongAccount
from deploytools.verification.troubleshooting import advice

ACTION = "sts:GetCallerIdentity"


def prove_account(region: str, *, expected: str) -> str:
    """The number of the account that the credentials belong to; empty where AWS did not say and nobody asked.

    Args:
        expected: the account that it has to be; empty: any.

    Raises:
        NoCredentials: there are none.
        WrongAccount: it is another one.
        AwsError: AWS did not say, and `expected` is given.
    """
    try:
        with aws.calling(ACTION, "the credentials"):
            found = str(aws.client("sts", region).get_caller_identity()["Account"])
    except NoCredentials as error:
        raise NoCredentials(str(error), hint=advice(error)) from error
    except AwsError:
        if expected:
            raise
        return ""
    if expected and found != expected:
        raise WrongAccount(
            f"The AWS credentials are of account {found}, not of {expected}; nothing was looked at.",
            hint='Choose the right ones (AWS_PROFILE, aws sso login), or mend DEPLOYTOOLS["ACCOUNT"].',
        )
    return found
