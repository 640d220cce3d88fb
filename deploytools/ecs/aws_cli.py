"""Call the AWS CLI."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from deploytools.errors import AwsError, DeployError, NotFound

Response = dict[str, Any]

#: Errors after which the same call can succeed: throttling, server errors, a network that is interrupted.
TRANSIENT = re.compile(
    r"Throttl|TooManyRequests|RequestLimitExceeded|ServiceUnavailable|ServerException|InternalFailure|InternalError"
    r"|Could not connect|timed? ?out|Connection (was closed|reset)|\(5\d\d\)",
    re.IGNORECASE,
)
MISSING = re.compile(r"\(\w*NotFound\w*\)")
EXPIRED = re.compile(r"Expired|RequestExpired|InvalidClientTokenId")


class Unavailable(AwsError):
    """AWS did not answer the call; the same call can succeed later."""


def aws(*arguments: str) -> Response:
    """Run the AWS CLI and return its JSON output.

    Raises:
        NotFound: the resource does not exist.
        Unavailable: the same call can succeed later.
        AwsError: the command failed for another reason.
        DeployError: the AWS CLI is not installed.
    """
    try:
        done = subprocess.run(["aws", *arguments, "--output", "json"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DeployError("aws is not installed.", hint="Install the AWS CLI.") from error
    call = f"aws {' '.join(arguments[:2])}"
    if done.returncode:
        raise _error(call, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    try:
        response: Response = json.loads(done.stdout or "{}")
    except ValueError as error:
        raise AwsError(f"{call} did not return JSON.", hint="Run: aws --version") from error
    return response


def _error(call: str, reason: str) -> AwsError:
    message = f"{call} failed: {reason}"
    if MISSING.search(reason):
        return NotFound(message, hint="Check the name and the Region.")
    if EXPIRED.search(reason):
        return AwsError(message, hint="The credentials have expired. Log in again.")
    if TRANSIENT.search(reason):
        return Unavailable(message, hint="Run the command again.")
    return AwsError(message, hint="Check the credentials and their IAM policy.")
