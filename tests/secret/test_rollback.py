"""The way back, on the strict fake: the same compare-and-swap, with no new version and nothing planned anew."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest

from deploytools.errors import AwsError, DeployError, RotationUnderWay, SecretConflict, SecretError
from deploytools.secret.document import Change, ChangeKind, Document
from deploytools.secret.rollback import RollbackPlan, plan_rollback
from deploytools.secret.sync import SecretState
from tests.fakes.errors import DENIED, NO_ANSWER, THROTTLED, Crash
from tests.fakes.secretsmanager import Fake
from tests.secret.samples import GOOD, GUIDE_STEP_1
from tests.secret.world import (
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

ROTATED, OTHER = "3" * 32, "4" * 32
MOVES = ["Move AWSCURRENT", "Get AWSCURRENT", "Describe"]


def written() -> Fake:
    """A secret that was written once: the version before it is `FIRST`."""
    secret = fake()
    sync(secret, a="a1", new=7)
    secret.calls.clear()
    return secret


def plan(secret: Fake, version: str = FIRST) -> RollbackPlan:
    target = store(secret)
    return plan_rollback(target.read(), version, target.read_version(version), stage="launch")


def test_the_calls_of_a_rollback():
    secret = written()
    versions, current = copy.deepcopy(secret.stored.versions), secret.stored.labels["AWSCURRENT"]
    roll_back(secret, FIRST)
    assert secret.calls == ["Get AWSCURRENT", "Describe", "Get version", *MOVES]
    assert secret.stored.labels == {"AWSCURRENT": FIRST, "AWSPREVIOUS": current}
    assert secret.stored.versions == versions


def test_what_is_shown_is_what_changes():
    made = plan(written())
    assert [(change.key, change.kind) for change in made.changes if change.kind is not ChangeKind.KEPT] == [
        ("a", ChangeKind.CHANGED),
        ("new", ChangeKind.REMOVED),
    ]
    assert (made.after, made.is_empty) == (Document(STORED), False)


def test_back_to_what_breaks_the_contract_is_told():
    state = SecretState(NAME, "us-east-1", OTHER, Document(GOOD), {})
    made = plan_rollback(state, FIRST, Document(GUIDE_STEP_1), stage="launch", required=["email_host", "other"])
    assert {item.key for item in made.problems} > {"password", "django_secret_key"}
    assert made.missing == ("other",)
    assert Change("password", ChangeKind.CHANGED) in made.changes


def test_the_same_write_again_after_a_rollback():
    """Base and content are the same, so its version is there already: it becomes current again, and none is made."""
    secret = written()
    first, versions = secret.stored.labels["AWSCURRENT"], dict(secret.stored.versions)
    roll_back(secret, FIRST)
    assert sync(secret, a="a1", new=7).token == first
    assert secret.stored.versions == versions
    assert secret.stored.labels == {"AWSCURRENT": first, "AWSPREVIOUS": FIRST}


def test_to_the_version_that_is_current_writes_nothing():
    secret = written()
    roll_back(secret, FIRST)
    before = copy.deepcopy(secret.secrets)
    secret.calls.clear()
    roll_back(secret, FIRST)
    assert secret.secrets == before
    assert secret.calls == ["Get AWSCURRENT", "Describe", "Get version"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Crash, NO_ANSWER, THROTTLED, DENIED])
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


AGAIN = f"python manage.py sync_secrets --rollback {FIRST}"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [NO_ANSWER, THROTTLED, DENIED])
def test_what_failed_names_the_version_to_go_back_to(error, when):
    """Run again without one, it would go forward to the version that was left."""
    secret = written()
    secret.on("Move AWSCURRENT", error, when=when)
    secret.on("Describe", error, skip=1)
    with pytest.raises(AwsError) as caught:
        roll_back(secret, FIRST)
    assert caught.value.hint.endswith(f"; then name the version, lest it goes forward again: {AGAIN}")


def test_a_lost_answer_that_botocore_asks_again():
    secret = written()
    secret.on("Move AWSCURRENT", when="again")
    roll_back(secret, FIRST)
    assert content(secret) == STORED


def test_another_writer_comes_first():
    secret = written()
    secret.on("Move AWSCURRENT", partial(overwrite, secret, OTHER, b="theirs"))
    with pytest.raises(SecretConflict) as caught:
        roll_back(secret, FIRST)
    assert str(caught.value) == "Somebody else has just written prod/shop; AWSCURRENT stayed where they put it."
    assert caught.value.hint.endswith(f"then, if it is still meant: {AGAIN}")
    assert content(secret) == STORED | {"a": "a1", "new": 7, "b": "theirs"}


def test_another_writer_comes_right_after():
    secret = written()
    secret.on("Move AWSCURRENT", partial(overwrite, secret, OTHER, b="theirs"), when="after")
    with pytest.raises(SecretConflict, match=f"was rolled back, but AWSCURRENT names version {OTHER} now") as caught:
        roll_back(secret, FIRST)
    assert caught.value.hint.endswith(f"then, if it is still meant: {AGAIN}")
    assert content(secret) == STORED | {"b": "theirs"}


@pytest.mark.parametrize("reads", [1, 3, 9])
def test_reading_back_old_values(reads):
    secret = written()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, reads), when="after")
    roll_back(secret, FIRST)
    assert content(secret) == STORED


def test_old_values_for_ever_are_not_called_done():
    secret = written()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, 99), when="after")
    with pytest.raises(SecretConflict):
        roll_back(secret, FIRST)


def test_rotation_under_way_is_refused():
    secret = written()
    start_rotation(secret, ROTATED, b="rotated")
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(RotationUnderWay):
        roll_back(secret, FIRST)
    assert secret.secrets == before


def test_rotation_that_begins_meanwhile_is_told():
    secret = written()
    secret.on("Move AWSCURRENT", partial(start_rotation, secret, ROTATED, b="rotated"))
    with pytest.raises(RotationUnderWay, match="this rollback came in between and may get lost") as caught:
        roll_back(secret, FIRST)
    assert caught.value.hint.startswith(f"Wait for it to finish, then run: {AGAIN}. One that")


def test_the_label_of_a_finished_rotation_does_not_stay_behind():
    secret = fake()
    start_rotation(secret, ROTATED, b="rotated")
    finish_rotation(secret)
    roll_back(secret, FIRST)
    assert secret.stored.labels == {"AWSCURRENT": FIRST, "AWSPREVIOUS": ROTATED}


@pytest.mark.parametrize("world", [written, fake])
def test_a_version_that_is_not_there(world: Any):
    secret = world()
    with pytest.raises(SecretError) as caught:
        roll_back(secret, "9" * 32)
    assert str(caught.value) == f"prod/shop in us-east-1 has no version {'9' * 32} with a value."


def test_which_version_was_before():
    assert store(fake()).read().previous_version is None
    assert store(written()).read().previous_version == FIRST


def test_an_empty_version_of_a_failed_rotation():
    secret = written()
    secret.stored.versions[OTHER] = None
    with pytest.raises(DeployError, match=f"has no version {OTHER} with a value"):
        roll_back(secret, OTHER)
