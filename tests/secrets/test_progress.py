"""Every message about an interrupted or failed change says truthfully whether the change is live."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from deploytools.errors import AwsError, DeployError, Refused, SecretError
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState, SyncPlan, plan_rollback, plan_sync
from deploytools.secrets.progress import ChangeProgress, Live
from deploytools.secrets.store import REPLICATION_ATTEMPTS, SecretStore
from deploytools.secrets.versions import STAGED
from tests.fakes.errors import DENIED, EXPIRED, INTERNAL, NO_RESPONSE, THROTTLED
from tests.fakes.secretsmanager import CURRENT, Fake
from tests.secrets.fake_secret import FIRST, NAME, REGION, empty, fake, overwrite, store, sync, text

Change = Callable[[Fake, SecretStore], object]


def write(secret: Fake, target: SecretStore) -> None:
    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document({"a": "a1"}), stage="launch")

    target.write(replan(target.read()), replan)


def roll_back(secret: Fake, target: SecretStore) -> None:
    target.roll_back(plan_rollback(target.read(), FIRST, target.read_version(FIRST).document, stage="launch"))


def create(secret: Fake, target: SecretStore) -> None:
    target.create(Document({"a": "a1"}))


def written() -> Fake:
    secret = fake()
    sync(secret, b="b1")
    return secret


WORLDS: dict[str, tuple[Change, Callable[[], Fake]]] = {
    "write": (write, fake),
    "roll back": (roll_back, written),
    "create": (create, lambda: Fake(NAME)),
    "first value": (create, empty),
}


def current(secret: Fake) -> str:
    return secret.stored.labels.get(CURRENT, "") if NAME in secret.secrets else ""


def claims(progress: ChangeProgress, before: str, now: str) -> None:
    """Compare what is said with the version that is current."""
    sentence = progress.sentence
    if sentence == "Nothing was changed.":
        assert now == before
    elif sentence.startswith("It is not known"):
        assert progress.live is Live.UNKNOWN
    else:
        assert (progress.live, now) == (Live.YES, progress.version)
        assert f"are live as version {now[:8]}" in sentence
    if progress.live is not Live.NO and progress.base:
        assert progress.next_step.endswith(f"Go back: python manage.py sync_secrets --rollback {progress.base[:8]}")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "failure",
    [DENIED, THROTTLED, INTERNAL, EXPIRED, NO_RESPONSE, KeyboardInterrupt(), SystemExit(143)],
    ids=["denied", "throttled", "internal", "expired", "no response", "Ctrl-C", "SIGTERM"],
)
@pytest.mark.parametrize("world", WORLDS)
def test_failure_or_interrupt_at_each_call(world, failure, when):
    change, make = WORLDS[world]
    expected = make()
    change(expected, store(expected))
    for place in range(len(expected.calls)):
        secret = make()
        before = current(secret)
        secret.calls.clear()
        secret.on("*", failure, skip=place, when=when)
        target = store(secret)
        try:
            change(secret, target)
        except DeployError as error:
            if target.progress.version or "Nothing was changed" in str(error):
                assert str(error).endswith(target.progress.sentence)
                assert target.progress.next_step in error.hint
        except (KeyboardInterrupt, SystemExit):
            pass
        claims(target.progress, before, current(secret))


@pytest.mark.parametrize("place", ["Get AWSCURRENT", "Describe"])
@pytest.mark.parametrize("failure", [DENIED, THROTTLED, INTERNAL, EXPIRED, NO_RESPONSE])
def test_failure_to_read_back_says_that_the_values_are_live(place, failure):
    secret = fake()
    secret.on(place, failure, skip=1)
    with pytest.raises(AwsError) as caught:
        sync(secret, a="a1")
    version = current(secret)
    assert version != FIRST
    assert str(caught.value).endswith(f"The new values are live as version {version[:8]}, but could not be verified.")
    assert caught.value.hint.endswith(
        "Check: python manage.py sync_secrets --show. Go back: python manage.py sync_secrets --rollback 11111111"
    )


def test_secret_without_a_command_has_hints_for_the_aws_cli():
    """The secret of a tenant is not the one that sync_secrets shows."""
    secret = fake()
    secret.on("Describe", DENIED, skip=1)
    target = SecretStore(store(secret).client, NAME, REGION, sleep=lambda seconds: None, command="")
    with pytest.raises(AwsError) as caught:
        write(secret, target)
    assert "sync_secrets" not in caught.value.hint
    assert f"--move-to-version-id {FIRST} --remove-from-version-id {current(secret)}" in caught.value.hint


# Responses that are not AWS's.


@pytest.mark.parametrize("call", ["get_secret_value", "describe_secret", "put_secret_value"])
def test_response_without_the_documented_members(monkeypatch, call):
    """A proxy's login page has status 200, and boto3 returns it as an empty response."""
    secret = fake()
    monkeypatch.setattr(secret, call, lambda **request: {"ResponseMetadata": {"HTTPStatusCode": 200}})
    with pytest.raises(AwsError, match="the response is not one of AWS"):
        sync(secret, a="a1")
    assert current(secret) == FIRST


@pytest.mark.parametrize("has_moved", [True, False])
def test_response_to_the_move_that_is_not_awss(monkeypatch, has_moved):
    secret = fake()
    move = secret.update_secret_version_stage

    def page(**request: Any) -> dict[str, Any]:
        if request["VersionStage"] != CURRENT or has_moved:
            move(**request)
        return {"ResponseMetadata": {"HTTPStatusCode": 200}}

    monkeypatch.setattr(secret, "update_secret_version_stage", page)
    if has_moved:
        assert sync(secret, a="a1").token == current(secret)
        return
    with pytest.raises(AwsError, match=r"not one of AWS\. It is not known whether the new values are live"):
        sync(secret, a="a1")
    assert current(secret) == FIRST


def test_put_that_returns_another_version(monkeypatch):
    """Some emulators ignore ClientRequestToken: the version in the response is the one that becomes current."""
    secret = fake()
    put = secret.put_secret_value
    monkeypatch.setattr(secret, "put_secret_value", lambda **given: put(**given | {"ClientRequestToken": "9" * 32}))
    target = store(secret)
    write(secret, target)
    assert (current(secret), target.progress.current) == ("9" * 32, "9" * 32)


# Replicas.


def replicated(*statuses: str) -> Fake:
    """A primary secret whose replica has these statuses, one after another, once AWSCURRENT has moved."""
    secret = fake()
    waiting = iter(statuses)

    def step() -> None:
        if current(secret) != FIRST and (status := next(waiting, "")):
            replica = {"Region": "eu-west-1", "Status": status, "StatusMessage": "the KMS key is disabled"}
            secret.stored.description["ReplicationStatus"] = [replica]

    secret.stored.description |= {"PrimaryRegion": REGION, "ReplicationStatus": []}
    secret.on("Describe", step, times=99)
    return secret


def test_replication_is_waited_for_before_our_label_is_detached():
    secret = replicated("InProgress", "InProgress", "InSync")
    sync(secret, a="a1")
    assert secret.calls[-4:] == ["Describe", "Describe", "Describe", f"Drop {STAGED}"]


def test_replication_that_does_not_end():
    secret = replicated("InProgress")
    with pytest.raises(SecretError) as caught:
        sync(secret, a="a1")
    assert str(caught.value) == (
        "The replication of prod/shop to eu-west-1 is still in progress. The new values are live as version "
        f"{current(secret)[:8]}."
    )
    assert secret.calls.count("Describe") == REPLICATION_ATTEMPTS + 2
    assert secret.stored.labels[STAGED] == current(secret)


def test_replication_that_failed_is_reported():
    secret = replicated("InProgress", "Failed")
    with pytest.raises(SecretError) as caught:
        sync(secret, a="a1")
    assert str(caught.value).startswith(
        "The replication of prod/shop failed (eu-west-1: the KMS key is disabled). The new values are live as version "
    )
    assert "--add-replica-regions Region=eu-west-1 --force-overwrite-replica-secret" in caught.value.hint
    assert STAGED not in secret.stored.labels


@pytest.mark.parametrize("change", [write, roll_back])
def test_replica_cannot_be_changed(change):
    secret = written()
    secret.stored.description["PrimaryRegion"] = "eu-central-1"
    secret.calls.clear()
    with pytest.raises(Refused) as caught:
        change(secret, store(secret))
    assert str(caught.value) == (
        "The secret prod/shop in us-east-1 is a replica, which cannot be changed. Its primary secret is in "
        "eu-central-1. Nothing was changed."
    )
    assert not {call.split()[0] for call in secret.calls} & {"Put", "Move", "Drop"}


def test_awspending_on_the_previous_version_is_not_a_rotation():
    """A finished rotation leaves it, and a later write makes its version the previous one."""
    secret = fake()
    overwrite(secret, "2" * 32, b="b1")
    secret.stored.labels["AWSPENDING"] = FIRST
    plan = sync(secret, a="a1")
    assert secret.stored.labels == {"AWSCURRENT": plan.token, "AWSPREVIOUS": "2" * 32}


def test_other_writers_later_version_with_the_same_values_is_named():
    secret = fake()
    later = partial(secret.put_secret_value, SecretId=NAME, ClientRequestToken="8" * 32)
    target = store(secret)
    secret.on("Move AWSCURRENT", lambda: later(SecretString=text({"a": "a1", "theirs": 1})), when="after")
    write(secret, target)
    assert target.progress.sentence == "The new values are live as version 88888888."
