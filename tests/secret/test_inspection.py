"""What is told of a secret, and what a file to fill in holds."""

from __future__ import annotations

from typing import Any

import pytest

from deploytools.secret.contract import FIELDS, by_name, problems
from deploytools.secret.document import Document
from deploytools.secret.inspection import KeyState, inspect, key_state, template
from deploytools.secret.sync import SecretState
from deploytools.secret.value import Secret
from tests.secret.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3

ROWS = by_name(FIELDS)
REQUIRED = ("host", "email_host", "of_the_host")


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
    assert key_state(ROWS.get(key), Secret(value)) is expected


def test_inspection():
    document = Document({"zz": [1, 2], "host": "db", "port": 5432, "password": GOOD["password"]})
    found = inspect(SecretState("s", "r", "v", document), stage="launch", required=REQUIRED, fields=FIELDS)
    assert [(item.key, item.state, item.length, item.is_known) for item in found.keys] == [
        ("host", "set", 2, True),
        ("port", "set", 4, True),
        ("username", "missing", 0, True),
        ("password", "set", 32, True),
        ("email_host", "missing", 0, True),
        ("of_the_host", "missing", 0, False),
        ("zz", "set", 6, False),
    ]
    assert found.missing == ("email_host", "of_the_host", "username")
    assert GOOD["password"] not in repr(found)


@pytest.mark.parametrize(
    ("document", "stage", "expected"),
    [
        ({}, "launch", ["host", "port", "username", "password", "email_host", "of_the_host"]),
        (GOOD | {"of_the_host": 1}, "launch", []),
        (
            GUIDE_STEP_3 | {"of_the_host": 1},
            "pre-launch",
            ["password", "django_secret_key", "email_user", "email_password"],
        ),
        (
            GUIDE_STEP_1 | {"of_the_host": 1},
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
    made = template(Document(document), stage=stage, required=REQUIRED, fields=FIELDS)
    assert list(made) == expected
    refused = {item.key for item in problems(Document(made), stage=stage) if not item.is_warning}
    assert refused == set(expected)
