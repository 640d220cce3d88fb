"""A host's own keys: rows made of settings, judged by Django's validators, wrong rows told by a system check."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error
from django.core.exceptions import ValidationError
from django.core.validators import MinLengthValidator, MinValueValidator, URLValidator

from deploytools.checks import check_secret_fields
from deploytools.secret.contract import FIELDS, missing, problems
from deploytools.secret.document import Document
from deploytools.secret.host import contract
from deploytools.secret.making import makeable

CANARY = "canary-7d1f"


def quotes(value: object) -> None:
    raise ValidationError(f"{value} will not do")


def fine(value: object) -> None:
    """Accepts anything."""


def falls_over(value: Any) -> None:
    value.nothing_has_this()


def judged(settings: Any, row: dict[str, Any], value: object, stage: str = "launch") -> list[tuple[str, bool]]:
    settings.DEPLOYTOOLS = {"SECRET_FIELDS": {"own": row}}
    return [
        (item.sentence, item.is_warning) for item in problems(Document({"own": value}), stage=stage, fields=contract())
    ]


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [
        ({}, "x", []),
        ({}, {"any": ["json"]}, []),
        ({}, "", ["is empty"]),
        ({}, "x ", ["begins or ends with a space or a line break"]),
        ({}, "CHANGE_ME", ["is still a placeholder"]),
        ({"placeholder": "none|later"}, "later", ["is still a placeholder"]),
        ({"placeholder": "none|later"}, "sooner or later", []),
        ({"validators": [URLValidator()]}, "https://sentry.io/1", []),
        ({"validators": [URLValidator()]}, CANARY, ["is refused by URLValidator: Enter a valid URL."]),
        (
            {"validators": [MinLengthValidator(20)]},
            CANARY,
            ["is refused by MinLengthValidator: Ensure this value has at least 20 characters (it has 11)."],
        ),
        ({"validators": (quotes,)}, CANARY, ["is refused by quotes"]),
        ({"validators": (fine,)}, CANARY, []),
        ({"validators": (falls_over,)}, CANARY, ["is refused by falls_over (AttributeError)"]),
        ({"number": True, "validators": [MinValueValidator(5)]}, 7, []),
        (
            {"number": True, "validators": [MinValueValidator(5)]},
            3,
            ["is refused by MinValueValidator: Ensure this value is greater than or equal to 5."],
        ),
        ({"number": True}, "many", ["must be a number"]),
        ({"number": True}, True, ["must be a number"]),
    ],
)
def test_values(settings, row, value, expected):
    assert judged(settings, row, value) == [(sentence, False) for sentence in expected]


@pytest.mark.parametrize(("stage", "is_warning"), [("pre-launch", True), ("launch", False)])
def test_a_stand_in_only_warns_before_launch(settings, stage, is_warning):
    sentence = "is the stand-in for a value that is not there yet"
    assert judged(settings, {"stand_in": "not-yet"}, "not-yet", stage) == [(sentence, is_warning)]


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
    assert ("own" in missing(Document({}), [], stage=stage, fields=contract())) is expected


def test_rows(settings):
    settings.DEPLOYTOOLS = {"SECRET_FIELDS": {"salt": {"made_by": "password", "sensitive": False, "shape": "random"}}}
    rows = contract()
    assert (rows[: len(FIELDS)], len(rows)) == (FIELDS, len(FIELDS) + 1)
    assert (rows[-1].name, rows[-1].shape, rows[-1].is_sensitive) == ("salt", "random", False)
    assert makeable(rows) == ("password", "django_secret_key", "salt")


ROW = "DEPLOYTOOLS[\"SECRET_FIELDS\"]['own']"
WORDS = "validators, shape, sensitive, number, required_from, made_by, placeholder, stand_in"


@pytest.mark.parametrize(
    ("row", "sentence", "hint"),
    [
        ([], f"{ROW} is not a dict.", f"It may say: {WORDS}."),
        ({"secret": True}, f"{ROW} says 'secret', which nobody reads.", f"It may say: {WORDS}."),
        ({"sensitive": "no"}, f"{ROW}['sensitive'] is of type str.", "It must be: bool."),
        (
            {"validators": len},
            f"{ROW}['validators'] is of type builtin_function_or_method.",
            "It must be: list or tuple.",
        ),
        (
            {"validators": ["x"]},
            f"{ROW}['validators'] holds what cannot be called.",
            "Name validators: django.core.validators.",
        ),
        (
            {"required_from": "soon"},
            f"{ROW}['required_from'] is 'soon'.",
            "It must be one of: pre-launch, launch.",
        ),
        ({"made_by": "magic"}, f"{ROW}['made_by'] is 'magic'.", "It must be one of: password, django_secret_key."),
        ({"placeholder": "("}, f"{ROW}['placeholder'] is no regular expression.", "It has to match the whole text."),
        ({"number": True, "made_by": "password"}, f"{ROW} is a number and made here.", "Only texts are made here."),
    ],
)
def test_wrong_rows(settings, row, sentence, hint):
    settings.DEPLOYTOOLS = {"SECRET_FIELDS": {"own": row}}
    assert check_secret_fields() == [Error(sentence, hint=hint, id="deploytools.E006")]


@pytest.mark.parametrize("name", ["password", "", 7])
def test_wrong_keys(settings, name):
    settings.DEPLOYTOOLS = {"SECRET_FIELDS": {name: {}}}
    (message,) = check_secret_fields()
    assert message.msg == f'DEPLOYTOOLS["SECRET_FIELDS"][{name!r}] is no key of your own.'


@pytest.mark.parametrize("rows", [{}, {"own": {}}, [], None])
def test_no_message_of_ours(settings, rows):
    """What is of a wrong type altogether, E002 tells."""
    settings.DEPLOYTOOLS = {"SECRET_FIELDS": rows}
    assert check_secret_fields() == []
