"""The plan: what changes, what stays, what is refused. Pure, so tables and properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.errors import InvalidSecret, SecretTooLarge
from deploytools.secret.contract import FIELDS, Problem
from deploytools.secret.document import Change, ChangeKind, Document
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync
from tests.secret.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3, SES_PASSWORD
from tests.secret.test_document import OBJECTS, reveal

VERSION = "1" * 32
KEPT, ADDED, CHANGED, UNCHANGED = ChangeKind.KEPT, ChangeKind.ADDED, ChangeKind.CHANGED, ChangeKind.UNCHANGED
KNOWN = {field.name for field in FIELDS}


def plan(stored: dict[str, Any], wanted: dict[str, Any], stage: str = "launch", version: str = VERSION) -> SyncPlan:
    state = SecretState("prod/shop", "us-east-1", version, Document(stored), {version: ("AWSCURRENT",)})
    return plan_sync(state, Document(wanted), stage=stage)


@pytest.mark.parametrize(
    ("stored", "wanted", "expected", "after"),
    [
        ({}, {}, [], {}),
        ({"a": 1}, {}, [("a", KEPT)], {"a": 1}),
        ({"a": 1}, {"a": 1}, [("a", UNCHANGED)], {"a": 1}),
        ({"a": 1}, {"a": "1"}, [("a", CHANGED)], {"a": "1"}),
        ({"a": 1}, {"b": 2}, [("a", KEPT), ("b", ADDED)], {"a": 1, "b": 2}),
        ({"a": 1}, {"a": None}, [("a", CHANGED)], {"a": None}),
        ({"port": 5432}, {"port": "5432"}, [("port", UNCHANGED)], {"port": 5432}),
        ({"port": "5432"}, {"port": 5432}, [("port", UNCHANGED)], {"port": "5432"}),
        ({"port": 5432}, {"port": "5433"}, [("port", CHANGED)], {"port": 5433}),
        (
            {"email_host": "smtp.gmail.com", "email_password": "abcdefghijklmnop"},
            {"email_password": "abcd-efgh ijkl-mnop"},
            [("email_host", KEPT), ("email_password", UNCHANGED)],
            {"email_host": "smtp.gmail.com", "email_password": "abcdefghijklmnop"},
        ),
    ],
)
def test_plan(stored, wanted, expected, after):
    made = plan(stored, wanted)
    assert made.changes == tuple(Change(*row) for row in expected)
    assert made.after == Document(after)
    assert list(made.after) == list(after)
    assert made.is_empty is all(kind in {KEPT, UNCHANGED} for _, kind in expected)
    assert (made.warnings, made.remaining) == ((), ())


def test_the_guides_walk_in_one_step():
    """Step 1's placeholders, and a file with what Steps 2 and 3 gather."""
    wanted = {key: GOOD[key] for key in GOOD if GOOD[key] != GUIDE_STEP_1[key]}
    made = plan(GUIDE_STEP_1, wanted)
    assert [change.key for change in made.changes if change.kind is CHANGED] == [
        "password",
        "django_secret_key",
        "stripe_secret_key",
        "stripe_publishable_key",
        "email_host",
        "email_user",
        "email_password",
    ]
    assert (made.after, made.remaining) == (Document(GOOD), ())


def test_what_is_broken_already_is_mended_one_by_one():
    made = plan(GUIDE_STEP_1, {"password": GOOD["password"]})
    assert [problem.key for problem in made.remaining] == [
        "django_secret_key",
        "stripe_secret_key",
        "stripe_publishable_key",
        "email_host",
        "email_user",
        "email_password",
    ]
    assert [change.key for change in made.changes if change.kind is not KEPT] == ["password"]


def test_warnings_are_of_the_keys_given():
    stand_ins = {key: GUIDE_STEP_3[key] for key in ("stripe_secret_key", "stripe_publishable_key")}
    made = plan(GOOD, stand_ins, stage="pre-launch")
    sentence = "is the stand-in for a Stripe account that does not exist yet"
    assert [(item.key, item.sentence, item.is_warning) for item in made.warnings] == [
        ("stripe_secret_key", sentence, True),
        ("stripe_publishable_key", sentence, True),
    ]
    assert made.remaining == ()


@pytest.mark.parametrize(
    ("stored", "wanted", "stage", "message"),
    [
        (GOOD, {"port": 0}, "launch", "port must be from 1 to 65535"),
        (GOOD, {"host": "", "port": "x"}, "launch", "host is empty; port must be a number"),
        (
            GUIDE_STEP_1,
            GUIDE_STEP_3,
            "pre-launch",
            "password is still a placeholder; django_secret_key is still a placeholder; "
            "email_user is still a placeholder; email_password is still a placeholder",
        ),
        (
            GOOD,
            {"stripe_secret_key": GOOD["stripe_secret_key"].replace("live", "test")},
            "pre-launch",
            "stripe_secret_key is of another mode than its pair: one is live, one is test",
        ),
        (
            GOOD | {"stripe_publishable_key": GOOD["stripe_publishable_key"].replace("live", "test")},
            {"stripe_secret_key": GOOD["stripe_secret_key"]},
            "launch",
            "stripe_secret_key is of another mode than its pair: one is live, one is test",
        ),
        (GOOD, {"email_password": SES_PASSWORD}, "launch", "email_password is not a Gmail app password"),
    ],
)
def test_what_is_refused(stored, wanted, stage, message):
    with pytest.raises(InvalidSecret) as caught:
        plan(stored, wanted, stage)
    assert str(caught.value) == f"Nothing was written, because of: {message}."
    assert caught.value.hint.startswith("Good shapes: ")
    assert caught.value.hint.endswith(" Leave a key out of the file to keep the value that is stored.")


def test_too_large():
    with pytest.raises(SecretTooLarge):
        plan({"a": "x" * 65_000}, {"b": "x" * 1_000})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, None),
        ({"v1": ("AWSCURRENT",)}, None),
        ({"v1": ("AWSCURRENT", "AWSPENDING"), "v0": ("AWSPREVIOUS",)}, None),
        ({"v1": ("AWSCURRENT",), "v2": ("AWSPENDING",)}, "v2"),
        ({"v1": ("AWSCURRENT",), "v0": ("AWSPREVIOUS", "AWSPENDING")}, "v0"),
        ({"v1": ("AWSCURRENT",), "v2": ("deploytools-pending",)}, None),
    ],
)
def test_pending_version(labels, expected):
    assert SecretState("n", "r", "v1", Document({}), labels).pending_version == expected


UNKNOWN = OBJECTS.map(lambda values: {key: value for key, value in values.items() if key not in KNOWN})


@given(UNKNOWN, UNKNOWN)
def test_nothing_that_was_not_given_is_altered(stored, wanted):
    made = plan(stored, wanted)
    after = reveal(made.after)
    assert repr({key: after[key] for key in after if key not in wanted}) == repr(
        {key: stored[key] for key in stored if key not in wanted}
    )
    assert repr({key: after[key] for key in wanted}) == repr(wanted)
    assert list(after) == list(stored | wanted)


@given(UNKNOWN, UNKNOWN)
def test_planning_the_result_again_is_empty(stored, wanted):
    first = plan(stored, wanted)
    again = plan_sync(replace(first.state, document=first.after), Document(wanted), stage="launch")
    assert again.is_empty
    assert again.after == first.after


@given(UNKNOWN, UNKNOWN, UNKNOWN)
def test_a_token_is_of_base_and_content(stored, wanted, other):
    first, same, second = plan(stored, wanted), plan(stored, wanted), plan(stored, other)
    assert first.token == same.token
    texts = {item.after.to_json().reveal() for item in (first, second)}
    assert len({first.token, second.token}) == len(texts)
    assert plan(stored, wanted, version="2" * 32).token != first.token
    assert len(first.token) == 64


@given(st.sampled_from(sorted(KNOWN)), st.none() | st.integers() | st.text(max_size=40))
def test_a_refusal_never_quotes_a_value(key, value):
    canary = f"canary-{value}-7d1f"
    try:
        made = plan(GOOD, {key: canary})
    except InvalidSecret as error:
        assert canary not in f"{error}{error.hint}{vars(error)}"
    else:
        assert canary not in repr(made)


def test_problems_are_values():
    assert Problem("a", "is b", "c") == Problem("a", "is b", "c", is_warning=False)
