"""Writes, rotations, crashes and lost responses in any order: no acknowledged write is ever lost.

A write is acknowledged if it returned without an error. A write that raised might have happened. A rotation that starts
before a write and ends after it overwrites the write. AWS's API cannot prevent that, so such a write is not
acknowledged: it raises `RotationInProgress` or `SecretConflict`.

Every message about the state of the secret is true: what a run says is compared with what the fake holds.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deploytools.errors import DeployError, RotationInProgress
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState, SyncPlan, plan_rollback, plan_sync
from deploytools.secrets.progress import ChangeProgress, Live
from deploytools.secrets.store import SecretStore
from deploytools.secrets.versions import STAGED, short_id
from tests.fakes.errors import NO_RESPONSE, THROTTLED, Crash
from tests.fakes.secretsmanager import CURRENT, PENDING
from tests.secrets.fake_secret import (
    FIRST,
    NAME,
    STORED,
    content,
    fake,
    finish_rotation,
    start_rotation,
    store,
    sync,
)

KEYS_EVER = ("a", "b", "c")
KEYS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True)
#: Maximum number of calls of a write without other writers.
PLACES = st.integers(0, 10)
WHEN = st.sampled_from(["before", "after"])
ERRORS = st.sampled_from([None, Crash(), NO_RESPONSE, THROTTLED])


class Writers(RuleBasedStateMachine):
    """The secret, and the possible values of each key: several after a write that was not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.secret = fake()
        self.possible: dict[str, set[object]] = defaultdict(lambda: {None}, a={"a0"}, b={"b0"})
        self.acknowledged: list[tuple[str, object]] = []
        self.count = 0
        #: Changes of other writers and of other runs; a run that sees it increase is not alone.
        self.other_writes = 0

    # Writers.

    def fresh(self) -> Any:
        self.count += 1
        return f"value-{self.count}"

    def write(self, given: dict[str, Any]) -> None:
        """Write; the new values are possible as soon as it starts."""
        for key, value in given.items():
            self.possible[key] = self.possible[key] | {value}
        began, target = len(self.acknowledged), store(self.secret)

        def replan(state: SecretState) -> SyncPlan:
            return plan_sync(state, Document(given), stage="launch")

        with self.checked(target):
            target.write(replan(target.read()), replan)
        for key, value in given.items():
            self.acknowledge(key, value, began)

    @contextmanager
    def checked(self, target: SecretStore) -> Iterator[None]:
        """Check what a change says at its end, also after an error or a crash."""
        writes, current = self.other_writes, self.secret.stored.labels[CURRENT]
        try:
            yield
        except DeployError as error:
            if target.progress.version:
                assert str(error).endswith(target.progress.sentence)
            raise
        finally:
            self.other_writes += 1
            self.check(target.progress, current, is_alone=self.other_writes == writes + 1)

    def check(self, progress: ChangeProgress, before: str, *, is_alone: bool) -> None:
        """Compare a sentence with the fake. Without another writer, it is true now; else it was true in this run."""
        now, been = self.secret.stored.labels[CURRENT], {*self.secret.been_current}
        if progress.live is Live.YES:
            assert progress.current in been
            assert f"are live as version {short_id(progress.current)}" in progress.sentence
        if progress.live is Live.REPLACED:
            assert {progress.version, progress.current} <= been
            assert not is_alone
        if is_alone and progress.live in (Live.NO, Live.YES):
            assert now == (progress.current if progress.live is Live.YES else before), progress.sentence
        if progress.live is not Live.NO and progress.base:
            assert progress.base in been
            assert progress.next_step.endswith(f"--rollback {short_id(progress.base)}")

    def acknowledge(self, key: str, value: object, began: int) -> None:
        """Note the value of `key`; writes that were acknowledged meanwhile can have come before or after it."""
        self.possible[key] = {value} | {other for name, other in self.acknowledged[began:] if name == key}
        self.acknowledged.append((key, value))

    def try_to_write(self, given: dict[str, Any]) -> None:
        with suppress(DeployError, Crash):
            self.write(given)

    def go_back(self, version: str) -> None:
        """Roll back; every key can get the value that it has in that version."""
        there = json.loads((self.secret.stored.versions[version] or {})["SecretString"])
        for key in KEYS_EVER:
            self.possible[key] = self.possible[key] | {there.get(key)}
        began, target = len(self.acknowledged), store(self.secret)
        with self.checked(target):
            content = target.read_version(version)
            target.roll_back(plan_rollback(target.read(), version, content.document, stage="launch"))
        for key in KEYS_EVER:
            self.acknowledge(key, there.get(key), began)

    def start(self) -> None:
        """Start a rotation of ``a``, unless one is in progress; its version is a copy of the current one."""
        labels = self.secret.stored.labels
        if labels.get(PENDING) in (None, labels[CURRENT]):
            start_rotation(self.secret, f"{self.count:032}-rotation", a=self.fresh())
            self.other_writes += 1

    def finish(self) -> None:
        """End the rotation; writes since its start are lost."""
        labels = self.secret.stored.labels
        if labels.get(PENDING) in (None, labels[CURRENT]):
            return
        finish_rotation(self.secret)
        self.other_writes += 1
        self.acknowledge("a", content(self.secret)["a"], len(self.acknowledged))

    def rotate(self) -> None:
        self.start()
        self.finish()

    # Rules.

    @rule(keys=KEYS)
    def write_undisturbed(self, keys):
        """It creates one version, and a second run finds no changes."""
        given = {key: self.fresh() for key in keys}
        labels = self.secret.stored.labels
        if labels.get(PENDING) not in (None, labels[CURRENT]):
            before = dict(labels)
            with pytest.raises(RotationInProgress):
                sync(self.secret, **given)
            assert self.secret.stored.labels == before
            return
        versions = set(self.secret.stored.versions)
        self.write(given)
        assert len(set(self.secret.stored.versions) - versions) == 1
        assert STAGED not in self.secret.stored.labels
        assert sync(self.secret, **given).is_empty

    @rule(keys=KEYS, place=PLACES, when=WHEN, error=st.sampled_from([Crash(), NO_RESPONSE, THROTTLED]))
    def write_and_fail_then_again(self, keys, place, when, error):
        """Whichever call fails: another run of the same write creates no second version."""
        given = {key: self.fresh() for key in keys}
        versions = set(self.secret.stored.versions)
        self.secret.on("*", error, when=when, skip=place)
        self.try_to_write(given)
        self.secret.forget()
        self.try_to_write(given)
        assert len(set(self.secret.stored.versions) - versions) <= 1

    @rule(keys=KEYS, theirs=KEYS, place=PLACES, when=WHEN)
    def write_while_another_writes(self, keys, theirs, place, when):
        other = partial(self.try_to_write, {key: self.fresh() for key in theirs})
        self.secret.on("*", other, when=when, skip=place)
        self.try_to_write({key: self.fresh() for key in keys})
        self.secret.forget()

    @rule(keys=KEYS, first=PLACES, second=PLACES, when=WHEN, fails=st.booleans())
    def write_while_it_is_rotated(self, keys, first, second, when, fails):
        self.secret.on("*", self.start, when=when, skip=first)
        self.secret.on("*", self.finish, when=when, skip=second)
        if fails:
            self.secret.on("*", NO_RESPONSE, when="after", skip=max(first, second))
        given = {key: self.fresh() for key in keys}
        self.try_to_write(given)
        self.secret.forget()
        self.try_to_write(given)

    @rule(back=st.integers(0, 30), place=PLACES, when=WHEN, error=ERRORS)
    def roll_back_and_perhaps_fail_then_again(self, back, place, when, error):
        """With the version, a rollback can be run again, and creates no version."""
        versions = dict(self.secret.stored.versions)
        version = list(versions)[back % len(versions)]
        if error:
            self.secret.on("*", error, when=when, skip=place)
        for _ in range(2):
            with suppress(DeployError, Crash):
                self.go_back(version)
            self.secret.forget()
        assert self.secret.stored.versions == versions

    @rule(keys=KEYS, back=st.integers(0, 30), place=PLACES, when=WHEN)
    def roll_back_while_another_writes(self, keys, back, place, when):
        versions = list(self.secret.stored.versions)
        other = partial(self.try_to_write, {key: self.fresh() for key in keys})
        self.secret.on("*", other, when=when, skip=place)
        with suppress(DeployError):
            self.go_back(versions[back % len(versions)])
        self.secret.forget()

    @rule(values=st.sampled_from([{"a": "a0"}, {"c": "created"}]), place=PLACES, when=WHEN)
    def create_what_exists(self, values, place, when):
        """An existing secret is never changed."""
        before = copy.deepcopy(self.secret.secrets)
        self.secret.on("*", NO_RESPONSE, when=when, skip=place)
        with suppress(DeployError):
            store(self.secret).create(Document(values))
        self.secret.forget()
        assert self.secret.secrets == before

    @rule()
    def rotation_starts(self):
        self.start()

    @rule()
    def rotation_ends(self):
        self.finish()

    @rule(keys=KEYS)
    def boto3_retries(self, keys):
        self.secret.on("Move AWSCURRENT", when="again")
        self.try_to_write({key: self.fresh() for key in keys})
        self.secret.forget()

    @rule(keys=KEYS, reads=st.integers(1, 40), is_lost=st.booleans())
    def reads_are_outdated_after_the_move(self, keys, reads, is_lost):
        self.secret.on("Move AWSCURRENT", partial(self.secret.read_stale, reads), when="after")
        if is_lost:
            self.secret.on("Move AWSCURRENT", NO_RESPONSE, when="after")
        self.try_to_write({key: self.fresh() for key in keys})
        self.secret.forget()

    # Invariants.

    @invariant()
    def nothing_acknowledged_is_lost(self):
        now = content(self.secret)
        assert {key: now.get(key) for key in self.possible if now.get(key) not in self.possible[key]} == {}
        assert now["kept"] == STORED["kept"]

    @invariant()
    def one_version_has_awscurrent(self):
        stages = self.secret.describe_secret(SecretId=NAME)["VersionIdsToStages"]
        assert [CURRENT in labels for labels in stages.values()].count(True) == 1

    @invariant()
    def first_version_still_exists(self):
        assert FIRST in self.secret.stored.versions


TestWriters = Writers.TestCase
TestWriters.settings = settings(
    max_examples=60,
    stateful_step_count=12,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
