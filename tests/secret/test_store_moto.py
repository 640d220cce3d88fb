"""The same write against an emulator over HTTP: the requests and answers are boto3's own. It knows no faults."""

from __future__ import annotations

import json
import uuid

import boto3
import pytest

from deploytools.errors import (
    RotationUnderWay,
    SecretBinary,
    SecretConflict,
    SecretDeleted,
    SecretEmpty,
    SecretError,
    SecretExists,
    SecretNotFound,
    SecretNotJson,
)
from deploytools.secret.document import Document
from deploytools.secret.labels import STAGED
from deploytools.secret.rollback import plan_rollback
from deploytools.secret.store import SecretStore
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync
from tests.fakes import endpoints

REGION = endpoints.REGION
STORED = {"a": "a0", "b": "b0", "kept": {"big": 10**30, "é": ["日本", None, True]}}


@pytest.fixture(scope="module")
def client():
    with endpoints.emulator() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in endpoints.environment(url).items():
            patch.setenv(name, value)
        yield boto3.client("secretsmanager", REGION)


@pytest.fixture
def store(client):
    """A secret of its own for each test."""
    name = f"shop/{uuid.uuid4()}"
    client.create_secret(Name=name, SecretString=json.dumps(STORED))
    return SecretStore.connect(name, REGION)


def sync(store: SecretStore, **given: object) -> SyncPlan:
    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document(given), stage="launch")

    return store.write(replan(store.read()), replan)


def test_a_write(store):
    before = store.read()
    plan = sync(store, a="a1", new=7)
    after = store.read()
    assert after.document == Document(STORED | {"a": "a1", "new": 7})
    assert {version: set(labels) for version, labels in after.labels.items()} == {
        plan.token: {"AWSCURRENT"},
        before.version: {"AWSPREVIOUS"},
    }
    assert sync(store, a="a1", new=7).is_empty
    assert store.read() == after


def test_another_key_written_meanwhile_is_merged(store):
    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document({"a": "a1"}), stage="launch")

    plan = replan(store.read())
    sync(store, b="b1")
    store.write(plan, replan)
    assert store.read().document == Document(STORED | {"a": "a1", "b": "b1"})


def test_the_same_key_written_meanwhile_is_a_conflict(store):
    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document({"a": "a1"}), stage="launch")

    plan = replan(store.read())
    theirs = sync(store, a="theirs")
    with pytest.raises(SecretConflict):
        store.write(plan, replan)
    after = store.read()
    assert (after.version, after.document) == (theirs.token, Document(STORED | {"a": "theirs"}))
    assert STAGED not in {label for labels in after.labels.values() for label in labels}


def test_rotation_under_way_is_refused(store, client):
    client.put_secret_value(SecretId=store.name, SecretString='{"a": "rotated"}', VersionStages=["AWSPENDING"])
    before = store.read()
    with pytest.raises(RotationUnderWay):
        sync(store, a="a1")
    assert store.read() == before


def test_rotation_that_ended_does_not_stand_in_the_way(store, client):
    current = store.read().version
    client.update_secret_version_stage(SecretId=store.name, VersionStage="AWSPENDING", MoveToVersionId=current)
    plan = sync(store, a="a1")
    sync(store, a="a2")
    labels = {label for held in store.read().labels.values() for label in held}
    assert labels == {"AWSCURRENT", "AWSPREVIOUS"}
    assert store.read().labels[plan.token] == ("AWSPREVIOUS",)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({}, SecretEmpty),
        ({"SecretBinary": b"x"}, SecretBinary),
        ({"SecretString": "x"}, SecretNotJson),
        ({"SecretString": "[]"}, SecretNotJson),
    ],
)
def test_what_cannot_be_used(client, value, error):
    name = f"shop/{uuid.uuid4()}"
    client.create_secret(Name=name, **value)
    with pytest.raises(error):
        SecretStore.connect(name, REGION).read()


def test_absent_and_deleted(store, client):
    client.delete_secret(SecretId=store.name)
    with pytest.raises(SecretDeleted):
        store.read()
    with pytest.raises(SecretNotFound):
        SecretStore.connect("nowhere", REGION).read()


def test_a_rollback(store):
    before = store.read()
    plan = sync(store, a="a1")
    way_back = plan_rollback(store.read(), before.version, store.read_version(before.version), stage="launch")
    store.roll_back(way_back)
    after = store.read()
    assert (after.version, after.document) == (before.version, before.document)
    assert after.labels == {before.version: ("AWSCURRENT",), plan.token: ("AWSPREVIOUS",)}
    store.roll_back(way_back)
    assert store.read() == after


def test_a_version_that_is_not_there(store):
    with pytest.raises(SecretError, match="has no version"):
        store.read_version("9" * 32)


# Creation and restoration.


def test_creation(client):
    name = f"shop/{uuid.uuid4()}"
    created = SecretStore.connect(name, REGION)
    version = created.create(Document(STORED), tags={"tenant": "one"}, kms_key_id="alias/shop")
    assert created.read().labels == {version: ("AWSCURRENT",)}
    assert created.read().document == Document(STORED)
    description = client.describe_secret(SecretId=name)
    assert (description["Tags"], description["KmsKeyId"]) == ([{"Key": "tenant", "Value": "one"}], "alias/shop")
    assert created.create(Document(STORED)) == version
    with pytest.raises(SecretExists):
        created.create(Document({"a": "another"}))


def test_a_first_value_for_an_empty_secret(client):
    name = f"shop/{uuid.uuid4()}"
    client.create_secret(Name=name)
    filled = SecretStore.connect(name, REGION)
    version = filled.create(Document(STORED))
    assert (filled.read().version, filled.read().document) == (version, Document(STORED))


def test_restoration(store, client):
    client.delete_secret(SecretId=store.name)
    with pytest.raises(SecretDeleted):
        store.create(Document({"a": 1}))
    assert store.restore() is True
    assert store.read().document == Document(STORED)
    assert store.restore() is False
