"""What a call to AWS can end in: boto3's own errors, and the end of the process."""

from __future__ import annotations

from typing import NoReturn

from botocore.exceptions import ClientError, ReadTimeoutError


class Crash(BaseException):
    """The process ends here."""


def client_error(code: str, message: str) -> ClientError:
    """What boto3 raises for an answer that is an error."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def fail(code: str, message: str) -> NoReturn:
    raise client_error(code, message)


DENIED = client_error("AccessDeniedException", "User: arn:aws:iam::123456789012:user/u is not authorized")
THROTTLED = client_error("ThrottlingException", "Rate exceeded")
INTERNAL = client_error("InternalServiceError", "An error occurred on the server side.")
EXPIRED = client_error("ExpiredTokenException", "The security token included in the request is expired")
NO_ANSWER = ReadTimeoutError(endpoint_url="https://secretsmanager.us-east-1.amazonaws.com")
