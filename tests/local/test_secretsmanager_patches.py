"""The emulated Secrets Manager answers like the strict fake, call by call, and a user sees what AWS would show."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import endpoints
from tests.fakes.secretsmanager import Fake

VERSIONS = [str(number) * 32 for number in range(1, 5)]
LABELS = ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS", "own"]
VERSION, LABEL = st.sampled_from(VERSIONS), st.sampled_from(LABELS)
READS: list[dict[str, Any]] = [{}, {"VersionStage": LABEL}, {"VersionId": VERSION}]
CALLS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put_secret_value"),
            st.fixed_dictionaries(
                {"ClientRequestToken": VERSION, "SecretString": st.sampled_from(["one", "two"])},
                optional={
                    "VersionStages": st.lists(LABEL.filter("AWSPREVIOUS".__ne__), min_size=1, max_size=2, unique=True)
                },
            ),
        ),
        st.tuples(
            st.just("update_secret_version_stage"),
            st.fixed_dictionaries(
                {"VersionStage": LABEL.filter("AWSPREVIOUS".__ne__)},
                optional={"MoveToVersionId": VERSION, "RemoveFromVersionId": VERSION},
            ),
        ),
        st.tuples(st.just("get_secret_value"), st.one_of(*[st.fixed_dictionaries(one) for one in READS])),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from deploytools.local import emulator_patches  # moto takes long to import.

    emulator_patches.install()
    with endpoints.emulator() as url:
        made = boto3.Session("local", "local", region_name="us-east-1").client("secretsmanager", endpoint_url=url)
        yield made
        made.close()


def outcome(client: Any, operation: str, **request: Any) -> Any:
    """Return what a caller depends on: the error's code, or the value and its labels."""
    try:
        response = getattr(client, operation)(**request)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return [response.get("VersionId"), response.get("SecretString"), sorted(response.get("VersionStages") or ())]


def labels(client: Any, name: str) -> dict[str, list[str]]:
    stages = client.describe_secret(SecretId=name).get("VersionIdsToStages") or {}
    return {version: sorted(held) for version, held in stages.items() if held}


@pytest.mark.slow
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_emulator_answers_like_the_strict_fake(client, calls):
    name = f"compared/{uuid.uuid4()}"
    fake = Fake(name)
    for each in (client, fake):
        each.create_secret(Name=name, SecretString="zero", ClientRequestToken="0" * 32)
    for operation, request in calls:
        both = [outcome(each, operation, SecretId=name, **request) for each in (client, fake)]
        assert both[0] == both[1], (operation, request)
        assert labels(client, name) == labels(fake, name), (operation, request)


def test_user_sees_the_new_value_after_a_write_and_after_update_secret(client):
    """Without a stage, GetSecretValue returns AWSCURRENT; exactly one version has that label."""
    name = f"user/{uuid.uuid4()}"
    first = client.create_secret(Name=name, SecretString="one")["VersionId"]
    second = client.put_secret_value(SecretId=name, SecretString="two", VersionStages=["own"])["VersionId"]
    client.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=second, RemoveFromVersionId=first
    )
    assert client.get_secret_value(SecretId=name)["SecretString"] == "two"
    client.update_secret(SecretId=name, SecretString="three")
    assert client.get_secret_value(SecretId=name)["SecretString"] == "three"
    assert sorted(json.dumps(held) for held in labels(client, name).values()) == [
        '["AWSCURRENT"]',
        '["AWSPREVIOUS", "own"]',
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "is_deleted", "code"),
    [(65_536, False, None), (65_537, False, "InvalidParameterException"), (1, True, "InvalidRequestException")],
)
def test_limits_of_a_value(client, size, is_deleted, code):
    name = f"limits/{uuid.uuid4()}"
    client.create_secret(Name=name, SecretString="one")
    if is_deleted:
        client.delete_secret(SecretId=name)
    result = outcome(client, "put_secret_value", SecretId=name, SecretString="x" * size)
    assert (result if isinstance(result, str) else None) == code
