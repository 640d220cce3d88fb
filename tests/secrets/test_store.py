"""Writes on a strict fake: the calls, the state after a failed call, and concurrent writers."""

from __future__ import annotations

import copy
import logging
from functools import partial
from typing import Any

import pytest

from deploytools.errors import (
    AccessDenied,
    AwsError,
    DeployError,
    NoCredentials,
    NotFound,
    RotationInProgress,
    SecretBinary,
    SecretConflict,
    SecretDeleted,
    SecretEmpty,
    SecretError,
    SecretNotFound,
    SecretNotJson,
    SecretTooLarge,
    Throttled,
    Unreachable,
)
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState, SyncPlan, plan_sync
from deploytools.secrets.reader import READ_ATTEMPTS, SecretReader
from deploytools.secrets.store import WRITE_ATTEMPTS, SecretStore
from deploytools.secrets.versions import STAGED
from tests.fakes.errors import DENIED, EXPIRED, INTERNAL, NO_RESPONSE, THROTTLED, Crash, client_error
from tests.fakes.secretsmanager import Fake
from tests.secrets.fake_secret import (
    FIRST,
    NAME,
    REGION,
    STORED,
    content,
    deleted,
    empty,
    empty_after_failed_rotation,
    fake,
    finish_rotation,
    overwrite,
    start_rotation,
    store,
    sync,
    text,
)
from tests.secrets.reach import reachable

WRITE = ["Put", "Get version", "Move AWSCURRENT", "Get AWSCURRENT", "Describe", f"Drop {STAGED}"]
ALL = ["Get AWSCURRENT", "Describe", *WRITE]
OTHER, ROTATED = "2" * 32, "3" * 32
CANARY = "canary-7d1f"


# Without failures.


def test_calls_of_a_write():
    secret = fake()
    plan = sync(secret, a="a1", new=7)
    assert secret.calls == ALL
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}
    assert list(secret.stored.versions) == [FIRST, plan.token]
    assert secret.current == text(STORED | {"a": "a1", "new": 7})
    assert secret.stored.versions[FIRST] == {"SecretString": text(STORED)}


def test_no_changes_write_nothing():
    secret = fake()
    before = copy.deepcopy(secret.secrets)
    assert sync(secret, a="a0").is_empty
    assert (secret.calls, secret.secrets) == (["Get AWSCURRENT", "Describe"], before)


def test_other_order_of_an_object_is_no_change():
    secret = fake(nested={"x": 1, "y": 2})
    assert sync(secret, nested={"y": 2, "x": 1}).is_empty
    assert list(secret.stored.versions) == [FIRST]


def test_a_second_run_writes_nothing():
    secret = fake()
    sync(secret, a="a1")
    before = copy.deepcopy(secret.secrets)
    assert sync(secret, a="a1").is_empty
    assert secret.secrets == before


def test_read():
    secret = fake()
    expected = SecretState(NAME, REGION, FIRST, Document(STORED), {FIRST: ("AWSCURRENT",)})
    assert store(secret).read() == expected
    assert store(secret).read_current() == (FIRST, Document(STORED))


def test_read_current_needs_one_call():
    secret = fake()
    store(secret).read_current()
    assert secret.calls == ["Get AWSCURRENT"]


# Secrets that cannot be used.


def with_value(**value: Any) -> Fake:
    made = Fake(NAME)
    made.create_secret(Name=NAME, **value)
    return made


@pytest.mark.parametrize(
    ("secret", "error", "message"),
    [
        (Fake(NAME), SecretNotFound, "There is no secret prod/shop in us-east-1."),
        (empty(), SecretEmpty, "The secret prod/shop in us-east-1 has no value yet."),
        (empty_after_failed_rotation(), SecretEmpty, "The secret prod/shop in us-east-1 has no value yet."),
        (deleted(), SecretDeleted, "The secret prod/shop in us-east-1 is scheduled for deletion."),
        (
            with_value(SecretBinary=CANARY.encode()),
            SecretBinary,
            "The secret prod/shop contains binary data (SecretBinary), not text.",
        ),
        (
            with_value(SecretString=CANARY),
            SecretNotJson,
            "The secret prod/shop is not valid JSON (line 1, column 1).",
        ),
        (with_value(SecretString=f'["{CANARY}"]'), SecretNotJson, "The secret prod/shop is JSON, but not an object."),
        (
            with_value(SecretString=f'{{"a": 1, "a": "{CANARY}"}}'),
            SecretNotJson,
            'The secret prod/shop contains the key "a" twice.',
        ),
    ],
    ids=["absent", "empty", "empty after a failed rotation", "deleted", "binary", "not JSON", "list", "duplicate"],
)
def test_secrets_that_cannot_be_used(secret, error, message):
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(DeployError) as caught:
        sync(secret, a="a1")
    assert (type(caught.value), str(caught.value)) == (error, message)
    assert caught.value.hint
    assert secret.secrets == before
    assert [found for found in reachable(caught.value) if CANARY in found] == []


def test_hint_for_a_deleted_secret():
    with pytest.raises(SecretDeleted) as caught:
        store(deleted()).read()
    assert caught.value.hint == "Run: aws secretsmanager restore-secret --secret-id prod/shop --region us-east-1"


def test_absent_or_empty_if_describe_is_denied():
    secret = empty()
    secret.on("Describe", DENIED)
    with pytest.raises(SecretNotFound) as caught:
        store(secret).read_current()
    assert "secretsmanager:DescribeSecret is not allowed" in str(caught.value)


def test_too_large_after_the_merge():
    secret = fake(certificate="x" * 65_000)
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(SecretTooLarge):
        sync(secret, a="y" * 1_000)
    assert (secret.calls, secret.secrets) == (["Get AWSCURRENT", "Describe"], before)


# Failures of one call.


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", range(len(ALL)))
def test_crash_at_each_call_then_run_again(place, when):
    secret = fake()
    secret.on("*", Crash(), skip=place, when=when)
    with pytest.raises(Crash):
        sync(secret, a="a1", new=7)
    assert content(secret) in (STORED, STORED | {"a": "a1", "new": 7})
    sync(secret, a="a1", new=7)
    assert content(secret) == STORED | {"a": "a1", "new": 7}
    assert len(secret.stored.versions) == 2
    assert secret.stored.labels["AWSPREVIOUS"] == FIRST
    assert sync(secret, a="a1", new=7).is_empty


@pytest.mark.parametrize("place", range(len(ALL)))
def test_lost_response_at_each_call_then_run_again(place):
    secret = fake()
    secret.on("*", NO_RESPONSE, skip=place, when="after")
    try:
        sync(secret, a="a1")
    except Unreachable:
        assert place not in (4, 7), "the move of AWSCURRENT is read back, and a leftover label is harmless"
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert len(secret.stored.versions) == 2


@pytest.mark.parametrize("call", ["Put", "Move AWSCURRENT", f"Drop {STAGED}"])
def test_lost_response_that_boto3_retries(call):
    secret = fake()
    secret.on(call, when="again")
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}


@pytest.mark.parametrize("place", range(len(ALL) - 1))
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (THROTTLED, Throttled),
        (INTERNAL, AwsError),
        (DENIED, AccessDenied),
        (EXPIRED, NoCredentials),
        (NO_RESPONSE, Unreachable),
        (client_error("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text"), AwsError),
        (client_error("LimitExceededException", "The request failed because of a quota"), AwsError),
    ],
    ids=["throttled", "internal", "denied", "expired", "no response", "KMS", "quota"],
)
def test_error_at_each_call(place, error, expected):
    secret = fake()
    secret.on("*", error, skip=place)
    with pytest.raises(AwsError) as caught:
        sync(secret, a="a1")
    assert type(caught.value) is expected
    was_promoted = place > 4
    assert content(secret) == (STORED | {"a": "a1"} if was_promoted else STORED)
    assert secret.stored.labels.get("AWSPREVIOUS") == (FIRST if was_promoted else None)
    if place <= 4:
        assert STAGED not in secret.stored.labels
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert len(secret.stored.versions) == 2


def test_error_at_the_last_call_is_only_logged(caplog):
    secret = fake()
    secret.on(f"Drop {STAGED}", DENIED)
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert caplog.messages == [
        f"Version {plan.token} keeps the label {STAGED} until the next write: "
        "AWS denied secretsmanager:UpdateSecretVersionStage on the secret prod/shop in us-east-1."
    ]


@pytest.mark.parametrize("times", [1, 5])
def test_throttled_five_times_then_run_again(times):
    secret = fake()
    secret.on("*", THROTTLED, times=times)
    for _ in range(times):
        with pytest.raises(Throttled):
            sync(secret, a="a1")
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}


def test_put_denied():
    secret = fake()
    before = copy.deepcopy(secret.secrets)
    secret.on("Put", DENIED)
    with pytest.raises(AccessDenied) as caught:
        sync(secret, a="a1")
    assert (caught.value.action, secret.secrets) == ("secretsmanager:PutSecretValue", before)
    assert secret.calls == ["Get AWSCURRENT", "Describe", "Put"]


def test_replica_is_read_only():
    secret = fake()
    before = copy.deepcopy(secret.secrets)
    message = "Operation not permitted on a replica secret. Call must be made in primary secret's region."
    secret.on("Put", client_error("InvalidRequestException", message))
    with pytest.raises(AwsError) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == (
        f"secretsmanager:PutSecretValue failed for the secret prod/shop in us-east-1: {message} Nothing was changed."
    )
    assert secret.secrets == before


def test_moving_labels_denied_leaves_our_label(caplog):
    """The label stays on the version, because this identity is not allowed to detach it either."""
    secret = fake()
    secret.on("Move AWSCURRENT", DENIED)
    secret.on(f"Drop {STAGED}", DENIED)
    with pytest.raises(AccessDenied) as caught:
        sync(secret, a="a1")
    assert caught.value.action == "secretsmanager:UpdateSecretVersionStage"
    staged = secret.stored.labels[STAGED]
    assert secret.stored.labels == {"AWSCURRENT": FIRST, STAGED: staged}
    assert content(secret) == STORED
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"Version {staged} keeps the label {STAGED} until the next write" in caplog.text
    sync(secret, a="a1")
    assert secret.stored.labels == {"AWSCURRENT": staged, "AWSPREVIOUS": FIRST}


def test_moving_awscurrent_denied_detaches_our_label():
    secret = fake()
    secret.on("Move AWSCURRENT", DENIED)
    with pytest.raises(AccessDenied):
        sync(secret, a="a1")
    assert secret.stored.labels == {"AWSCURRENT": FIRST}
    assert secret.calls == [*ALL[:5], f"Drop {STAGED}"]


def test_label_of_an_earlier_crash_moves_to_the_new_version():
    secret = fake()
    secret.on("Move AWSCURRENT", Crash())
    with pytest.raises(Crash):
        sync(secret, a="never")
    left = secret.stored.labels[STAGED]
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}
    assert left in secret.stored.versions


def test_twenty_labels_on_a_version():
    secret = fake()
    for number in range(19):
        secret.stored.labels[f"label-{number}"] = FIRST
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert len(secret.stored.labels_of(FIRST)) == 20


def test_version_that_lost_its_label_is_promoted():
    secret = fake()
    secret.on("Put", partial(stage_another, secret), when="after")
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST, STAGED: OTHER}


def stage_another(secret: Fake) -> None:
    secret.put_secret_value(SecretId=NAME, ClientRequestToken=OTHER, SecretString="{}", VersionStages=[STAGED])


# Other writers.


@pytest.mark.parametrize("call", ["Get AWSCURRENT", "Describe", "Put"])
def test_other_key_written_meanwhile_is_merged(call):
    secret = fake()
    secret.on(call, partial(sync, secret, b="b1"), when="after")
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "b1"}
    assert secret.stored.labels["AWSCURRENT"] == plan.token
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("call", ["Get AWSCURRENT", "Describe", "Put"])
def test_same_key_written_meanwhile_is_a_conflict(call):
    secret = fake()
    secret.on(call, partial(sync, secret, a="theirs", b="b1"), when="after")
    if call == "Get AWSCURRENT":  # Before the plan: the other version is its base.
        sync(secret, a="a1")
        assert content(secret) == STORED | {"a": "a1", "b": "b1"}
        return
    with pytest.raises(SecretConflict) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == "Another writer changed a in prod/shop. Nothing was changed."
    assert content(secret) == STORED | {"a": "theirs", "b": "b1"}
    assert secret.stored.labels["AWSPREVIOUS"] == FIRST
    assert STAGED not in secret.stored.labels


def test_key_removed_meanwhile_is_a_conflict():
    secret = fake()
    rest = {key: value for key, value in STORED.items() if key != "a"}
    secret.on("Put", lambda: secret.put_secret_value(SecretId=NAME, SecretString=text(rest)))
    with pytest.raises(SecretConflict):
        sync(secret, a="a1")
    assert content(secret) == rest


def test_same_value_written_meanwhile_is_no_conflict():
    secret = fake()
    secret.on("Put", partial(overwrite, secret, OTHER, a="a1", b="b1"))
    assert sync(secret, a="a1").is_empty
    assert content(secret) == STORED | {"a": "a1", "b": "b1"}
    assert secret.stored.labels == {"AWSCURRENT": OTHER, "AWSPREVIOUS": FIRST}


def test_two_writers_with_the_same_content_create_one_version():
    secret = fake()
    secret.on("Put", partial(sync, secret, a="a1"))
    plan = sync(secret, a="a1")
    assert list(secret.stored.versions) == [FIRST, plan.token]
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}


def test_writer_that_does_not_stop_is_a_conflict():
    secret = fake()
    tokens = iter(f"{number:032}" for number in range(100))
    secret.on("Put", lambda: overwrite(secret, next(tokens), b=secret.calls.count("Put")), times=100)
    with pytest.raises(SecretConflict) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == ("prod/shop was changed by another writer 4 times in a row. Nothing was changed.")
    assert secret.calls.count("Put") == WRITE_ATTEMPTS
    assert content(secret) == STORED | {"b": WRITE_ATTEMPTS}
    assert STAGED not in secret.stored.labels


def test_other_key_written_afterwards():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(sync, secret, b="b1"), when="after")
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "b1"}
    assert secret.stored.labels["AWSPREVIOUS"] == plan.token


def test_same_key_written_afterwards_is_reported():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(sync, secret, a="later"), when="after")
    with pytest.raises(SecretConflict) as caught:
        sync(secret, a="a1")
    ours, theirs = secret.stored.labels["AWSPREVIOUS"], secret.stored.labels["AWSCURRENT"]
    assert str(caught.value) == (
        f"Another writer has changed a since then. The new values were live as version {ours[:8]}; AWSCURRENT is now "
        f"attached to {theirs[:8]}."
    )
    assert content(secret) == STORED | {"a": "later"}


def test_version_with_other_content_is_reported():
    secret = fake()

    def tamper() -> None:
        secret.stored.versions[secret.stored.labels["AWSCURRENT"]] = {"SecretString": "{}"}

    secret.on("Move AWSCURRENT", tamper, when="after")
    with pytest.raises(
        SecretError, match=r"does not contain what was written. The new values are live as version \w{8},"
    ):
        sync(secret, a="a1")


def test_version_with_other_content_does_not_become_current():
    secret = fake()

    def tamper() -> None:
        secret.stored.versions[secret.stored.labels[STAGED]] = {"SecretString": "{}"}

    secret.on("Put", tamper, when="after")
    with pytest.raises(SecretError, match=r"does not contain what was written. Nothing was changed.$"):
        sync(secret, a="a1")
    assert secret.stored.labels == {"AWSCURRENT": FIRST}


# Removed keys and defaults.


def test_removed_key():
    secret = fake()
    sync(secret, unset=["a", "never there"], b="b1")
    assert content(secret) == {key: value for key, value in STORED.items() if key != "a"} | {"b": "b1"}
    before = copy.deepcopy(secret.secrets)
    assert sync(secret, unset=["a"], b="b1").is_empty
    assert secret.secrets == before


def test_removed_key_changed_meanwhile_is_a_conflict():
    secret = fake()
    secret.on("Put", partial(sync, secret, a="theirs"))
    with pytest.raises(SecretConflict, match="Another writer changed a in prod/shop"):
        sync(secret, unset=["a"])
    assert content(secret) == STORED | {"a": "theirs"}


def test_key_removed_by_two_writers():
    secret = fake()
    secret.on("Put", partial(sync, secret, unset=["a"], b="b1"))
    assert sync(secret, unset=["a"]).is_empty
    assert content(secret) == {key: value for key, value in STORED.items() if key != "a"} | {"b": "b1"}


def test_removed_key_written_afterwards_is_reported():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(sync, secret, a="back"), when="after")
    with pytest.raises(SecretConflict, match="Another writer has changed a since then"):
        sync(secret, unset=["a"])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", range(len(ALL)))
def test_crash_at_each_call_of_a_removal_then_run_again(place, when):
    secret = fake()
    secret.on("*", Crash(), skip=place, when=when)
    with pytest.raises(Crash):
        sync(secret, unset=["a"], defaults={"made": "m1"})
    sync(secret, unset=["a"], defaults={"made": "m1"})
    assert content(secret) == {key: value for key, value in STORED.items() if key != "a"} | {"made": "m1"}
    assert len(secret.stored.versions) == 2


def test_value_generated_by_another_writer_is_kept():
    """Two runs generate a value for the same missing key: the second one keeps it and writes its other keys."""
    secret = fake()
    secret.on("Put", partial(sync, secret, defaults={"made": "theirs"}))
    plan = sync(secret, defaults={"made": "ours"}, a="a1")
    assert content(secret) == STORED | {"made": "theirs", "a": "a1"}
    assert plan.generated == ()


# Rotation.


def test_rotation_in_progress_is_refused():
    secret = fake()
    start_rotation(secret, ROTATED, b="rotated")
    before = copy.deepcopy(secret.secrets)
    secret.calls.clear()
    with pytest.raises(RotationInProgress) as caught:
        sync(secret, a="a1")
    assert (secret.calls, secret.secrets) == (["Get AWSCURRENT", "Describe"], before)
    assert str(caught.value) == (
        "A rotation of prod/shop is in progress (AWSPENDING is on version 33333333) and overwrites changes made in the "
        "meantime. Nothing was changed."
    )
    finish_rotation(secret)
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "rotated"}


def test_rotation_in_progress_is_refused_even_without_changes():
    """The rotation overwrites the current value, so the run must not succeed."""
    secret = fake()
    start_rotation(secret, ROTATED, b="rotated")
    overwrite(secret, OTHER, a="a1")
    with pytest.raises(RotationInProgress):
        sync(secret, a="a1")
    finish_rotation(secret)
    assert content(secret)["a"] == "a0"


def test_rotation_that_starts_during_the_write_is_reported():
    secret = fake()
    secret.on("Put", partial(start_rotation, secret, ROTATED, b="rotated"))
    with pytest.raises(RotationInProgress) as caught:
        sync(secret, a="a1")
    version = secret.stored.labels["AWSCURRENT"][:8]
    assert str(caught.value).endswith(f"and can overwrite this change. The new values are live as version {version}.")
    assert content(secret) == STORED | {"a": "a1"}
    assert STAGED not in secret.stored.labels


def test_rotation_started_after_the_write_keeps_it():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(start_rotation, secret, ROTATED, b="rotated"), when="after")
    with pytest.raises(RotationInProgress):
        sync(secret, a="a1")
    finish_rotation(secret)
    assert content(secret) == STORED | {"a": "a1", "b": "rotated"}
    assert sync(secret, a="a1").is_empty


def test_whole_rotation_before_the_move_is_merged():
    secret = fake()

    def rotate() -> None:
        start_rotation(secret, ROTATED, b="rotated")
        finish_rotation(secret)

    secret.on("Move AWSCURRENT", rotate)
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "rotated"}


@pytest.mark.parametrize(
    ("call", "when"),
    [(call, when) for call in WRITE[2:] for when in ("before", "after") if (call, when) != (WRITE[2], "before")],
)
def test_rotation_that_ends_around_the_read_back_is_reported(call, when):
    """It starts before the move of AWSCURRENT and ends after it: then AWSCURRENT has a version without the key."""
    secret = fake()
    secret.on("Put", partial(start_rotation, secret, ROTATED, b="rotated"))
    skip = 1 if call in {"Get AWSCURRENT", "Describe"} else 0
    secret.on(call, partial(finish_rotation, secret), when=when, skip=skip)
    with pytest.raises((RotationInProgress, SecretConflict)):
        sync(secret, a="a1")
    assert content(secret) == STORED | {"b": "rotated"}
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "rotated"}


def test_awspending_on_the_current_version_is_harmless():
    secret = fake()
    secret.stored.labels["AWSPENDING"] = FIRST
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}
    assert secret.calls == ["Get AWSCURRENT", "Describe", "Drop AWSPENDING", *WRITE]
    sync(secret, a="a2")


def test_rotation_that_starts_while_the_previous_ones_label_is_detached():
    secret = fake()
    secret.stored.labels["AWSPENDING"] = FIRST
    secret.on("Drop AWSPENDING", partial(start_rotation, secret, ROTATED, b="rotated"))
    with pytest.raises(AwsError):
        sync(secret, a="a1")
    assert content(secret) == STORED
    assert secret.stored.labels == {"AWSCURRENT": FIRST, "AWSPENDING": ROTATED}


def test_awspending_on_an_empty_version_is_refused():
    """A rotation that failed at its first step leaves this state."""
    secret = fake()
    secret.stored.versions[OTHER] = None
    secret.stored.labels["AWSPENDING"] = OTHER
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(RotationInProgress) as caught:
        sync(secret, a="a1")
    assert caught.value.hint == (
        "Wait for it to finish, then run the command again. To end a rotation that failed, run: aws secretsmanager "
        "update-secret-version-stage --secret-id prod/shop --region us-east-1 --version-stage AWSPENDING "
        f"--remove-from-version-id {OTHER}"
    )
    assert secret.secrets == before


# Outdated reads.


@pytest.mark.parametrize("reads", range(1, 2 * READ_ATTEMPTS))
def test_outdated_reads_after_the_move(reads):
    secret = fake()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, reads), when="after")
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("reads", range(1, 3 * READ_ATTEMPTS))
@pytest.mark.parametrize("is_retried", [True, False], ids=["boto3 retries", "no response"])
def test_move_that_reads_do_not_show_at_once_is_not_reported_as_unchanged(reads, is_retried):
    """The response is lost, and outdated reads show AWSCURRENT on its old version."""
    secret = fake()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, reads), when="before" if is_retried else "after")
    secret.on("Move AWSCURRENT", NO_RESPONSE, when="again" if is_retried else "after")
    try:
        plan = sync(secret, a="a1")
    except Unreachable:
        assert (is_retried, reads >= READ_ATTEMPTS) == (False, True)
        secret.forget()
        plan = sync(secret, a="a2")
    assert (plan.is_empty, secret.stored.labels["AWSCURRENT"]) == (False, plan.token)
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("reads", [1, READ_ATTEMPTS])
def test_new_version_is_not_found_at_first(reads):
    secret = fake()
    secret.on("Get version", client_error("ResourceNotFoundException", "can't find the version"), times=reads)
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}


def test_new_version_is_never_found():
    secret = fake()
    secret.on("Get version", client_error("ResourceNotFoundException", "can't find the version"), times=99)
    with pytest.raises(NotFound):
        sync(secret, a="a1")
    assert secret.calls.count("Get version") == READ_ATTEMPTS + 1


def test_outdated_reads_forever_are_an_error():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, 99), when="after")
    with pytest.raises(
        SecretConflict, match="AWS still returns version 11111111 of prod/shop, or another writer moved"
    ):
        sync(secret, a="a1")


def test_waits_increase():
    waits: list[float] = []
    secret = fake()
    patient = SecretStore(store(secret).client, NAME, REGION, sleep=waits.append)

    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document({"a": "a1"}), stage="launch")

    plan = replan(patient.read())
    assert waits == []
    secret.on("Move AWSCURRENT", partial(secret.read_stale, 99), when="after")
    with pytest.raises(SecretConflict):
        patient.write(plan, replan)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6]


# Values in logs and errors.


def test_no_value_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    secret = fake()
    secret.on("Put", partial(overwrite, secret, OTHER, b=CANARY))
    secret.on(f"Drop {STAGED}", DENIED)
    sync(secret, a=CANARY + "-ours")
    assert content(secret)["a"] == CANARY + "-ours"
    assert caplog.records
    assert CANARY not in caplog.text


@pytest.mark.parametrize("place", range(len(ALL) - 1))
@pytest.mark.parametrize("error", [DENIED, NO_RESPONSE])
def test_no_value_in_an_error(place, error):
    secret = fake(a=CANARY)
    secret.on("*", error, skip=place)
    with pytest.raises(AwsError) as caught:
        sync(secret, b=CANARY + "-ours")
    assert [found for found in reachable(caught.value) if CANARY in found] == []


def test_a_page_of_versions_can_be_empty():
    class Pages:
        def list_secret_version_ids(self, *, NextToken: str = "", **_: Any) -> dict[str, Any]:
            return {"Versions": [{"VersionId": "a" * 32}]} if NextToken else {"Versions": [], "NextToken": "2"}

    client: Any = Pages()
    assert [version.id for version in SecretReader(client, "shop", "us-east-1").list_versions()] == ["a" * 32]
