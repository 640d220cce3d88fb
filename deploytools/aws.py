"""The one importer of botocore, boto3's core: clients with time-outs of seconds, and AWS's errors in our words.

Regions, credentials and endpoints come from where every AWS tool takes them: ``AWS_PROFILE``, ``AWS_ENDPOINT_URL``,
``~/.aws``, the container's role.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from botocore import exceptions
from botocore.config import Config
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.session import Session as BotocoreSession

from deploytools.errors import (
    AccessDenied,
    AwsError,
    ConfigurationError,
    NoCredentials,
    NotFound,
    Throttled,
    Unreachable,
)

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ecs import ECSClient
    from types_boto3_elbv2 import ElasticLoadBalancingv2Client
    from types_boto3_iam import IAMClient
    from types_boto3_rds import RDSClient
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sesv2 import SESV2Client
    from types_boto3_sns import SNSClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

#: Seconds to connect, seconds to wait for an answer, and how often in all. Standard mode retries throttling and 5xx.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 3, 5, 3

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
#: How Secrets Manager says that the key refused, not the secret.
OF_THE_KEY = re.compile(r"access to kms|\bkms:", re.IGNORECASE)
THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}
NOT_FOUND = {
    "ClusterNotFoundException",
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


@overload
def client(service: Literal["secretsmanager"], region: str) -> SecretsManagerClient: ...
@overload
def client(service: Literal["rds"], region: str) -> RDSClient: ...
@overload
def client(service: Literal["ec2"], region: str) -> EC2Client: ...
@overload
def client(service: Literal["cloudwatch"], region: str) -> CloudWatchClient: ...
@overload
def client(service: Literal["sns"], region: str) -> SNSClient: ...
@overload
def client(service: Literal["sts"], region: str) -> STSClient: ...
@overload
def client(service: Literal["ecs"], region: str) -> ECSClient: ...
@overload
def client(service: Literal["iam"], region: str) -> IAMClient: ...
@overload
def client(service: Literal["sesv2"], region: str) -> SESV2Client: ...
@overload
def client(service: Literal["ssm"], region: str) -> SSMClient: ...
@overload
def client(service: Literal["cloudtrail", "kms"], region: str) -> Any: ...
@overload
def client(service: Literal["elbv2"], region: str) -> ElasticLoadBalancingv2Client: ...
def client(service: Any, region: str) -> Any:
    """A client of `service` in `region`.

    Raises:
        ConfigurationError: the profile or the Region named in the environment does not exist, or ``~/.aws`` is broken.
        NoCredentials: half of a pair of credentials is missing.
    """
    return _made(service, region) if _shared is None else _shared.client(service, region)


class _Clients:
    """Clients that threads share, each made once, by whoever needs it first."""

    def __init__(self) -> None:
        self._making, self._made = threading.Lock(), dict[tuple[str, str], Any]()

    def client(self, service: str, region: str) -> Any:
        """As the function `client`."""
        with self._making:
            if (service, region) not in self._made:
                self._made[service, region] = _made(service, region)
            return self._made[service, region]


_shared: _Clients | None = None


@contextmanager
def sharing_clients() -> Iterator[None]:
    """While it lasts, `client` makes one of each service and Region for all threads: for many looks at one time."""
    global _shared
    before, _shared = _shared, _Clients()
    try:
        yield
    finally:
        _shared = before


def _made(service: Any, region: str) -> Any:
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    try:
        made = _session().create_client(service, region_name=region, config=config)
    except exceptions.ProfileNotFound as error:
        raise ConfigurationError(
            f"{error}.", hint="Unset AWS_PROFILE or name one of: aws configure list-profiles"
        ) from error
    except (exceptions.InvalidRegionError, exceptions.NoRegionError, ValueError) as error:
        raise ConfigurationError(
            f"{str(error).rstrip('.')}.", hint="Set AWS_REGION, for example: export AWS_REGION=us-east-1"
        ) from error
    except exceptions.ConfigParseError as error:
        raise ConfigurationError(f"{error}.", hint="Mend that file, or name another as AWS_CONFIG_FILE.") from error
    except exceptions.BotoCoreError as error:
        raise _translate(error, f"Making a client of {service}", region) from error
    _withhold_wire_logs()
    return made


def _session() -> BotocoreSession:
    """A session of its own for each client: it reads environment and profile anew. What is heavy, the descriptions of
    AWS's services, is read once a process."""
    session = BotocoreSession()
    session.register_component("data_loader", _loader())
    return session


class _QuickLoader(Loader):
    """Names AWS's services by their directories; botocore looks into each of them, a third of what a client costs."""

    def list_available_services(self, type_name: str) -> list[str]:
        """The services whose description may be there; who loads one finds out."""
        paths = (Path(path) for path in self.search_paths)
        return sorted({entry.name for path in paths if path.is_dir() for entry in path.iterdir()})


@cache
def _loader() -> Loader:
    return _QuickLoader()


@contextmanager
def calling(action: str, resource: str) -> Iterator[None]:
    """Around each call: AWS's errors become ours, and botocore's DEBUG log (which prints bodies) is withheld.

    Args:
        action: the IAM action, for example ``secretsmanager:GetSecretValue``.
        resource: what it is asked of, for the message.
    """
    token = _is_calling.set(True)
    try:
        yield
    except (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError) as error:
        raise _translate(error, action, resource) from _without_values(error)
    finally:
        _is_calling.reset(token)


def _without_values(error: Exception) -> Exception:
    """`error` without what holds values: its request, and the locals of the frames through which it came."""
    link: BaseException | None = error
    while link:
        traceback.clear_frames(link.__traceback__)
        if isinstance(link, exceptions.HTTPClientError):
            vars(link).update(request=None, response=None)
        link = link.__context__
    return error


def error_code(error: AwsError) -> str:
    """The code with which AWS answered, for example ``InvalidParameterException``; empty where there was no answer."""
    cause = error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, exceptions.ClientError) else ""


def _translate(error: Exception, action: str, resource: str) -> AwsError:
    if isinstance(error, exceptions.ClientError):
        return _translate_answer(error, action, resource)
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError
        | exceptions.SSOError
        | exceptions.TokenRetrievalError,
    ):
        return NoCredentials(f"There are no usable AWS credentials: {error}.", hint=CREDENTIALS_HINT)
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return Unreachable(
            f"{action} got no answer: {_first_line(error)}",
            hint="Check the network and the Region (AWS_REGION), and AWS_ENDPOINT_URL where it is set.",
        )
    return AwsError(
        f"{action} failed for {resource}: {_first_line(error)}", hint="Run again with --traceback for more."
    )


def _translate_answer(error: exceptions.ClientError, action: str, resource: str) -> AwsError:
    code = error.response.get("Error", {}).get("Code", "")
    said = error.response.get("Error", {}).get("Message", "") or code
    if said.lstrip().startswith("<"):
        said = f"it answered with a page of HTML (HTTP {code})"
    if code in DENIED and OF_THE_KEY.search(said):
        needed = "kms:Decrypt" if ":Get" in action else "kms:Decrypt and kms:GenerateDataKey"
        return AccessDenied(
            f"AWS denied {action} on {resource}, because of the key that encrypts it: {said}",
            hint=f"Allow {needed} on that key, in its own policy as well, for the identity that "
            "aws sts get-caller-identity shows; the action itself is allowed.",
            action=action,
        )
    if code == "DecryptionFailure":
        return AwsError(
            f"{action} failed for {resource}: {said}",
            hint="Look whether the key that encrypts it is enabled: KmsKeyId of aws secretsmanager describe-secret, "
            "then aws kms describe-key",
        )
    if code in DENIED:
        return AccessDenied(
            f"AWS denied {action} on {resource}.",
            hint=f"Allow {action} on it for the identity that aws sts get-caller-identity shows.",
            action=action,
        )
    if code in BAD_CREDENTIALS:
        return NoCredentials(f"AWS does not accept the credentials: {said}", hint=CREDENTIALS_HINT)
    if code in THROTTLED:
        return Throttled(f"AWS throttled {action}, {ATTEMPTS} times in a row.", hint="Wait a minute and run it again.")
    if code in NOT_FOUND:
        return NotFound(f"{resource} does not exist.", hint="Check the name, the account and the Region (AWS_REGION).")
    return AwsError(f"{action} failed for {resource}: {said}", hint=f"AWS's error code is {code or 'unknown'}.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


_is_calling: ContextVar[bool] = ContextVar("deploytools.aws.is_calling", default=False)


def _is_allowed(record: logging.LogRecord) -> bool:
    """A filter: nothing below INFO from botocore while one of our calls is under way."""
    return record.levelno > logging.DEBUG or not _is_calling.get()


def _withhold_wire_logs() -> None:
    """Put the filter on each logger itself: a filter on a parent does not see its children's records."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in {"botocore", "urllib3"}:
            logging.getLogger(name).addFilter(_is_allowed)
