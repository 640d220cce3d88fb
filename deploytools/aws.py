"""boto3 clients with short time-outs, and the translation of AWS's errors. No other module imports boto3.

Region, credentials and endpoint come from the usual sources: ``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, ``~/.aws``, the
container's role.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session

from deploytools.errors import (
    AccessDenied,
    AwsError,
    ConfigurationError,
    NoCredentials,
    NotFound,
    Throttled,
    Unreachable,
)

#: Seconds to connect, seconds to wait for a response, and attempts in all. Standard mode retries throttling and 5xx.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 3, 5, 3
CONFIG = Config(
    connect_timeout=CONNECT_TIMEOUT,
    read_timeout=READ_TIMEOUT,
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
)
#: For a request of the application that waits: one attempt, without retries.
IMPATIENT = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 1})

CREDENTIALS_HINT = (
    "Run aws configure, set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in again: aws sso login"
)
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"}
BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
#: How Secrets Manager reports that access to the KMS key was denied, not access to the secret.
KMS_DENIAL = re.compile(r"access to kms|\bkms:", re.IGNORECASE)
THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}
NOT_FOUND = {
    "ClusterNotFoundException",
    "DBClusterNotFoundFault",
    "DBInstanceNotFound",
    "DBInstanceNotFoundFault",
    "DBParameterGroupNotFound",
    "InvalidGroup.NotFound",
    "InvalidInstanceID.NotFound",
    "InvalidPrefixListID.NotFound",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "ResourceNotFoundException",
    "ServiceNotFoundException",
    "TargetGroupNotFound",
}


def _client(service: str, region: str) -> Any:
    return _shared(service, region) if _shared else _new_client(service, region, _session)


#: The signature of boto3's own function has the type of each service's client.
client = boto3.client if TYPE_CHECKING else _client


def _impatient_client(service: str, region: str) -> Any:
    """Return a client as `client`, with a time-out of 1 s to connect and 1 s to wait, and one attempt."""
    return _new_client(service, region, _session, IMPATIENT)


impatient_client = boto3.client if TYPE_CHECKING else _impatient_client


def database_token(host: str, port: int, user: str, region: str) -> str:
    """Return a token with which `user` logs in to an RDS instance instead of a password, valid for 15 minutes.

    It is signed with the credentials of the environment; AWS is not called.

    Args:
        host: the endpoint of the instance.
        region: its AWS Region; empty: that of the environment.

    Raises:
        NoCredentials: there are no credentials.
        ConfigurationError: there is no Region.
    """
    with translate_aws_errors("rds-db:connect", f"{user} at {host}:{port}"):
        signer = _new_client("rds", region, _session)
        return str(signer.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user))


_shared: Callable[[str, str], Any] | None = None


@contextmanager
def sharing_clients() -> Iterator[None]:
    """Make `client` return one client of each service and Region to all threads, until the context ends.

    They have one session.
    """
    global _shared
    lock, session = threading.Lock(), cache(_session)
    create = cache(lambda service, region: _new_client(service, region, session))

    def shared_client(service: str, region: str) -> Any:
        with lock:
            return create(service, region)

    before, _shared = _shared, shared_client
    try:
        yield
    finally:
        _shared = before


#: Reads the descriptions of AWS's services, which are megabytes of JSON, once in a process.
_loader = cache(create_loader)


def _session() -> boto3.Session:
    session = get_session()
    loader = _loader(session.get_config_variable("data_path"))
    session.register_component("data_loader", loader)
    created = boto3.Session(botocore_session=session)
    loader.search_paths[:] = dict.fromkeys(loader.search_paths)  # boto3 appended its own directory.
    return created


def _new_client(service: Any, region: str, session: Callable[[], boto3.Session], config: Config = CONFIG) -> Any:
    try:
        new = session().client(service, region_name=region or None, config=config)
    except exceptions.ProfileNotFound as error:
        raise ConfigurationError(
            f"{error}.", hint="Unset AWS_PROFILE, or set it to one of: aws configure list-profiles"
        ) from error
    except (exceptions.InvalidRegionError, exceptions.NoRegionError, ValueError) as error:
        raise ConfigurationError(
            f"{str(error).rstrip('.')}.", hint='Set DEPLOYTOOLS["REGION"] to an AWS Region, for example us-east-1.'
        ) from error
    except exceptions.ConfigParseError as error:
        raise ConfigurationError(f"{error}.", hint="Fix that file, or set AWS_CONFIG_FILE to another one.") from error
    except exceptions.BotoCoreError as error:
        raise _translate(error, f"Creating a client of {service}", region) from error
    _redact_wire_logs()
    return new


@contextmanager
def translate_aws_errors(action: str, resource: str) -> Iterator[None]:
    """Translate botocore's errors to `AwsError`, and suppress botocore's DEBUG log, which contains request bodies.

    Args:
        action: the IAM action, for example ``secretsmanager:GetSecretValue``.
    """
    token = _is_calling.set(True)
    try:
        yield
    except (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError) as error:
        raise _translate(error, action, resource) from _without_request(error)
    finally:
        _is_calling.reset(token)


def _without_request(error: Exception) -> Exception:
    """Remove the request and the local variables of all frames from `error`: they contain secret values."""
    link: BaseException | None = error
    while link:
        traceback.clear_frames(link.__traceback__)
        if isinstance(link, exceptions.HTTPClientError):
            vars(link).update(request=None, response=None)
        link = link.__context__
    return error


def error_code(error: AwsError) -> str:
    """Return AWS's error code, for example ``InvalidParameterException``, or "" if AWS sent no response."""
    cause = error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, exceptions.ClientError) else ""


def is_certain(error: AwsError) -> bool:
    """Return whether AWS rejected the only attempt of a request, so that it had no effect."""
    cause = error.__cause__
    if not isinstance(cause, exceptions.ClientError):
        return isinstance(error, NoCredentials)
    metadata: Any = cause.response.get("ResponseMetadata") or {}
    return not metadata.get("RetryAttempts") and was_rejected(error)


def was_rejected(error: AwsError) -> bool:
    """Return whether AWS rejected the last attempt of a request: HTTP status 4xx."""
    cause = error.__cause__
    if not isinstance(cause, exceptions.ClientError):
        return False
    metadata: Any = cause.response.get("ResponseMetadata") or {}
    return bool(400 <= metadata.get("HTTPStatusCode", 400) < 500)


def incomplete_response(action: str, resource: str) -> AwsError:
    """Return the error of a response without the members that AWS documents, for example a proxy's login page."""
    return AwsError(
        f"{action} failed for {resource}: the response is not one of AWS.",
        hint="Check the network: a proxy or portal might have responded. If AWS_ENDPOINT_URL is set, check it too.",
    )


def _translate(error: Exception, action: str, resource: str) -> AwsError:
    if isinstance(error, exceptions.ClientError):
        return _translate_response(error, action, resource)
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError
        | exceptions.SSOError
        | exceptions.TokenRetrievalError,
    ):
        return NoCredentials(f"No usable AWS credentials: {error}.", hint=CREDENTIALS_HINT)
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return Unreachable(
            f"{action} got no response: {_first_line(error)}",
            hint='Check the network, DEPLOYTOOLS["REGION"] and, if it is set, AWS_ENDPOINT_URL.',
        )
    return AwsError(
        f"{action} failed for {resource}: {_first_line(error)}",
        hint="Run the command again with --traceback for details.",
    )


def _translate_response(error: exceptions.ClientError, action: str, resource: str) -> AwsError:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "") or code
    if message.lstrip().startswith("<"):
        message = f"the response is an HTML page (HTTP {code})"
    if code in DENIED and KMS_DENIAL.search(message):
        needed = "kms:Decrypt" if ":Get" in action else "kms:Decrypt and kms:GenerateDataKey"
        return AccessDenied(
            f"AWS denied {action} on {resource} because access to its KMS key was denied: {message}",
            hint=f"Allow {needed} in the KMS key's policy and in the policy of the identity that "
            f"aws sts get-caller-identity shows. {action} itself is allowed.",
            action=action,
        )
    if code == "DecryptionFailure":
        return AwsError(
            f"{action} failed for {resource}: {message}",
            hint="Check that the KMS key is enabled: aws secretsmanager describe-secret shows KmsKeyId, "
            "aws kms describe-key shows its state.",
        )
    if code in DENIED:
        return AccessDenied(
            f"AWS denied {action} on {resource}.",
            hint=f"Allow {action} on it for the identity that aws sts get-caller-identity shows.",
            action=action,
        )
    if code in BAD_CREDENTIALS:
        return NoCredentials(f"AWS rejected the credentials: {message}", hint=CREDENTIALS_HINT)
    if code in THROTTLED:
        return Throttled(
            f"AWS throttled {action} {ATTEMPTS} times in a row.", hint="Wait a minute and run the command again."
        )
    if code in NOT_FOUND:
        return NotFound(
            f"{resource} does not exist.", hint='Check the name, the account and the Region: DEPLOYTOOLS["REGION"].'
        )
    return AwsError(f"{action} failed for {resource}: {message}", hint=f"AWS's error code is {code or 'unknown'}.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


_is_calling: ContextVar[bool] = ContextVar("deploytools.aws.is_calling", default=False)


def _is_loggable(record: logging.LogRecord) -> bool:
    """Reject DEBUG records of the AWS libraries during our own calls."""
    return record.levelno > logging.DEBUG or not _is_calling.get()


def _redact_wire_logs() -> None:
    """Add the filter to each logger: a filter on a parent does not apply to its children's records."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in {"boto3", "botocore", "urllib3"}:
            logging.getLogger(name).addFilter(_is_loggable)
