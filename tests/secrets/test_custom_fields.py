"""`DEPLOYTOOLS["SECRET_FIELDS"]`: fields, Django validators, and the system check."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error
from django.core.exceptions import ValidationError
from django.core.validators import MinLengthValidator, MinValueValidator, URLValidator

from deploytools.checks import check_settings
from deploytools.secrets.contract import find_missing, find_problems, preset_fields
from deploytools.secrets.custom_fields import all_fields, custom_fields
from deploytools.secrets.document import Document
from deploytools.secrets.inputs import generated_keys

CANARY = "canary-7d1f"


def repeats_value(value: object) -> None:
    raise ValidationError(f"{value} will not do")


def accepts(value: object) -> None:
    """Accepts anything."""


def crashes(value: Any) -> None:
    value.nothing_has_this()


def problems(settings: Any, row: dict[str, Any], value: object, stage: str = "launch") -> list[tuple[str, bool]]:
    settings.DEPLOYTOOLS = {"SECRET_FIELDS": {"own": row}}
    return [
        (item.message, item.is_warning)
        for item in find_problems(
            Document({"own": value}), stage=stage, fields=custom_fields(settings.DEPLOYTOOLS["SECRET_FIELDS"])
        )
    ]


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [
        ({}, "x", []),
        ({}, {"any": ["json"]}, []),
        ({}, "", ["is empty"]),
        ({}, "x ", ["has leading or trailing whitespace"]),
        ({}, "CHANGE_ME", ["is still a placeholder"]),
        ({"placeholder": "none|later"}, "later", ["is still a placeholder"]),
        ({"placeholder": "none|later"}, "sooner or later", []),
        ({"validators": [URLValidator()]}, "https://sentry.io/1", []),
        ({"validators": [URLValidator()]}, CANARY, ["was rejected by URLValidator: Enter a valid URL."]),
        (
            {"validators": [MinLengthValidator(20)]},
            CANARY,
            ["was rejected by MinLengthValidator: Ensure this value has at least 20 characters (it has 11)."],
        ),
        ({"validators": (repeats_value,)}, CANARY, ["was rejected by repeats_value"]),
        ({"validators": (accepts,)}, CANARY, []),
        ({"validators": (crashes,)}, CANARY, ["was rejected by crashes (AttributeError)"]),
        ({"number": True, "validators": [MinValueValidator(5)]}, 7, []),
        (
            {"number": True, "validators": [MinValueValidator(5)]},
            3,
            ["was rejected by MinValueValidator: Ensure this value is greater than or equal to 5."],
        ),
        ({"number": True}, "many", ["must be a number"]),
        ({"number": True}, True, ["must be a number"]),
    ],
)
def test_values(settings, row, value, expected):
    assert problems(settings, row, value) == [(message, False) for message in expected]


@pytest.mark.parametrize(("stage", "is_warning"), [("pre-launch", True), ("launch", False)])
def test_temporary_value_is_only_a_warning_before_launch(settings, stage, is_warning):
    message = "is a temporary value"
    assert problems(settings, {"temporary_value": "not-yet"}, "not-yet", stage) == [(message, is_warning)]


@pytest.mark.parametrize(
    ("required_from", "stage", "expected"),
    [
        ("", "launch", False),
        ("launch", "pre-launch", False),
        ("launch", "launch", True),
        ("pre-launch", "launch", True),
    ],
)
def test_required_from_a_stage(settings, required_from, stage, expected):
    settings.DEPLOYTOOLS = {"SECRET_FIELDS": {"own": {"required_from": required_from}}}
    fields = custom_fields(settings.DEPLOYTOOLS["SECRET_FIELDS"])
    assert ("own" in find_missing(Document({}), stage=stage, fields=fields)) is expected


def test_all_fields(settings):
    settings.DEPLOYTOOLS = {
        "SECRET_FIELDS": {"salt": {"generator": "password", "sensitive": False, "expected": "random"}}
    }
    chosen = preset_fields(["django", "database"])
    rows = all_fields(["django", "database"], settings.DEPLOYTOOLS["SECRET_FIELDS"])
    assert (rows[:-1], chosen[0].name, chosen[-1].name) == (chosen, "django_secret_key", "master_password")
    assert (rows[-1].name, rows[-1].expected, rows[-1].is_sensitive) == ("salt", "random", False)
    assert generated_keys(rows) == ("django_secret_key", "password", "salt")


ROW = "DEPLOYTOOLS[\"SECRET_FIELDS\"]['own']"
OPTIONS = "validators, expected, sensitive, number, required_from, generator, placeholder, temporary_value"


@pytest.mark.parametrize(
    ("row", "message", "hint"),
    [
        ([], f"{ROW} is not a dict.", f"Its options are: {OPTIONS}."),
        ({"secret": True}, f"{ROW} has an unknown option 'secret'.", f"Its options are: {OPTIONS}."),
        ({"sensitive": "no"}, f"{ROW}['sensitive'] has the type str.", "It must be: bool."),
        (
            {"validators": len},
            f"{ROW}['validators'] has the type builtin_function_or_method.",
            "It must be: list or tuple.",
        ),
        (
            {"validators": ["x"]},
            f"{ROW}['validators'] contains an object that is not callable.",
            "Use django.core.validators.",
        ),
        (
            {"required_from": "soon"},
            f"{ROW}['required_from'] is 'soon'.",
            "It must be one of: pre-launch, launch.",
        ),
        ({"generator": "magic"}, f"{ROW}['generator'] is 'magic'.", "It must be one of: password, django_secret_key."),
        ({"placeholder": "("}, f"{ROW}['placeholder'] is not a regular expression.", "It must match the whole value."),
        (
            {"number": True, "generator": "password"},
            f"{ROW} has both number and generator.",
            "Remove one of them: generated values are strings.",
        ),
    ],
)
def test_invalid_fields(settings, row, message, hint):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "SECRET_FIELDS": {"own": row}}
    assert check_settings() == [Error(message, hint=hint, id="deploytools.E006")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("password", "is a key of the preset database."),
        ("", "is not the name of a key."),
        (7, "is not the name of a key."),
    ],
)
def test_invalid_keys(settings, name, message):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "SECRET_FIELDS": {name: {}}}
    (error,) = check_settings()
    assert error.msg == f'DEPLOYTOOLS["SECRET_FIELDS"][{name!r}] {message}'


def test_keys_of_a_preset_that_is_not_chosen_are_free(settings):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "SECRET_FIELDS": {"email_user": {}, "stripe_secret_key": {}}}
    assert check_settings() == []
    settings.DEPLOYTOOLS["PRESETS"] = ["database", "stripe"]
    (error,) = check_settings()
    assert error.msg == "DEPLOYTOOLS[\"SECRET_FIELDS\"]['stripe_secret_key'] is a key of the preset stripe."


@pytest.mark.parametrize(
    ("rows", "ids"), [({}, []), ({"own": {}}, []), ([], ["deploytools.E002"]), (None, ["deploytools.E002"])]
)
def test_fields_of_a_wrong_type_are_reported_once(settings, rows, ids):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "SECRET_FIELDS": rows}
    assert [message.id for message in check_settings()] == ids
