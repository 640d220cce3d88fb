"""A rotation that is killed anywhere: the next run completes it, and the login in the secret works at every moment.

PostgreSQL is a real server; Secrets Manager is the strict fake, which refuses an attached label.
"""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from deploytools.errors import DeployError, Refused, RotationInProgress, SecretConflict
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from deploytools.secrets.versions import ROTATING
from tests.fakes.errors import DENIED, INTERNAL, NO_RESPONSE, THROTTLED, Crash
from tests.fakes.secretsmanager import CURRENT, PENDING
from tests.rotation.world import FIRST, NAME, Poller, World

STEPS = ["CreateSecondLogin", "GrantToMaster", "AssignLogin", "CreateVersion", "OpenLogin", "TestLogin", "Switch",
         "EndRotation"]  # fmt: skip


def test_all_steps(made: World):
    made.rotate()
    assert made.steps == STEPS
    made.require_rotated()
    assert [call for call in made.fake.calls if call.split()[0] in ("Put", "Move", "Drop")] == [
        "Put", f"Move {PENDING}", f"Move {CURRENT}", f"Drop {PENDING}", f"Drop {ROTATING}",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("after", range(1, len(STEPS) + 1))
def test_killed_after_each_step(made: World, after: int):
    with Poller(made) as poller:
        with pytest.raises(Crash):
            made.rotate(after=after)
        pending = made.fake.stored.labels.get(PENDING)
        is_switched = after > STEPS.index("Switch")
        assert made.document()["username"] == made.owner + "_b" * is_switched
        if after < len(STEPS):
            state = made.rotate()
            assert pending in (None, state.secret.version)  # It goes on with the same version.
    made.require_rotated()
    assert (poller.failures, poller.attempts > 0) == ([], True)


CALLS = ["Put", f"Move {PENDING}", f"Move {CURRENT}", f"Drop {PENDING}", f"Drop {ROTATING}", "Describe", "Get version"]


ERRORS = {"denied": DENIED, "throttled": THROTTLED, "5xx": INTERNAL, "lost": NO_RESPONSE}


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_killed_inside_each_call(made: World, call: str, when: str):
    """The request did not reach AWS, or its response was lost with the process."""
    crashes = 0
    for skip in range(6):
        made.fake.on(call, Crash(), when=when, skip=skip)
        with Poller(made) as poller:
            try:
                made.rotate()
            except Crash:
                crashes += 1
                made.fake.forget()
                if made.document()["username"] == made.owner or PENDING in made.fake.stored.labels:
                    made.rotate()
        assert poller.failures == []
        made.fake.forget()
        made.require_rotated()
        made.finish()
        # Back to the beginning, for the next call.
        made.rotate()
        made.finish()
        assert made.document()["username"] == made.owner
    assert crashes > 0


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_each_call_fails_once(made: World, call: str, when: str, error: Exception):
    made.fake.on(call, error, when=when)
    with Poller(made) as poller:
        with suppress(DeployError):
            made.rotate()
        made.fake.forget()
        if made.document()["username"] == made.owner or PENDING in made.fake.stored.labels:
            made.rotate()
    assert poller.failures == []
    made.require_rotated()


def test_another_writer_before_the_switch(made: World):
    """What it wrote is kept; older content is not made current."""
    with pytest.raises(Crash):
        made.rotate(after=STEPS.index("OpenLogin") + 1)
    values = made.document() | {"django_secret_key": "n" * 50, "added": [1]}
    made.fake.put_secret_value(SecretId=NAME, SecretString=json.dumps(values))
    made.rotate()
    found = made.document()
    assert (found["username"], found["django_secret_key"], found["added"]) == (f"{made.owner}_b", "n" * 50, [1])
    made.login().connect(made.database).close()
    assert PENDING not in made.fake.stored.labels


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_what_another_writer_wrote_is_merged(made: World, when: str):
    with pytest.raises(Crash):
        made.rotate(after=STEPS.index("TestLogin") + 1)
    made.fake.put_secret_value(SecretId=NAME, SecretString=json.dumps(made.document() | {"added": [1]}))
    made.fake.on("Put", Crash(), when=when)
    with pytest.raises(Crash):
        made.rotate()
    made.rotate()
    made.require_rotated()
    assert made.document()["added"] == [1]


@pytest.mark.slow
def test_another_writer_during_the_switch(made: World):
    def write() -> None:
        values = made.document() | {"added": made.document().get("added", 0) + 1}
        made.fake.put_secret_value(SecretId=NAME, SecretString=json.dumps(values))

    made.fake.on(f"Move {CURRENT}", write, times=2)
    made.rotate()
    assert made.document()["added"] == 2
    made.require_rotated()
    made.finish()
    made.fake.on(f"Move {CURRENT}", write, times=9)
    with pytest.raises(SecretConflict, match="4 times in a row"):
        made.rotate()
    made.fake.forget()
    made.rotate()
    assert (made.document()["username"], made.document()["added"]) == (made.owner, 6)


def test_another_writer_changes_the_login(made: World):
    with pytest.raises(Crash):
        made.rotate(after=STEPS.index("TestLogin") + 1)
    made.fake.put_secret_value(
        SecretId=NAME, SecretString=json.dumps(made.document() | {"username": f"{made.owner}_b"})
    )
    with pytest.raises(DeployError):
        made.rotate()
    assert made.document()["password"] == FIRST


def test_aws_starts_a_rotation_at_the_same_time(made: World):
    """AWSPENDING is refused while another version has it, also if it was attached after our check."""

    def begin() -> None:
        made.fake.put_secret_value(SecretId=NAME, SecretString="{}", VersionStages=[PENDING])

    made.fake.on(f"Move {PENDING}", begin)
    with pytest.raises(RotationInProgress):
        made.rotate()
    assert made.document()["password"] == FIRST
    made.login().connect(made.database).close()


def test_the_new_version_is_lost(made: World):
    """Someone detached the labels, or AWS has deleted the version: another one is made."""
    with pytest.raises(Crash):
        made.rotate(after=STEPS.index("OpenLogin") + 1)
    lost = made.fake.stored.labels[PENDING]
    for label in (PENDING, ROTATING):
        del made.fake.stored.labels[label]
    del made.fake.stored.versions[lost]
    made.rotate()
    made.require_rotated()
    assert made.fake.stored.labels[CURRENT] != lost


@pytest.mark.slow
@pytest.mark.parametrize("step", ["CreateVersion", "OpenLogin", "TestLogin"])
def test_abort(made: World, step: str):
    """The login in use is untouched, the new one is closed."""
    with pytest.raises(Crash):
        made.rotate(after=STEPS.index(step) + 1)
    version = made.fake.stored.labels[PENDING]
    pending = json.loads(made.fake.stored.versions[version]["SecretString"])  # type: ignore[index]
    state = made.abort()
    assert (made.document()["password"], {PENDING, ROTATING} & made.fake.stored.labels.keys()) == (FIRST, set())
    assert not state.logins[f"{made.owner}_b"].is_open
    with pytest.raises(DeployError):
        Login(made.postgres.address, pending["username"], Secret(pending["password"])).connect(made.database)
    made.login().connect(made.database).close()
    with pytest.raises(Refused, match="none is before its switch"):
        made.abort()
    made.rotate()
    made.require_rotated()


@pytest.mark.slow
def test_a_new_login_in_use_is_not_closed(made: World):
    """A process has found it in AWSPENDING."""
    with pytest.raises(Crash):
        made.rotate(after=STEPS.index("TestLogin") + 1)
    version = made.fake.stored.labels[PENDING]
    pending = json.loads(made.fake.stored.versions[version]["SecretString"])  # type: ignore[index]
    login = Login(made.postgres.address, pending["username"], Secret(pending["password"]))
    with (
        login.connect(made.database),
        pytest.raises(Refused, match=f"The new login {login.user} is in use by") as caught,
    ):
        made.abort()
    assert caught.value.hint == "Complete the rotation: python manage.py rotate_credentials password"
    assert made.fake.stored.labels[PENDING] == version


def test_the_former_login_expires_although_the_switch_was_interrupted(made: World):
    """Between the switch and the limit."""
    with pytest.raises(Crash):
        made.rotate(after=STEPS.index("Switch") + 1, grace=3600)
    assert not made.state().logins[made.owner].valid_until
    state = made.rotate(grace=3600)
    assert made.steps == ["LimitLogin", "EndRotation"]
    assert state.logins[made.owner].valid_until
    assert not state.logins[f"{made.owner}_b"].valid_until
    made.require_rotated()
