"""The write, on a strict fake: what is called, what is left when a call fails, who wins when two write."""

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
    RotationUnderWay,
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
from deploytools.secret.document import Document
from deploytools.secret.labels import STAGED
from deploytools.secret.reader import LOOKS
from deploytools.secret.store import WRITE_ATTEMPTS, SecretStore
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync
from tests.fakes.errors import DENIED, EXPIRED, INTERNAL, NO_ANSWER, THROTTLED, Crash, client_error
from tests.fakes.secretsmanager import Fake, Stored
from tests.secret.reach import reachable
from tests.secret.world import (
    FIRST,
    NAME,
    REGION,
    STORED,
    content,
    fake,
    finish_rotation,
    overwrite,
    start_rotation,
    store,
    sync,
    text,
)

WRITE = ["Put", "Move AWSCURRENT", "Get version", "Get AWSCURRENT", "Describe", f"Drop {STAGED}"]
ALL = ["Get AWSCURRENT", "Describe", *WRITE]
OTHER, ROTATED = "2" * 32, "3" * 32
CANARY = "canary-7d1f"


def without_our_label(fake: Fake) -> Stored:
    """The secret's state, our label aside."""
    stored = copy.deepcopy(fake.stored)
    stored.labels.pop(STAGED, None)
    return stored


# The happy path.


def test_the_calls_of_a_write():
    secret = fake()
    plan = sync(secret, a="a1", new=7)
    assert secret.calls == ALL
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}
    assert list(secret.stored.versions) == [FIRST, plan.token]
    assert secret.current == text(STORED | {"a": "a1", "new": 7})
    assert secret.stored.versions[FIRST] == {"SecretString": text(STORED)}


def test_nothing_to_change_writes_nothing():
    secret = fake()
    before = copy.deepcopy(secret.secrets)
    assert sync(secret, a="a0").is_empty
    assert (secret.calls, secret.secrets) == (["Get AWSCURRENT", "Describe"], before)


def test_another_order_of_the_same_object_is_no_change():
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


def test_reading_the_value_alone_needs_one_call():
    secret = fake()
    store(secret).read_current()
    assert secret.calls == ["Get AWSCURRENT"]


# What cannot be used.


def with_value(**value: Any) -> Fake:
    made = Fake(NAME)
    made.create_secret(Name=NAME, **value)
    return made


def empty() -> Fake:
    return with_value()


def half_rotated_empty() -> Fake:
    made = with_value()
    made.stored.versions[OTHER] = None
    made.stored.labels["AWSPENDING"] = OTHER
    return made


def deleted() -> Fake:
    made = fake()
    made.stored.deleted = True
    return made


@pytest.mark.parametrize(
    ("secret", "error", "message"),
    [
        (Fake(NAME), SecretNotFound, "There is no secret prod/shop in us-east-1."),
        (empty(), SecretEmpty, "The secret prod/shop in us-east-1 exists and has no value yet."),
        (half_rotated_empty(), SecretEmpty, "The secret prod/shop in us-east-1 exists and has no value yet."),
        (deleted(), SecretDeleted, "The secret prod/shop in us-east-1 is scheduled for deletion."),
        (
            with_value(SecretBinary=CANARY.encode()),
            SecretBinary,
            "The secret prod/shop holds binary data (SecretBinary), not text.",
        ),
        (
            with_value(SecretString=CANARY),
            SecretNotJson,
            "The secret prod/shop is not JSON: it breaks off at line 1, column 1.",
        ),
        (with_value(SecretString=f'["{CANARY}"]'), SecretNotJson, "The secret prod/shop is JSON, but not an object."),
        (
            with_value(SecretString=f'{{"a": 1, "a": "{CANARY}"}}'),
            SecretNotJson,
            'The secret prod/shop names the key "a" twice.',
        ),
    ],
    ids=["absent", "empty", "empty, half rotated", "deleted", "binary", "not JSON", "list", "duplicate"],
)
def test_what_cannot_be_used(secret, error, message):
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(DeployError) as caught:
        sync(secret, a="a1")
    assert (type(caught.value), str(caught.value)) == (error, message)
    assert caught.value.hint
    assert secret.secrets == before
    assert [found for found in reachable(caught.value) if CANARY in found] == []


def test_a_deleted_secret_names_the_way_back():
    with pytest.raises(SecretDeleted) as caught:
        store(deleted()).read()
    assert caught.value.hint == "Bring it back: python manage.py sync_secrets --restore"


def test_absent_or_empty_where_describe_is_denied():
    secret = empty()
    secret.on("Describe", DENIED)
    with pytest.raises(SecretNotFound) as caught:
        store(secret).read_current()
    assert "secretsmanager:DescribeSecret may not be asked" in str(caught.value)


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
def test_lost_answer_at_each_call_then_run_again(place):
    secret = fake()
    secret.on("*", NO_ANSWER, skip=place, when="after")
    try:
        sync(secret, a="a1")
    except Unreachable:
        assert place not in (3, 7), "the promotion is looked up, the label harmless"
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert len(secret.stored.versions) == 2


@pytest.mark.parametrize("call", ["Put", "Move AWSCURRENT", f"Drop {STAGED}"])
def test_lost_answer_that_botocore_asks_again(call):
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
        (NO_ANSWER, Unreachable),
        (client_error("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text"), AwsError),
        (client_error("LimitExceededException", "The request failed because of a quota"), AwsError),
    ],
    ids=["throttled", "internal", "denied", "expired", "no answer", "KMS", "quota"],
)
def test_an_error_at_each_call(place, error, expected):
    secret = fake()
    secret.on("*", error, skip=place)
    with pytest.raises(AwsError) as caught:
        sync(secret, a="a1")
    assert type(caught.value) is expected
    was_promoted = place > 3
    assert content(secret) == (STORED | {"a": "a1"} if was_promoted else STORED)
    assert secret.stored.labels.get("AWSPREVIOUS") == (FIRST if was_promoted else None)
    if place <= 3:
        assert STAGED not in secret.stored.labels
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert len(secret.stored.versions) == 2


def test_an_error_at_the_last_call_is_told_only(caplog):
    secret = fake()
    secret.on(f"Drop {STAGED}", DENIED)
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert caplog.messages == [
        f"The label {STAGED} stays on version {plan.token} until the next write: "
        "AWS denied secretsmanager:UpdateSecretVersionStage on prod/shop."
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


def test_a_replica_in_another_region_is_read_only():
    secret = fake()
    before = copy.deepcopy(secret.secrets)
    said = "Operation not permitted on a replica secret. Call must be made in primary secret's region."
    secret.on("Put", client_error("InvalidRequestException", said))
    with pytest.raises(AwsError) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == f"secretsmanager:PutSecretValue failed for prod/shop: {said}"
    assert secret.secrets == before


def test_moving_labels_denied_leaves_our_label_and_tells(caplog):
    """The version stays behind under our label: this identity may not take it off either."""
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
    assert f"The label {STAGED} stays on version {staged}" in caplog.text
    sync(secret, a="a1")
    assert secret.stored.labels == {"AWSCURRENT": staged, "AWSPREVIOUS": FIRST}


def test_moving_awscurrent_denied_takes_our_label_off():
    secret = fake()
    secret.on("Move AWSCURRENT", DENIED)
    with pytest.raises(AccessDenied):
        sync(secret, a="a1")
    assert secret.stored.labels == {"AWSCURRENT": FIRST}
    assert secret.calls == [*ALL[:4], f"Drop {STAGED}"]


def test_label_left_by_an_earlier_crash_moves_along():
    secret = fake()
    secret.on("Move AWSCURRENT", Crash())
    with pytest.raises(Crash):
        sync(secret, a="never")
    left = secret.stored.labels[STAGED]
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}
    assert left in secret.stored.versions


def test_twenty_labels_on_a_version_do_not_matter():
    secret = fake()
    for number in range(19):
        secret.stored.labels[f"label-{number}"] = FIRST
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert len(secret.stored.labels_of(FIRST)) == 20


def test_a_version_of_ours_that_lost_all_its_labels_is_still_promoted():
    secret = fake()
    secret.on("Put", partial(stage_another, secret), when="after")
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST, STAGED: OTHER}


def stage_another(secret: Fake) -> None:
    secret.put_secret_value(SecretId=NAME, ClientRequestToken=OTHER, SecretString="{}", VersionStages=[STAGED])


# Other writers.


@pytest.mark.parametrize("call", ["Get AWSCURRENT", "Describe", "Put"])
def test_another_key_written_meanwhile_is_merged(call):
    secret = fake()
    secret.on(call, partial(sync, secret, b="b1"), when="after")
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "b1"}
    assert secret.stored.labels["AWSCURRENT"] == plan.token
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("call", ["Get AWSCURRENT", "Describe", "Put"])
def test_the_same_key_written_meanwhile_is_a_conflict(call):
    secret = fake()
    secret.on(call, partial(sync, secret, a="theirs", b="b1"), when="after")
    if call == "Get AWSCURRENT":  # Seen before the plan is made: theirs is the base.
        sync(secret, a="a1")
        assert content(secret) == STORED | {"a": "a1", "b": "b1"}
        return
    with pytest.raises(SecretConflict) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == "Somebody else has just changed a in prod/shop; AWSCURRENT stays where they put it."
    assert content(secret) == STORED | {"a": "theirs", "b": "b1"}
    assert secret.stored.labels["AWSPREVIOUS"] == FIRST
    assert STAGED not in secret.stored.labels


def test_a_key_taken_out_meanwhile_is_a_conflict():
    secret = fake()
    rest = {key: value for key, value in STORED.items() if key != "a"}
    secret.on("Put", lambda: secret.put_secret_value(SecretId=NAME, SecretString=text(rest)))
    with pytest.raises(SecretConflict):
        sync(secret, a="a1")
    assert content(secret) == rest


def test_a_key_that_another_wrote_the_same_way_is_no_conflict():
    secret = fake()
    secret.on("Put", partial(overwrite, secret, OTHER, a="a1", b="b1"))
    assert sync(secret, a="a1").is_empty
    assert content(secret) == STORED | {"a": "a1", "b": "b1"}
    assert secret.stored.labels == {"AWSCURRENT": OTHER, "AWSPREVIOUS": FIRST}


def test_the_same_content_by_two_is_one_version():
    secret = fake()
    secret.on("Put", partial(sync, secret, a="a1"))
    plan = sync(secret, a="a1")
    assert list(secret.stored.versions) == [FIRST, plan.token]
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": FIRST}


def test_an_endless_writer_is_a_conflict():
    secret = fake()
    tokens = iter(f"{number:032}" for number in range(100))
    secret.on("Put", lambda: overwrite(secret, next(tokens), b=secret.calls.count("Put")), times=100)
    with pytest.raises(SecretConflict) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == (
        "prod/shop was changed by somebody else 4 times in a row; AWSCURRENT stays where they put it."
    )
    assert secret.calls.count("Put") == WRITE_ATTEMPTS
    assert content(secret) == STORED | {"b": WRITE_ATTEMPTS}
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("call", ["Move AWSCURRENT", "Get version"])
def test_another_key_written_afterwards_is_fine(call):
    secret = fake()
    secret.on(call, partial(sync, secret, b="b1"), when="after")
    plan = sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "b1"}
    assert secret.stored.labels["AWSPREVIOUS"] == plan.token


@pytest.mark.parametrize("call", ["Move AWSCURRENT", "Get version"])
def test_the_same_key_written_afterwards_is_told(call):
    secret = fake()
    secret.on(call, partial(sync, secret, a="later"), when="after")
    with pytest.raises(SecretConflict) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == ("prod/shop was written, but AWSCURRENT now names a version without a as given.")
    assert content(secret) == STORED | {"a": "later"}


def test_a_version_that_does_not_hold_what_was_written():
    secret = fake()

    def tamper() -> None:
        secret.stored.versions[secret.stored.labels["AWSCURRENT"]] = {"SecretString": "{}"}

    secret.on("Move AWSCURRENT", tamper, when="after")
    with pytest.raises(SecretError, match="does not hold what was written"):
        sync(secret, a="a1")


# Keys that go, and values that are made only where there is none.


def test_a_key_that_goes():
    secret = fake()
    sync(secret, unset=["a", "never there"], b="b1")
    assert content(secret) == {key: value for key, value in STORED.items() if key != "a"} | {"b": "b1"}
    before = copy.deepcopy(secret.secrets)
    assert sync(secret, unset=["a"], b="b1").is_empty
    assert secret.secrets == before


def test_a_key_that_goes_is_changed_by_another_meanwhile():
    secret = fake()
    secret.on("Put", partial(sync, secret, a="theirs"))
    with pytest.raises(SecretConflict, match="Somebody else has just changed a in prod/shop"):
        sync(secret, unset=["a"])
    assert content(secret) == STORED | {"a": "theirs"}


def test_a_key_that_goes_was_taken_out_by_another():
    secret = fake()
    secret.on("Put", partial(sync, secret, unset=["a"], b="b1"))
    assert sync(secret, unset=["a"]).is_empty
    assert content(secret) == {key: value for key, value in STORED.items() if key != "a"} | {"b": "b1"}


def test_a_key_that_went_and_is_back_is_told():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(sync, secret, a="back"), when="after")
    with pytest.raises(SecretConflict, match="a version without a as given"):
        sync(secret, unset=["a"])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", range(len(ALL)))
def test_crash_at_each_call_of_a_removal_then_run_again(place, when):
    secret = fake()
    secret.on("*", Crash(), skip=place, when=when)
    with pytest.raises(Crash):
        sync(secret, unset=["a"], fills={"made": "m1"})
    sync(secret, unset=["a"], fills={"made": "m1"})
    assert content(secret) == {key: value for key, value in STORED.items() if key != "a"} | {"made": "m1"}
    assert len(secret.stored.versions) == 2


def test_what_another_made_meanwhile_is_kept():
    """Two runs make a value for the same missing key: the first one's stays, and the second writes its own rest."""
    secret = fake()
    secret.on("Put", partial(sync, secret, fills={"made": "theirs"}))
    plan = sync(secret, fills={"made": "ours"}, a="a1")
    assert content(secret) == STORED | {"made": "theirs", "a": "a1"}
    assert plan.made == ()


# Rotation.


def test_rotation_under_way_is_refused():
    secret = fake()
    start_rotation(secret, ROTATED, b="rotated")
    before = copy.deepcopy(secret.secrets)
    secret.calls.clear()
    with pytest.raises(RotationUnderWay) as caught:
        sync(secret, a="a1")
    assert (secret.calls, secret.secrets) == (["Get AWSCURRENT", "Describe"], before)
    assert str(caught.value) == (
        f"A rotation of prod/shop is under way (AWSPENDING is on version {ROTATED}); "
        "it would undo what others write meanwhile, and nothing was written."
    )
    finish_rotation(secret)
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "rotated"}


def test_rotation_under_way_is_refused_even_where_there_is_nothing_to_write():
    """What is there now, the rotation takes away: it must not be called done."""
    secret = fake()
    start_rotation(secret, ROTATED, b="rotated")
    overwrite(secret, OTHER, a="a1")
    with pytest.raises(RotationUnderWay):
        sync(secret, a="a1")
    finish_rotation(secret)
    assert content(secret)["a"] == "a0"


@pytest.mark.parametrize("call", WRITE[:3])
def test_rotation_that_begins_during_the_write_is_told(call):
    secret = fake()
    secret.on("Put", partial(start_rotation, secret, ROTATED, b="rotated"))
    with pytest.raises(RotationUnderWay) as caught:
        sync(secret, a="a1")
    assert str(caught.value).endswith("and this write came in between and may get lost.")
    assert content(secret) == STORED | {"a": "a1"}
    assert STAGED not in secret.stored.labels


def test_rotation_begun_after_the_write_keeps_it():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(start_rotation, secret, ROTATED, b="rotated"), when="after")
    with pytest.raises(RotationUnderWay):
        sync(secret, a="a1")
    finish_rotation(secret)
    assert content(secret) == STORED | {"a": "a1", "b": "rotated"}
    assert sync(secret, a="a1").is_empty


def test_rotation_from_start_to_end_before_the_promotion_is_merged():
    secret = fake()

    def rotate() -> None:
        start_rotation(secret, ROTATED, b="rotated")
        finish_rotation(secret)

    secret.on("Move AWSCURRENT", rotate)
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1", "b": "rotated"}


@pytest.mark.parametrize(
    ("call", "when"),
    [(call, when) for call in WRITE[1:] for when in ("before", "after") if (call, when) != (WRITE[1], "before")],
)
def test_rotation_that_ends_around_the_read_back_is_never_called_done(call, when):
    """Begun before the promotion, ended after it: AWSCURRENT goes to a version without the key (FACTS B1.5)."""
    secret = fake()
    secret.on("Put", partial(start_rotation, secret, ROTATED, b="rotated"))
    skip = 1 if call in {"Get AWSCURRENT", "Describe"} else 0
    secret.on(call, partial(finish_rotation, secret), when=when, skip=skip)
    with pytest.raises((RotationUnderWay, SecretConflict)):
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


def test_rotation_that_begins_while_the_last_ones_label_is_taken_off():
    secret = fake()
    secret.stored.labels["AWSPENDING"] = FIRST
    secret.on("Drop AWSPENDING", partial(start_rotation, secret, ROTATED, b="rotated"))
    with pytest.raises(AwsError):
        sync(secret, a="a1")
    assert content(secret) == STORED
    assert secret.stored.labels == {"AWSCURRENT": FIRST, "AWSPENDING": ROTATED}


def test_awspending_on_an_empty_version_is_refused():
    """What a rotation leaves that failed at its first step (FACTS B1.6)."""
    secret = fake()
    secret.stored.versions[OTHER] = None
    secret.stored.labels["AWSPENDING"] = OTHER
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(RotationUnderWay) as caught:
        sync(secret, a="a1")
    assert caught.value.hint == (
        "Wait for it to finish, then run it again. One that failed long ago is ended with: aws secretsmanager "
        "update-secret-version-stage --secret-id prod/shop --region us-east-1 --version-stage AWSPENDING "
        f"--remove-from-version-id {OTHER}"
    )
    assert secret.secrets == before


# Old reads.


@pytest.mark.parametrize("reads", range(1, 2 * LOOKS))
def test_reading_back_old_values(reads):
    secret = fake()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, reads), when="after")
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("reads", range(1, 3 * LOOKS))
@pytest.mark.parametrize("is_asked_again", [True, False], ids=["botocore asks again", "no answer"])
def test_a_promotion_that_is_not_seen_at_once_is_not_called_unchanged(reads, is_asked_again):
    """The answer is lost, and old reads say that AWSCURRENT is where it was."""
    secret = fake()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, reads), when="before" if is_asked_again else "after")
    secret.on("Move AWSCURRENT", NO_ANSWER, when="again" if is_asked_again else "after")
    try:
        plan = sync(secret, a="a1")
    except Unreachable:
        assert (is_asked_again, reads >= LOOKS) == (False, True)
        plan = sync(secret, a="a2")
    assert (plan.is_empty, secret.stored.labels["AWSCURRENT"]) == (False, plan.token)
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("reads", [1, LOOKS])
def test_the_new_version_is_not_found_at_first(reads):
    secret = fake()
    secret.on("Get version", client_error("ResourceNotFoundException", "can't find the version"), times=reads)
    sync(secret, a="a1")
    assert content(secret) == STORED | {"a": "a1"}


def test_the_new_version_is_never_found():
    secret = fake()
    secret.on("Get version", client_error("ResourceNotFoundException", "can't find the version"), times=99)
    with pytest.raises(NotFound):
        sync(secret, a="a1")
    assert secret.calls.count("Get version") == LOOKS + 1


def test_old_values_for_ever_are_not_called_done():
    secret = fake()
    secret.on("Move AWSCURRENT", partial(secret.read_stale, 99), when="after")
    with pytest.raises(SecretConflict, match="a version without a as given"):
        sync(secret, a="a1")


def test_waits_longer_and_longer_between_two_looks():
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


# What is asked, and what is never said.


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
@pytest.mark.parametrize("error", [DENIED, NO_ANSWER])
def test_no_value_in_an_error(place, error):
    secret = fake(a=CANARY)
    secret.on("*", error, skip=place)
    with pytest.raises(AwsError) as caught:
        sync(secret, b=CANARY + "-ours")
    assert [found for found in reachable(caught.value) if CANARY in found] == []
