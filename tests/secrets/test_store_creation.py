"""Creation on a strict fake: the calls, concurrent writers, and a second run."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest

from deploytools.errors import (
    AccessDenied,
    AwsError,
    Refused,
    SecretConflict,
    SecretDeleted,
    SecretError,
    SecretExists,
    SecretNotFound,
    SecretTooLarge,
)
from deploytools.secrets.document import Document
from deploytools.secrets.reader import READ_ATTEMPTS
from deploytools.secrets.versions import STAGED
from tests.fakes.errors import DENIED, NO_RESPONSE, Crash, client_error
from tests.fakes.secretsmanager import Fake
from tests.secrets.fake_secret import (
    FIRST,
    NAME,
    content,
    deleted,
    empty,
    empty_after_failed_rotation,
    overwrite,
    store,
    sync,
    text,
)
from tests.secrets.reach import reachable

VALUES: dict[str, Any] = {"a": "canary-7d1f", "port": 5432, "é": ["日本", None]}
ALL = ["Get AWSCURRENT", "Describe", "Create", "Get version", "Get AWSCURRENT"]
NAME_IN_USE = client_error("InvalidRequestException", "a secret with this name is already scheduled for deletion.")


def absent() -> Fake:
    return Fake(NAME)


def create(secret: Fake, **options: Any) -> str:
    return store(secret).create(Document(VALUES), **options)


def test_calls_of_a_creation():
    secret = absent()
    version = create(secret, tags={"tenant": "one"}, kms_key_id="alias/shop")
    assert secret.calls == ALL
    assert secret.current == text(VALUES)
    assert secret.stored.labels == {"AWSCURRENT": version}
    assert (secret.stored.tags, secret.stored.kms_key_id) == ([{"Key": "tenant", "Value": "one"}], "alias/shop")


@pytest.mark.parametrize("world", [empty, empty_after_failed_rotation])
def test_secret_without_a_value_gets_its_first(world):
    secret = world()
    version = create(secret)
    assert (content(secret), secret.stored.labels["AWSCURRENT"]) == (VALUES, version)
    assert STAGED not in secret.stored.labels
    assert "Create" not in secret.calls


@pytest.mark.parametrize("options", [{"tags": {"tenant": "one"}}, {"kms_key_id": "alias/shop"}])
def test_tags_and_key_are_refused_for_a_secret_without_a_value(options):
    secret = empty()
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(Refused) as caught:
        create(secret, **options)
    assert str(caught.value) == (
        "The secret prod/shop already exists in us-east-1 without a value. --secret-tag and --kms-key-id apply only to "
        "a new secret. Nothing was changed."
    )
    assert "aws secretsmanager update-secret --kms-key-id ID" in caught.value.hint
    assert secret.secrets == before


@pytest.mark.parametrize("world", [absent, empty])
def test_version_id_is_random(world):
    """It does not depend on the document, so that a document cannot be guessed from it."""
    assert create(world()) != create(world())


def test_first_value_to_which_aws_does_not_attach_awscurrent():
    secret = empty()
    secret.on("Put", partial(detach_awscurrent, secret), when="after")
    version = create(secret)
    assert secret.stored.labels["AWSCURRENT"] == version


def detach_awscurrent(secret: Fake) -> None:
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
def test_existing_secret_is_not_changed(stored):
    secret = absent()
    secret.create_secret(Name=NAME, **stored)
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(SecretExists) as caught:
        create(secret)
    assert (str(caught.value), caught.value.hint, caught.value.exit_code) == (
        "The secret prod/shop already exists in us-east-1 with other content. Nothing was changed.",
        "Without --create, values are merged into it and no key is lost: python manage.py sync_secrets FILE",
        1,
    )
    assert secret.secrets == before


def test_deleted_secret_is_not_changed():
    secret = deleted()
    before = copy.deepcopy(secret.secrets)
    with pytest.raises(SecretDeleted) as caught:
        create(secret)
    assert caught.value.hint == "Run: aws secretsmanager restore-secret --secret-id prod/shop --region us-east-1"
    assert secret.secrets == before


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [Crash, NO_RESPONSE, DENIED])
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


def test_lost_response_that_boto3_retries():
    secret = absent()
    secret.on("Create", when="again")
    version = create(secret)
    assert secret.stored.labels == {"AWSCURRENT": version}


def test_two_writers_create_the_same():
    secret = absent()
    secret.on("Create", partial(create, secret))
    version = create(secret)
    assert secret.stored.labels == {"AWSCURRENT": version}
    assert len(secret.stored.versions) == 1


def test_two_writers_create_different_values():
    secret = absent()
    secret.on("Create", partial(store(secret).create, Document({"a": "theirs"})))
    with pytest.raises(SecretExists):
        create(secret)
    assert content(secret) == {"a": "theirs"}


def test_two_writers_set_different_first_values():
    secret = empty()
    secret.on("Put", partial(store(secret).create, Document({"a": "theirs"})))
    with pytest.raises(SecretExists):
        create(secret)
    assert content(secret) == {"a": "theirs"}
    assert STAGED not in secret.stored.labels


def test_other_key_written_after_the_creation():
    secret = absent()
    secret.on("Create", partial(sync, secret, b="b1"), when="after")
    create(secret)
    assert content(secret) == VALUES | {"b": "b1"}


def test_same_key_written_after_the_creation_is_reported():
    secret = absent()
    secret.on("Create", lambda: overwrite(secret, FIRST, a="theirs"), when="after")
    with pytest.raises(
        SecretConflict, match="was created, but AWSCURRENT is not attached to a version with these values"
    ):
        create(secret)


def test_name_is_available_later():
    secret = absent()
    secret.on("Create", NAME_IN_USE, times=READ_ATTEMPTS - 1)
    create(secret)
    assert content(secret) == VALUES


def test_name_is_never_available():
    secret = absent()
    secret.on("Create", NAME_IN_USE, times=99)
    with pytest.raises(SecretError) as caught:
        create(secret)
    assert str(caught.value) == (
        "prod/shop can neither be created nor read in us-east-1: the name is in use. Nothing was changed."
    )
    assert secret.calls.count("Create") == READ_ATTEMPTS


@pytest.mark.parametrize("reads", range(1, READ_ATTEMPTS + 1))
def test_outdated_reads_after_the_creation(reads):
    secret = absent()
    secret.on("Create", partial(secret.read_stale, reads), when="after")
    create(secret)
    assert content(secret) == VALUES


@pytest.mark.parametrize("reads", range(1, 8))
def test_first_value_that_reads_do_not_show_at_once(reads):
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
