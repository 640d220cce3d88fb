"""What a call to AWS can end in: boto3's own errors, and the end of the process."""

from __future__ import annotations

from typing import NoReturn

from botocore.exceptions import ClientError


class Crash(BaseException):
    """The process ends here."""


def client_error(code: str, message: str) -> ClientError:
    """What boto3 raises for an answer that is an error."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def fail(code: str, message: str) -> NoReturn:
    raise client_error(code, message)
