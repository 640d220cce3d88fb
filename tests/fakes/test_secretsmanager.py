"""The fake rejects what AWS Secrets Manager rejects."""

from __future__ import annotations

import copy

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from tests.fakes.secretsmanager import Fake

NAME, V1, V2, V3 = "prod/shop", "1" * 32, "2" * 32, "3" * 32


@pytest.fixture
def secret():
    """A secret with two versions; the second has the label "staged"."""
    made = Fake(NAME)
    made.create_secret(Name=NAME, ClientRequestToken=V1, SecretString="one")
    made.put_secret_value(SecretId=NAME, ClientRequestToken=V2, SecretString="two", VersionStages=["staged"])
    return made


def put(**request):
    return "put_secret_value", {"SecretString": "x", "ClientRequestToken": V3, **request}


def move(label, to="", off=""):
    ends = {"MoveToVersionId": to, "RemoveFromVersionId": off}
    return "update_secret_version_stage", {"VersionStage": label} | {key: value for key, value in ends.items() if value}


def get(**which):
    return "get_secret_value", which


@pytest.mark.parametrize(
    ("call", "labels"),
    [
        (put(), {"AWSCURRENT": V3, "AWSPREVIOUS": V1, "staged": V2}),
        (put(VersionStages=["staged"]), {"AWSCURRENT": V1, "staged": V3}),
        (put(SecretString="two", ClientRequestToken=V2), {"AWSCURRENT": V1, "staged": V2}),
        (move("AWSCURRENT", V2, V1), {"AWSCURRENT": V2, "AWSPREVIOUS": V1, "staged": V2}),
        (move("staged", V1, V2), {"AWSCURRENT": V1, "staged": V1}),
        (move("staged", off=V2), {"AWSCURRENT": V1}),
        (move("new", V1), {"AWSCURRENT": V1, "new": V1, "staged": V2}),
    ],
)
def test_labels(secret, call, labels):
    getattr(secret, call[0])(SecretId=NAME, **call[1])
    assert secret.stored.labels == labels


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (put(SecretString="other", ClientRequestToken=V2), "ResourceExistsException"),
        (put(SecretString="x" * 65_537), "InvalidParameterException"),
        (put(SecretString="é" * 32_769), "InvalidParameterException"),
        (put(SecretBinary=b"x"), "InvalidParameterException"),
        (move("AWSCURRENT", V2), "InvalidParameterException"),
        (move("AWSCURRENT", V2, V2), "InvalidParameterException"),
        (move("AWSCURRENT", off=V1), "InvalidParameterException"),
        (move("staged", V1), "InvalidParameterException"),
        (move("staged", off=V1), "InvalidParameterException"),
        (move("new", V1, V2), "InvalidParameterException"),
        (move("new"), "InvalidParameterException"),
        (move("AWSCURRENT", V3, V1), "ResourceNotFoundException"),
        (get(VersionId=V3), "ResourceNotFoundException"),
        (get(VersionStage="AWSPENDING"), "ResourceNotFoundException"),
        (get(VersionId=V2, VersionStage="AWSCURRENT"), "InvalidParameterException"),
    ],
)
def test_rejected_calls_change_nothing(secret, call, code):
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(ClientError) as caught:
        getattr(secret, call[0])(SecretId=NAME, **call[1])
    assert (caught.value.response["Error"]["Code"], secret.secrets) == (code, before)


@pytest.mark.parametrize(
    "call", [put(ClientRequestToken="x" * 31), put(VersionStages=[]), put(VersionStages=["x"] * 21)]
)
def test_parameters_that_boto3_rejects(secret, call):
    with pytest.raises(ParamValidationError):
        getattr(secret, call[0])(SecretId=NAME, **call[1])


def test_at_most_twenty_labels(secret):
    for number in range(19):
        secret.update_secret_version_stage(SecretId=NAME, VersionStage=f"l{number}", MoveToVersionId=V1)
    with pytest.raises(ClientError, match="LimitExceededException"):
        secret.update_secret_version_stage(SecretId=NAME, VersionStage="l19", MoveToVersionId=V1)


def test_version_without_labels(secret):
    secret.update_secret_version_stage(SecretId=NAME, VersionStage="staged", RemoveFromVersionId=V2)
    assert secret.get_secret_value(SecretId=NAME, VersionId=V2)["SecretString"] == "two"
    assert secret.describe_secret(SecretId=NAME)["VersionIdsToStages"] == {V1: ["AWSCURRENT"]}


@pytest.mark.parametrize("call", [put(), move("staged", off=V2), get()])
def test_deleted_secret(secret, call):
    secret.stored.deleted = True
    with pytest.raises(ClientError, match="InvalidRequestException"):
        getattr(secret, call[0])(SecretId=NAME, **call[1])
    assert "DeletedDate" in secret.describe_secret(SecretId=NAME)
    with pytest.raises(ClientError, match="already scheduled for deletion"):
        secret.create_secret(Name=NAME)
