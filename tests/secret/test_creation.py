"""Creation and restoration, on the strict fake: what is called, who wins, what a second run finds."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest

from deploytools.errors import (
    AccessDenied,
    AwsError,
    DeployError,
    Refused,
    SecretConflict,
    SecretDeleted,
    SecretError,
    SecretExists,
    SecretNotFound,
    SecretTooLarge,
    Unreachable,
)
from deploytools.secret.document import Document
from deploytools.secret.labels import STAGED
from deploytools.secret.reader import LOOKS
from tests.fakes.errors import DENIED, NO_ANSWER, Crash, client_error
from tests.fakes.secretsmanager import Fake
from tests.secret.reach import reachable
from tests.secret.world import FIRST, NAME, content, fake, overwrite, store, sync, text

VALUES: dict[str, Any] = {"a": "canary-7d1f", "port": 5432, "é": ["日本", None]}
ALL = ["Get AWSCURRENT", "Describe", "Create", "Get version", "Get AWSCURRENT"]
FREED_LATER = client_error("InvalidRequestException", "a secret with this name is already scheduled for deletion.")


def absent() -> Fake:
    return Fake(NAME)


def empty() -> Fake:
    made = Fake(NAME)
    made.create_secret(Name=NAME)
    made.calls.clear()
    return made


def half_rotated() -> Fake:
    made = empty()
    made.stored.versions["2" * 32] = None
    made.stored.labels["AWSPENDING"] = "2" * 32
    return made


def deleted() -> Fake:
    made = fake()
    made.stored.deleted = True
    return made


def create(secret: Fake, **options: Any) -> str:
    return store(secret).create(Document(VALUES), **options)


def test_the_calls_of_a_creation():
    secret = absent()
    version = create(secret, tags={"tenant": "one"}, kms_key_id="alias/shop")
    assert secret.calls == ALL
    assert secret.current == text(VALUES)
    assert secret.stored.labels == {"AWSCURRENT": version}
    assert (secret.stored.tags, secret.stored.kms_key_id) == ([{"Key": "tenant", "Value": "one"}], "alias/shop")


@pytest.mark.parametrize("world", [empty, half_rotated])
def test_a_secret_without_a_value_gets_its_first(world):
    secret = world()
    version = create(secret)
    assert (content(secret), secret.stored.labels["AWSCURRENT"]) == (VALUES, version)
    assert STAGED not in secret.stored.labels
    assert "Create" not in secret.calls


@pytest.mark.parametrize("options", [{"tags": {"tenant": "one"}}, {"kms_key_id": "alias/shop"}])
def test_a_secret_without_a_value_takes_no_tags_and_no_key(options):
    secret = empty()
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(Refused) as caught:
        create(secret, **options)
    assert str(caught.value) == (
        "The secret prod/shop exists already in us-east-1, without a value: --tag and --kms-key-id are for one that is "
        "created; nothing was written."
    )
    assert "aws secretsmanager update-secret --kms-key-id ID" in caught.value.hint
    assert secret.secrets == before


@pytest.mark.parametrize("world", [absent, empty])
def test_the_version_tells_nothing_of_what_it_holds(world):
    """It is not the same for the same document, so that nobody can try documents against it."""
    assert create(world()) != create(world())


def test_a_first_value_that_awscurrent_does_not_go_to_by_itself():
    secret = empty()
    secret.on("Put", partial(take_awscurrent_off, secret), when="after")
    version = create(secret)
    assert secret.stored.labels["AWSCURRENT"] == version


def take_awscurrent_off(secret: Fake) -> None:
    del secret.stored.labels["AWSCURRENT"]


@pytest.mark.parametrize("world", [absent, empty])
def test_a_second_run_writes_nothing(world):
    secret = world()
    version = create(secret)
    before = copy.deepcopy(secret.secrets)
    secret.calls.clear()
    assert create(secret) == version
    assert (secret.calls, secret.secrets) == (["Get AWSCURRENT"], before)


@pytest.mark.parametrize(
    "stored", [{"SecretString": text({"other": 1})}, {"SecretString": "x"}, {"SecretBinary": b"x"}]
)
def test_what_exists_is_not_touched(stored):
    secret = absent()
    secret.create_secret(Name=NAME, **stored)
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(SecretExists) as caught:
        create(secret)
    assert (str(caught.value), caught.value.hint, caught.value.exit_code) == (
        "The secret prod/shop exists already in us-east-1 and holds something else; nothing was written.",
        "Without --create values are merged into it and none is lost: python manage.py sync_secrets FILE",
        1,
    )
    assert secret.secrets == before


def test_what_is_scheduled_for_deletion_is_not_touched():
    secret = deleted()
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(SecretDeleted) as caught:
        create(secret)
    assert caught.value.hint == "Bring it back: python manage.py sync_secrets --restore"
    assert secret.secrets == before


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Crash, NO_ANSWER, DENIED])
@pytest.mark.parametrize("world", [absent, empty])
@pytest.mark.parametrize("place", range(7))
def test_any_failure_at_any_call_then_run_again(world, place, when, error):
    secret = world()
    secret.on("*", Crash() if error is Crash else error, when=when, skip=place)
    try:
        create(secret)
    except (Crash, AwsError, SecretNotFound) as caught:
        assert [found for found in reachable(caught) if VALUES["a"] in found] == []
    secret.forget()
    version = create(secret)
    assert (content(secret), secret.stored.labels["AWSCURRENT"]) == (VALUES, version)
    assert len(secret.stored.versions) == 1


def test_a_lost_answer_that_botocore_asks_again():
    secret = absent()
    secret.on("Create", when="again")
    version = create(secret)
    assert secret.stored.labels == {"AWSCURRENT": version}


def test_two_who_create_the_same():
    secret = absent()
    secret.on("Create", partial(create, secret))
    version = create(secret)
    assert secret.stored.labels == {"AWSCURRENT": version}
    assert len(secret.stored.versions) == 1


def test_two_who_create_something_different():
    secret = absent()
    secret.on("Create", partial(store(secret).create, Document({"a": "theirs"})))
    with pytest.raises(SecretExists):
        create(secret)
    assert content(secret) == {"a": "theirs"}


def test_two_who_fill_an_empty_one_differently():
    secret = empty()
    secret.on("Put", partial(store(secret).create, Document({"a": "theirs"})))
    with pytest.raises(SecretExists):
        create(secret)
    assert content(secret) == {"a": "theirs"}
    assert STAGED not in secret.stored.labels


def test_a_key_written_after_the_creation_is_fine():
    secret = absent()
    secret.on("Create", partial(sync, secret, b="b1"), when="after")
    create(secret)
    assert content(secret) == VALUES | {"b": "b1"}


def test_the_same_key_written_after_the_creation_is_told():
    secret = absent()
    secret.on("Create", lambda: overwrite(secret, FIRST, a="theirs"), when="after")
    with pytest.raises(SecretConflict, match="was created, but AWSCURRENT does not name a version"):
        create(secret)


def test_the_name_is_free_a_little_later():
    secret = absent()
    secret.on("Create", FREED_LATER, times=LOOKS - 1)
    create(secret)
    assert content(secret) == VALUES


def test_the_name_is_never_free():
    secret = absent()
    secret.on("Create", FREED_LATER, times=99)
    with pytest.raises(SecretError) as caught:
        create(secret)
    assert str(caught.value) == (
        "prod/shop can neither be created nor read in us-east-1: its name is taken, or is not free yet."
    )
    assert secret.calls.count("Create") == LOOKS


@pytest.mark.parametrize("reads", range(1, LOOKS + 1))
def test_reading_back_what_was_there_before(reads):
    secret = absent()
    secret.on("Create", partial(secret.read_stale, reads), when="after")
    create(secret)
    assert content(secret) == VALUES


@pytest.mark.parametrize("reads", range(1, 8))
def test_a_first_value_that_is_not_seen_at_once(reads):
    secret = empty()
    secret.on("Put", partial(secret.read_stale, reads), when="after")
    create(secret)
    assert content(secret) == VALUES
    assert len(secret.stored.versions) == 1


def test_too_large():
    secret = absent()
    with pytest.raises(SecretTooLarge):
        store(secret).create(Document({"a": "x" * 70_000}))
    assert secret.calls == []


def test_creation_denied():
    secret = absent()
    secret.on("Create", DENIED)
    with pytest.raises(AccessDenied) as caught:
        create(secret)
    assert (caught.value.action, secret.secrets) == ("secretsmanager:CreateSecret", {})


# Restoration.


def test_restore():
    secret = deleted()
    assert store(secret).restore() is True
    assert secret.stored.deleted is False
    assert secret.calls == ["Describe", "Restore", "Describe"]
    secret.calls.clear()
    assert store(secret).restore() is False
    assert secret.calls == ["Describe"]


def test_it_is_seen_to_be_back_a_little_later():
    secret = deleted()
    secret.on("Restore", partial(secret.read_stale, LOOKS - 1), when="after")
    assert store(secret).restore() is True


def test_it_is_never_seen_to_be_back():
    secret = deleted()
    secret.on("Restore", partial(secret.read_stale, 99), when="after")
    with pytest.raises(SecretError, match="is still said to be scheduled for deletion"):
        store(secret).restore()


def test_there_is_nothing_to_restore():
    with pytest.raises(SecretNotFound):
        store(absent()).restore()


@pytest.mark.parametrize(("error", "kind"), [(DENIED, AccessDenied), (NO_ANSWER, Unreachable)])
@pytest.mark.parametrize("call", ["Describe", "Restore"])
def test_restoration_that_fails_then_again(call, error, kind):
    secret = deleted()
    secret.on(call, error)
    with pytest.raises(DeployError) as caught:
        store(secret).restore()
    assert type(caught.value) is kind
    assert secret.stored.deleted
    assert store(secret).restore() is True
