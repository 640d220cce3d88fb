"""The document: read strictly, merged, compared, and never shown, not even by an error about it."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploytools.errors import SecretNotJson, SecretTooLarge
from deploytools.secret.document import MAXIMUM_BYTES, Change, ChangeKind, Document, diff, parse
from deploytools.secret.value import Secret
from tests.secret.reach import reachable

CANARY = "canary-7d1f"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=6)
HINT = "It must be one JSON object, {…}, in UTF-8."


def read(text: str) -> Document:
    return parse(Secret(text), source="FILE")


def reveal(document: Document) -> dict[str, Any]:
    return {key: document[key].reveal() for key in document}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "FILE is not JSON: it breaks off at line 1, column 1."),
        (CANARY, "FILE is not JSON: it breaks off at line 1, column 1."),
        (f'{{"a": "{CANARY}" "b"}}', "FILE is not JSON: it breaks off at line 1, column 21."),
        (f'{{"a": "{CANARY}"\n"b": 1}}', "FILE is not JSON: it breaks off at line 2, column 1."),
        (f'{{"a": "{CANARY}', "FILE is not JSON: it breaks off at line 1, column 7."),
        (f'{{"a": "{CANARY}"}} x', "FILE is not JSON: it breaks off at line 1, column 22."),
        (f"\ufeff{CANARY}", "FILE is not JSON: it breaks off at line 1, column 1."),
        (f"{{'a': '{CANARY}'}}", "FILE is not JSON: it breaks off at line 1, column 2."),
        (f'["{CANARY}"]', "FILE is JSON, but not an object."),
        (f'"{CANARY}"', "FILE is JSON, but not an object."),
        ("null", "FILE is JSON, but not an object."),
        ("5432", "FILE is JSON, but not an object."),
        (f'{{"a": "{CANARY}", "a": 1}}', 'FILE names the key "a" twice.'),
        (f'{{"a": {{"b": 1, "b": "{CANARY}"}}}}', 'FILE names the key "b" twice.'),
        (f'{{"a": NaN, "b": "{CANARY}"}}', "FILE holds NaN, which is no JSON value."),
        (f'{{"a": -Infinity, "b": "{CANARY}"}}', "FILE holds -Infinity, which is no JSON value."),
        (f'{{"a": 1e999, "b": "{CANARY}"}}', "FILE holds a number that is too large to be kept."),
        (f'{{"a": {"9" * 5000}, "b": "{CANARY}"}}', "FILE holds a number that is too large to be kept."),
        *[
            (f'{{"a": {number}, "b": "{CANARY}"}}', "FILE holds a number that cannot be kept exactly.")
            for number in ("0.12345678901234567890", "-12345678901234567.25", "1e-400", "1E-99999999999999999999")
        ],
        (f'{{"a": "{CANARY}\ud800"}}', "FILE is JSON that cannot be stored as UTF-8 text."),
        (f'{{"a": "{CANARY}\\ud800"}}', "FILE is JSON that cannot be stored as UTF-8 text."),
        (f'{{"\\udfff": "{CANARY}"}}', "FILE is JSON that cannot be stored as UTF-8 text."),
        (f'{{"a": "{CANARY}", "b": {"[" * 100_000}', "FILE is JSON that cannot be stored as UTF-8 text."),
    ],
)
def test_what_cannot_be_read(text, message):
    with pytest.raises(SecretNotJson) as caught:
        read(text)
    assert str(caught.value) == message
    assert caught.value.hint in {
        HINT,
        "Keep the one that is meant: JSON readers differ on it.",
        "Write it with fewer digits, or as a text: in quotes.",
    }
    assert [found for found in reachable(caught.value) if CANARY in found] == []


@pytest.mark.parametrize("number", ["0.10", "1.0E+2", "-0.0", "2.5", "0.1", "1e22"])
def test_a_number_that_another_way_of_writing_keeps(number):
    value = read(f'{{"a": {number}}}')["a"].reveal()
    assert (type(value), value) == (float, float(number))


@pytest.mark.parametrize(
    ("values", "keys"),
    [({"a": f"{CANARY}\ud800", "b": CANARY}, "a"), ({"a": [CANARY, "\udcff"], "\udfff": CANARY}, "a, \\udfff")],
)
def test_what_cannot_be_written(values, keys):
    """An environment variable or a terminal may give bytes that are no UTF-8."""
    with pytest.raises(SecretNotJson) as caught:
        Document(values).to_json()
    assert str(caught.value) == f"{keys} cannot be stored as UTF-8 text."
    assert [found for found in reachable(caught.value) if CANARY in found] == []


@given(OBJECTS)
@example({"port": 5432, "big": 2**200, "t": True, "n": None, "é": "日本 🙂", "deep": {"a": [{"b": [1, "1", 1.5]}]}})
def test_round_trip_keeps_every_value_type_and_the_order(values):
    document = read(json.dumps(values))
    again = read(document.to_json().reveal())
    assert repr(reveal(again)) == repr(values)
    assert (again == document == Document(values), list(again)) == (True, list(values))


@given(OBJECTS, OBJECTS)
def test_merge_is_the_given_over_what_was_there(stored, wanted):
    before, given_ = Document(stored), Document(wanted)
    after = before.merge(given_)
    assert repr(reveal(after)) == repr(stored | wanted)
    assert repr(reveal(before)) == repr(stored)
    assert after.merge(given_) == after


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {}, [("a", ChangeKind.KEPT)]),
        ({"a": 1}, {"a": 1}, [("a", ChangeKind.UNCHANGED)]),
        ({"a": 1}, {"a": "1"}, [("a", ChangeKind.CHANGED)]),
        ({"a": 1}, {"a": True}, [("a", ChangeKind.CHANGED)]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, [("a", ChangeKind.UNCHANGED)]),
        ({"a": 1}, {"b": 1}, [("a", ChangeKind.KEPT), ("b", ChangeKind.ADDED)]),
        ({"a": 1}, {"b": None}, [("a", ChangeKind.KEPT), ("b", ChangeKind.ADDED)]),
        ({"a": None}, {"a": ""}, [("a", ChangeKind.CHANGED)]),
    ],
)
def test_diff(stored, wanted, expected):
    before, given_ = Document(stored), Document(wanted)
    assert diff(before, before.merge(given_), given_) == tuple(Change(*row) for row in expected)


def of_size(size: int, letter: str = "x") -> Document:
    return Document({"a": letter * ((size - len('{"a": ""}')) // len(letter.encode()))})


@pytest.mark.parametrize("document", [of_size(MAXIMUM_BYTES), of_size(MAXIMUM_BYTES, "é")])
def test_the_largest_that_fits(document):
    assert len(document.to_json().reveal().encode()) in {MAXIMUM_BYTES - 1, MAXIMUM_BYTES}


@pytest.mark.parametrize(
    ("document", "size"), [(of_size(MAXIMUM_BYTES + 1), "65,537"), (of_size(MAXIMUM_BYTES + 3, "é"), "65,539")]
)
def test_too_large(document, size):
    with pytest.raises(SecretTooLarge) as caught:
        document.to_json()
    assert (str(caught.value), caught.value.hint) == (
        f"The document has {size} bytes; Secrets Manager takes 65,536.",
        "Move large values, such as certificates, into a secret of their own.",
    )
    assert [found for found in reachable(caught.value) if "xxxx" in found or "éééé" in found] == []


def test_is_read_only_and_shows_names_only():
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


@pytest.mark.parametrize("write_down", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars])
def test_is_not_written_down(write_down):
    with pytest.raises(TypeError) as caught:
        write_down(Document({"a": CANARY}))
    assert [found for found in reachable(caught.value) if CANARY in found] == []
