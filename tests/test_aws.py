"""The edge to AWS: what is sent, what each error becomes, what the log keeps to itself."""

from __future__ import annotations

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber

from deploytools import aws
from deploytools.errors import (
    AccessDenied,
    AwsError,
    ConfigurationError,
    DeployError,
    NoCredentials,
    NotFound,
    SecretNotFound,
    Throttled,
    Unreachable,
)
from deploytools.secret.document import Document
from deploytools.secret.labels import STAGED
from deploytools.secret.rollback import plan_rollback
from deploytools.secret.store import SecretStore
from deploytools.secret.sync import SecretState, plan_sync
from tests.fakes import endpoints
from tests.secret.reach import reachable

REGION, NAME = endpoints.REGION, "prod/shop"
BASE = "1" * 32
ACTION, RESOURCE = "secretsmanager:GetSecretValue", "the secret prod/shop in us-east-1"
CANARY = "canary-7d1f"


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """No configuration but the tests' own, and no way to anywhere but loopback."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in endpoints.environment("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def emulator():
    with endpoints.emulator() as url:
        yield url


# What is sent.


@pytest.fixture
def stubbed():
    client = aws.client("secretsmanager", REGION)
    with Stubber(client) as stubber:
        yield SecretStore(client, NAME, REGION), stubber
        stubber.assert_no_pending_responses()


def test_the_requests_of_a_write(stubbed):
    store, stubber = stubbed
    state = SecretState(NAME, REGION, BASE, Document({"a": "é", "port": 5432}), {BASE: ("AWSCURRENT",)})
    plan = plan_sync(state, Document({"a": "new"}), stage="launch")
    text = '{"a": "new", "port": 5432}'
    steps: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        (
            "put_secret_value",
            {"SecretString": text, "ClientRequestToken": plan.token, "VersionStages": ["deploytools-pending"]},
            {"VersionId": plan.token},
        ),
        (
            "update_secret_version_stage",
            {"VersionStage": "AWSCURRENT", "MoveToVersionId": plan.token, "RemoveFromVersionId": BASE},
            {},
        ),
        ("get_secret_value", {"VersionId": plan.token}, {"VersionId": plan.token, "SecretString": text}),
        ("get_secret_value", {"VersionStage": "AWSCURRENT"}, {"VersionId": plan.token, "SecretString": text}),
        ("describe_secret", {}, {"VersionIdsToStages": {plan.token: ["AWSCURRENT", STAGED], BASE: ["AWSPREVIOUS"]}}),
        ("update_secret_version_stage", {"VersionStage": STAGED, "RemoveFromVersionId": plan.token}, {}),
    ]
    for method, request, answer in steps:
        stubber.add_response(method, answer, {"SecretId": NAME, **request})
    assert store.write(plan, lambda state: pytest.fail("nothing came in between")) == plan


def test_the_request_of_a_read(stubbed):
    store, stubber = stubbed
    stubber.add_response(
        "get_secret_value",
        {"VersionId": BASE, "SecretString": '{"a": 1}'},
        {"SecretId": NAME, "VersionStage": "AWSCURRENT"},
    )
    assert store.read_current() == (BASE, Document({"a": 1}))


def test_the_requests_of_a_rollback(stubbed):
    store, stubber = stubbed
    target = "2" * 32
    state = SecretState(NAME, REGION, BASE, Document({"a": 1}), {BASE: ("AWSCURRENT",), target: ("AWSPREVIOUS",)})
    plan = plan_rollback(state, target, Document({"a": 0}), stage="launch")
    move = {"VersionStage": "AWSCURRENT", "MoveToVersionId": target, "RemoveFromVersionId": BASE}
    for method, request, answer in (
        ("update_secret_version_stage", move, {}),
        ("get_secret_value", {"VersionStage": "AWSCURRENT"}, {"VersionId": target, "SecretString": '{"a": 0}'}),
        ("describe_secret", {}, {"VersionIdsToStages": {target: ["AWSCURRENT"], BASE: ["AWSPREVIOUS"]}}),
    ):
        stubber.add_response(method, answer, {"SecretId": NAME, **request})
    store.roll_back(plan)


def test_the_requests_of_a_creation(stubbed, monkeypatch):
    store, stubber = stubbed
    token, text = "7" * 64, '{"a": 1}'
    monkeypatch.setattr("deploytools.secret.creation.secrets.token_hex", {32: token}.get)
    creation = {"Name": NAME, "ClientRequestToken": token, "SecretString": text, "KmsKeyId": "alias/shop"}
    tags = {"Tags": [{"Key": "tenant", "Value": "one"}]}
    current = {"SecretId": NAME, "VersionStage": "AWSCURRENT"}
    stubber.add_client_error("get_secret_value", "ResourceNotFoundException", expected_params=current)
    stubber.add_client_error("describe_secret", "ResourceNotFoundException", expected_params={"SecretId": NAME})
    stubber.add_response("create_secret", {"VersionId": token}, creation | tags)
    answer = {"VersionId": token, "SecretString": text}
    stubber.add_response("get_secret_value", answer, {"SecretId": NAME, "VersionId": token})
    stubber.add_response("get_secret_value", answer, current)
    assert store.create(Document({"a": 1}), tags={"tenant": "one"}, kms_key_id="alias/shop") == token


def test_the_requests_of_a_restoration(stubbed):
    store, stubber = stubbed
    stubber.add_response("describe_secret", {"DeletedDate": datetime(2030, 1, 1, tzinfo=UTC)}, {"SecretId": NAME})
    stubber.add_response("restore_secret", {}, {"SecretId": NAME})
    stubber.add_response("describe_secret", {"Name": NAME}, {"SecretId": NAME})
    assert store.restore() is True


def test_threads_may_share_what_is_made_once(monkeypatch):
    for name, value in endpoints.environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with aws.sharing_clients(), ThreadPoolExecutor(4) as pool:
        shared = set(pool.map(lambda _: aws.client("secretsmanager", "us-east-1"), range(8)))
        elsewhere = aws.client("secretsmanager", "eu-west-1")
        with aws.sharing_clients():
            anew = aws.client("secretsmanager", "us-east-1")
    alone = {aws.client("secretsmanager", "us-east-1") for _ in range(2)}
    assert (len(shared), len({*shared, elsewhere, anew, *alone})) == (1, 5)


def test_the_client_gives_up_within_seconds_and_retries_as_standard():
    config: Any = aws.client("secretsmanager", REGION).meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


# What errors become.


def answered(code: str, message: str = "what AWS said") -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "GetSecretValue")


URL = "https://secretsmanager.us-east-1.amazonaws.com/"
NETWORK = "Check the network and the Region (AWS_REGION), and AWS_ENDPOINT_URL where it is set."
ALLOW = f"Allow {ACTION} on it for the identity that aws sts get-caller-identity shows."


@pytest.mark.parametrize(
    ("error", "kind", "message", "hint"),
    [
        *[(answered(code), AccessDenied, f"AWS denied {ACTION} on {RESOURCE}.", ALLOW) for code in sorted(aws.DENIED)],
        *[
            (answered(code), NoCredentials, "AWS does not accept the credentials: what AWS said", aws.CREDENTIALS_HINT)
            for code in sorted(aws.BAD_CREDENTIALS)
        ],
        *[
            (
                answered(code),
                Throttled,
                f"AWS throttled {ACTION}, 3 times in a row.",
                "Wait a minute and run it again.",
            )
            for code in sorted(aws.THROTTLED)
        ],
        *[
            (
                answered(code),
                NotFound,
                f"{RESOURCE} does not exist.",
                "Check the name, the account and the Region (AWS_REGION).",
            )
            for code in sorted(aws.NOT_FOUND)
        ],
        *[
            (
                answered(code),
                AwsError,
                f"{ACTION} failed for {RESOURCE}: what AWS said",
                f"AWS's error code is {code}.",
            )
            for code in ["InternalServiceError", "LimitExceededException", "ValidationException"]
        ],
        *[
            (
                answered("AccessDeniedException", said),
                AccessDenied,
                f"AWS denied {ACTION} on {RESOURCE}, because of the key that encrypts it: {said}",
                "Allow kms:Decrypt on that key, in its own policy as well, for the identity that "
                "aws sts get-caller-identity shows; the action itself is allowed.",
            )
            for said in ["Access to KMS is not allowed", "User: x is not authorized to perform: kms:Decrypt on it"]
        ],
        (
            answered("AccessDeniedException", "x is not authorized to perform this on prod/kms-agent"),
            AccessDenied,
            f"AWS denied {ACTION} on {RESOURCE}.",
            ALLOW,
        ),
        (
            answered("DecryptionFailure"),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: what AWS said",
            "Look whether the key that encrypts it is enabled: KmsKeyId of aws secretsmanager describe-secret, "
            "then aws kms describe-key",
        ),
        (answered("Odd", ""), AwsError, f"{ACTION} failed for {RESOURCE}: Odd", "AWS's error code is Odd."),
        (
            exceptions.ClientError({}, "GetSecretValue"),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: ",
            "AWS's error code is unknown.",
        ),
        (
            exceptions.NoCredentialsError(),
            NoCredentials,
            "There are no usable AWS credentials: Unable to locate credentials.",
            aws.CREDENTIALS_HINT,
        ),
        (
            exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            NoCredentials,
            "There are no usable AWS credentials: Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY.",
            aws.CREDENTIALS_HINT,
        ),
        (
            exceptions.EndpointConnectionError(endpoint_url=URL),
            Unreachable,
            f'{ACTION} got no answer: Could not connect to the endpoint URL: "{URL}"',
            NETWORK,
        ),
        (
            exceptions.ConnectTimeoutError(endpoint_url=URL),
            Unreachable,
            f'{ACTION} got no answer: Connect timeout on endpoint URL: "{URL}"',
            NETWORK,
        ),
        (
            exceptions.ReadTimeoutError(endpoint_url=URL),
            Unreachable,
            f'{ACTION} got no answer: Read timeout on endpoint URL: "{URL}"',
            NETWORK,
        ),
        (
            exceptions.SSLError(endpoint_url=URL, error=OSError("self-signed certificate")),
            Unreachable,
            f"{ACTION} got no answer: SSL validation failed for {URL} self-signed certificate",
            NETWORK,
        ),
        (
            ResponseParserError(f"Unable to parse response (syntax error), invalid XML received:\n{CANARY}"),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: Unable to parse response (syntax error), invalid XML received:",
            "Run again with --traceback for more.",
        ),
        (
            exceptions.ParamValidationError(report=CANARY),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: Parameter validation failed:",
            "Run again with --traceback for more.",
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Exception) else "",
)
def test_errors(error, kind, message, hint):
    with pytest.raises(DeployError) as caught, aws.calling(ACTION, RESOURCE):
        raise error
    assert (type(caught.value), str(caught.value), caught.value.hint) == (kind, message, hint)
    assert getattr(caught.value, "action", ACTION) == ACTION
    assert caught.value.__cause__ is error


def test_writing_needs_more_of_the_key_than_reading():
    with pytest.raises(AccessDenied) as caught, aws.calling("secretsmanager:PutSecretValue", RESOURCE):
        raise answered("AccessDeniedException", "Access to KMS is not allowed")
    assert caught.value.hint.startswith("Allow kms:Decrypt and kms:GenerateDataKey on that key")


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), aws.calling(ACTION, RESOURCE):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "code"),
    [(answered("InvalidParameterException"), "InvalidParameterException"), (exceptions.NoCredentialsError(), "")],
)
def test_error_code(error, code):
    with pytest.raises(AwsError) as caught, aws.calling(ACTION, RESOURCE):
        raise error
    assert aws.error_code(caught.value) == code
    assert aws.error_code(AwsError("x", hint="y")) == ""


# What the machine lacks.


def read() -> Any:
    return SecretStore.connect(NAME, REGION).read_current()


def test_no_credentials(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    began = time.monotonic()
    with pytest.raises(NoCredentials) as caught:
        read()
    assert time.monotonic() - began < 2
    assert str(caught.value) == "There are no usable AWS credentials: Unable to locate credentials."


@pytest.mark.parametrize(
    ("changes", "region", "kind", "message"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": ""},
            REGION,
            NoCredentials,
            "There are no usable AWS credentials: Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY.",
        ),
        (
            {"AWS_PROFILE": "nobody"},
            REGION,
            ConfigurationError,
            "The config profile (nobody) could not be found.",
        ),
        (
            {"AWS_CONFIG_FILE": __file__},
            REGION,
            ConfigurationError,
            f"Unable to parse config file: {__file__}.",
        ),
        ({"AWS_ENDPOINT_URL": "nonsense"}, REGION, ConfigurationError, "Invalid endpoint: nonsense."),
        (
            {},
            "no such",
            ConfigurationError,
            "Provided region_name 'no such' doesn't match a supported format.",
        ),
    ],
)
def test_a_machine_that_is_set_up_wrongly(monkeypatch, changes, region, kind, message):
    for name, value in changes.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    with pytest.raises(DeployError) as caught:
        aws.client("secretsmanager", region)
    assert (type(caught.value), str(caught.value)) == (kind, message)
    assert caught.value.hint


def test_nobody_listens(monkeypatch):
    url = endpoints.closed()
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    began = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        read()
    assert time.monotonic() - began < 10
    assert str(caught.value) == f'{ACTION} got no answer: Could not connect to the endpoint URL: "{url}/"'


# What is never written down.


def test_an_error_carries_no_request(monkeypatch):
    """botocore's own errors hold the request, and their tracebacks the frames in which its body is a local."""
    with endpoints.hanging_up() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = SecretStore.connect(NAME, REGION)
        state = SecretState(NAME, REGION, BASE, Document({"a": 1}), {BASE: ("AWSCURRENT",)})
        plan = plan_sync(state, Document({"a": CANARY}), stage="launch")
        with pytest.raises(Unreachable) as caught:
            store.write(plan, lambda state: plan)
    assert [text for text in reachable(caught.value) if CANARY in text] == []


def test_the_wire_log_is_withheld_around_our_calls_only(monkeypatch, caplog, emulator):
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="botocore")
    client = aws.client("secretsmanager", REGION)
    client.create_secret(Name="logged", SecretString=json.dumps({"a": CANARY + "-old"}))
    client.get_secret_value(SecretId="logged")
    assert CANARY in caplog.text, "botocore's log prints bodies: this is what must not happen"
    caplog.clear()

    store = SecretStore(client, "logged", REGION)
    plan = plan_sync(store.read(), Document({"a": CANARY + "-new"}), stage="launch")
    store.write(plan, lambda state: plan)
    with pytest.raises(SecretNotFound):
        SecretStore(client, "other", REGION).read()
    assert store.read_current()[1] == Document({"a": CANARY + "-new"})
    assert CANARY not in caplog.text
    assert [item for item in caplog.records if item.name.startswith(("botocore", "urllib3"))] == []

    client.list_secrets()
    assert {"botocore.endpoint", "botocore.parsers", "urllib3.connectionpool"} <= {
        record.name for record in caplog.records
    }
