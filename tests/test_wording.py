"""Wording that messages, plans and reports share."""

from __future__ import annotations

import pytest

from deploytools.wording import count, join_names


@pytest.mark.parametrize(
    ("number", "noun", "plural", "text"),
    [
        (0, "object", "", "0 objects"),
        (1, "object", "", "1 object"),
        (2, "object", "", "2 objects"),
        (1, "policy", "policies", "1 policy"),
        (2, "policy", "policies", "2 policies"),
    ],
)
def test_count(number, noun, plural, text):
    assert count(number, noun, plural) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_join_names(names, text):
    assert join_names(names, most=2) == text
