"""Writes against two AWS emulators over HTTP, with boto3's own requests and responses.

Moto with the patches of the local cloud, and ministack, which has separate code for the same API.
"""

from __future__ import annotations

import json
import uuid

import boto3
import pytest

from deploytools.errors import (
    RotationInProgress,
    SecretBinary,
    SecretConflict,
    SecretDeleted,
    SecretEmpty,
    SecretError,
    SecretExists,
    SecretNotFound,
    SecretNotJson,
)
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState, SyncPlan, plan_rollback, plan_sync
from deploytools.secrets.store import SecretStore
from deploytools.secrets.versions import STAGED
from tests.fakes import endpoints

REGION = endpoints.REGION
STORED = {"a": "a0", "b": "b0", "kept": {"big": 10**30, "é": ["日本", None, True]}}


@pytest.fixture(scope="module", params=["moto", pytest.param("ministack", marks=pytest.mark.slow)])
def client(request):
    from deploytools.local import emulator_patches  # moto takes long to import.

    emulator_patches.install()
    emulator = {"moto": endpoints.emulator, "ministack": endpoints.ministack}[request.param]
    with emulator() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in endpoints.environment(url).items():
            patch.setenv(name, value)
        yield boto3.client("secretsmanager", REGION)


@pytest.fixture
def store(client):
    """A new secret for each test."""
    name = f"shop/{uuid.uuid4()}"
    client.create_secret(Name=name, SecretString=json.dumps(STORED))
    return SecretStore.connect(name, REGION)


def sync(store: SecretStore, **given: object) -> SyncPlan:
    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document(given), stage="launch")

    return store.write(replan(store.read()), replan)


def test_write(store):
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


def test_other_key_written_meanwhile_is_merged(store):
    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document({"a": "a1"}), stage="launch")

    plan = replan(store.read())
    sync(store, b="b1")
    store.write(plan, replan)
    assert store.read().document == Document(STORED | {"a": "a1", "b": "b1"})


def test_same_key_written_meanwhile_is_a_conflict(store):
    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document({"a": "a1"}), stage="launch")

    plan = replan(store.read())
    theirs = sync(store, a="theirs")
    with pytest.raises(SecretConflict):
        store.write(plan, replan)
    after = store.read()
    assert (after.version, after.document) == (theirs.token, Document(STORED | {"a": "theirs"}))
    assert STAGED not in {label for labels in after.labels.values() for label in labels}


def test_rotation_in_progress_is_refused(store, client):
    client.put_secret_value(SecretId=store.name, SecretString='{"a": "rotated"}', VersionStages=["AWSPENDING"])
    before = store.read()
    with pytest.raises(RotationInProgress):
        sync(store, a="a1")
    assert store.read() == before


def test_finished_rotation_does_not_prevent_a_write(store, client):
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
def test_secrets_that_cannot_be_used(client, value, error):
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


def test_rollback(store):
    before = store.read()
    plan = sync(store, a="a1")
    rollback = plan_rollback(store.read(), before.version, store.read_version(before.version).document, stage="launch")
    store.roll_back(rollback)
    after = store.read()
    assert (after.version, after.document) == (before.version, before.document)
    assert after.labels == {before.version: ("AWSCURRENT",), plan.token: ("AWSPREVIOUS",)}
    store.roll_back(rollback)
    assert store.read() == after


def test_version_that_does_not_exist(store):
    with pytest.raises(SecretError, match="has no version"):
        store.read_version("9" * 32)


# Creation.


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


def test_first_value_of_an_empty_secret(client, request):
    if "ministack" in request.node.name:
        pytest.skip("ministack attaches AWSCURRENT to a version without a value; AWS has no version then")
    name = f"shop/{uuid.uuid4()}"
    client.create_secret(Name=name)
    filled = SecretStore.connect(name, REGION)
    version = filled.create(Document(STORED))
    assert (filled.read().version, filled.read().document) == (version, Document(STORED))


def test_deleted_secret_is_not_created_and_can_be_restored(store, client):
    client.delete_secret(SecretId=store.name)
    with pytest.raises(SecretDeleted):
        store.create(Document({"a": 1}))
    client.restore_secret(SecretId=store.name)
    assert store.read().document == Document(STORED)
