"""Parsing, merging and comparing documents; neither they nor errors about them show a value."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import example, given

from deploytools.errors import SecretNotJson, SecretTooLarge
from deploytools.secrets.document import MAXIMUM_BYTES, Change, ChangeKind, Document, Secret, diff, parse
from tests.secrets.reach import reachable
from tests.secrets.strategies import OBJECTS, reveal

CANARY = "canary-7d1f"
HINT = "It must be one JSON object, {…}, encoded as UTF-8."


def read(text: str) -> Document:
    return parse(Secret(text), source="FILE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "FILE is not valid JSON (line 1, column 1)."),
        (CANARY, "FILE is not valid JSON (line 1, column 1)."),
        (f'{{"a": "{CANARY}" "b"}}', "FILE is not valid JSON (line 1, column 21)."),
        (f'{{"a": "{CANARY}"\n"b": 1}}', "FILE is not valid JSON (line 2, column 1)."),
        (f'{{"a": "{CANARY}', "FILE is not valid JSON (line 1, column 7)."),
        (f'{{"a": "{CANARY}"}} x', "FILE is not valid JSON (line 1, column 22)."),
        (f"\ufeff{CANARY}", "FILE is not valid JSON (line 1, column 1)."),
        (f"{{'a': '{CANARY}'}}", "FILE is not valid JSON (line 1, column 2)."),
        (f'["{CANARY}"]', "FILE is JSON, but not an object."),
        (f'"{CANARY}"', "FILE is JSON, but not an object."),
        ("null", "FILE is JSON, but not an object."),
        ("5432", "FILE is JSON, but not an object."),
        (f'{{"a": "{CANARY}", "a": 1}}', 'FILE contains the key "a" twice.'),
        (f'{{"a": {{"b": 1, "b": "{CANARY}"}}}}', 'FILE contains the key "b" twice.'),
        (f'{{"a": NaN, "b": "{CANARY}"}}', "FILE contains NaN, which is not a JSON value."),
        (f'{{"a": -Infinity, "b": "{CANARY}"}}', "FILE contains -Infinity, which is not a JSON value."),
        (f'{{"a": 1e999, "b": "{CANARY}"}}', "FILE contains a number that is too large."),
        (f'{{"a": {"9" * 5000}, "b": "{CANARY}"}}', "FILE contains a number that is too large."),
        *[
            (f'{{"a": {number}, "b": "{CANARY}"}}', "FILE contains a number that cannot be stored exactly.")
            for number in ("0.12345678901234567890", "-12345678901234567.25", "1e-400", "1E-99999999999999999999")
        ],
        (f'{{"a": "{CANARY}\ud800"}}', "FILE is JSON that cannot be encoded as UTF-8."),
        (f'{{"a": "{CANARY}\\ud800"}}', "FILE is JSON that cannot be encoded as UTF-8."),
        (f'{{"\\udfff": "{CANARY}"}}', "FILE is JSON that cannot be encoded as UTF-8."),
        (f'{{"a": "{CANARY}", "b": {"[" * 100_000}', "FILE is nested too deeply."),
    ],
)
def test_parse_errors(text, message):
    with pytest.raises(SecretNotJson) as caught:
        read(text)
    assert str(caught.value) == message
    assert caught.value.hint in {
        HINT,
        "Remove one of the two: JSON parsers differ in which one they use.",
        "Use fewer digits, or write it as a string in quotes.",
        "Write it as a string in quotes.",
        "Remove levels of lists and objects: hundreds are possible, thousands are not.",
    }
    assert [found for found in reachable(caught.value) if CANARY in found] == []


def test_byte_order_mark_is_accepted():
    assert read('\ufeff{"a": 1}') == Document({"a": 1})


@pytest.mark.parametrize("number", ["0.10", "1.0E+2", "-0.0", "2.5", "0.1", "1e22"])
def test_number_that_is_the_same_in_another_notation(number):
    value = read(f'{{"a": {number}}}')["a"].reveal()
    assert (type(value), value) == (float, float(number))


@pytest.mark.parametrize(
    ("values", "keys"),
    [({"a": f"{CANARY}\ud800", "b": CANARY}, "a"), ({"a": [CANARY, "\udcff"], "\udfff": CANARY}, "a, \\udfff")],
)
def test_values_that_cannot_be_encoded(values, keys):
    """An environment variable or a terminal can contain bytes that are not UTF-8."""
    with pytest.raises(SecretNotJson) as caught:
        Document(values).to_json()
    assert str(caught.value) == f"{keys} cannot be encoded as UTF-8."
    assert [found for found in reachable(caught.value) if CANARY in found] == []


@pytest.mark.slow
@given(OBJECTS)
@example({"port": 5432, "big": 2**200, "t": True, "n": None, "é": "日本 🙂", "deep": {"a": [{"b": [1, "1", 1.5]}]}})
def test_round_trip_keeps_every_value_type_and_the_order(values):
    document = read(json.dumps(values))
    again = read(document.to_json().reveal())
    assert repr(reveal(again)) == repr(values)
    assert (again == document == Document(values), list(again)) == (True, list(values))


@pytest.mark.slow
@given(OBJECTS, OBJECTS)
def test_merge(stored, wanted):
    before, given_ = Document(stored), Document(wanted)
    after = before.merge(given_)
    assert repr(reveal(after)) == repr(stored | wanted)
    assert repr(reveal(before)) == repr(stored)
    assert after.merge(given_) == after


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {}, [("a", ChangeKind.UNCHANGED)]),
        ({"a": 1}, {"a": 1}, [("a", ChangeKind.UNCHANGED)]),
        ({"a": 1}, {"a": "1"}, [("a", ChangeKind.CHANGED)]),
        ({"a": 1}, {"a": True}, [("a", ChangeKind.CHANGED)]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, [("a", ChangeKind.UNCHANGED)]),
        ({"a": 1}, {"b": 1}, [("a", ChangeKind.UNCHANGED), ("b", ChangeKind.ADDED)]),
        ({"a": 1}, {"b": None}, [("a", ChangeKind.UNCHANGED), ("b", ChangeKind.ADDED)]),
        ({"a": None}, {"a": ""}, [("a", ChangeKind.CHANGED)]),
    ],
)
def test_diff(stored, wanted, expected):
    before = Document(stored)
    assert diff(before, before.merge(Document(wanted))) == tuple(Change(*row) for row in expected)


def of_size(size: int, letter: str = "x") -> Document:
    return Document({"a": letter * ((size - len('{"a": ""}')) // len(letter.encode()))})


@pytest.mark.parametrize("document", [of_size(MAXIMUM_BYTES), of_size(MAXIMUM_BYTES, "é")])
def test_maximum_size(document):
    assert len(document.to_json().reveal().encode()) in {MAXIMUM_BYTES - 1, MAXIMUM_BYTES}


@pytest.mark.parametrize(
    ("document", "size"), [(of_size(MAXIMUM_BYTES + 1), "65,537"), (of_size(MAXIMUM_BYTES + 3, "é"), "65,539")]
)
def test_too_large(document, size):
    with pytest.raises(SecretTooLarge) as caught:
        document.to_json()
    assert (str(caught.value), caught.value.hint) == (
        f"The document has {size} bytes; the maximum in Secrets Manager is 65,536.",
        "Move large values, such as certificates, to a separate secret.",
    )
    assert [found for found in reachable(caught.value) if "xxxx" in found or "éééé" in found] == []


def test_is_read_only_and_shows_only_keys():
    values = {"password": CANARY, "port": 5432}
    document = Document(values)
    values["password"] = "other"
    assert (repr(document), str(document)) == ("<Document: password, port>", "<Document: password, port>")
    assert (document["password"].reveal(), len(document), list(document)) == (CANARY, 2, ["password", "port"])
    assert [item for item in document.values() if not isinstance(item, Secret)] == []
    with pytest.raises(TypeError):
        document["password"] = "other"  # type: ignore[index]
    with pytest.raises(TypeError):
        hash(document)


@pytest.mark.parametrize("serialize", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars])
def test_cannot_be_serialized(serialize):
    with pytest.raises(TypeError) as caught:
        serialize(Document({"a": CANARY}))
    assert [found for found in reachable(caught.value) if CANARY in found] == []
