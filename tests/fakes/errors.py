"""Errors of calls to AWS: boto3's own, and a crash of the process."""

from __future__ import annotations

from typing import Any, NoReturn

from botocore.exceptions import ClientError, ReadTimeoutError


class Crash(BaseException):
    """A crash of the process."""


def client_error(code: str, message: str) -> ClientError:
    """Return the exception that boto3 raises for an error response."""
    status = 500 if code == "InternalServiceError" else 400
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


def retried(error: ClientError) -> ClientError:
    """Return the error of a second attempt: the response to the first one, which took effect, was lost."""
    found: Any = error.response["Error"]
    again = client_error(found["Code"], found["Message"])
    again.response["ResponseMetadata"]["RetryAttempts"] = 1
    return again


def fail(code: str, message: str) -> NoReturn:
    raise client_error(code, message)


DENIED = client_error("AccessDeniedException", "User: arn:aws:iam::123456789012:user/u is not authorized")
THROTTLED = client_error("ThrottlingException", "Rate exceeded")
INTERNAL = client_error("InternalServiceError", "An error occurred on the server side.")
EXPIRED = client_error("ExpiredTokenException", "The security token included in the request is expired")
NO_RESPONSE = ReadTimeoutError(endpoint_url="https://secretsmanager.us-east-1.amazonaws.com")
