"""The JSON Schema says the same as the rules, with a validator of JSON Schema as the judge."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytools.secret.contract import FIELDS, Field, by_name, problems
from deploytools.secret.document import Document
from deploytools.secret.rules import Text
from deploytools.secret.schema import schema
from tests.secret.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3, SES_PASSWORD
from tests.secret.test_contract import PASSWORD, SECRET_KEY

MADE = schema(FIELDS)
JUDGE = jsonschema.Draft202012Validator(MADE)
#: What JSON Schema cannot say: how many different characters a text has.
BEYOND = {"ab" * 16, "abcd" * 15}


def broken(document: dict[str, Any]) -> set[str]:
    return {str(error.absolute_path[0]) for error in JUDGE.iter_errors(document)}


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(MADE)
    assert json.loads(json.dumps(MADE)) == MADE
    assert list(MADE["properties"]) == [field.name for field in FIELDS]


def test_documents():
    assert broken(GOOD) == set()
    assert broken({}) == set()
    assert broken({"a key of the host's own": [1]}) == set()
    assert broken(GUIDE_STEP_1) == {
        "password",
        "django_secret_key",
        "stripe_secret_key",
        "stripe_publishable_key",
        "email_host",
        "email_user",
        "email_password",
    }
    assert broken(GUIDE_STEP_3) == {"password", "django_secret_key", "email_user", "email_password"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", "0"),
        ("port", "65536"),
        ("port", 65_536),
        ("port", True),
        ("port", None),
        ("host", "https://db"),
        ("host", " db"),
        ("host", ""),
        ("engine", "mysql"),
        ("username", "a" * 64),
        ("password", PASSWORD[:31]),
        ("password", PASSWORD + "/"),
        ("password", "CHANGE_ME" + PASSWORD),
        ("django_secret_key", SECRET_KEY[:49]),
        ("django_secret_key", "django-insecure-" + SECRET_KEY),
        ("stripe_secret_key", GOOD["stripe_publishable_key"]),
        ("stripe_webhook_secret", "whsec_"),
        ("email_password", "abc "),
        ("email_user", "a@EXAMPLE.com"),
    ],
)
def test_bad_values(key, value):
    assert broken({key: value}) == {key}


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 70_000),
    st.integers(0, 70_000).map(str),
    st.text(max_size=70),
    st.sampled_from([PASSWORD, SECRET_KEY, SES_PASSWORD, *map(str, GOOD.values()), *map(str, GUIDE_STEP_3.values())]),
)


@given(st.sampled_from([field.name for field in FIELDS]), VALUES)
def test_schema_and_rules_agree(key, value):
    """On one key at a time, at the stage before launch, where the stand-ins are let through."""
    if value in BEYOND or (isinstance(value, str) and (value.endswith("\n") or not value.isprintable())):
        return  # Python's $ matches before a line break; an editor's does not.
    judged = [item for item in problems(Document({key: value}), stage="pre-launch") if not item.is_warning]
    too_simple = isinstance(value, str) and len(set(value)) < 8 and key in {"password", "django_secret_key"}
    assert bool(judged) == bool(broken({key: value})) or too_simple


def test_a_hosts_own_fields():
    own = Field("sentry", Text(), "https://…", placeholder="none|later", stand_in="not-yet")
    judge = jsonschema.Draft202012Validator(schema([own]))
    assert {value: judge.is_valid({"sentry": value}) for value in ("x", "none", "later", "not-yet", "TODO", "")} == {
        "x": True,
        "none": False,
        "later": False,
        "not-yet": True,
        "TODO": False,
        "": False,
    }


def test_every_row_has_a_description():
    assert {key for key, row in MADE["properties"].items() if not row["description"]} == set()
    assert by_name(FIELDS)["port"].rule.schema["maximum"] == 65_535
