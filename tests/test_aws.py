"""Requests to AWS, the translation of errors, and the redaction of logs."""

from __future__ import annotations

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
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
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState, plan_rollback, plan_sync
from deploytools.secrets.store import SecretStore
from deploytools.secrets.versions import STAGED
from tests.fakes import endpoints
from tests.secrets.reach import reachable

REGION, NAME = endpoints.REGION, "prod/shop"
BASE = "1" * 32
ACTION, RESOURCE = "secretsmanager:GetSecretValue", "the secret prod/shop in us-east-1"
CANARY = "canary-7d1f"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Only the tests' own AWS configuration, and only loopback endpoints."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in endpoints.environment("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def emulator():
    with endpoints.emulator() as url:
        yield url


# Requests.


@pytest.fixture
def stubbed():
    client = aws.client("secretsmanager", REGION)
    with Stubber(client) as stubber:
        yield SecretStore(client, NAME, REGION), stubber
        stubber.assert_no_pending_responses()


#: The members that AWS's responses have.
NAMED: dict[str, Any] = {"Name": NAME}


def test_requests_of_a_write(stubbed):
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
        ("get_secret_value", {"VersionId": plan.token}, {"VersionId": plan.token, "SecretString": text}),
        (
            "update_secret_version_stage",
            {"VersionStage": "AWSCURRENT", "MoveToVersionId": plan.token, "RemoveFromVersionId": BASE},
            NAMED,
        ),
        ("get_secret_value", {"VersionStage": "AWSCURRENT"}, {"VersionId": plan.token, "SecretString": text}),
        (
            "describe_secret",
            {},
            NAMED | {"VersionIdsToStages": {plan.token: ["AWSCURRENT", STAGED], BASE: ["AWSPREVIOUS"]}},
        ),
        ("update_secret_version_stage", {"VersionStage": STAGED, "RemoveFromVersionId": plan.token}, NAMED),
    ]
    for method, request, answer in steps:
        stubber.add_response(method, answer, {"SecretId": NAME, **request})
    assert store.write(plan, lambda state: pytest.fail("no other writer")) == plan


def test_request_of_a_read(stubbed):
    store, stubber = stubbed
    stubber.add_response(
        "get_secret_value",
        {"VersionId": BASE, "SecretString": '{"a": 1}'},
        {"SecretId": NAME, "VersionStage": "AWSCURRENT"},
    )
    assert store.read_current() == (BASE, Document({"a": 1}))


def test_requests_of_a_rollback(stubbed):
    store, stubber = stubbed
    target = "2" * 32
    state = SecretState(NAME, REGION, BASE, Document({"a": 1}), {BASE: ("AWSCURRENT",), target: ("AWSPREVIOUS",)})
    plan = plan_rollback(state, target, Document({"a": 0}), stage="launch")
    move = {"VersionStage": "AWSCURRENT", "MoveToVersionId": target, "RemoveFromVersionId": BASE}
    for method, request, answer in (
        ("update_secret_version_stage", move, NAMED),
        ("get_secret_value", {"VersionStage": "AWSCURRENT"}, {"VersionId": target, "SecretString": '{"a": 0}'}),
        ("describe_secret", {}, NAMED | {"VersionIdsToStages": {target: ["AWSCURRENT"], BASE: ["AWSPREVIOUS"]}}),
    ):
        stubber.add_response(method, answer, {"SecretId": NAME, **request})
    store.roll_back(plan)


def test_requests_of_a_creation(stubbed, monkeypatch):
    store, stubber = stubbed
    token, text = "7" * 64, '{"a": 1}'
    monkeypatch.setattr("deploytools.secrets.store.secrets.token_hex", {32: token}.get)
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


def test_threads_share_clients(monkeypatch):
    for name, value in endpoints.environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with aws.sharing_clients(), ThreadPoolExecutor(4) as pool:
        shared = set(pool.map(lambda _: aws.client("secretsmanager", "us-east-1"), range(8)))
        elsewhere = aws.client("secretsmanager", "eu-west-1")
        with aws.sharing_clients():
            nested = aws.client("secretsmanager", "us-east-1")
    alone = {aws.client("secretsmanager", "us-east-1") for _ in range(2)}
    assert (len(shared), len({*shared, elsewhere, nested, *alone})) == (1, 5)


def test_sessions_search_each_directory_once():
    for _ in range(3):
        paths = aws._session()._loader.search_paths
    assert len(paths) == len(set(paths)) > 1


def test_timeouts_and_retries():
    config: Any = aws.client("secretsmanager", REGION).meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


# Errors.


def client_error(code: str, message: str = "AWS's message") -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "GetSecretValue")


URL = "https://secretsmanager.us-east-1.amazonaws.com/"
NETWORK = 'Check the network, DEPLOYTOOLS["REGION"] and, if it is set, AWS_ENDPOINT_URL.'
ALLOW = f"Allow {ACTION} on it for the identity that aws sts get-caller-identity shows."


@pytest.mark.parametrize(
    ("error", "kind", "message", "hint"),
    [
        *[
            (client_error(code), AccessDenied, f"AWS denied {ACTION} on {RESOURCE}.", ALLOW)
            for code in sorted(aws.DENIED)
        ],
        *[
            (client_error(code), NoCredentials, "AWS rejected the credentials: AWS's message", aws.CREDENTIALS_HINT)
            for code in sorted(aws.BAD_CREDENTIALS)
        ],
        *[
            (
                client_error(code),
                Throttled,
                f"AWS throttled {ACTION} 3 times in a row.",
                "Wait a minute and run the command again.",
            )
            for code in sorted(aws.THROTTLED)
        ],
        *[
            (
                client_error(code),
                NotFound,
                f"{RESOURCE} does not exist.",
                'Check the name, the account and the Region: DEPLOYTOOLS["REGION"].',
            )
            for code in sorted(aws.NOT_FOUND)
        ],
        *[
            (
                client_error(code),
                AwsError,
                f"{ACTION} failed for {RESOURCE}: AWS's message",
                f"AWS's error code is {code}.",
            )
            for code in ["InternalServiceError", "LimitExceededException", "ValidationException"]
        ],
        *[
            (
                client_error("AccessDeniedException", message),
                AccessDenied,
                f"AWS denied {ACTION} on {RESOURCE} because access to its KMS key was denied: {message}",
                "Allow kms:Decrypt in the KMS key's policy and in the policy of the identity that "
                f"aws sts get-caller-identity shows. {ACTION} itself is allowed.",
            )
            for message in ["Access to KMS is not allowed", "User: x is not authorized to perform: kms:Decrypt on it"]
        ],
        (
            client_error("AccessDeniedException", "x is not authorized to perform this on prod/kms-agent"),
            AccessDenied,
            f"AWS denied {ACTION} on {RESOURCE}.",
            ALLOW,
        ),
        (
            client_error("DecryptionFailure"),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: AWS's message",
            "Check that the KMS key is enabled: aws secretsmanager describe-secret shows KmsKeyId, "
            "aws kms describe-key shows its state.",
        ),
        (client_error("Odd", ""), AwsError, f"{ACTION} failed for {RESOURCE}: Odd", "AWS's error code is Odd."),
        (
            exceptions.ClientError({}, "GetSecretValue"),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: ",
            "AWS's error code is unknown.",
        ),
        (
            exceptions.NoCredentialsError(),
            NoCredentials,
            "No usable AWS credentials: Unable to locate credentials.",
            aws.CREDENTIALS_HINT,
        ),
        (
            exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            NoCredentials,
            "No usable AWS credentials: Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY.",
            aws.CREDENTIALS_HINT,
        ),
        (
            exceptions.EndpointConnectionError(endpoint_url=URL),
            Unreachable,
            f'{ACTION} got no response: Could not connect to the endpoint URL: "{URL}"',
            NETWORK,
        ),
        (
            exceptions.ConnectTimeoutError(endpoint_url=URL),
            Unreachable,
            f'{ACTION} got no response: Connect timeout on endpoint URL: "{URL}"',
            NETWORK,
        ),
        (
            exceptions.ReadTimeoutError(endpoint_url=URL),
            Unreachable,
            f'{ACTION} got no response: Read timeout on endpoint URL: "{URL}"',
            NETWORK,
        ),
        (
            exceptions.SSLError(endpoint_url=URL, error=OSError("self-signed certificate")),
            Unreachable,
            f"{ACTION} got no response: SSL validation failed for {URL} self-signed certificate",
            NETWORK,
        ),
        (
            ResponseParserError(f"Unable to parse response (syntax error), invalid XML received:\n{CANARY}"),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: Unable to parse response (syntax error), invalid XML received:",
            "Run the command again with --traceback for details.",
        ),
        (
            exceptions.ParamValidationError(report=CANARY),
            AwsError,
            f"{ACTION} failed for {RESOURCE}: Parameter validation failed:",
            "Run the command again with --traceback for details.",
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Exception) else "",
)
def test_errors(error, kind, message, hint):
    with pytest.raises(DeployError) as caught, aws.translate_aws_errors(ACTION, RESOURCE):
        raise error
    assert (type(caught.value), str(caught.value), caught.value.hint) == (kind, message, hint)
    assert getattr(caught.value, "action", ACTION) == ACTION
    assert caught.value.__cause__ is error


def test_kms_actions_of_a_write():
    with pytest.raises(AccessDenied) as caught, aws.translate_aws_errors("secretsmanager:PutSecretValue", RESOURCE):
        raise client_error("AccessDeniedException", "Access to KMS is not allowed")
    assert caught.value.hint.startswith("Allow kms:Decrypt and kms:GenerateDataKey in the KMS key's policy")


def test_other_errors_are_not_translated():
    with pytest.raises(ZeroDivisionError), aws.translate_aws_errors(ACTION, RESOURCE):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "code"),
    [(client_error("InvalidParameterException"), "InvalidParameterException"), (exceptions.NoCredentialsError(), "")],
)
def test_error_code(error, code):
    with pytest.raises(AwsError) as caught, aws.translate_aws_errors(ACTION, RESOURCE):
        raise error
    assert aws.error_code(caught.value) == code
    assert aws.error_code(AwsError("x", hint="y")) == ""


# Configuration.


def read() -> Any:
    return SecretStore.connect(NAME, REGION).read_current()


def test_no_credentials(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    began = time.monotonic()
    with pytest.raises(NoCredentials) as caught:
        read()
    assert time.monotonic() - began < 2
    assert str(caught.value) == "No usable AWS credentials: Unable to locate credentials."


@pytest.mark.parametrize(
    ("changes", "region", "kind", "message"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": ""},
            REGION,
            NoCredentials,
            "No usable AWS credentials: Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY.",
        ),
        (
            {"AWS_PROFILE": "missing"},
            REGION,
            ConfigurationError,
            "The config profile (missing) could not be found.",
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
def test_invalid_configuration(monkeypatch, changes, region, kind, message):
    for name, value in changes.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    with pytest.raises(DeployError) as caught:
        aws.client("secretsmanager", region)
    assert (type(caught.value), str(caught.value)) == (kind, message)
    assert caught.value.hint


def test_no_server_at_the_endpoint(monkeypatch):
    url = endpoints.closed()
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    began = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        read()
    assert time.monotonic() - began < 10
    assert str(caught.value) == f'{ACTION} got no response: Could not connect to the endpoint URL: "{url}/"'


# Redaction.


@pytest.mark.slow
def test_error_does_not_contain_the_request(monkeypatch):
    """botocore's errors refer to the request, and their tracebacks to frames that have its body."""
    with endpoints.hanging_up() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = SecretStore.connect(NAME, REGION)
        state = SecretState(NAME, REGION, BASE, Document({"a": 1}), {BASE: ("AWSCURRENT",)})
        plan = plan_sync(state, Document({"a": CANARY}), stage="launch")
        with pytest.raises(Unreachable) as caught:
            store.write(plan, lambda state: plan)
    assert [text for text in reachable(caught.value) if CANARY in text] == []


def test_debug_log_is_suppressed_only_during_our_calls(monkeypatch, caplog, emulator):
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="botocore")
    client = aws.client("secretsmanager", REGION)
    client.create_secret(Name="logged", SecretString=json.dumps({"a": CANARY + "-old"}))
    client.get_secret_value(SecretId="logged")
    assert CANARY in caplog.text, "botocore's log contains bodies: otherwise this test checks nothing"
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
