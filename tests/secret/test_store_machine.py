"""Any order of writers, rotations, crashes and lost answers: nothing that was acknowledged is ever lost.

Acknowledged means that a write returned without an error. A write that raised may have happened or not. A rotation that
began before a write and ends after it takes the write back; nothing in AWS's API prevents that (FACTS B1.5), so such a
write is not acknowledged: it raises `RotationUnderWay` or `SecretConflict`.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deploytools.errors import DeployError, RotationUnderWay
from deploytools.secret.document import Document
from deploytools.secret.labels import STAGED
from tests.fakes.errors import NO_ANSWER, THROTTLED, Crash
from tests.fakes.secretsmanager import CURRENT, PENDING
from tests.secret.world import (
    FIRST,
    NAME,
    STORED,
    content,
    fake,
    finish_rotation,
    roll_back,
    start_rotation,
    store,
    sync,
)

KEYS_EVER = ("a", "b", "c")
KEYS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True)
#: No write makes more calls than this where nobody else writes.
PLACES = st.integers(0, 10)
WHEN = st.sampled_from(["before", "after"])
ERRORS = st.sampled_from([None, Crash(), NO_ANSWER, THROTTLED])


class Writers(RuleBasedStateMachine):
    """The secret and, of each key, the values that it may have: more than one after a write not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.secret = fake()
        self.possible: dict[str, set[object]] = defaultdict(lambda: {None}, a={"a0"}, b={"b0"})
        self.acknowledged: list[tuple[str, object]] = []
        self.count = 0

    # Who writes.

    def fresh(self) -> Any:
        self.count += 1
        return f"value-{self.count}"

    def write(self, given: dict[str, Any]) -> None:
        """One of our writes; what may come out of it is known as soon as it begins."""
        for key, value in given.items():
            self.possible[key] = self.possible[key] | {value}
        began = len(self.acknowledged)
        sync(self.secret, **given)
        for key, value in given.items():
            self.acknowledge(key, value, began)

    def acknowledge(self, key: str, value: object, began: int) -> None:
        """What `key` has now; where others were acknowledged meanwhile, theirs may have come before it or after."""
        self.possible[key] = {value} | {other for name, other in self.acknowledged[began:] if name == key}
        self.acknowledged.append((key, value))

    def try_to_write(self, given: dict[str, Any]) -> None:
        with suppress(DeployError, Crash):
            self.write(given)

    def go_back(self, version: str) -> None:
        """A rollback of ours: every key may come to be what that version has."""
        there = json.loads((self.secret.stored.versions[version] or {})["SecretString"])
        for key in KEYS_EVER:
            self.possible[key] = self.possible[key] | {there.get(key)}
        began = len(self.acknowledged)
        roll_back(self.secret, version)
        for key in KEYS_EVER:
            self.acknowledge(key, there.get(key), began)

    def start(self) -> None:
        """A rotation of ``a`` begins, unless one is under way: its version is made of what is current now."""
        labels = self.secret.stored.labels
        if labels.get(PENDING) in (None, labels[CURRENT]):
            start_rotation(self.secret, f"{self.count:032}-rotation", a=self.fresh())

    def finish(self) -> None:
        """It ends, and whatever was written since it began is gone."""
        labels = self.secret.stored.labels
        if labels.get(PENDING) in (None, labels[CURRENT]):
            return
        finish_rotation(self.secret)
        self.acknowledge("a", content(self.secret)["a"], len(self.acknowledged))

    def rotate(self) -> None:
        self.start()
        self.finish()

    # What happens.

    @rule(keys=KEYS)
    def write_undisturbed(self, keys):
        """Converges, with at most one new version, and a second run finds nothing to do."""
        given = {key: self.fresh() for key in keys}
        labels = self.secret.stored.labels
        if labels.get(PENDING) not in (None, labels[CURRENT]):
            before = dict(labels)
            with pytest.raises(RotationUnderWay):
                sync(self.secret, **given)
            assert self.secret.stored.labels == before
            return
        versions = set(self.secret.stored.versions)
        self.write(given)
        assert len(set(self.secret.stored.versions) - versions) == 1
        assert STAGED not in self.secret.stored.labels
        assert sync(self.secret, **given).is_empty

    @rule(keys=KEYS, place=PLACES, when=WHEN, error=st.sampled_from([Crash(), NO_ANSWER, THROTTLED]))
    def write_and_fail_then_again(self, keys, place, when, error):
        """Whatever call fails, and however: the same write, run again, leads to the same end."""
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
            self.secret.on("*", NO_ANSWER, when="after", skip=max(first, second))
        given = {key: self.fresh() for key in keys}
        self.try_to_write(given)
        self.secret.forget()
        self.try_to_write(given)

    @rule(back=st.integers(0, 30), place=PLACES, when=WHEN, error=ERRORS)
    def roll_back_and_perhaps_fail_then_again(self, back, place, when, error):
        """Named by its version, a rollback is run again like a write: it converges, and makes no version."""
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
        """It is never touched, whatever fails."""
        before = copy.deepcopy(self.secret.secrets)
        self.secret.on("*", NO_ANSWER, when=when, skip=place)
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
    def botocore_asks_again(self, keys):
        self.secret.on("Move AWSCURRENT", when="again")
        self.try_to_write({key: self.fresh() for key in keys})
        self.secret.forget()

    # What must hold.

    @invariant()
    def nothing_acknowledged_is_lost(self):
        now = content(self.secret)
        assert {key: now.get(key) for key in self.possible if now.get(key) not in self.possible[key]} == {}
        assert now["kept"] == STORED["kept"]

    @invariant()
    def awscurrent_is_there_once(self):
        stages = self.secret.describe_secret(SecretId=NAME)["VersionIdsToStages"]
        assert [CURRENT in labels for labels in stages.values()].count(True) == 1

    @invariant()
    def the_first_version_is_untouched(self):
        assert FIRST in self.secret.stored.versions


TestWriters = Writers.TestCase
TestWriters.settings = settings(
    max_examples=60,
    stateful_step_count=12,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
