"""The state of each key, the template, and the fingerprints."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from deploytools.secrets.contract import FIELDS, Field, by_name, find_problems, preset_fields
from deploytools.secrets.custom_fields import custom_fields
from deploytools.secrets.document import Document, Secret
from deploytools.secrets.inspection import FINGERPRINT_DIGITS, KeyState, fingerprints, inspect, key_state, template
from deploytools.secrets.plan import SecretState
from tests.secrets.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3, good

FIELDS_BY_NAME = by_name(FIELDS)
CHOSEN = (
    *preset_fields(["database"]),
    *custom_fields({"custom": {"required_from": "launch", "expected": "any text"}}),
)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("email_user", "shop@mosaicmeshai.com", KeyState.SET),
        ("email_user", "", KeyState.MISSING),
        ("email_user", None, KeyState.MISSING),
        ("email_user", "notifications@example.com", KeyState.PLACEHOLDER),
        ("port", 0, KeyState.SET),
        ("password", GOOD["password"], KeyState.SET),
        ("password", "a1" * 20, KeyState.GENERATED),
        ("email_password", "a1" * 20, KeyState.SET),
        ("stripe_secret_key", GOOD["stripe_secret_key"], KeyState.LIVE_MODE),
        ("stripe_secret_key", "rk_test_x", KeyState.TEST_MODE),
        ("stripe_secret_key", GUIDE_STEP_3["stripe_secret_key"], KeyState.PLACEHOLDER),
        ("stripe_webhook_secret", "whsec_x", KeyState.SET),
        ("unknown", {"a": [1]}, KeyState.SET),
    ],
)
def test_key_states(key, value, expected):
    assert key_state(FIELDS_BY_NAME.get(key), Secret(value)) is expected


def test_inspection():
    document = Document({"zz": [1, 2], "host": "db", "port": 5432, "password": GOOD["password"]})
    found = inspect(SecretState("s", "r", "v", document), stage="launch", fields=CHOSEN)
    assert [(item.key, item.state, item.length, item.is_recognized) for item in found.keys] == [
        ("host", "set", 2, True),
        ("port", "set", 4, True),
        ("username", "missing", 0, True),
        ("password", "set", 32, True),
        ("custom", "missing", 0, True),
        ("zz", "set", 6, False),
    ]
    assert found.missing == ("username", "custom")
    assert GOOD["password"] not in repr(found)


@pytest.mark.parametrize(
    ("document", "stage", "expected"),
    [
        ({}, "launch", [key for key in GUIDE_STEP_1 if key not in {"engine", "dbClusterIdentifier"}]),
        (GOOD, "launch", []),
        (
            GUIDE_STEP_3,
            "pre-launch",
            ["password", "django_secret_key", "email_user", "email_password"],
        ),
        (
            GUIDE_STEP_1,
            "launch",
            [
                "password",
                "django_secret_key",
                "stripe_secret_key",
                "stripe_publishable_key",
                "email_host",
                "email_user",
                "email_password",
            ],
        ),
    ],
)
def test_template(document: dict[str, Any], stage: str, expected: list[str]):
    content = template(Document(document), stage=stage, fields=FIELDS)
    assert list(content) == expected
    refused = {item.key for item in find_problems(Document(content), stage=stage) if not item.is_warning}
    assert refused == set(expected)


def test_template_of_the_chosen_presets():
    assert template(Document({}), stage="launch", fields=CHOSEN) == {
        "host": "REPLACE_ME: my-instance.abc123.us-east-1.rds.amazonaws.com",
        "port": "REPLACE_ME: 5432",
        "username": "REPLACE_ME: shop_app",
        "password": "REPLACE_ME: 32 or more random letters and digits",
        "custom": "REPLACE_ME: any text",
    }


# Fingerprints.


def of_good(name: str = "prod/shop", **changes: object) -> dict[str, str]:
    return fingerprints(name, good(**changes), FIELDS)


def test_each_value_has_a_fingerprint():
    prints = of_good()
    assert list(prints) == list(GOOD)
    assert {len(text) for text in prints.values()} == {FINGERPRINT_DIGITS}
    assert len(set(prints.values())) == len(prints)
    assert of_good() == prints


@pytest.mark.parametrize("key", ["email_user", "port", "stripe_secret_key"])
def test_other_value_has_another_fingerprint(key):
    before, after = of_good(), of_good(**{key: "another"})
    assert {name for name in before if before[name] != after[name]} == {key}


def test_types_secrets_and_keys_have_different_fingerprints():
    assert of_good(port=5432)["port"] != of_good(port="5432")["port"]
    assert of_good()["port"] != of_good("prod/other")["port"]
    assert of_good(a="x", b="x")["a"] != of_good(a="x", b="x")["b"]


@pytest.mark.parametrize("key", ["password", "django_secret_key"])
def test_fingerprints_depend_on_every_random_value(key):
    before, after = of_good(), of_good(**{key: GOOD[key][::-1]})
    assert [name for name in before if before[name] == after[name]] == []


def test_no_fingerprints_without_a_random_value():
    assert fingerprints("prod/shop", Document(GUIDE_STEP_1), FIELDS) == {}
    assert fingerprints("prod/shop", Document({"port": 5432}), FIELDS) == {}


@pytest.mark.parametrize("value", ["short", "q" * 31, 7, None])
def test_custom_value_that_could_be_guessed_is_not_part_of_the_key(value):
    fields = [Field("salt", lambda _: None, "", generator="password")]
    assert fingerprints("prod/shop", Document({"salt": value, "port": 5432}), fields) == {}
    assert set(fingerprints("prod/shop", Document({"salt": "q" * 32, "port": 1}), fields)) == {"salt", "port"}


def test_fingerprint_is_not_a_plain_hash():
    """Neither of the value alone, nor of the value with the texts that are printed next to it."""
    shown = of_good(email_port=587)["email_port"]
    for text in ("587", "email_port587", "email_port\0587", "prod/shop587", '["email_port", 587]'):
        for algorithm in ("md5", "sha1", "sha256"):
            assert not hashlib.new(algorithm, text.encode()).hexdigest().startswith(shown)
