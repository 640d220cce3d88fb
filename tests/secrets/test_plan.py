"""Plans of writes: changes, warnings and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.errors import InvalidSecret, SecretTooLarge
from deploytools.secrets.contract import FIELDS, Problem
from deploytools.secrets.document import Change, ChangeKind, Document
from deploytools.secrets.plan import SecretState, SyncPlan, kept_keys, plan_sync, rotation_dates, with_dates
from tests.secrets.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3, SES_PASSWORD
from tests.secrets.strategies import OBJECTS, reveal

VERSION = "1" * 32
ADDED, CHANGED, UNCHANGED = ChangeKind.ADDED, ChangeKind.CHANGED, ChangeKind.UNCHANGED
KNOWN = {field.name for field in FIELDS}


def plan(stored: dict[str, Any], wanted: dict[str, Any], stage: str = "launch", version: str = VERSION) -> SyncPlan:
    state = SecretState("prod/shop", "us-east-1", version, Document(stored), {version: ("AWSCURRENT",)})
    return plan_sync(state, Document(wanted), stage=stage)


@pytest.mark.parametrize(
    ("stored", "wanted", "expected", "after"),
    [
        ({}, {}, [], {}),
        ({"a": 1}, {}, [("a", UNCHANGED)], {"a": 1}),
        ({"a": 1}, {"a": 1}, [("a", UNCHANGED)], {"a": 1}),
        ({"a": 1}, {"a": "1"}, [("a", CHANGED)], {"a": "1"}),
        ({"a": 1}, {"b": 2}, [("a", UNCHANGED), ("b", ADDED)], {"a": 1, "b": 2}),
        ({"a": 1}, {"a": None}, [("a", CHANGED)], {"a": None}),
        ({"port": 5432}, {"port": "5432"}, [("port", UNCHANGED)], {"port": 5432}),
        ({"port": "5432"}, {"port": 5432}, [("port", UNCHANGED)], {"port": "5432"}),
        ({"port": 5432}, {"port": "5433"}, [("port", CHANGED)], {"port": 5433}),
        (
            {"email_host": "smtp.gmail.com", "email_password": "qwvzhtpmxkdrbnfs"},
            {"email_password": "qwvz-htpm xkdr-bnfs"},
            [("email_host", UNCHANGED), ("email_password", UNCHANGED)],
            {"email_host": "smtp.gmail.com", "email_password": "qwvzhtpmxkdrbnfs"},
        ),
    ],
)
def test_plan(stored, wanted, expected, after):
    made = plan(stored, wanted)
    assert made.changes == tuple(Change(*row) for row in expected)
    assert made.after == Document(after)
    assert list(made.after) == list(after)
    assert made.is_empty is all(kind is UNCHANGED for _, kind in expected)
    assert (made.warnings, made.remaining) == ((), ())


def test_all_values_of_the_guide_at_once():
    """The secret has the placeholders of Step 1, the file the values of Steps 2 and 3."""
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


def test_problems_in_other_keys_do_not_prevent_a_write():
    made = plan(GUIDE_STEP_1, {"password": GOOD["password"]})
    assert [problem.key for problem in made.remaining] == [
        "django_secret_key",
        "stripe_secret_key",
        "stripe_publishable_key",
        "email_host",
        "email_user",
        "email_password",
    ]
    assert [change.key for change in made.changes if change.kind is not UNCHANGED] == ["password"]


def test_warnings_are_about_the_given_keys():
    temporary = {key: GUIDE_STEP_3[key] for key in ("stripe_secret_key", "stripe_publishable_key")}
    made = plan(GOOD, temporary, stage="pre-launch")
    message = "is the temporary value until there is a Stripe account"
    assert [(item.key, item.message, item.is_warning) for item in made.warnings] == [
        ("stripe_secret_key", message, True),
        ("stripe_publishable_key", message, True),
    ]
    assert made.remaining == ()


@pytest.mark.parametrize(
    ("stored", "wanted", "stage", "message"),
    [
        (GOOD, {"port": 0}, "launch", "port must be between 1 and 65535"),
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
            "stripe_secret_key does not have the mode of the other Stripe key: one is live, one is test",
        ),
        (
            GOOD | {"stripe_publishable_key": GOOD["stripe_publishable_key"].replace("live", "test")},
            {"stripe_secret_key": GOOD["stripe_secret_key"]},
            "launch",
            "stripe_secret_key does not have the mode of the other Stripe key: one is live, one is test",
        ),
        (GOOD, {"email_password": SES_PASSWORD}, "launch", "email_password is not a Gmail app password"),
    ],
)
def test_refused(stored, wanted, stage, message):
    with pytest.raises(InvalidSecret) as caught:
        plan(stored, wanted, stage)
    assert str(caught.value) == f"{message}. Nothing was changed."
    assert caught.value.hint.startswith("Expected: ")
    assert caught.value.hint.endswith(" To keep the stored value of a key, leave the key out.")


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
        ({"v1": ("AWSCURRENT",), "v0": ("AWSPREVIOUS", "AWSPENDING")}, None),
        ({"v1": ("AWSCURRENT",), "v2": ("deploytools-pending",)}, None),
    ],
)
def test_pending_version(labels, expected):
    assert SecretState("n", "r", "v1", Document({}), labels).pending_version == expected


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_awspending_of_a_finished_rotation(version):
    """A finished rotation leaves it on its version, which is current until another write."""
    labels = {"v1": ("AWSCURRENT",), "v0": ("AWSPREVIOUS",)}
    state = SecretState("n", "r", "v1", Document({}), labels | {version: (*labels[version], "AWSPENDING")})
    assert (state.pending_version, state.stale_pending_version) == (None, version)
    assert state.end_rotation.endswith(f"--version-stage AWSPENDING --remove-from-version-id {version}")


UNRECOGNIZED = OBJECTS.map(lambda values: {key: value for key, value in values.items() if key not in KNOWN})


@pytest.mark.slow
@given(UNRECOGNIZED, UNRECOGNIZED)
def test_other_keys_are_unchanged(stored, wanted):
    made = plan(stored, wanted)
    after = reveal(made.after)
    assert repr({key: after[key] for key in after if key not in wanted}) == repr(
        {key: stored[key] for key in stored if key not in wanted}
    )
    assert repr({key: after[key] for key in wanted}) == repr(wanted)
    assert list(after) == list(stored | wanted)


@pytest.mark.slow
@given(UNRECOGNIZED, UNRECOGNIZED)
def test_plan_from_its_own_result_is_empty(stored, wanted):
    first = plan(stored, wanted)
    again = plan_sync(replace(first.state, document=first.after), Document(wanted), stage="launch")
    assert again.is_empty
    assert again.after == first.after


@pytest.mark.slow
@given(UNRECOGNIZED, UNRECOGNIZED, UNRECOGNIZED)
def test_token_depends_on_base_and_content(stored, wanted, other):
    first, same, second = plan(stored, wanted), plan(stored, wanted), plan(stored, other)
    assert first.token == same.token
    texts = {item.after.to_json().reveal() for item in (first, second)}
    assert len({first.token, second.token}) == len(texts)
    assert plan(stored, wanted, version="2" * 32).token != first.token
    assert len(first.token) == 64


@given(st.sampled_from(sorted(KNOWN)), st.none() | st.integers() | st.text(max_size=40))
def test_refusal_does_not_contain_a_value(key, value):
    canary = f"canary-{value}-7d1f"
    try:
        made = plan(GOOD, {key: canary})
    except InvalidSecret as error:
        assert canary not in f"{error}{error.hint}{vars(error)}"
    else:
        assert canary not in repr(made)


def test_problems_are_compared_by_value():
    assert Problem("a", "is b", "c") == Problem("a", "is b", "c", is_warning=False)


@pytest.mark.parametrize(
    ("with_login", "kept", "dates"),
    [
        (False, ("username", "password", "master_password"), {"password": "2", "master_password": "2"}),
        (True, ("master_password",), {"password": "1", "master_password": "2"}),
    ],
)
def test_a_rollback_keeps_rotated_credentials_with_their_dates(with_login, kept, dates):
    now = {"username": "app_b", "password": "p2", "master_password": "m2", "email_host": "e2"}
    before = {"username": "app", "password": "p1", "master_password": "m1", "email_host": "e1"}
    document = Document(now | {"rotated_at": {"password": "2", "master_password": "2"}})
    then = Document(before | {"rotated_at": {"password": "1"}})
    assert kept_keys(document, then, with_login=with_login) == kept
    assert rotation_dates(with_dates(document, then, kept)) == dates
    assert "rotated_at" not in with_dates(Document(now), then.without(["rotated_at"]), kept)


NOW = "2030-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("stored", "wanted", "dates"),
    [
        ({"password": "p" * 40 + "12345678"}, {"password": "q" * 40 + "12345678"}, {"password": NOW}),
        ({"password": "p" * 40 + "12345678"}, {"password": "p" * 40 + "12345678"}, {}),
        ({}, {"password": "q" * 40 + "12345678"}, {}),
        ({"password": "REPLACE_ME: a password"}, {"password": "q" * 40 + "12345678"}, {}),
        ({"master_password": "one"}, {"master_password": "two", "email_port": 25}, {"master_password": NOW}),
        (
            {
                "django_secret_key": "a" * 46 + "1234",
                "rotated_at": {"password": "1", "django_secret_key_announced": "2"},
            },
            {"django_secret_key": "b" * 46 + "1234"},
            {"password": "1", "django_secret_key": NOW},
        ),
    ],
)
def test_the_date_of_a_replaced_credential(stored, wanted, dates):
    state = SecretState("prod/shop", "us-east-1", VERSION, Document(stored), {VERSION: ("AWSCURRENT",)})
    assert rotation_dates(plan_sync(state, Document(wanted), stage="launch", now=NOW).after) == dates
    assert rotation_dates(plan_sync(state, Document(wanted), stage="launch").after) == stored.get("rotated_at", {})
