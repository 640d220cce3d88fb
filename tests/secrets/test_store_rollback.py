"""Rollbacks on a strict fake: the same compare-and-swap as a write, without a new version."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest

from deploytools.errors import AwsError, DeployError, RotationInProgress, SecretConflict, SecretError
from deploytools.secrets.contract import FIELDS
from deploytools.secrets.custom_fields import custom_fields
from deploytools.secrets.document import Change, ChangeKind, Document
from deploytools.secrets.plan import RollbackPlan, SecretState, plan_rollback
from tests.fakes.errors import DENIED, NO_RESPONSE, THROTTLED, Crash
from tests.fakes.secretsmanager import Fake
from tests.secrets.fake_secret import (
    FIRST,
    NAME,
    STORED,
    content,
    fake,
    finish_rotation,
    overwrite,
    roll_back,
    start_rotation,
    store,
    sync,
)
from tests.secrets.samples import GOOD, GUIDE_STEP_1

ROTATED, OTHER = "3" * 32, "4" * 32
MOVES = ["Move AWSCURRENT", "Get AWSCURRENT", "Describe"]


def written() -> Fake:
    """A secret with two versions; `FIRST` is the previous one."""
    secret = fake()
    sync(secret, a="a1", new=7)
    secret.calls.clear()
    return secret


def plan(secret: Fake, version: str = FIRST) -> RollbackPlan:
    target = store(secret)
    return plan_rollback(target.read(), version, target.read_version(version).document, stage="launch")


def test_calls_of_a_rollback():
    secret = written()
    versions, current = copy.deepcopy(secret.stored.versions), secret.stored.labels["AWSCURRENT"]
    roll_back(secret, FIRST)
    assert secret.calls == ["Get AWSCURRENT", "Describe", "Get version", *MOVES]
    assert secret.stored.labels == {"AWSCURRENT": FIRST, "AWSPREVIOUS": current}
    assert secret.stored.versions == versions


def test_changes_of_a_rollback():
    made = plan(written())
    assert [(change.key, change.kind) for change in made.changes if change.kind is not ChangeKind.UNCHANGED] == [
        ("a", ChangeKind.CHANGED),
        ("new", ChangeKind.REMOVED),
    ]
    assert (made.after, made.is_empty) == (Document(STORED), False)


def test_problems_of_the_older_version_are_reported():
    state = SecretState(NAME, "us-east-1", OTHER, Document(GOOD), {})
    fields = (*FIELDS, *custom_fields({"other": {"required_from": "launch"}}))
    made = plan_rollback(state, FIRST, Document(GUIDE_STEP_1), stage="launch", fields=fields)
    assert {item.key for item in made.problems} > {"password", "django_secret_key"}
    assert made.missing == ("other",)
    assert Change("password", ChangeKind.CHANGED) in made.changes


def test_same_write_again_after_a_rollback():
    """Base and content are the same, so the version exists already and becomes current again."""
    secret = written()
    first, versions = secret.stored.labels["AWSCURRENT"], dict(secret.stored.versions)
    roll_back(secret, FIRST)
    assert sync(secret, a="a1", new=7).token == first
    assert secret.stored.versions == versions
    assert secret.stored.labels == {"AWSCURRENT": first, "AWSPREVIOUS": FIRST}


def test_rollback_to_the_current_version_writes_nothing():
    secret = written()
    roll_back(secret, FIRST)
    before = copy.deepcopy(secret.secrets)
    secret.calls.clear()
    roll_back(secret, FIRST)
    assert secret.secrets == before
    assert secret.calls == ["Get AWSCURRENT", "Describe", "Get version"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Crash, NO_RESPONSE, THROTTLED, DENIED])
@pytest.mark.parametrize("place", range(6))
def test_any_failure_at_any_call_then_run_again_with_the_version(place, error, when):
    secret = written()
    current = secret.stored.labels["AWSCURRENT"]
    secret.on("*", Crash() if error is Crash else error, skip=place, when=when)
    try:
        roll_back(secret, FIRST)
    except (Crash, AwsError):
        assert content(secret) in (STORED, STORED | {"a": "a1", "new": 7})
    secret.forget()
    roll_back(secret, FIRST)
    assert secret.stored.labels == {"AWSCURRENT": FIRST, "AWSPREVIOUS": current}
    assert len(secret.stored.versions) == 2


AGAIN = f"python manage.py sync_secrets --rollback {FIRST[:8]}"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [NO_RESPONSE, THROTTLED, DENIED])
def test_hint_of_a_failure_has_the_version(error, when):
    """Without the version, another run could undo the rollback, because AWSPREVIOUS is another version then."""
    secret = written()
    secret.on("Move AWSCURRENT", error, when=when)
    secret.on("Describe", error, skip=1)
    with pytest.raises(AwsError) as caught:
        roll_back(secret, FIRST)
    assert f"Then complete the rollback, with the version: {AGAIN}" in caught.value.hint


def test_lost_response_that_boto3_retries():
    secret = written()
    secret.on("Move AWSCURRENT", when="again")
    roll_back(secret, FIRST)
    assert content(secret) == STORED


def test_other_writer_before_the_move():
    secret = written()
    secret.on("Move AWSCURRENT", partial(overwrite, secret, OTHER, b="theirs"))
    with pytest.raises(SecretConflict) as caught:
        roll_back(secret, FIRST)
    assert str(caught.value) == "prod/shop was changed by another writer. Nothing was changed."
    assert caught.value.hint.endswith(f"To roll back nevertheless, run: {AGAIN}")
    assert content(secret) == STORED | {"a": "a1", "new": 7, "b": "theirs"}


def test_other_writer_right_after_the_move():
    secret = written()
    secret.on("Move AWSCURRENT", partial(overwrite, secret, OTHER, b="theirs"), when="after")
    with pytest.raises(
        SecretConflict, match="were live as version 11111111; AWSCURRENT is now attached to 44444444"
    ) as caught:
        roll_back(secret, FIRST)
    assert caught.value.hint.startswith(f"Find the writer in CloudTrail, then run: {AGAIN}.")
    assert content(secret) == STORED | {"b": "theirs"}


@pytest.mark.parametrize("reads", [1, 3, 9])
def test_outdated_reads_after_the_move(reads):
    secret = written()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, reads), when="after")
    roll_back(secret, FIRST)
    assert content(secret) == STORED


def test_outdated_reads_forever_are_an_error():
    secret = written()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, 99), when="after")
    with pytest.raises(SecretConflict):
        roll_back(secret, FIRST)


def test_rotation_in_progress_is_refused():
    secret = written()
    start_rotation(secret, ROTATED, b="rotated")
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(RotationInProgress):
        roll_back(secret, FIRST)
    assert secret.secrets == before


def test_rotation_that_starts_meanwhile_is_reported():
    secret = written()
    secret.on("Move AWSCURRENT", partial(start_rotation, secret, ROTATED, b="rotated"))
    with pytest.raises(
        RotationInProgress, match=r"can overwrite this change\. The requested values are live as version 11111111"
    ) as caught:
        roll_back(secret, FIRST)
    assert caught.value.hint.startswith("Wait for it to finish, then check the secret. To end")


def test_label_of_a_finished_rotation_is_detached():
    secret = fake()
    start_rotation(secret, ROTATED, b="rotated")
    finish_rotation(secret)
    roll_back(secret, FIRST)
    assert secret.stored.labels == {"AWSCURRENT": FIRST, "AWSPREVIOUS": ROTATED}


@pytest.mark.parametrize("world", [written, fake])
def test_version_that_does_not_exist(world: Any):
    secret = world()
    with pytest.raises(SecretError) as caught:
        roll_back(secret, "9" * 32)
    assert str(caught.value) == f"prod/shop in us-east-1 has no version {'9' * 32} with a value."


def test_previous_version():
    assert store(fake()).read().previous_version is None
    assert store(written()).read().previous_version == FIRST


def test_version_without_a_value():
    secret = written()
    secret.stored.versions[OTHER] = None
    with pytest.raises(DeployError, match=f"has no version {OTHER} with a value"):
        roll_back(secret, OTHER)
