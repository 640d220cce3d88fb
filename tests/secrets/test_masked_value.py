"""`Secret` masks its value in every representation."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest

from deploytools.secrets.document import MASK, Secret

CANARY = "canary-7d1f"
SECRET = Secret(CANARY)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (repr(SECRET), "<Secret ********>"),
        (str(SECRET), MASK),
        (f"{SECRET}", MASK),
        (f"{SECRET!r}", "<Secret ********>"),
        (f"{SECRET!a}", "<Secret ********>"),
        (f"{SECRET:>10}", "  ********"),
        (format(SECRET), MASK),
        ("{}".format(SECRET), MASK),  # noqa: UP032
        ("%s %r" % (SECRET, SECRET), "******** <Secret ********>"),  # noqa: UP031
        (str([SECRET]), "[<Secret ********>]"),
        (str({"password": SECRET}), "{'password': <Secret ********>}"),
        (repr(Secret(Secret(CANARY))), "<Secret ********>"),
        (repr(Secret(5432)), "<Secret ********>"),
        (repr(Secret("")), "<Secret ********>"),
    ],
)
def test_is_masked(shown, expected):
    assert shown == expected


@pytest.mark.parametrize(
    "serialize",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        vars,
        lambda secret: f"{secret:d}",
        lambda secret: "{:x}".format(secret),  # noqa: UP032
    ],
    ids=["pickle", "copy", "deepcopy", "json", "vars", "format-d", "format-x"],
)
def test_cannot_be_serialized(serialize):
    with pytest.raises((TypeError, ValueError)) as caught:
        serialize(SECRET)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_logging(caplog):
    logging.getLogger("shop").warning("password %s, %r", SECRET, SECRET)
    assert caplog.messages == ["password ********, <Secret ********>"]


@pytest.mark.parametrize("value", [CANARY, 5432, 0, None, True, 1.5, {"a": [1]}, ""])
def test_reveal(value):
    assert Secret(value).reveal() is value


@pytest.mark.parametrize(
    ("left", "right", "are_equal"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("5432", 5432, False),
        (1, True, False),
        (0, False, False),
        (1, 1.0, False),
        (None, "null", False),
        (None, "", False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
        ([1], [True], False),
        ("é", "e\u0301", False),
        (10**40, 10**40, True),
        (10**40, 10**40 + 1, False),
    ],
)
def test_equality_by_value_and_type(left, right, are_equal):
    assert (Secret(left) == Secret(right)) is are_equal
    assert (Secret(left) != Secret(right)) is not are_equal
    assert len({Secret(left), Secret(right)}) == 2 - are_equal


def test_is_not_equal_to_the_value_itself():
    assert (SECRET == CANARY, SECRET != CANARY, SECRET in {CANARY}) == (False, True, False)


@pytest.mark.parametrize(("value", "expected"), [("a", True), ("", False), (0, False), (None, False), (5432, True)])
def test_truth(value, expected):
    assert bool(Secret(value)) is expected


def test_cannot_be_changed_from_outside():
    with pytest.raises(AttributeError):
        SECRET.value = "other"  # type: ignore[attr-defined]
