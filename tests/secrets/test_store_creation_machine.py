"""Creations, deletions, restorations, crashes and lost responses in any order: an existing value is never replaced."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deploytools.errors import DeployError
from deploytools.secrets.document import Document
from tests.fakes.errors import NO_RESPONSE, THROTTLED, Crash
from tests.fakes.secretsmanager import CURRENT, Fake
from tests.secrets.fake_secret import NAME, content, store

VALUES = st.sampled_from([{"a": "one"}, {"a": "two"}, {"a": "one", "b": 1}])
PLACES = st.integers(0, 7)
WHEN = st.sampled_from(["before", "after"])
ERRORS = st.sampled_from([Crash(), NO_RESPONSE, THROTTLED])


class Creators(RuleBasedStateMachine):
    """A secret that is absent or empty at first, and its first value."""

    def __init__(self) -> None:
        super().__init__()
        self.secret = Fake(NAME)
        self.first: Any = None

    @initialize(is_empty=st.booleans())
    def begin(self, is_empty):
        if is_empty:
            self.secret.create_secret(Name=NAME)

    def create(self, values: dict[str, Any]) -> bool:
        """Create the secret; return whether that was acknowledged."""
        with suppress(DeployError, Crash):
            store(self.secret).create(Document(values))
            return True
        return False

    @rule(values=VALUES)
    def create_undisturbed(self, values):
        was = self.first
        is_done = self.create(values)
        if self.secret.stored.deleted:
            assert not is_done
        else:
            assert is_done is (was is None or was == values)

    @rule(values=VALUES, place=PLACES, when=WHEN, error=ERRORS)
    def create_and_fail_then_again(self, values, place, when, error):
        self.secret.on("*", error, when=when, skip=place)
        self.create(values)
        self.secret.forget()
        self.create(values)

    @rule(values=VALUES, theirs=VALUES, place=PLACES, when=WHEN)
    def create_while_another_creates(self, values, theirs, place, when):
        self.secret.on("*", partial(self.create, theirs), when=when, skip=place)
        if self.create(values):
            assert content(self.secret) == values
        self.secret.forget()

    @rule()
    def delete(self):
        if self.first is not None:
            self.secret.stored.deleted = True

    @rule()
    def restore(self):
        if NAME in self.secret.secrets:
            self.secret.stored.deleted = False

    @invariant()
    def the_first_value_stays(self):
        if NAME not in self.secret.secrets or CURRENT not in self.secret.stored.labels:
            return
        self.first = content(self.secret) if self.first is None else self.first
        assert content(self.secret) == self.first


TestCreators = Creators.TestCase
TestCreators.settings = settings(
    max_examples=60,
    stateful_step_count=8,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
